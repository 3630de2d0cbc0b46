//! Which system calls gogeta may make after its start: those that it makes, and no others.
//!
//! Whatever is not listed fails with `EPERM` and is written down in the kernel's audit log; it ends nobody. What is made
//! all the time is listed without conditions on its arguments: the kernel then remembers that it passes, and runs no
//! filter (Linux 5.11, `seccomp_cache_check_allow`). The table in docs/security.md says what each class is for; a test
//! compares the two.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// What there is to be done beyond serving in userspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// This process, the only one that may be signalled.
    pub process: u32,
    /// Sockets with a path: somebody is to be told, or asks, by one.
    pub local: bool,
    /// The maps of an engine.
    pub maps: bool,
    /// And its programs at devices that come later.
    pub links: bool,
}

/// A system call: its name, and its number on this processor.
type Call = (&'static str, c_long);

/// System calls by the names of their numbers.
macro_rules! calls {
    ($($call:ident),* $(,)?) => { &[$((stringify!($call), libc::$call)),*] };
}

/// System calls that belong together.
struct Class {
    /// As docs/security.md calls it.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the document"))]
    name: &'static str,
    calls: &'static [Call],
}

/// These pass whatever their arguments are.
const FREE: &[Class] = &[
    Class {
        name: "moving bytes",
        calls: calls![
            SYS_read,
            SYS_write,
            SYS_readv,
            SYS_writev,
            SYS_recvfrom,
            SYS_sendto,
            SYS_recvmsg,
            SYS_sendmsg,
            SYS_recvmmsg,
            SYS_sendmmsg
        ],
    },
    Class {
        name: "waiting",
        calls: calls![
            SYS_epoll_pwait,
            SYS_epoll_pwait2,
            SYS_epoll_ctl,
            SYS_epoll_create1,
            SYS_eventfd2,
            SYS_futex,
            SYS_ppoll,
            SYS_nanosleep,
            SYS_clock_nanosleep,
            SYS_restart_syscall,
            SYS_sched_yield
        ],
    },
    Class {
        name: "sockets",
        calls: calls![
            SYS_accept4,
            SYS_accept,
            SYS_bind,
            SYS_listen,
            SYS_connect,
            SYS_shutdown,
            SYS_close,
            SYS_getsockopt,
            SYS_setsockopt,
            SYS_getsockname,
            SYS_getpeername
        ],
    },
    Class {
        name: "files",
        calls: calls![
            SYS_openat,
            SYS_statx,
            SYS_fstat,
            SYS_newfstatat,
            SYS_statfs,
            SYS_fstatfs,
            SYS_faccessat,
            SYS_faccessat2,
            SYS_readlinkat,
            SYS_getdents64,
            SYS_getcwd,
            SYS_lseek,
            SYS_pread64,
            SYS_pwrite64,
            SYS_fsync,
            SYS_fdatasync,
            SYS_ftruncate,
            SYS_flock,
            SYS_dup,
            SYS_mkdirat,
            SYS_unlinkat,
            SYS_renameat2,
            SYS_umask,
            SYS_pipe2,
            SYS_inotify_init1,
            SYS_inotify_add_watch,
            SYS_inotify_rm_watch
        ],
    },
    Class { name: "memory", calls: calls![SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk] },
    Class {
        name: "threads and signals",
        calls: calls![
            SYS_exit,
            SYS_exit_group,
            SYS_set_robust_list,
            SYS_rseq,
            SYS_set_tid_address,
            SYS_membarrier,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_rt_sigreturn,
            SYS_sigaltstack,
            SYS_setitimer,
            SYS_getitimer
        ],
    },
    Class {
        name: "asking",
        calls: calls![
            SYS_clock_gettime,
            SYS_clock_getres,
            SYS_gettimeofday,
            SYS_getrandom,
            SYS_getpid,
            SYS_gettid,
            SYS_getppid,
            SYS_getuid,
            SYS_geteuid,
            SYS_getgid,
            SYS_getegid,
            SYS_getcpu,
            SYS_getrusage,
            SYS_sched_getaffinity,
            SYS_sysinfo,
            SYS_uname
        ],
    },
];

/// Those that are older than the ones above, and not on every processor; libraries use either.
#[cfg(target_arch = "x86_64")]
const OLD: &[Class] = &[
    Class { name: "waiting", calls: calls![SYS_epoll_wait, SYS_poll] },
    Class {
        name: "files",
        calls: calls![
            SYS_open,
            SYS_stat,
            SYS_lstat,
            SYS_access,
            SYS_readlink,
            SYS_mkdir,
            SYS_unlink,
            SYS_rename,
            SYS_renameat
        ],
    },
    Class { name: "asking", calls: calls![SYS_time, SYS_getrlimit] },
];
/// The crate has no name for its number (`asm-generic/unistd.h`).
#[cfg(target_arch = "aarch64")]
const OLD: &[Class] = &[Class { name: "files", calls: &[("SYS_renameat", 38)] }];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLD: &[Class] = &[];

/// Calls that libraries try first, and do without where the kernel does not know them: that is what they are told. With
/// `clone3` the flags are in memory, where no filter sees them.
const UNKNOWN: &[Call] = calls![SYS_clone3, SYS_openat2, SYS_close_range, SYS_pidfd_open, SYS_futex_waitv];

/// `bpf(2)`: look-up, update and deletion in maps, of one key or many, detaching from a map, and what a descriptor is
/// (`linux/bpf.h`).
const MAPS: &[u64] = &[1, 2, 3, 4, 9, 15, 21, 24, 25, 26, 27];
/// `BPF_LINK_CREATE`.
const LINK: u64 = 28;

/// `PR_SET_VMA`, by which the allocator names its memory (`linux/prctl.h`).
const PR_SET_VMA: u64 = 0x5356_4d41;

/// What of the type of a socket is not a flag (`SOCK_TYPE_MASK`, `linux/net.h`).
const KIND: u64 = 0xf;

/// What starts a thread of this process, and what would start something else with it.
const THREAD: u64 = libc::CLONE_THREAD as u64;
const APART: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_PTRACE) as u64;

/// One condition: the number of the argument, and what it must be.
type Is = (u8, SeccompCmpOp, u64);

fn equal(argument: u8, value: u64) -> Is {
    (argument, SeccompCmpOp::Eq, value)
}

fn without(argument: u8, bits: u64) -> Is {
    (argument, SeccompCmpOp::MaskedEq(bits), 0)
}

/// What `ioctl` is asked for; a signed number to some C libraries.
fn request(request: libc::Ioctl) -> u64 {
    i128::from(request) as u64
}

/// Calls that pass where one of their lists of conditions holds.
fn bound(needs: Needs) -> Vec<(Call, Vec<Vec<Is>>)> {
    let any = |argument: u8, values: &[u64]| -> Vec<Vec<Is>> {
        values.iter().map(|value| vec![equal(argument, *value)]).collect()
    };
    let own = u64::from(needs.process);
    let executable = libc::PROT_EXEC as u64;
    let mut bound = vec![
        // Threads, and no processes.
        (calls![SYS_clone][0], vec![vec![(0, SeccompCmpOp::MaskedEq(THREAD | APART), THREAD)]]),
        // Memory that can be executed comes from files (a library that resolves names) and is never written.
        (
            calls![SYS_mmap][0],
            vec![
                vec![without(2, executable)],
                vec![without(2, libc::PROT_WRITE as u64), without(3, libc::MAP_ANONYMOUS as u64)],
            ],
        ),
        (calls![SYS_mprotect][0], vec![vec![without(2, executable)]]),
        // Requests and instances, and what finds their addresses.
        (
            calls![SYS_socket][0],
            [vec![equal(0, libc::AF_NETLINK as u64), equal(2, libc::NETLINK_ROUTE as u64)]]
                .into_iter()
                // The last one, only where the first filter lets it.
                .chain(any(0, &[libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_UNIX as u64]))
                .collect(),
        ),
        // Two ends that are nobody else's; of datagrams one could be sent elsewhere.
        (
            calls![SYS_socketpair][0],
            vec![vec![
                equal(0, libc::AF_UNIX as u64),
                (1, SeccompCmpOp::MaskedEq(KIND), libc::SOCK_STREAM as u64),
            ]],
        ),
        // Signals to nobody else.
        (calls![SYS_tgkill][0], any(0, &[own])),
        (calls![SYS_kill][0], any(0, &[own])),
        (calls![SYS_prlimit64][0], any(0, &[0, own])),
        (
            calls![SYS_prctl][0],
            any(
                0,
                &[
                    libc::PR_SET_NAME as u64,
                    libc::PR_GET_NAME as u64,
                    libc::PR_GET_DUMPABLE as u64,
                    PR_SET_VMA,
                ],
            ),
        ),
        (
            calls![SYS_fcntl][0],
            any(
                1,
                &[
                    libc::F_DUPFD as u64,
                    libc::F_DUPFD_CLOEXEC as u64,
                    libc::F_GETFD as u64,
                    libc::F_SETFD as u64,
                    libc::F_GETFL as u64,
                    libc::F_SETFL as u64,
                ],
            ),
        ),
        (
            calls![SYS_ioctl][0],
            any(
                1,
                &[
                    request(libc::FIONBIO),
                    request(libc::FIONREAD),
                    request(libc::FIOCLEX),
                    request(libc::TIOCOUTQ),
                    // Whether it is a terminal, and how wide.
                    request(libc::TCGETS),
                    request(libc::TIOCGWINSZ),
                    // The number of a device, for addresses that name one.
                    request(libc::SIOCGIFINDEX),
                    request(libc::SIOCGIFNAME),
                ],
            ),
        ),
    ];
    if needs.maps {
        let mut commands = MAPS.to_vec();
        commands.extend(needs.links.then_some(LINK));
        bound.push((calls![SYS_bpf][0], any(0, &commands)));
    }
    bound
}

/// The two filters, in the order in which they are to be installed: the first one says what is not known, the second
/// one what may be.
///
/// # Errors
///
/// In words; on a processor for which there are no filters, for one.
pub(super) fn filters(needs: Needs) -> Result<[BpfProgram; 2], String> {
    let mut unknown: BTreeMap<i64, Vec<SeccompRule>> =
        UNKNOWN.iter().map(|(_, call)| (*call, Vec::new())).collect();
    if !needs.local {
        // With one of these root could ask the service manager for anything. Whoever looks a name up tries one each
        // time, for a cache that hardly anybody has (nscd): that is no news, either.
        let local = (0, SeccompCmpOp::Eq, libc::AF_UNIX as u64);
        unknown.insert(libc::SYS_socket, vec![rule(vec![local])?]);
    }
    let unknown = compile(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        UNKNOWN.iter().map(|(_, call)| (*call, Vec::new())).collect();
    let free = FREE.iter().chain(OLD).flat_map(|class| class.calls);
    rules.extend(free.map(|(_, call)| (*call, Vec::new())));
    for ((_, call), alternatives) in bound(needs) {
        let all: Result<_, String> = alternatives.into_iter().map(rule).collect();
        rules.insert(call, all?);
    }
    let known = compile(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    Ok([unknown, known])
}

/// The names of all that pass, and of what is not known, by their classes.
#[cfg(test)]
pub(super) fn listed() -> Vec<(&'static str, &'static str)> {
    let needs = Needs { process: 1, local: true, maps: true, links: true };
    let of_class = |class: &'static Class| class.calls.iter().map(|(name, _)| (class.name, *name));
    let free = FREE.iter().chain(OLD).flat_map(of_class);
    let bound = bound(needs).into_iter().map(|((name, _), _)| ("some of it only", name));
    let unknown = UNKNOWN.iter().map(|(name, _)| ("none: said to be unknown", *name));
    free.chain(bound).chain(unknown).collect()
}

fn rule(conditions: Vec<Is>) -> Result<SeccompRule, String> {
    // All of them are words of 32 bits to the kernel: what is in the upper half it does not look at.
    let one = |(argument, is, value)| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value);
    let all: Result<_, _> = conditions.into_iter().map(one).collect();
    all.and_then(SeccompRule::new).map_err(|error| error.to_string())
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, String> {
    let here: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| format!("there are no filters of system calls for {} here", std::env::consts::ARCH))?;
    let filter = SeccompFilter::new(rules, otherwise, listed, here).map_err(|error| error.to_string())?;
    filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())
}
