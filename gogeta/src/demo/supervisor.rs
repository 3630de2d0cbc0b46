//! What starts and stops instances elsewhere (systemd, a container manager), played by the demo: it writes what
//! it does into the routes file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml_edit::{DocumentMut, Item, value};

use crate::feedback::{Inbox, Name};

/// How long an instance takes to start.
const STARTS: Duration = Duration::from_secs(3);

/// Starts passivated instances when they are asked for, for as long as someone asks.
pub async fn supervise(file: PathBuf, mut inbox: Inbox) {
    while let Some(batch) = inbox.next().await {
        for name in batch.wakes {
            tokio::spawn(start(file.clone(), name));
        }
    }
}

async fn start(file: PathBuf, name: Name) {
    let steps = [("starting", "", Duration::ZERO), ("started", "1", STARTS)];
    for (current, alive, after) in steps {
        tokio::time::sleep(after).await;
        let (file, name) = (file.clone(), name.clone());
        let outcome = tokio::task::spawn_blocking(move || set(&file, &name, current, alive)).await;
        if let Ok(Err(error)) = outcome {
            tracing::error!(%error, "the demo cannot write its routes file");
        }
    }
}

/// Sets an instance's status in the file, which keeps its other lines and comments.
fn set(file: &Path, (service, index): &Name, current: &str, alive: &str) -> io::Result<()> {
    let mut document: DocumentMut = std::fs::read_to_string(file)?.parse().map_err(io::Error::other)?;
    let mut item = document.as_item_mut();
    for step in ["services", service.as_str(), index, "status"] {
        // Looked up, not made: someone may have taken the instance out.
        match item.as_table_like_mut().and_then(|table| table.get_mut(step)) {
            Some(next) => item = next,
            None => return Ok(()),
        }
    }
    let fields: [(&str, Item); 3] =
        [("current", value(current)), ("expected", value("started")), ("alive", value(alive))];
    for (field, text) in fields {
        item[field] = text;
    }
    // In one step, so that nobody reads half of it.
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, document.to_string())?;
    std::fs::rename(fresh, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_file_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("routes.toml");
        let text = "# mine\n[services.a.1]\nstatus = { current = \"passivated\", expected = \"passivated\" }\n[services.b.1]\n";
        std::fs::write(&file, text).expect("written");
        set(&file, &("a".into(), "1".into()), "started", "1").expect("it is set");
        set(&file, &("nobody".into(), "1".into()), "started", "1").expect("nothing to do");
        let text = std::fs::read_to_string(&file).expect("it is there");
        assert!(
            text.starts_with("# mine\n")
                && text.contains("current = \"started\"")
                && text.contains("alive = \"1\""),
            "{text}"
        );
        assert!(text.contains("[services.b.1]"));
    }
}
