//! The network devices that the wire engine is attached to.

use std::fs;
use std::io;
use std::path::Path;

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, tc};
use gogeta_common::wire;

use super::program::Unavailable;

/// Where the kernel shows its devices, and what it says of one that packets of others go through.
const DEVICES: &str = "/sys/class/net";

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` (`linux/if_arp.h`).
const ETHERNET: u32 = 1;
const LOOPBACK: u32 = 772;

/// What a device has there whose packets another one has as well.
const PARTS: [&str; 2] = ["brport", "bonding_slave"];

/// A device by which packets of pairs may come and go.
#[derive(Debug, PartialEq, Eq)]
struct Device {
    name: String,
    /// Whether its packets begin with an Ethernet header.
    has_ethernet: bool,
}

/// Loads the programs and attaches them to all devices that there are.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(), Unavailable> {
    for name in wire::PROGRAMS {
        classifier(ebpf, name)?.load()?;
    }
    let devices = devices(Path::new(DEVICES)).map_err(Unavailable::Devices)?;
    let mut attached = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "there is none");
    for device in devices {
        match attach_both(ebpf, &device) {
            Ok(()) => attached.push(device.name),
            Err(error) => {
                tracing::debug!(device = device.name, %error, "the wire engine is not at that device");
                last = io::Error::other(error.to_string());
            }
        }
    }
    tracing::debug!(devices = ?attached, "the wire engine is attached");
    if attached.is_empty() { Err(Unavailable::Devices(last)) } else { Ok(()) }
}

fn attach_both(ebpf: &mut Ebpf, device: &Device) -> Result<(), Unavailable> {
    let [inward, outward] = if device.has_ethernet { wire::ETHERNET } else { wire::BARE };
    for (name, way) in [(inward, TcAttachType::Ingress), (outward, TcAttachType::Egress)] {
        attach_to(classifier(ebpf, name)?, &device.name, way)?;
    }
    Ok(())
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, Unavailable> {
    let program = ebpf.program_mut(name).ok_or(Unavailable::Missing(name))?;
    Ok(program.try_into()?)
}

fn attach_to(program: &mut SchedClassifier, device: &str, way: TcAttachType) -> Result<(), Unavailable> {
    let outcome = program.attach(device, way);
    if let Err(ProgramError::TcError(_)) = outcome {
        // A kernel before TCX: what it attaches to has to be made first, and may be there.
        let _ = tc::qdisc_add_clsact(device);
        program.attach(device, way)?;
        return Ok(());
    }
    outcome?;
    Ok(())
}

/// All devices but loopback, and those whose packets another one has as well: a bridge's, a bond's.
fn devices(folder: &Path) -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(kind) = fs::read_to_string(entry.path().join("type")) else { continue };
        let kind = kind.trim().parse().unwrap_or(LOOPBACK);
        let is_part = PARTS.iter().any(|part| entry.path().join(part).exists());
        if kind == LOOPBACK || is_part {
            continue;
        }
        if let Ok(name) = entry.file_name().into_string() {
            devices.push(Device { name, has_ethernet: kind == ETHERNET });
        }
    }
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_devices_are_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let rows =
            [("eth0", "1", false), ("lo", "772", false), ("veth1", "1", true), ("tun0", "65534", false)];
        for (name, kind, is_part) in rows {
            let device = folder.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("type"), format!("{kind}\n")).unwrap();
            if is_part {
                fs::create_dir(device.join("brport")).unwrap();
            }
        }
        fs::write(folder.path().join("bonding_masters"), "").unwrap();
        let expected = [("eth0", true), ("tun0", false)]
            .map(|(name, has_ethernet)| Device { name: name.to_owned(), has_ethernet });
        assert_eq!(devices(folder.path()).unwrap(), expected);
    }
}
