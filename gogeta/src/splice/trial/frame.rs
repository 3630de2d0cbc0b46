//! A frame of Ethernet with a TCP segment, as it would come by a device.

use std::net::{IpAddr, SocketAddr};

use gogeta_common::wire::pair::{fold, sum};

/// Flags of a segment (RFC 9293, 3.1).
pub(super) const ACK: u8 = 16;
pub(super) const PSH: u8 = 8;
pub(super) const FIN: u8 = 1;

/// What IP calls TCP.
const TCP: u8 = 6;

/// Bytes of the TCP header without options.
const HEADER: usize = 20;

/// What a frame says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Where to, and where from, in Ethernet's addresses.
    pub(super) link: [u16; 6],
    /// From where to where, of one family.
    pub(super) way: [SocketAddr; 2],
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    /// How many hops it may go.
    pub(super) hops: u8,
    /// Whole words.
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Its bytes, with both checksums right.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut frame: Vec<u8> = self.link.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let length = u16::try_from(segment.len()).unwrap_or_default();
        match self.way.map(|address| address.ip()) {
            [IpAddr::V4(from), IpAddr::V4(to)] => {
                frame.extend(0x0800_u16.to_be_bytes());
                let mut header = vec![0x45, 0];
                header.extend((length + 20).to_be_bytes());
                // No identification, and not to be cut.
                header.extend([0, 0, 0x40, 0, self.hops, TCP, 0, 0]);
                header.extend(from.octets());
                header.extend(to.octets());
                let check = !(sum(&header) as u16);
                header[10..12].copy_from_slice(&check.to_ne_bytes());
                frame.extend(header);
            }
            ways => {
                frame.extend(0x86dd_u16.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([TCP, self.hops]);
                frame.extend(octets(ways));
            }
        }
        frame.extend(segment);
        frame
    }

    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        for port in self.way.map(|address| address.port()) {
            segment.extend(port.to_be_bytes());
        }
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        let words = u8::try_from((HEADER + self.options.len()) / 4).unwrap_or_default();
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(self.options);
        segment.extend(self.payload);
        let addresses = octets(self.way.map(|address| address.ip()));
        let length = u16::try_from(segment.len()).unwrap_or_default();
        let rest = [[0, TCP], length.to_be_bytes()].concat();
        let check = !(fold(sum(&segment) + sum(&addresses) + sum(&rest)) as u16);
        segment[16..18].copy_from_slice(&check.to_ne_bytes());
        segment
    }
}

fn octets(ways: [IpAddr; 2]) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    ways.map(octets).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_a_capture_of_one_says() {
        let bytes = Frame {
            link: [0; 6],
            way: [([192, 0, 2, 1], 40_000).into(), ([192, 0, 2, 2], 80).into()],
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: ACK | PSH,
            window: 512,
            hops: 64,
            options: &[1, 1, 1, 1],
            payload: b"hi!",
        }
        .bytes();
        let (ip, tcp) = (&bytes[14..34], &bytes[34..]);
        assert_eq!(bytes[12..14], [8, 0]);
        assert_eq!(fold(sum(ip)), 0xffff, "the sum over a header with its checksum (RFC 1071)");
        let pseudo = [&ip[12..], &[0, 6, 0, 27]].concat();
        assert_eq!(fold(sum(tcp) + sum(&pseudo)), 0xffff);
        let head = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x18, 2, 0];
        assert_eq!(tcp[..16], head);
        assert_eq!(tcp[24..], *b"hi!");
    }
}
