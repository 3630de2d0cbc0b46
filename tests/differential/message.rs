//! A request as a parser reads it, by httparse; and what gogeta makes of one, as its documentation says.

use serde::Deserialize;

/// A request. Bytes are text here, by ISO 8859-1, and names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: String,
}

/// What a parser makes of a stream: requests, up to the first thing that is not one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Reading {
    pub(super) requests: Vec<Message>,
    pub(super) fault: Option<String>,
}

impl Reading {
    /// Reads a stream by httparse.
    pub(super) fn of(mut bytes: &[u8]) -> Self {
        let mut reading = Self::default();
        loop {
            while let Some((b'\r' | b'\n', rest)) = bytes.split_first() {
                bytes = rest;
            }
            if bytes.is_empty() {
                return reading;
            }
            match Message::first(bytes) {
                Ok(Some((message, length))) => {
                    reading.requests.push(message);
                    bytes = &bytes[length..];
                }
                Ok(None) => return Self { fault: Some("it is not whole".to_owned()), ..reading },
                Err(fault) => return Self { fault: Some(fault), ..reading },
            }
        }
    }
}

/// What a client at 127.0.0.1 does not get past gogeta: for one hop, forged, or gogeta's own business. (Of trailers
/// and expectations nothing is claimed here.)
const DROPPED: [&str; 20] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "host",
    "via",
];

impl Message {
    /// The first request of a stream, and its length; `None` where it has not ended.
    pub(super) fn first(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut fields);
        let head = match parsed.parse(bytes).map_err(|error| error.to_string())? {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return Ok(None),
        };
        let mut message = Self {
            method: parsed.method.expect("a method").to_owned(),
            target: parsed.path.expect("a target").to_owned(),
            version: format!("1.{}", parsed.version.expect("a version")),
            fields: vec![],
            body: String::new(),
        };
        let fields = parsed.headers.iter();
        message.fields.extend(fields.map(|field| (field.name.to_ascii_lowercase(), latin(field.value))));
        let body = match (&*message.all("content-length"), &*message.all("transfer-encoding")) {
            ([], []) => Some((vec![], 0)),
            ([length], []) => {
                let length = length.parse().map_err(|_| format!("{length:?} is no length"))?;
                bytes[head..].get(..length).map(|body| (body.to_vec(), length))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => chunks(&bytes[head..])?,
            framing => return Err(format!("two framings: {framing:?}")),
        };
        Ok(body.map(|(body, length)| {
            message.body = latin(&body);
            (message, head + length)
        }))
    }

    /// The values of all fields of that name.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| &**value).collect()
    }

    /// The elements of all fields of that name, in lower case.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let elements = self.all(name).into_iter().flat_map(|value| value.split(','));
        elements.map(|element| element.trim_matches([' ', '\t']).to_ascii_lowercase()).collect()
    }

    /// Whether the connection ends behind it.
    pub(super) fn closes(&self) -> bool {
        let options = self.list("connection");
        let has = |option: &str| options.iter().any(|found| found == option);
        has("close") || (self.version == "1.0" && !has("keep-alive"))
    }

    /// The same request in the order and the framing that comparisons know: fields by name, but each name's in their
    /// order; and of a body only how it is delimited.
    pub(super) fn sorted(mut self) -> Self {
        let framing = match (self.all("content-length").is_empty(), self.all("transfer-encoding").is_empty())
        {
            (true, true) => "none",
            (false, _) => "length",
            (true, false) => "chunks",
        };
        self.fields.retain(|(name, _)| {
            !["content-length", "transfer-encoding", "expect", "trailer"].contains(&&**name)
        });
        self.fields.push(("(framing)".to_owned(), framing.to_owned()));
        self.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        self
    }

    /// What reaches the instance of a service: the rules of the documentation, written down a second time.
    pub(super) fn through_gogeta(&self) -> Self {
        let mut sent = Self { version: "1.1".to_owned(), ..self.clone() };
        let mut host = self.all("host").first().map_or("", |host| host).to_owned();
        if let Some((_, rest)) = self.target.split_once("://").filter(|_| !self.target.starts_with('/')) {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            host = authority.to_owned();
            sent.target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        }
        let nominated = self.list("connection");
        sent.fields.retain(|(name, _)| {
            !DROPPED.contains(&&**name) && !nominated.contains(name) && !name.contains('_')
        });
        let port: u16 = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
        let port = port.to_string();
        let via = format!("{} gogeta", self.version);
        let vias = self.all("via").into_iter().chain([&*via]);
        let mut own: Vec<(&str, &str)> = vias.map(|via| ("via", via)).collect();
        own.extend([
            ("host", &*host),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", &host),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
        ]);
        let trailers =
            self.list("te").iter().any(|coding| coding.split(';').next().unwrap_or("").trim() == "trailers");
        if trailers {
            own.push(("te", "trailers"));
        }
        if let [protocol] = *self.all("upgrade")
            && nominated.iter().any(|option| option == "upgrade")
            && self.body.is_empty()
            && self.all("transfer-encoding").is_empty()
            && self.version == "1.1"
            && is_protocol(protocol)
            && !protocol.to_ascii_lowercase().starts_with("h2")
        {
            own.extend([
                ("connection", if trailers { "upgrade, te" } else { "upgrade" }),
                ("upgrade", protocol),
            ]);
        } else if trailers {
            own.push(("connection", "te"));
        }
        for name in ["content-length", "transfer-encoding"] {
            own.extend(self.all(name).into_iter().map(|value| (name, value)));
        }
        sent.fields.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        sent
    }
}

/// `protocol-name [ "/" protocol-version ]`, both tokens.
fn is_protocol(text: &str) -> bool {
    let is_token = |part: &str| {
        let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(is)
    };
    text.splitn(2, '/').all(is_token)
}

/// A chunked body, and its length on the wire. Trailers are read and forgotten.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let read = httparse::parse_chunk_size(&bytes[at..]);
        let httparse::Status::Complete((line, size)) = read.map_err(|_| "no size of a chunk")? else {
            return Ok(None);
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| "the chunk is too large")?;
        let Some(chunk) = at.checked_add(size + 2).and_then(|end| bytes.get(at..end)) else {
            return Ok(None);
        };
        let data = chunk.strip_suffix(b"\r\n").ok_or("no end of a chunk")?;
        body.extend_from_slice(data);
        at += chunk.len();
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        at += end + 2;
        if end == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// Bytes as text, by ISO 8859-1.
pub(super) fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
