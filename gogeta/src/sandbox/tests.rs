//! What the filters say of every system call, by the book and not by this kernel: the instructions are few, and gone
//! through here.

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::BpfProgram;

use super::calls::{self, Needs};

const DOCUMENT: &str = include_str!("../../../docs/security.md");

const NEEDS: Needs = Needs { process: 4711, local: false, maps: false, links: false };

/// `SECCOMP_RET_*`, with what goes with it.
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const fn errno(number: i32) -> u32 {
    0x0005_0000 | number as u32
}

/// What a filter gives for a call, as `struct seccomp_data` tells it: number, architecture, where from, arguments.
fn verdict(filter: &BpfProgram, architecture: u32, call: i64, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(u32::try_from(call).expect("a number").to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let step = &filter[at];
        at += 1;
        let mut jump = |yes: bool| at += usize::from(if yes { step.jt } else { step.jf });
        match step.code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => {
                let word = &data[step.k as usize..][..4];
                a = u32::from_le_bytes(word.try_into().expect("four bytes"));
            }
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => a &= step.k,
            // BPF_JMP: JA, JEQ, JGT, JGE
            0x05 => at += step.k as usize,
            0x15 => jump(a == step.k),
            0x25 => jump(a > step.k),
            0x35 => jump(a >= step.k),
            // BPF_RET | BPF_K
            0x06 => return step.k,
            code => panic!("an instruction that filters do not have: {code:#x}"),
        }
    }
}

const HERE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// What the kernel makes of both: what is the stricter, and of two errors that of the newer filter, which is no case here.
fn passes(needs: Needs, call: i64, arguments: &[u64]) -> Result<(), i32> {
    let filters = calls::filters(needs).expect("there are filters for this processor");
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let verdicts = filters.each_ref().map(|filter| verdict(filter, HERE, call, six));
    match verdicts.into_iter().find(|verdict| *verdict != ALLOW) {
        None => Ok(()),
        Some(refused) => Err(i32::try_from(refused & 0xffff).expect("a number")),
    }
}

#[test]
fn what_would_start_or_change_something_else_is_refused() {
    for (name, call) in [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("move_mount", libc::SYS_move_mount),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("setns", libc::SYS_setns),
        ("unshare", libc::SYS_unshare),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("memfd_create", libc::SYS_memfd_create),
        ("pkey_mprotect", libc::SYS_pkey_mprotect),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("fchmodat", libc::SYS_fchmodat),
        ("fchownat", libc::SYS_fchownat),
        ("setxattr", libc::SYS_setxattr),
        ("symlinkat", libc::SYS_symlinkat),
        ("linkat", libc::SYS_linkat),
        ("setuid", libc::SYS_setuid),
        ("capset", libc::SYS_capset),
        ("seccomp", libc::SYS_seccomp),
        ("reboot", libc::SYS_reboot),
        ("clock_settime", libc::SYS_clock_settime),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
        ("process_madvise", libc::SYS_process_madvise),
    ] {
        assert_eq!(passes(NEEDS, call, &[]), Err(libc::EPERM), "{name}");
    }
    // One that no kernel has.
    assert_eq!(passes(NEEDS, 4000, &[]), Err(libc::EPERM));
}

#[test]
fn a_thread_is_started_and_a_process_is_not() {
    let thread = [
        libc::CLONE_VM,
        libc::CLONE_FS,
        libc::CLONE_FILES,
        libc::CLONE_SIGHAND,
        libc::CLONE_THREAD,
        libc::CLONE_SYSVSEM,
        libc::CLONE_SETTLS,
        libc::CLONE_PARENT_SETTID,
        libc::CLONE_CHILD_CLEARTID,
    ];
    let thread = thread.into_iter().fold(0, |all, flag| all | flag) as u64;
    assert_eq!(passes(NEEDS, libc::SYS_clone, &[thread]), Ok(()));
    let fork = libc::SIGCHLD as u64;
    let spawn = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as u64;
    for other in [fork, spawn, thread | libc::CLONE_NEWUSER as u64, thread & !(libc::CLONE_THREAD as u64)] {
        assert_eq!(passes(NEEDS, libc::SYS_clone, &[other]), Err(libc::EPERM), "{other:#x}");
    }
    // The C library then starts threads by clone.
    assert_eq!(passes(NEEDS, libc::SYS_clone3, &[]), Err(libc::ENOSYS));
}

#[test]
fn memory_is_written_or_executed() {
    let [read, write, run] = [libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC].map(|bits| bits as u64);
    let nameless = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let file = libc::MAP_PRIVATE as u64;
    for (protection, flags, is_fine) in [
        (read | write, nameless, true),
        (0, nameless, true),
        (read | run, file, true),
        (read | write, file, true),
        (read | run, nameless, false),
        (read | write | run, file, false),
        (run, nameless, false),
    ] {
        let outcome = passes(NEEDS, libc::SYS_mmap, &[0, 4096, protection, flags]);
        assert_eq!(outcome.is_ok(), is_fine, "{protection} {flags}");
    }
    assert!(passes(NEEDS, libc::SYS_mprotect, &[0, 4096, read | write]).is_ok());
    assert!(passes(NEEDS, libc::SYS_mprotect, &[0, 4096, read | run]).is_err());
}

#[test]
fn only_what_an_engine_needs_of_bpf_passes() {
    let [sockmap, wire] = [false, true].map(|links| Needs { maps: true, links, ..NEEDS });
    let commands =
        |needs| (0..40).filter(|command| passes(needs, libc::SYS_bpf, &[*command]).is_ok()).collect();
    let (none, maps, both): (Vec<u64>, Vec<u64>, Vec<u64>) =
        (commands(NEEDS), commands(sockmap), commands(wire));
    assert_eq!(none, Vec::<u64>::new());
    // Neither BPF_MAP_CREATE (0) nor BPF_PROG_LOAD (5), nor BPF_MAP_GET_FD_BY_ID (14).
    assert_eq!(maps, [1, 2, 3, 4, 9, 15, 21, 24, 25, 26, 27]);
    assert_eq!(both, [1, 2, 3, 4, 9, 15, 21, 24, 25, 26, 27, 28]);
}

#[test]
fn sockets_signals_and_settings_are_the_ones_that_serving_takes() {
    let local = Needs { local: true, ..NEEDS };
    let families =
        |needs| (0..64).filter(|family| passes(needs, libc::SYS_socket, &[*family]).is_ok()).collect();
    let (without, with): (Vec<u64>, Vec<u64>) = (families(NEEDS), families(local));
    // AF_INET, AF_INET6, and AF_NETLINK of protocol 0, which is NETLINK_ROUTE.
    assert_eq!((without, with), (vec![2, 10, 16], vec![1, 2, 10, 16]));
    assert!(passes(NEEDS, libc::SYS_socket, &[16, 3, 12]).is_err(), "NETLINK_NETFILTER");
    let kinds: Vec<u64> =
        (0..16).filter(|kind| passes(NEEDS, libc::SYS_socketpair, &[1, *kind]).is_ok()).collect();
    assert_eq!(kinds, [1], "SOCK_STREAM");
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        assert!(passes(NEEDS, call, &[4711, 4711, 9]).is_ok());
        for other in [0, 1, 4712, u64::MAX] {
            assert!(passes(NEEDS, call, &[other, 4711, 9]).is_err());
        }
    }
    assert!(passes(NEEDS, libc::SYS_prlimit64, &[1]).is_err());
    // TIOCSTI
    assert!(passes(NEEDS, libc::SYS_ioctl, &[0, 0x5412]).is_err());
    assert!(passes(NEEDS, libc::SYS_prctl, &[libc::PR_SET_MM as u64]).is_err());
}

#[test]
fn the_calls_of_another_architecture_end_the_process() {
    let [_, known] = calls::filters(NEEDS).expect("there are filters for this processor");
    // Numbers of i386, which x86-64 knows as well.
    assert_eq!(verdict(&known, 0x4000_0003, libc::SYS_read, [0; 6]), KILL);
    // And of x32, by the same architecture.
    assert_eq!(verdict(&known, HERE, libc::SYS_read | 0x4000_0000, [0; 6]), errno(libc::EPERM));
}

/// What is made with each request must be decided by its number alone: the kernel then remembers it.
#[test]
fn what_is_made_all_the_time_passes_without_a_look_at_its_arguments() {
    let filters = calls::filters(NEEDS).expect("there are filters for this processor");
    for call in [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_epoll_pwait,
        libc::SYS_futex,
        libc::SYS_epoll_ctl,
        libc::SYS_accept4,
        libc::SYS_close,
        libc::SYS_setsockopt,
        libc::SYS_getsockopt,
        libc::SYS_connect,
        libc::SYS_shutdown,
        libc::SYS_clock_gettime,
    ] {
        for arguments in [[0; 6], [u64::MAX; 6]] {
            for filter in &filters {
                assert_eq!(verdict(filter, HERE, call, arguments), ALLOW, "{call}");
            }
        }
    }
}

/// The first table of the document that has this in its head: its rows, by cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = DOCUMENT.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What a cell has in code.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_document_names_what_passes_and_nothing_else() {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table("| system calls for |") {
        told.entry(row[0].clone()).or_default().extend(quoted(&row[1]).map(str::to_owned));
    }
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (class, name) in calls::listed() {
        listed.entry(class.to_owned()).or_default().insert(name.trim_start_matches("SYS_").to_owned());
    }
    // Older calls are told of with the newer ones, on whatever processor they are.
    if cfg!(target_arch = "x86_64") {
        assert_eq!(told, listed);
    }
}
