//! The network devices that the wire engine is at, and at which of their two doors.
//!
//! A host may see one packet at several devices. What a packet looks like to gogeta's socket it must look like to the
//! host's packet filter, too, which may follow connections: what comes has to be seen to before it, what leaves behind
//! it. With `br_netfilter` what comes to a bridge is filtered before the bridge itself has it. So a bridge's packets
//! are seen to where they come to its ports, and where they leave the host for the bridge.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};

/// Where the kernel shows its devices, and what it says of one that packets of others go through.
pub(super) const DEVICES: &str = "/sys/class/net";

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` (`linux/if_arp.h`).
const ETHERNET: u32 = 1;
const LOOPBACK: u32 = 772;

/// How often it is looked whether these are the devices of this namespace.
const LOOKS: usize = 5;

/// A way through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Door {
    /// Packets come.
    In,
    /// Packets leave.
    Out,
}

/// A device by which packets of pairs may come or go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    /// Its number, which no other one will have.
    pub(super) index: u32,
    /// Whether its packets begin with an Ethernet header.
    pub(super) has_ethernet: bool,
    /// Where they are seen to.
    pub(super) doors: &'static [Door],
}

/// All devices but loopback, and those that are part of a bond, whose packets that has as well.
pub(super) fn devices(folder: &Path) -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = |file: &str| fs::read_to_string(path.join(file)).ok()?.trim().parse::<u32>().ok();
        // It may be gone meanwhile.
        let (Some(kind), Some(index)) = (number("type"), number("ifindex")) else { continue };
        if kind == LOOPBACK || path.join("bonding_slave").exists() {
            continue;
        }
        let doors: &[Door] = if path.join("brport").exists() {
            &[Door::In]
        } else if path.join("bridge").exists() {
            &[Door::Out]
        } else {
            &[Door::In, Door::Out]
        };
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            devices.push(Device { name: name.to_owned(), index, has_ethernet: kind == ETHERNET, doors });
        }
    }
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(devices)
}

/// Whether the folder shows the devices of this network namespace: `/sys` shows those of the one in which it was
/// mounted, which is another one where a process is put into a namespace and nothing else.
///
/// # Errors
///
/// Where it does not.
pub(super) fn are_ours(folder: &Path) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    let shown = || -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // There are others' files, and what goes meanwhile.
            let Ok(index) = fs::read_to_string(path.join("ifindex")) else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name_to_index(&socket, name).is_ok_and(|ours| ours.to_string() != index.trim()) {
                continue;
            }
            names.insert(name.to_owned());
        }
        Ok(names)
    };
    let there = || -> io::Result<BTreeSet<String>> {
        let table = fs::read_to_string("/proc/self/net/dev")?;
        let rows = table.lines().filter_map(|line| line.split_once(':'));
        Ok(rows.map(|(name, _)| name.trim().to_owned()).collect())
    };
    // Devices may come and go between two looks.
    for _ in 0..LOOKS {
        if shown()? == there()? {
            return Ok(());
        }
    }
    let why = format!("{} is of another network namespace; mount /sys in this one", folder.display());
    Err(io::Error::other(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_bridge_what_comes_is_seen_at_its_ports_and_what_leaves_at_itself() {
        let folder = tempfile::tempdir().unwrap();
        let rows: [(&str, &str, Option<&str>); 7] = [
            ("br0", "1", Some("bridge")),
            ("eth0", "1", None),
            ("eth1", "1", Some("bonding_slave")),
            ("lo", "772", None),
            ("odd", "", None),
            ("tun0", "65534", None),
            ("veth1", "1", Some("brport")),
        ];
        for (index, (name, kind, part)) in rows.into_iter().enumerate() {
            let device = folder.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("type"), format!("{kind}\n")).unwrap();
            fs::write(device.join("ifindex"), format!("{index}\n")).unwrap();
            if let Some(part) = part {
                fs::create_dir(device.join(part)).unwrap();
            }
        }
        fs::write(folder.path().join("bonding_masters"), "").unwrap();
        let expected = [
            ("br0", 0, true, &[Door::Out][..]),
            ("eth0", 1, true, &[Door::In, Door::Out]),
            ("tun0", 5, false, &[Door::In, Door::Out]),
            ("veth1", 6, true, &[Door::In]),
        ]
        .map(|(name, index, has_ethernet, doors)| Device {
            name: name.to_owned(),
            index,
            has_ethernet,
            doors,
        });
        assert_eq!(devices(folder.path()).unwrap(), expected);
    }
}
