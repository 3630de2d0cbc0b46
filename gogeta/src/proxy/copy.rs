//! The head of a request that may have to be sent once more.
//!
//! Nearly every request could, and hardly any is; so its fields are written down in a buffer that the connection
//! uses again and again, which is far cheaper than a second set of them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

/// A head, written down.
#[derive(Debug)]
pub struct Copy {
    method: Method,
    uri: Uri,
    /// Each field's name and value, each behind its length.
    fields: Vec<u8>,
}

impl Copy {
    /// Writes a request's head down, into a buffer that was used before.
    pub fn of<B>(request: &Request<B>, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        for (name, value) in request.headers() {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                buffer.extend_from_slice(&(part.len() as u32).to_ne_bytes());
                buffer.extend_from_slice(part);
            }
        }
        Self { method: request.method().clone(), uri: request.uri().clone(), fields: buffer }
    }

    /// The request, once more.
    pub fn request<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.headers_mut() = self.headers();
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = Version::HTTP_11;
        request
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.fields
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut parts = Parts(&self.fields);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        headers
    }
}

struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let request = Request::builder()
            .method("PROPFIND")
            .uri("/a%2f?q")
            .header("host", "a.test")
            .header("cookie", "a=1")
            .header("x-empty", "")
            .header("cookie", "b=2")
            .header("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").expect("a value"))
            .body(())
            .expect("a request");
        let copy = Copy::of(&request, vec![1, 2, 3]);
        let again = copy.request(());
        assert_eq!(again.headers(), request.headers());
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
    }
}
