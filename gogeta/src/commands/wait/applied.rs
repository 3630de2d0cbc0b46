//! Until gogetas have applied a revision: each says so below one directory, under a lease.

use serde::Deserialize;

use super::Waiter;
use crate::commands::Failure;
use crate::commands::output::count;

/// What a gogeta publishes; there may be more in it.
#[derive(Deserialize)]
struct Published {
    revision: i64,
}

/// Waits until a revision is applied by so many gogetas, or by all that are alive; gives who they are.
pub(super) async fn wait(
    waiter: &mut Waiter<'_>,
    directory: &str,
    revision: i64,
    wanted: Option<usize>,
) -> Result<Vec<String>, Failure> {
    loop {
        let snapshot = match waiter.tree.read(&[directory]).await {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                waiter.reopen(&reason).await;
                continue;
            }
        };
        let (mut there, mut behind) = (Vec::new(), Vec::new());
        for pair in &snapshot.pairs {
            let name = String::from_utf8_lossy(&pair.key[directory.len()..]).into_owned();
            match serde_json::from_slice::<Published>(&pair.value) {
                Ok(published) if published.revision >= revision => there.push(name),
                Ok(published) => behind.push(format!("{name} is at {}", published.revision)),
                Err(error) => behind.push(format!("{name} does not say what it has applied: {error}")),
            }
        }
        let enough = match wanted {
            Some(wanted) => there.len() >= wanted,
            None => behind.is_empty() && !there.is_empty(),
        };
        if enough {
            return Ok(there);
        }
        waiter.tell(match snapshot.pairs.is_empty() {
            true => format!("no gogeta says below {directory} what it has applied"),
            false => format!(
                "revision {revision} is applied by {}{}{}",
                count(there.len(), "gogeta", "gogetas"),
                if behind.is_empty() { "" } else { "; " },
                behind.join(", ")
            ),
        });
        waiter.change(&[directory], snapshot.revision + 1).await;
    }
}
