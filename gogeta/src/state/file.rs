//! The file that the last known routes are kept in: lines of JSON, so that people can read it in need.
//!
//! A head with where in etcd's history the routes were so; a line `[key, value, wrong]` for each key, `wrong` being
//! true where a better value stays in force; and an end with the number of lines and the checksum of all that is before
//! it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Known;
use crate::clock::unix_seconds;
use crate::routes::entries;
use crate::routes::key::{Key, KeySpace};
use crate::store::position::Position;

/// The file's name in its directory.
const NAME: &str = "routes.state";
/// What it says it is.
const FORMAT: &str = "gogeta-state";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// So many damaged files are kept for whoever wants to know why.
const DAMAGED: usize = 5;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    saved: u64,
    domains: String,
    services: String,
    position: Position,
}

#[derive(Serialize, Deserialize)]
struct End {
    lines: usize,
    crc32: u32,
}

/// What was kept.
#[derive(Debug)]
pub struct Kept {
    /// Where in etcd's history.
    pub position: Position,
    /// Keys and values that are in force.
    pub good: Vec<(Key, Vec<u8>)>,
    /// Those that are wrong, to be applied behind the good ones.
    pub wrong: Vec<(Key, Vec<u8>)>,
    /// When, in seconds since 1970.
    pub saved: u64,
}

/// Reads what was kept; none where nothing was. A file that cannot be used is set aside, and told of.
pub fn load(directory: &Path, space: &KeySpace) -> Option<Kept> {
    let path = directory.join(NAME);
    let why = match fs::read(&path) {
        Ok(bytes) => match parse(&bytes, space) {
            Ok(kept) => return Some(kept),
            Err(why) => why,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    let aside = set_aside(&path).map_or_else(
        |error| format!("it could not be set aside: {error}"),
        |aside| format!("it is {} now", aside.display()),
    );
    tracing::warn!(
        file = %path.display(), why, aside,
        "the routes kept on disk cannot be used (--state-dir); gogeta starts without"
    );
    None
}

/// Renames a file, so that it is out of the way and can still be looked at. The last of too many is replaced.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |number: usize| path.with_file_name(format!("{NAME}.damaged-{number}"));
    let aside = (1..DAMAGED).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(DAMAGED));
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn parse(bytes: &[u8], space: &KeySpace) -> Result<Kept, String> {
    let text = bytes.strip_suffix(b"\n").ok_or("its end is missing")?;
    let start = text.iter().rposition(|byte| *byte == b'\n').ok_or("its end is missing")? + 1;
    let (body, end) = (&bytes[..start], &text[start..]);
    let end: End = serde_json::from_slice(end).map_err(|_| "its end is missing")?;
    if crc32fast::hash(body) != end.crc32 {
        return Err("its checksum is wrong".to_owned());
    }
    let mut lines = body[..start - 1].split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    // Another version's head may have other fields.
    let head: Head = serde_json::from_slice(head).map_err(|error| format!("its head is another: {error}"))?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(format!("it is {} {}, not {FORMAT} {VERSION}", head.format, head.version));
    }
    if (&*head.domains, &*head.services) != (space.domains(), space.services()) {
        return Err(format!("it is of other directories, {} and {}", head.domains, head.services));
    }
    let mut kept = Kept {
        position: head.position,
        good: Vec::with_capacity(end.lines),
        wrong: Vec::new(),
        saved: head.saved,
    };
    for line in lines {
        let (key, value, wrong): (String, String, bool) =
            serde_json::from_slice(line).map_err(|error| format!("it has a strange line: {error}"))?;
        let key = space.parse(&key).map_err(|error| format!("it has a strange key, {key:?}: {error}"))?;
        let into = if wrong { &mut kept.wrong } else { &mut kept.good };
        into.push((key, value.into_bytes()));
    }
    Ok(kept)
}

/// Writes what is known: whole, or not at all.
///
/// # Errors
///
/// The system's.
pub(super) fn write(directory: &Path, space: &KeySpace, known: &Known) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join(NAME);
    let fresh = directory.join(format!("{NAME}.new-{}", std::process::id()));
    let written = write_to(&fresh, space, known).and_then(|()| fs::rename(&fresh, &path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written?;
    // The new name must survive a crash of the machine, too.
    File::open(directory)?.sync_all()
}

fn write_to(path: &Path, space: &KeySpace, known: &Known) -> io::Result<()> {
    let head = Head {
        format: FORMAT.to_owned(),
        version: VERSION,
        saved: unix_seconds(),
        domains: space.domains().to_owned(),
        services: space.services().to_owned(),
        position: known.position.clone(),
    };
    let mut out =
        Summed { file: BufWriter::new(File::create(path)?), sum: crc32fast::Hasher::new(), lines: 0 };
    out.line(&head)?;
    entries::each(&known.table, |key, value, wrong| out.line(&(space.render(&key), value, wrong)))?;
    let end = End { lines: out.lines, crc32: out.sum.clone().finalize() };
    out.line(&end)?;
    out.file.into_inner()?.sync_all()
}

/// A file whose lines are counted and summed up.
struct Summed {
    file: BufWriter<File>,
    sum: crc32fast::Hasher,
    lines: usize,
}

impl Summed {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.sum.update(&line);
        self.lines += 1;
        self.file.write_all(&line)
    }
}
