//! Whoever asks at the socket in another way than a gogeta does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::{Meeting, is_over};
use crate::support::backend::{Backend, service};
use crate::support::client::get;
use crate::support::wait::DEADLINE;

/// What it is answered, behind the length.
fn ask(meeting: &Meeting, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(meeting.path()).expect("it is reached");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.write_all(bytes).expect("to send");
    let mut answer = Vec::new();
    // It does not read all of what makes no sense, so the end may be a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(answer.get(4..).unwrap_or_default()).into_owned()
}

fn framed(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).expect("it is short").to_be_bytes()[..], text.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_nothing_changes() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let rows = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not asked as a gogeta asks"),
        (framed(r#"{"say":"ready","taken":[]}"#), "not asked as a gogeta asks"),
        (framed("[]"), "not asked as a gogeta asks"),
        (framed(r#"{"say":"ask","protocol":2,"version":"9.0.0","network":[0,0]}"#), "9.0.0 speaks 2"),
        (framed(r#"{"say":"ask","protocol":1,"version":"9.0.0","network":[0,0]}"#), "network namespace"),
    ];
    for (bytes, why) in rows {
        let answer = tokio::task::block_in_place(|| ask(&meeting, &bytes));
        assert!(answer.contains(why), "{answer}");
    }
    assert_eq!(get(old.proxy, "a.test", "/").await.text(), "a");
    let new = meeting.next(&old, &routes).start().await;
    is_over(old).await;
    assert_eq!(get(new.proxy, "a.test", "/").await.text(), "a");
}
