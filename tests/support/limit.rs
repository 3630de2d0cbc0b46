//! How many files the tests may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What root may ask for.
const MANY: u64 = 100_000;

/// Lets this process, and what it starts, open as many files as it may; gives how many.
pub(crate) fn raise_the_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < MANY) {
        let more = Rlimit { current: Some(MANY), maximum: Some(MANY) };
        if setrlimit(Resource::Nofile, more).is_ok() {
            limit = more;
        }
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the limit is raised");
    limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}
