//! Devices that come and go, as the kernel tells of them (`rtnetlink(7)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// `RTMGRP_LINK` (`linux/rtnetlink.h`).
const LINKS: u32 = 1;

/// Readable when a device has come, gone or changed. To hear of it takes no capability.
#[derive(Debug)]
pub struct Arrivals(OwnedFd);

impl Arrivals {
    /// Hears from now on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // `NETLINK_ROUTE` is 0, as no protocol is.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
        Ok(Self(socket))
    }

    /// Takes what has been told: not what it was, for who looks then sees all there is.
    pub fn take(&self) {
        let mut message = [0_u8; 4096];
        loop {
            match recv(&self.0, &mut message[..], RecvFlags::empty()) {
                // Where it was too much, some of it is lost.
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
