//! A client that makes its segments itself, for what no kernel would send for it.

use std::net::SocketAddrV4;
use std::time::Duration;

use gogeta_common::wire::segment::{ACK, FIN, PSH, RST, SYN};

use super::cable::{Cable, GOGETA, HERE};
use super::segment::Segment;
use crate::parked_network::talk::told;

/// When a SYN is sent again, of which nothing was heard.
const AGAIN: Duration = Duration::from_millis(200);

/// The client.
pub(super) struct Raw {
    pub(super) cable: Cable,
    here: SocketAddrV4,
    there: SocketAddrV4,
    /// What it sends next.
    pub(super) seq: u32,
    /// What it waits for.
    pub(super) ack: u32,
    /// Its clock, which goes on by one with each segment, and what it has been told last.
    pub(super) time: u32,
    pub(super) echo: u32,
    /// For how much it has room, as it is told.
    pub(super) window: u16,
    /// What came that was not looked at yet.
    got: Vec<u8>,
    /// How gogeta, or whoever speaks in its name, has ended it.
    pub(super) ended: Option<u8>,
}

impl Raw {
    /// Connects from that port.
    pub(super) async fn connect(cable: Cable, port: u16, proxy: u16) -> Self {
        let (here, there) = (SocketAddrV4::new(HERE, port), SocketAddrV4::new(GOGETA, proxy));
        let mut raw = Self {
            cable,
            here,
            there,
            seq: 0xffff_ff00,
            ack: 0,
            time: 0,
            echo: 0,
            window: 65535,
            got: Vec::new(),
            ended: None,
        };
        raw.begin().await;
        raw
    }

    /// Connects anew from the same port, with numbers further on, as if there had been nothing.
    pub(super) async fn begin_anew(&mut self) {
        (self.got, self.ended) = (Vec::new(), None);
        self.seq = self.seq.wrapping_add(1_000_000);
        self.begin().await;
    }

    async fn begin(&mut self) {
        self.time += 1;
        let mut syn = Segment::new(self.here, self.there, self.seq, 0).flags(SYN);
        // MSS 1460; selective acknowledgements; timestamps; windows in units of 128 bytes.
        syn.options =
            [&[2, 4, 5, 180, 4, 2, 8, 10][..], &self.time.to_be_bytes(), &[0, 0, 0, 0, 1, 3, 3, 7]].concat();
        let answer = loop {
            self.cable.send(&syn).await;
            // Who gets no answer asks again.
            let Some(answer) = self.cable.receive_within(AGAIN).await else { continue };
            if answer.to != self.here {
                continue;
            }
            if answer.flags == SYN | ACK && answer.ack == syn.end() {
                break answer;
            }
            // There is a connection that is not known here (RFC 9293, 3.5.1).
            let reset = Segment::new(self.here, self.there, answer.ack, 0).flags(RST);
            self.cable.send(&reset).await;
        };
        self.echo = answer.time().expect("timestamps");
        (self.seq, self.ack) = (answer.ack, answer.end());
        let ack = self.next();
        self.cable.send(&ack).await;
    }

    /// Closes, and waits for the other side to do so.
    pub(super) async fn close(&mut self) {
        let end = self.next().flags(FIN | ACK);
        self.cable.send(&end).await;
        self.seq = end.end();
        self.take_until(|segment| segment.flags & FIN != 0).await;
    }

    /// Its next segment, empty.
    pub(super) fn next(&mut self) -> Segment {
        self.time += 1;
        let mut next = Segment::new(self.here, self.there, self.seq, self.ack).at(self.time, self.echo);
        next.window = self.window;
        next
    }

    /// Sends these bytes, and has sent them.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let segment = self.next().flags(ACK | PSH).data(bytes);
        self.cable.send(&segment).await;
        self.seq = self.seq.wrapping_add(bytes.len() as u32);
    }

    /// Takes the next segment that comes to it, and acknowledges what is in it.
    pub(super) async fn take(&mut self) -> Segment {
        let segment = loop {
            let segment = self.cable.receive().await;
            if segment.to == self.here {
                break segment;
            }
        };
        if segment.flags & RST != 0 {
            self.ended = Some(RST);
            return segment;
        }
        if segment.seq == self.ack {
            self.echo = segment.time().unwrap_or(self.echo);
            self.got.extend(&segment.data);
            self.ack = segment.end();
            if segment.flags & FIN != 0 {
                self.ended = Some(FIN);
            }
        }
        if segment.end() != segment.seq {
            let ack = self.next();
            self.cable.send(&ack).await;
        }
        segment
    }

    /// Takes segments until one is like that.
    pub(super) async fn take_until(&mut self, is_it: impl Fn(&Segment) -> bool) -> Segment {
        loop {
            let segment = self.take().await;
            if is_it(&segment) {
                return segment;
            }
        }
    }

    /// Reads an answer with a length, whole: its head and its body.
    pub(super) async fn answer(&mut self) -> (String, Vec<u8>) {
        loop {
            if let Some(at) = self.got.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.got[..at]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
                if self.got.len() >= at + 4 + length {
                    let body = self.got.drain(..at + 4 + length).skip(at + 4).collect();
                    return (head, body);
                }
            }
            assert_eq!(self.ended, None, "it ended behind {:?}", String::from_utf8_lossy(&self.got));
            self.take().await;
        }
    }

    /// Reads the answer to a GET, which must be that backend's.
    pub(super) async fn is_told(&mut self, target: &str, name: &str) {
        let (head, body) = self.answer().await;
        let expected = told(name, &format!("GET {target} HTTP/1.1"), b"");
        assert!(head.starts_with("http/1.1 200 ") && body == expected, "{head} {}", body.escape_ascii());
    }

    /// A GET, and its answer by that backend.
    pub(super) async fn get(&mut self, host: &str, target: &str, name: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        self.is_told(target, name).await;
    }
}
