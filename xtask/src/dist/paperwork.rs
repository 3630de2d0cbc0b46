//! What gogeta writes about itself: manual pages, and completions for shells; and what Debian wants to be told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::command;

/// The shells, and where Debian has their completions; the names that shells look for there.
const SHELLS: [(&str, &str); 3] = [("bash", "gogeta"), ("zsh", "_gogeta"), ("fish", "gogeta.fish")];

/// Has `gogeta` write it below `folder`: `man/`, and `completions/` with a folder for each shell.
///
/// # Errors
/// When it does not run, or files cannot be written.
pub(super) fn write(gogeta: &Path, folder: &Path) -> Result<()> {
    command::run(Command::new(gogeta).arg("man").arg(folder.join("man")))?;
    for (shell, name) in SHELLS {
        let place = folder.join("completions").join(shell);
        fs::create_dir_all(&place)?;
        let script = command::output(Command::new(gogeta).args(["completions", shell]))?;
        fs::write(place.join(name), script + "\n")?;
    }
    let mut pages = Vec::new();
    for page in fs::read_dir(folder.join("man"))? {
        pages.push(page?.path());
    }
    compress(&pages)
}

/// Has `folder` tell in Debian's form which version this is; `date` is in seconds since 1970.
///
/// # Errors
/// When files cannot be written.
pub(super) fn changelog(folder: &Path, version: &str, maintainer: &str, date: &str) -> Result<()> {
    let date = command::output(Command::new("date").args(["-u", "-R", "-d", &format!("@{date}")]))?;
    let file = folder.join("changelog.Debian");
    let text = format!(
        "gogeta ({version}-1) unstable; urgency=medium\n\n  * What is new is in CHANGELOG.md.\n\n -- {maintainer}  \
         {date}\n"
    );
    fs::write(&file, text)?;
    compress(&[file])
}

/// Without a name or a date in them, as Debian wants it.
fn compress(files: &[PathBuf]) -> Result<()> {
    command::run(Command::new("gzip").args(["-n", "-9"]).args(files))
}
