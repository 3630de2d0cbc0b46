//! The network devices that the wire engine is attached to.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, tc};
use gogeta_common::wire;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

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

/// Loads the programs and attaches them to all devices that there are. Gives what keeps them there.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<Hold, Unavailable> {
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
    if attached.is_empty() {
        return Err(Unavailable::Devices(last));
    }
    Hold::take().map_err(Unavailable::Devices)
}

/// What keeps the programs at their devices for a moment longer than the process lives.
///
/// When a process is killed, the kernel closes its files in an order of its own. A connection of a pair can say that it
/// is closed in the numbers that its other end knows only as long as the programs are there. So a message in a socket
/// that nobody reads has the attachments as well: what is in a file's hands is closed behind it (`task_work_run`).
#[derive(Debug)]
pub(super) struct Hold {
    _ends: (UnixStream, UnixStream),
}

impl Hold {
    /// Holds all attachments of this process.
    fn take() -> io::Result<Self> {
        let mut links = Vec::new();
        for entry in fs::read_dir("/proc/self/fd")?.flatten() {
            let is_link = fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == LINK);
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && is_link
            {
                // SAFETY: it is an attachment, which stays open: whoever has made it keeps it.
                links.push(unsafe { BorrowedFd::borrow_raw(number) });
            }
        }
        let ends = UnixStream::pair()?;
        // A message may have so many (`SCM_MAX_FD`).
        for links in links.chunks(253) {
            let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(links).size()];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            rights.push(SendAncillaryMessage::ScmRights(links));
            sendmsg(&ends.0, &[IoSlice::new(b"!")], &mut rights, SendFlags::empty())?;
        }
        Ok(Self { _ends: ends })
    }
}

/// How the kernel calls an attachment.
const LINK: &str = "anon_inode:bpf_link";

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
