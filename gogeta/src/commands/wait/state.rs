//! Until a host is in a state, as computed from its keys in etcd; and since which revision it is.

use std::collections::BTreeSet;

use super::Waiter;
use crate::balance::pick_state;
use crate::commands::{Failure, routes};
use crate::routes::host;
use crate::routes::key::KeySpace;
use crate::routes::model::Target;
use crate::routes::table::Route;
use crate::store::etcd::Reason;
use crate::store::etcd::tree::{Snapshot, Tree};

/// Waits until the host is in that state; gives the revision that made it so.
pub(super) async fn wait(waiter: &mut Waiter<'_>, host: &str, wanted: &str) -> Result<i64, Failure> {
    loop {
        let outcome = match look(&mut waiter.tree, host).await {
            Ok(seen) if seen.state == wanted || (seen.state == "uri" && wanted == "started") => {
                since(&mut waiter.tree, &seen).await.map(Ok)
            }
            Ok(seen) => Ok(Err(seen)),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(Ok(revision)) => return Ok(revision),
            Ok(Err(Seen { state, directories, snapshot })) => {
                waiter.tell(format!("{host} is {state}, not {wanted}"));
                let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
                waiter.change(&directories, snapshot.revision + 1).await;
            }
            Err(reason) => waiter.reopen(&reason).await,
        }
    }
}

/// A host's state, and all that it comes from.
struct Seen {
    state: &'static str,
    directories: Vec<String>,
    snapshot: Snapshot,
}

async fn look(tree: &mut Tree, host: &str) -> Result<Seen, Reason> {
    let space = tree.space().clone();
    let mut directories = domains(&space, host);
    let mut snapshot = read(tree, &directories, 0).await?;
    let services: BTreeSet<String> = routes::table(&space, &snapshot)
        .domains()
        .filter_map(|domain| match &domain.target {
            Some(Target::Service(name)) => Some(format!("{}{name}/", space.services())),
            _ => None,
        })
        .collect();
    if !services.is_empty() {
        let services: Vec<String> = services.into_iter().collect();
        snapshot.pairs.extend(read(tree, &services, snapshot.revision).await?.pairs);
        directories.extend(services);
    }
    let table = routes::table(&space, &snapshot);
    let state = match table.resolve(host) {
        Route::Unknown => "unknown",
        Route::NoService { .. } => "error",
        Route::Service { service, .. } => pick_state(service).as_str(),
        Route::Uri { .. } => "uri",
    };
    Ok(Seen { state, directories, snapshot })
}

async fn read(tree: &mut Tree, directories: &[String], revision: i64) -> Result<Snapshot, Reason> {
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    let mut snapshot = tree.read_at(&directories, revision).await?;
    // Others change no route, and gogetas do not say that they have seen them.
    let space = tree.space();
    let routes = |key: &[u8]| {
        std::str::from_utf8(key).is_ok_and(|key| space.parse(key).is_ok_and(|key| key.is_routing()))
    };
    snapshot.pairs.retain(|pair| routes(&pair.key));
    Ok(snapshot)
}

/// The directories of all domains that a host may belong to.
fn domains(space: &KeySpace, host: &str) -> Vec<String> {
    let mut hosts = vec![host.to_owned()];
    hosts.extend(host::without_www(host).map(str::to_owned));
    hosts
        .extend(host.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| format!("*{}", &host[at..])));
    hosts.iter().map(|host| format!("{}{host}/", space.domains())).collect()
}

/// The revision since which the keys are as they are.
///
/// Puts leave their revision behind, deletions nothing: what is gone since the last put is looked for in etcd's past,
/// in steps that grow, for the last moments count the most; then, between the last two steps, by halves. What etcd has
/// compacted is so old that every gogeta knows of it.
async fn since(tree: &mut Tree, seen: &Seen) -> Result<i64, Reason> {
    let last_put = seen.snapshot.pairs.iter().map(|pair| pair.revision).max().unwrap_or(0);
    let (mut since, mut step) = (seen.snapshot.revision, 1);
    let mut other = loop {
        let at = (seen.snapshot.revision - step).max(last_put);
        if at <= 0 {
            return Ok(last_put);
        }
        match is_as_now(tree, seen, at).await? {
            None => return Ok(last_put),
            Some(false) => break at,
            Some(true) if at == last_put => return Ok(last_put),
            Some(true) => (since, step) = (at, step * 2),
        }
    };
    while since - other > 1 {
        let middle = other + (since - other) / 2;
        match is_as_now(tree, seen, middle).await? {
            Some(true) => since = middle,
            _ => other = middle,
        }
    }
    Ok(since)
}

/// Whether the keys were at that revision as they are now; none where nobody remembers.
async fn is_as_now(tree: &mut Tree, seen: &Seen, revision: i64) -> Result<Option<bool>, Reason> {
    match read(tree, &seen.directories, revision).await {
        Ok(past) => Ok(Some(past.pairs == seen.snapshot.pairs)),
        Err(reason) if reason.contains("compacted") => Ok(None),
        Err(reason) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_host_may_belong_to() {
        let space = KeySpace::new("/d", "/s");
        assert_eq!(
            domains(&space, "www.a.test"),
            ["/d/www.a.test/", "/d/a.test/", "/d/*.a.test/", "/d/*.test/"]
        );
        assert_eq!(domains(&space, "localhost"), ["/d/localhost/"]);
    }
}
