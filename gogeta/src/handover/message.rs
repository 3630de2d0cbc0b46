//! What the two say: JSON behind its length, so that whoever reads takes no byte, and with it no descriptor, too many.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The version of this protocol; it changes where one of before could not make sense of it.
pub(super) const PROTOCOL: u32 = 1;

/// Bytes that a message may have.
const LONGEST: u32 = 4 << 20;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// Requests come by it.
    Proxy,
    /// It is the admin listener.
    Admin,
    /// Upgrades come by it.
    Upgrade,
}

/// Sockets that listen at one place; so many descriptors follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sockets {
    pub(super) role: Role,
    /// Where; none for what is found by a path.
    pub(super) address: Option<SocketAddr>,
    /// Whether somebody else opened them.
    pub(super) inherited: bool,
    pub(super) count: usize,
}

/// An instance that an operator has drained, which no store knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drained {
    /// Its service.
    pub(super) service: String,
    /// Its index.
    pub(super) index: String,
}

/// A message. Fields that one does not know are passed over, so there may be more of them in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum Message {
    /// The new one asks for all sockets.
    Ask {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// Its version, for people.
        version: String,
        /// Its network namespace.
        network: (u64, u64),
        /// The service that it is of: of two services, each has a main process of its own.
        #[serde(default)]
        service: String,
    },
    /// The old one sends them.
    Offer {
        /// Its version.
        version: String,
        /// What they are, in the order in which they come.
        sockets: Vec<Sockets>,
    },
    /// The old one does not, or does not any more.
    Refuse {
        /// Why.
        why: String,
    },
    /// The new one has started.
    Ready {
        /// Where it goes on.
        taken: Vec<(Role, SocketAddr)>,
    },
    /// The old one stops accepting there.
    Yours {
        /// What the new one would not know of.
        drained: Vec<Drained>,
    },
}

impl Message {
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let length =
            u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST).ok_or_else(too_long)?;
        Ok([&length.to_be_bytes()[..], &text].concat())
    }

    /// Sends it.
    pub(super) fn write(&self, mut stream: impl Write) -> io::Result<()> {
        stream.write_all(&self.to_bytes()?)
    }

    /// The next one.
    pub(super) fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut text = vec![0; checked(length)?];
        stream.read_exact(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Sends it.
    pub(super) async fn send(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        stream.write_all(&self.to_bytes()?).await
    }

    /// The next one.
    pub(super) async fn receive(mut stream: impl AsyncRead + Unpin) -> io::Result<Self> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let mut text = vec![0; checked(length)?];
        stream.read_exact(&mut text).await?;
        Ok(serde_json::from_slice(&text)?)
    }
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length);
    if length <= LONGEST { Ok(length as usize) } else { Err(too_long()) }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is longer than any message is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Message; 5] {
        let address = "[::1]:80".parse().expect("an address");
        let sockets = vec![
            Sockets { role: Role::Proxy, address: Some(address), inherited: false, count: 3 },
            Sockets { role: Role::Upgrade, address: None, inherited: false, count: 1 },
        ];
        let drained = vec![Drained { service: "web".into(), index: "1".into() }];
        [
            Message::Ask {
                protocol: PROTOCOL,
                version: "1.2.3".into(),
                network: (4, 5),
                service: "/a".into(),
            },
            Message::Offer { version: "1.2.3".into(), sockets },
            Message::Refuse { why: "no".into() },
            Message::Ready { taken: vec![(Role::Admin, address)] },
            Message::Yours { drained },
        ]
    }

    #[tokio::test]
    async fn what_is_said_is_what_is_heard_and_nothing_behind_it_is_taken() {
        for message in all() {
            let mut bytes = message.to_bytes().expect("it is short");
            bytes.push(b'!');
            let mut rest = &bytes[..];
            assert_eq!(Message::read(&mut rest).expect("a message"), message);
            assert_eq!(rest, b"!");
            let mut rest = &bytes[..];
            assert_eq!(Message::receive(&mut rest).await.expect("a message"), message);
            assert_eq!(rest, b"!");
        }
    }

    #[test]
    fn how_messages_look_does_not_change() {
        let texts = all().map(|message| serde_json::to_string(&message).expect("JSON"));
        assert_eq!(
            texts,
            [
                r#"{"say":"ask","protocol":1,"version":"1.2.3","network":[4,5],"service":"/a"}"#,
                r#"{"say":"offer","version":"1.2.3","sockets":[{"role":"proxy","address":"[::1]:80","inherited":false,"count":3},{"role":"upgrade","address":null,"inherited":false,"count":1}]}"#,
                r#"{"say":"refuse","why":"no"}"#,
                r#"{"say":"ready","taken":[["admin","[::1]:80"]]}"#,
                r#"{"say":"yours","drained":[{"service":"web","index":"1"}]}"#,
            ]
        );
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        let text = br#"{"say":"refuse","why":"no","since":1}"#;
        let bytes = [&u32::try_from(text.len()).expect("short").to_be_bytes()[..], text].concat();
        assert_eq!(Message::read(&bytes[..]).expect("a message"), Message::Refuse { why: "no".into() });
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let framed = |text: &[u8]| [&(text.len() as u32).to_be_bytes()[..], text].concat();
        let rows: [(Vec<u8>, io::ErrorKind); 5] = [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), io::ErrorKind::InvalidData),
            (framed(b"{}"), io::ErrorKind::InvalidData),
            (framed(b"{\"say\":\"sing\"}"), io::ErrorKind::InvalidData),
            (framed(b"{\"say\":\"yours\"")[..9].to_vec(), io::ErrorKind::UnexpectedEof),
            (vec![], io::ErrorKind::UnexpectedEof),
        ];
        for (bytes, kind) in rows {
            assert_eq!(Message::read(&bytes[..]).expect_err("no message").kind(), kind, "{bytes:?}");
        }
    }
}
