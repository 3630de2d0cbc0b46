//! TCP segments over IPv4, of which every field may be anything (RFC 791, 3.1; RFC 9293, 3.1).

use std::net::{Ipv4Addr, SocketAddrV4};

use gogeta_common::wire::segment::ACK;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// How many hops it may go.
    pub(super) hops: u8,
    /// What its checksum differs by from the right one.
    pub(super) wrong: u16,
    /// The same of IP's.
    pub(super) wrong_ip: u16,
}

/// Flag bits and the offset of a fragment, in IPv4's header: none.
const WHOLE: [u8; 2] = [0, 0];

impl Segment {
    /// An empty one, that acknowledges.
    pub(super) fn new(from: SocketAddrV4, to: SocketAddrV4, seq: u32, ack: u32) -> Self {
        let (options, data) = (Vec::new(), Vec::new());
        Self {
            from,
            to,
            seq,
            ack,
            flags: ACK,
            window: 65535,
            urgent: 0,
            options,
            data,
            hops: 64,
            wrong: 0,
            wrong_ip: 0,
        }
    }

    /// With timestamps (RFC 7323, 3.2).
    pub(super) fn at(mut self, time: u32, echo: u32) -> Self {
        self.options = [&[1, 1, 8, 10][..], &time.to_be_bytes(), &echo.to_be_bytes()].concat();
        self
    }

    pub(super) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub(super) fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// The time that its sender tells.
    pub(super) fn time(&self) -> Option<u32> {
        let at = self.options.windows(2).position(|two| two == [8, 10])?;
        Some(u32::from_be_bytes(self.options.get(at + 2..at + 6)?.try_into().ok()?))
    }

    /// The number behind it: a SYN and a FIN count.
    pub(super) fn end(&self) -> u32 {
        let flags = (self.flags & 1) + (self.flags >> 1 & 1);
        self.seq.wrapping_add(self.data.len() as u32 + u32::from(flags))
    }

    /// Its TCP part.
    fn tcp(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        for port in [self.from.port(), self.to.port()] {
            tcp.extend(port.to_be_bytes());
        }
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([((20 + self.options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(&self.options);
        tcp.extend(&self.data);
        let check = self.sum(&tcp).wrapping_add(self.wrong);
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        tcp
    }

    /// The checksum of that, which is 0 where it has the right one in it.
    fn sum(&self, tcp: &[u8]) -> u16 {
        let length = u16::try_from(tcp.len()).expect("a segment");
        let pseudo = [&self.from.ip().octets()[..], &self.to.ip().octets(), &[0, 6], &length.to_be_bytes()];
        checksum(&[&pseudo.concat()[..], tcp].concat())
    }

    /// The packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let total = u16::try_from(20 + tcp.len()).expect("a packet");
        let mut ip = vec![0x45, 0];
        ip.extend(total.to_be_bytes());
        ip.extend([0, 0]);
        ip.extend(WHOLE);
        ip.extend([self.hops, 6, 0, 0]);
        ip.extend(self.from.ip().octets());
        ip.extend(self.to.ip().octets());
        let check = checksum(&ip).wrapping_add(self.wrong_ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        [ip, tcp].concat()
    }

    /// Makes the checksum of a packet's IPv4 header right.
    pub(super) fn mend(packet: &mut [u8]) {
        let count = usize::from(packet[0] & 15) * 4;
        packet[10..12].fill(0);
        let check = checksum(&packet[..count]);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
    }

    /// That of a packet; none where it is another protocol's. The checksums must be right.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let (ip, tcp) = packet.split_at_checked(20).filter(|(ip, _)| ip[0] == 0x45 && ip[9] == 6)?;
        let word = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let header = usize::from(tcp[12] >> 4) * 4;
        let this = Self {
            from: SocketAddrV4::new(address(12), word(0)),
            to: SocketAddrV4::new(address(16), word(2)),
            seq: long(4),
            ack: long(8),
            flags: tcp[13],
            window: word(14),
            urgent: word(18),
            options: tcp[20..header].to_vec(),
            data: tcp[header..].to_vec(),
            hops: ip[8],
            wrong: 0,
            wrong_ip: 0,
        };
        assert_eq!((checksum(ip), this.sum(tcp)), (0, 0), "the checksums of {this:?}");
        Some(this)
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
