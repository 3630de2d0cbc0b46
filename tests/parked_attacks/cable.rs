//! A cable whose far end is the test's own: it makes each packet by hand, and sees each that comes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::segment::Segment;
use crate::support::etcd::skip;
use crate::support::netns::Namespace;
use crate::support::wait::DEADLINE;

const PUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parked_attacks/tun.py");

/// Addresses of gogeta's end and of whoever is at the other one: of a network for documentation (RFC 5737).
pub(super) const GOGETA: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(super) const HERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// The cable.
pub(super) struct Cable {
    _pump: Child,
    packets: Lines<BufReader<ChildStdout>>,
    door: ChildStdin,
}

impl Cable {
    /// Lays one to that host; none where there are no TUN devices, which is an error if nothing may be skipped.
    pub(super) async fn to(host: &Namespace) -> Option<Self> {
        let mut command = host.place().command("python3");
        command.args([PUMP, "far"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut pump = command.spawn().expect("python3 runs");
        let (door, out) = (pump.stdin.take().expect("a pipe"), pump.stdout.take().expect("a pipe"));
        let mut packets = BufReader::new(out).lines();
        if packets.next_line().await.expect("a line").as_deref() != Some("ready") {
            skip("a TUN device needs root and /dev/net/tun");
            return None;
        }
        let address = format!("{GOGETA}/24");
        for line in [
            &["link", "set", "far", "addrgenmode", "none"][..],
            &["address", "add", &address, "dev", "far"],
            &["link", "set", "far", "up"],
        ] {
            let mut ip: Command = host.place().command("ip");
            assert!(ip.args(line).status().await.expect("ip runs").success(), "{line:?}");
        }
        Some(Self { _pump: pump, packets, door })
    }

    /// Sends a packet as it is.
    pub(super) async fn send_packet(&mut self, packet: &[u8]) {
        let mut line: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        line.push('\n');
        self.door.write_all(line.as_bytes()).await.expect("a packet is sent");
    }

    /// Sends a segment.
    pub(super) async fn send(&mut self, segment: &Segment) {
        self.send_packet(&segment.packet()).await;
    }

    /// Waits until all that was sent has come to where it was sent: packets stay in order, and to one for nobody there
    /// is an answer.
    pub(super) async fn pass(&mut self) {
        let (from, to) = (SocketAddrV4::new(HERE, 9), SocketAddrV4::new(GOGETA, 9));
        self.send(&Segment::new(from, to, 1, 1)).await;
        while self.receive().await.to != from {}
    }

    /// The next segment that comes.
    pub(super) async fn receive(&mut self) -> Segment {
        self.receive_within(DEADLINE).await.expect("a packet in time")
    }

    /// The same, if one comes in time.
    pub(super) async fn receive_within(&mut self, limit: Duration) -> Option<Segment> {
        loop {
            let line = tokio::time::timeout(limit, self.packets.next_line()).await.ok()?;
            let line = line.expect("a line").expect("the pump runs");
            let digits = line.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("hex"));
            let packet: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).expect("hex")).collect();
            if let Some(segment) = Segment::of(&packet) {
                return Some(segment);
            }
        }
    }
}
