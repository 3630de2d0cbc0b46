//! Routes from a TOML file: the same entities as in etcd, watched, each version applied as one change.
//!
//! ```toml
//! [domains."hello.localhost"]
//! type = "service"
//! value = "hello"
//!
//! [services.hello.1]
//! location = { host = "127.0.0.1", port = 8080 }
//! status = { current = "started", expected = "started", alive = "1" }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde::Deserialize;
use tokio::sync::mpsc;
use toml::Spanned;

use super::lines::Lines;
use super::{Event, Events, Names};
use crate::feedback::Inbox;
use crate::routes::host;
use crate::routes::key::{DomainField, InstanceField, Key};
use crate::routes::registry::Change;
use crate::sandbox;

/// An editor writes in several steps; the file is read when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(20);
/// And after so long at the latest: others may write in the same folder all the time.
const LONGEST: Duration = Duration::from_millis(250);

/// Why a routes file cannot be used. Names the file, and the line where it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the routes file {file} (--routes): {}", sandbox::explained(.error))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// It is not what it should be.
    #[error("the routes file {file} is wrong: {why}")]
    Wrong {
        /// The file.
        file: PathBuf,
        /// What, and in which line.
        why: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Routes {
    domains: BTreeMap<Spanned<String>, Domain>,
    services: BTreeMap<String, BTreeMap<String, Instance>>,
    /// What `gogeta export` found beside gogeta's own keys, and keeps for `gogeta import`.
    #[serde(rename = "other")]
    _other: Option<toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Domain {
    #[serde(rename = "type")]
    kind: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    config: Option<Spanned<toml::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Instance {
    location: Option<Spanned<toml::Value>>,
    status: Status,
    config: Option<Spanned<toml::Value>>,
    /// For people.
    #[serde(rename = "domain")]
    _domain: Option<String>,
    /// From an export; nobody reads it.
    #[serde(rename = "lastAccess")]
    _last_access: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Status {
    current: Option<Spanned<String>>,
    expected: Option<Spanned<String>>,
    alive: Option<Spanned<String>>,
}

/// A version of the file.
#[derive(Debug)]
pub struct Version {
    /// Its routes, as a snapshot.
    pub event: Event,
    /// Its text, by which the next version is told from it.
    pub text: String,
}

/// Reads the routes of a file.
///
/// # Errors
///
/// [`FileError`] names the file and the line.
pub fn read(file: &Path) -> Result<Version, FileError> {
    let text = read_text(file)?;
    Ok(Version { event: parse(file, &text)?, text })
}

fn read_text(file: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(file).map_err(|error| FileError::Unreadable { file: file.to_owned(), error })
}

fn parse(file: &Path, text: &str) -> Result<Event, FileError> {
    let wrong = |why: String| FileError::Wrong { file: file.to_owned(), why };
    let routes: Routes = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let mut entries = Entries { places: Lines::of(text), entries: Vec::new(), lines: HashMap::new() };
    for (name, domain) in routes.domains {
        let line = entries.places.at(name.span().start);
        let host: Arc<str> = host::parse_pattern(name.get_ref())
            .map_err(|error| wrong(format!("line {line}: domains.{:?}: {error}", name.get_ref())))?
            .into();
        let key = |field| Key::Domain { host: host.clone(), field };
        entries.text(key(DomainField::Type), domain.kind);
        entries.text(key(DomainField::Value), domain.value);
        entries.object(key(DomainField::Config), domain.config).map_err(wrong)?;
    }
    for (service, instances) in routes.services {
        for (index, instance) in instances {
            let key = |field| Key::Instance {
                service: service.as_str().into(),
                index: index.as_str().into(),
                field,
            };
            entries.object(key(InstanceField::Location), instance.location).map_err(wrong)?;
            entries.text(key(InstanceField::Current), instance.status.current);
            entries.text(key(InstanceField::Expected), instance.status.expected);
            entries.text(key(InstanceField::Alive), instance.status.alive);
            entries.object(key(InstanceField::Config), instance.config).map_err(wrong)?;
        }
    }
    let Entries { entries, lines, .. } = entries;
    let names = Names::Lines { file: file.to_owned(), lines: Arc::new(lines) };
    Ok(Event::Change { change: Change::Snapshot { revision: 1, entries }, names })
}

struct Entries {
    places: Lines,
    entries: Vec<(Key, Vec<u8>)>,
    lines: HashMap<Key, usize>,
}

impl Entries {
    fn text(&mut self, key: Key, value: Option<Spanned<String>>) {
        if let Some(value) = value {
            self.lines.insert(key.clone(), self.places.at(value.span().start));
            self.entries.push((key, value.into_inner().into_bytes()));
        }
    }

    /// The values of such keys are JSON in etcd, and read as such: a table, or a text that is JSON already.
    fn object(&mut self, key: Key, value: Option<Spanned<toml::Value>>) -> Result<(), String> {
        let Some(value) = value else { return Ok(()) };
        let line = self.places.at(value.span().start);
        let json = match value.get_ref() {
            toml::Value::Table(table) => serde_json::to_vec(table).ok(),
            toml::Value::String(text) => {
                let is_object = serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok();
                is_object.then(|| text.clone().into_bytes())
            }
            _ => None,
        };
        let wrong = || {
            format!("line {line}: {} is neither a table nor a text that holds a JSON object", path_of(&key))
        };
        let json = json.ok_or_else(wrong)?;
        self.lines.insert(key.clone(), line);
        self.entries.push((key, json));
        Ok(())
    }
}

/// A key as the path of its value in the file.
pub fn path_of(key: &Key) -> String {
    match key {
        Key::Domain { host, field } => {
            let field = match field {
                DomainField::Type => "type",
                DomainField::Value => "value",
                DomainField::Config => "config",
            };
            format!("domains.{host:?}.{field}")
        }
        Key::Instance { service, index, field } => {
            let field = match field {
                InstanceField::Location => "location",
                InstanceField::Current => "status.current",
                InstanceField::Expected => "status.expected",
                InstanceField::Alive => "status.alive",
                InstanceField::Config => "config",
                InstanceField::Domain => "domain",
                InstanceField::LastAccess => "lastAccess",
            };
            format!("services.{service}.{index}.{field}")
        }
    }
}

/// Watches a routes file for as long as someone listens. `text` is the version that they have already.
///
/// # Errors
///
/// Where the system gives no way to watch it.
pub async fn run(file: PathBuf, text: String, events: Events) -> notify::Result<()> {
    let (_watcher, mut changes) = watch(&file)?;
    let mut latest = Latest { file, text, told: String::new(), revision: 1 };
    // Looked at before the first change, too: it may have come before the watch.
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let change = latest.look();
            (latest, change)
        });
        let Ok((back, change)) = looking.await else { break };
        latest = back;
        if let Some(change) = change
            && events.send(change).await.is_err()
        {
            break;
        }
        if changes.recv().await.is_none() {
            break;
        }
        settle(&mut changes).await;
    }
    Ok(())
}

/// What was read last. The folder tells of other files as well, a log perhaps: what has not changed is not
/// applied, and not logged, again.
struct Latest {
    file: PathBuf,
    text: String,
    told: String,
    revision: i64,
}

impl Latest {
    /// Reads the file; gives its routes, if they are new.
    fn look(&mut self) -> Option<Event> {
        let outcome = match read_text(&self.file) {
            Ok(text) if text == self.text => return None,
            Ok(text) => {
                self.text = text;
                parse(&self.file, &self.text)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Event::Change { change: Change::Snapshot { entries, .. }, names }) => {
                self.revision += 1;
                self.told.clear();
                Some(Event::Change { change: Change::Snapshot { revision: self.revision, entries }, names })
            }
            Ok(_) => None,
            Err(error) => {
                let error = error.to_string();
                if self.told != error {
                    tracing::error!(error, "the routes stay as they were");
                    self.told = error;
                }
                None
            }
        }
    }
}

/// Waits until no more changes come, but not for ever.
pub async fn settle(changes: &mut mpsc::Receiver<()>) {
    let until = tokio::time::Instant::now() + LONGEST;
    while tokio::time::Instant::now() < until
        && let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await
    {}
}

/// A watch that goes on for as long as its first part lives, and what tells of changes.
pub type Watch = (RecommendedWatcher, mpsc::Receiver<()>);

/// Tells each time something happens to a file; or, where it is a folder, to any file below it. The folder
/// is watched, not the file: editors and config maps put a new file in its place.
///
/// # Errors
///
/// Where the system gives no way to watch it.
pub fn watch(file: &Path) -> notify::Result<Watch> {
    let (tell, changes) = mpsc::channel(1);
    let any = file.is_dir();
    let folder = match file.parent() {
        _ if any => file,
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = file.file_name().filter(|_| !any).map(std::ffi::OsStr::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| concerns(&event, name.as_deref())) {
            let _ = tell.try_send(());
        }
    })?;
    watcher.watch(folder, if any { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive })?;
    Ok((watcher, changes))
}

/// Whether something that happened in a folder concerns the file of that name; without a name, every file.
fn concerns(event: &notify::Event, name: Option<&std::ffi::OsStr>) -> bool {
    // Reading it is an event too, and must not lead to another reading.
    if event.kind.is_access() {
        return false;
    }
    let Some(name) = name else { return true };
    event.paths.iter().filter_map(|path| path.file_name()).any(|changed| {
        // A config map is changed by way of a link of that name.
        changed == name || changed == "..data"
    })
}

/// A file is its owner's: gogeta does not write to it, and says so once for each instance that would be woken.
pub async fn decline(mut inbox: Inbox) {
    let mut told = std::collections::HashSet::new();
    while let Some(batch) = inbox.next().await {
        for (service, index) in batch.wakes {
            if told.insert((service.clone(), index.clone())) {
                tracing::warn!(
                    %service, %index,
                    "a passivated instance was asked for; the routes come from a file, which gogeta does not write: start it, and set its status"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<String>, String> {
        let space = crate::routes::key::KeySpace::new("/domains", "/services");
        match parse(Path::new("routes.toml"), text) {
            Ok(Event::Change { change: Change::Snapshot { entries, .. }, .. }) => Ok(entries
                .iter()
                .map(|(key, value)| format!("{}={}", space.render(key), String::from_utf8_lossy(value)))
                .collect()),
            Ok(_) => Err("no snapshot".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn entities_as_in_etcd() {
        let text = r#"
            [domains."Hello.localhost"]
            type = "service"
            value = "hello"
            config = { forceSsl = true }
            [domains."*.uri.localhost"]
            type = "uri"
            [services.hello.1]
            location = { host = "127.0.0.1", port = 80 }
            status = { current = "started", expected = "started", alive = "1" }
            config = { robots = "x" }
        "#;
        let expected = [
            "/domains/*.uri.localhost/type=uri",
            "/domains/hello.localhost/type=service",
            "/domains/hello.localhost/value=hello",
            "/domains/hello.localhost/config={\"forceSsl\":true}",
            "/services/hello/1/location={\"host\":\"127.0.0.1\",\"port\":80}",
            "/services/hello/1/status/current=started",
            "/services/hello/1/status/expected=started",
            "/services/hello/1/status/alive=1",
            "/services/hello/1/config/gogeta={\"robots\":\"x\"}",
        ];
        let mut found = entries(text).expect("a good file");
        found.sort();
        let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(entries(""), Ok(vec![]));
        let exported = "[services.a.1]\nlocation = '{ \"host\": \"a\" }'\nlastAccess = \"x\"\n[other.domains]\n\"a/b\" = \"c\"\n";
        assert_eq!(entries(exported), Ok(vec!["/services/a/1/location={ \"host\": \"a\" }".to_owned()]));
    }

    #[test]
    fn mistakes_name_the_file_and_the_line() {
        for (text, line) in [
            ("[domains.\"a\"]\ntype = 1", "line 2"),
            ("[domains.\"a\"]\n\ntpye = \"uri\"", "line 3"),
            ("[services.a.1]\nlocation = \"x\"", "line 2"),
            ("\n[domains.\"a b\"]\ntype = \"uri\"", "line 2"),
            ("[domains", "line 1"),
        ] {
            let error = entries(text).expect_err(text);
            assert!(error.contains(line) && error.contains("routes.toml"), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_new_text_is_a_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("routes.toml");
        let mut latest = Latest { file: file.clone(), text: String::new(), told: String::new(), revision: 1 };
        let mut write = |text: &str| {
            std::fs::write(&file, text).expect("written");
            (latest.look().is_some(), latest.look().is_some(), latest.revision)
        };
        assert_eq!(write(""), (false, false, 1));
        assert_eq!(write("[domains.a]\ntype = \"uri\"\n"), (true, false, 2));
        assert_eq!(write("[domains.a"), (false, false, 2));
        assert_eq!(write("[domains.a]\ntype = \"uri\"\n"), (true, false, 3), "mended");
    }

    #[test]
    fn keys_are_named_by_their_line() {
        let text = "[domains.a]\ntype = \"uri\"\nvalue = \"nonsense\"\n";
        let Ok(Event::Change { names, .. }) = parse(Path::new("routes.toml"), text) else {
            panic!("a good file")
        };
        let key = Key::Domain { host: "a".into(), field: DomainField::Value };
        assert_eq!(names.of(&key), "routes.toml:3: domains.\"a\".value");
    }
}
