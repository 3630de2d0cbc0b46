//! Descriptors by a Unix socket (`SCM_RIGHTS`, unix(7)): some with each byte.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;

/// So many go with one byte; the kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 200;

/// Sends them.
pub(super) async fn send(stream: &tokio::net::UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in all.chunks(AT_ONCE) {
        stream.async_io(Interest::WRITABLE, || send_some(stream.as_fd(), some)).await?;
    }
    Ok(())
}

fn send_some(stream: BorrowedFd<'_>, some: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(some).size()];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(some));
    sendmsg(stream, &[IoSlice::new(b"!")], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for so many; no child of ours gets them.
pub(super) fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < count {
        let before = all.len();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                all.extend(some);
            }
        }
        if all.len() == before {
            // The other side is gone, or there was no room for them.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "fewer sockets came than were told of"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    #[tokio::test]
    async fn more_than_fit_one_message_come_in_order_and_are_not_inherited() {
        let (near, far) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("it does not block");
        let near = tokio::net::UnixStream::from_std(near).expect("a socket");
        let files: Vec<_> = (0..450).map(|_| tempfile::tempfile().expect("a file")).collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send(&near, &borrowed).await.expect("they are sent");
        let taken = receive(&far, files.len()).expect("they come");
        let inode = |file: BorrowedFd<'_>| {
            let copy = file.try_clone_to_owned().expect("it is open");
            std::fs::File::from(copy).metadata().expect("it is a file").ino()
        };
        for (taken, file) in taken.iter().zip(&files) {
            assert_ne!(taken.as_raw_fd(), file.as_raw_fd());
            assert_eq!(inode(taken.as_fd()), inode(file.as_fd()));
            assert!(fcntl_getfd(taken).expect("it is open").contains(FdFlags::CLOEXEC));
        }
        drop(near);
        assert_eq!(receive(&far, 1).expect_err("nobody is there").kind(), io::ErrorKind::UnexpectedEof);
    }
}
