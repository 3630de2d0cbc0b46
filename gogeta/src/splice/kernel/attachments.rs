//! The wire engine's programs at devices.
//!
//! By a link (`TCX`, from Linux 6.6 on): that is gone when its last descriptor is closed, and whoever has the program may
//! make one, without any capability; so devices that come later get theirs, too. Before, by a filter (`clsact`): that
//! takes `CAP_NET_ADMIN`, stays when gogeta is gone, and is removed when the next one starts.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

use aya::Ebpf;
use aya::programs::tc::{NlOptions, TcAttachOptions};
use aya::programs::{SchedClassifier, TcAttachType, tc};
use gogeta_common::wire;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::devices::{self, DEVICES, Device, Door};
use super::program::Unavailable;

/// Makes gogeta do without links, for tests: as on a kernel that does not know them.
const NO_LINKS: &str = "GOGETA_NO_TCX";

/// The programs at devices, for as long as this is there.
#[derive(Debug)]
pub(super) struct Attachments {
    /// The programs, in the order of [`wire::PROGRAMS`].
    programs: [OwnedFd; 4],
    links: HashMap<(u32, Door), OwnedFd>,
    hold: Option<Hold>,
    /// Where the kernel does not know links.
    filters: Option<Filters>,
}

impl Attachments {
    /// Loads the programs and attaches them to all devices that there are.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Unavailable> {
        let mut programs = Vec::new();
        for name in wire::PROGRAMS {
            let program = classifier(ebpf, name)?;
            program.load()?;
            programs.push(program.fd()?.as_fd().try_clone_to_owned().map_err(Unavailable::Devices)?);
        }
        let programs = programs.try_into().map_err(|_| Unavailable::Missing(wire::PROGRAMS[0]))?;
        let mut this = Self { programs, links: HashMap::new(), hold: None, filters: None };
        devices::are_ours(Path::new(DEVICES)).map_err(Unavailable::Devices)?;
        let devices = devices::devices(Path::new(DEVICES)).map_err(Unavailable::Devices)?;
        let has_links = std::env::var_os(NO_LINKS).is_none();
        let outcome = if has_links { this.link(&devices) } else { Err(io::ErrorKind::InvalidInput.into()) };
        match outcome {
            // What is not there yet may come.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                this.filters = Some(Filters::add(ebpf, &devices)?);
            }
            Err(error) => return Err(Unavailable::Devices(error)),
        }
        Ok(this)
    }

    /// Attaches them to devices that have come since, and forgets those that are gone.
    pub(super) fn review(&mut self) {
        if self.filters.is_some() {
            return;
        }
        let outcome = devices::devices(Path::new(DEVICES)).and_then(|devices| self.link(&devices));
        if let Err(error) = outcome {
            tracing::debug!(%error, "the wire engine is not at new devices");
        }
    }

    /// Attaches them where they are not yet; fails where there is none at which they are then.
    fn link(&mut self, devices: &[Device]) -> io::Result<()> {
        let before = self.links.len();
        self.links.retain(|(index, _), _| devices.iter().any(|device| device.index == *index));
        let mut is_changed = self.links.len() != before;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "there is none");
        for Device { name, index, has_ethernet, doors } in devices {
            for door in *doors {
                if self.links.contains_key(&(*index, *door)) {
                    continue;
                }
                match link(self.program(*has_ethernet, *door), *index, *door) {
                    Ok(link) => {
                        self.links.insert((*index, *door), link);
                        is_changed = true;
                        tracing::debug!(device = name, ?door, "the wire engine is attached");
                    }
                    Err(error) => {
                        tracing::debug!(device = name, ?door, %error, "the wire engine is not at that device");
                        last = error;
                    }
                }
            }
        }
        if self.links.is_empty() {
            return Err(last);
        }
        if is_changed {
            // The old one goes when the new one is there.
            self.hold = Hold::take(self.links.values().map(OwnedFd::as_fd))
                .inspect_err(|error| tracing::debug!(%error, "the links end with the process"))
                .ok();
        }
        Ok(())
    }

    fn program(&self, has_ethernet: bool, door: Door) -> BorrowedFd<'_> {
        let first = if has_ethernet { 0 } else { 2 };
        self.programs[first + usize::from(door == Door::Out)].as_fd()
    }
}

/// `BPF_LINK_CREATE`, `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS` (`linux/bpf.h`).
const LINK_CREATE: libc::c_long = 28;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// What the kernel is told of a link that is to be (`union bpf_attr`, `link_create`): the last of its programs.
#[repr(C)]
struct Create {
    program: u32,
    index: u32,
    kind: u32,
    flags: u32,
    relative: u32,
    unused: u32,
    revision: u64,
}

/// Attaches a program to a device of this network namespace. `aya` would have to have the program for itself, and
/// keeps the link's descriptor to itself.
fn link(program: BorrowedFd<'_>, index: u32, door: Door) -> io::Result<OwnedFd> {
    let kind = if door == Door::In { TCX_INGRESS } else { TCX_EGRESS };
    let program = u32::try_from(program.as_raw_fd()).unwrap_or_default();
    let create = Create { program, index, kind, flags: 0, relative: 0, unused: 0, revision: 0 };
    // SAFETY: the kernel reads what it is given, of the size that it is told.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const create, size_of::<Create>()) };
    match i32::try_from(outcome) {
        // SAFETY: the kernel has just made it, for us.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What keeps the links for a moment longer than the process lives.
///
/// When a process is killed, the kernel closes its files in an order of its own. A connection of a pair can say that it
/// is closed in the numbers that its other end knows only as long as the programs are there. So a message in a socket
/// that nobody reads has the links as well: what is in a file's hands is closed behind it (`task_work_run`).
#[derive(Debug)]
struct Hold {
    _ends: (UnixStream, UnixStream),
}

impl Hold {
    fn take<'a>(links: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<Self> {
        let links: Vec<_> = links.collect();
        let ends = UnixStream::pair()?;
        // There may be more of them than it takes.
        ends.0.set_nonblocking(true)?;
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

/// What a gogeta with filters is called among the sockets of its network namespace, so that no other one takes its
/// filters for those of one that is gone.
const MARK: &str = "gogeta-wire-";

/// The programs as filters of devices. There is no right to remove them when gogeta ends.
#[derive(Debug)]
struct Filters {
    _mark: UnixDatagram,
}

impl Filters {
    fn add(ebpf: &mut Ebpf, devices: &[Device]) -> Result<Self, Unavailable> {
        // The kernel lists those of this network namespace.
        let sockets = std::fs::read_to_string("/proc/self/net/unix").map_err(Unavailable::Devices)?;
        let is_alone = !sockets.contains(MARK);
        let mark = SocketAddr::from_abstract_name(format!("{MARK}{}", std::process::id()))
            .and_then(|address| UnixDatagram::bind_addr(&address))
            .map_err(Unavailable::Devices)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "there is none");
        let mut count = 0;
        for device in devices {
            if is_alone {
                remove(&device.name);
            }
            // It may be there.
            let _ = tc::qdisc_add_clsact(&device.name);
            let [inward, outward] = if device.has_ethernet { wire::ETHERNET } else { wire::BARE };
            for door in device.doors {
                let (name, way) = match door {
                    Door::In => (inward, TcAttachType::Ingress),
                    Door::Out => (outward, TcAttachType::Egress),
                };
                let options = TcAttachOptions::Netlink(NlOptions::default());
                match classifier(ebpf, name)?.attach_with_options(&device.name, way, options) {
                    Ok(_) => count += 1,
                    Err(error) => {
                        tracing::debug!(device = device.name, %error, "the wire engine is not at that device");
                        last = io::Error::other(error.to_string());
                    }
                }
            }
        }
        if count == 0 {
            return Err(Unavailable::Devices(last));
        }
        tracing::debug!(count, "the wire engine is attached by filters, as the kernel knows no links");
        Ok(Self { _mark: mark })
    }
}

/// Removes what a gogeta that is gone has left at a device.
fn remove(device: &str) {
    for name in wire::PROGRAMS {
        for way in [TcAttachType::Ingress, TcAttachType::Egress] {
            // Mostly there is nothing.
            if tc::qdisc_detach_program(device, way, name).is_ok() {
                tracing::debug!(device, name, "what another gogeta had left there is removed");
            }
        }
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, Unavailable> {
    let program = ebpf.program_mut(name).ok_or(Unavailable::Missing(name))?;
    Ok(program.try_into()?)
}
