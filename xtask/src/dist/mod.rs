//! `cargo xtask dist`: what users download. A tarball, a Debian package, what is in them (SBOM), and checksums.
//!
//! The files tell of the commit and not of the machine: the same commit, compiler and system give the same ones.

mod paperwork;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{command, tools, workspace};

/// What makes the Debian package; this version is known to.
const CARGO_DEB: &str = "3.7.0";

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How gogeta is compiled; "dev" is for tests of all the rest
    #[arg(long, default_value = "release")]
    profile: String,
    /// Where the files go; what is there of an earlier time goes
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Who answers for the Debian package
    #[arg(long, value_name = "NAME <ADDRESS>", default_value = NOBODY)]
    maintainer: String,
}

/// The address is one that there never is (RFC 2606).
const NOBODY: &str = "The gogeta authors <gogeta@maintainer.invalid>";

/// A release in the making.
struct Release {
    version: String,
    /// The platform, as compilers call it.
    target: String,
    /// When its commit was made, in seconds since 1970.
    epoch: String,
    /// Where gogeta and its paperwork lie, as `target/` looks to cargo-deb.
    stage: PathBuf,
    out: PathBuf,
}

impl Args {
    /// Of the gogeta that tests have built, into a folder of their own.
    pub(crate) fn for_tests(out: PathBuf) -> Self {
        Self { profile: "dev".to_owned(), out, maintainer: NOBODY.to_owned() }
    }
}

/// Makes all of it.
///
/// # Errors
/// When something cannot be built, or what packs it is neither here nor installable.
pub(crate) fn run(args: &Args) -> Result<()> {
    let cargo_deb = cargo_deb()?;
    let programs = workspace::build(&args.profile, &["gogeta"])?;
    // cargo has its own name for the place of "dev".
    let programs = if args.profile == "dev" { programs.with_file_name("debug") } else { programs };
    let release = Release::new(workspace::root().join(&args.out))?;
    release.gather(&programs)?;
    release.package(&cargo_deb, &args.maintainer)?;
    release.tarball()?;
    let name = format!("gogeta-{}.cdx.json", release.version);
    fs::write(release.out.join(name), sbom::of(&release.target, &release.epoch)?)?;
    release.checksums()
}

impl Release {
    fn new(out: PathBuf) -> Result<Self> {
        let text = |program: &str, arguments: &[&str]| {
            command::output(Command::new(program).current_dir(workspace::root()).args(arguments))
        };
        let about = command::output(workspace::cargo().args(["pkgid", "-p", "gogeta"]))?;
        let version = about.rsplit(['#', '@']).next().unwrap_or_default().to_owned();
        let compiler = text("rustc", &["-vV"])?;
        let target = compiler.lines().find_map(|line| line.strip_prefix("host: "));
        let target = target.context("rustc does not say what it compiles for")?.to_owned();
        let epoch = text("git", &["log", "-1", "--format=%ct"])?;
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
        }
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        Ok(Self { version, target, epoch, stage: workspace::target().join("dist-stage"), out })
    }

    /// gogeta, and what it writes about itself.
    fn gather(&self, programs: &Path) -> Result<()> {
        let folder = self.stage.join("release");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let binary = folder.join("gogeta");
        fs::copy(programs.join("gogeta"), &binary).context("cannot copy gogeta")?;
        paperwork::write(&binary, &folder)
    }

    fn package(&self, cargo_deb: &Path, maintainer: &str) -> Result<()> {
        paperwork::changelog(&self.stage.join("release"), &self.version, maintainer, &self.epoch)?;
        let mut deb = Command::new(cargo_deb);
        deb.current_dir(workspace::root().join("gogeta"))
            // Names of functions are what USR1's and USR2's answers are made of.
            .args(["deb", "--no-build", "--no-strip", "--locked"])
            .args(["--maintainer", maintainer, "--output"])
            .arg(&self.out)
            .env("CARGO_TARGET_DIR", &self.stage)
            .env("SOURCE_DATE_EPOCH", &self.epoch);
        command::run(&mut deb)
    }

    /// All that somebody without dpkg wants, under one folder.
    fn tarball(&self) -> Result<()> {
        let name = format!("gogeta-{}-{}", self.version, self.target);
        let folder = self.stage.join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let root = workspace::root();
        let mut copy = Command::new("cp");
        copy.arg("-R")
            .args(["gogeta", "man", "completions"].map(|name| self.stage.join("release").join(name)))
            .args(
                ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "templates", "deploy"]
                    .map(|name| root.join(name)),
            );
        command::run(copy.arg(&folder))?;
        fs::copy(root.join("gogeta-ebpf/LICENSE-GPL2"), folder.join("LICENSE-GPL2"))?;
        let mut tar = Command::new("tar");
        tar.current_dir(&self.stage)
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw,a-s"])
            .arg(format!("--mtime=@{}", self.epoch))
            // gzip's own clock and file name stay out of it.
            .args(["--use-compress-program", "gzip -n", "-cf"])
            .arg(self.out.join(format!("{name}.tar.gz")))
            .arg(&name);
        command::run(&mut tar)
    }

    fn checksums(&self) -> Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.out)? {
            names.push(entry?.file_name());
        }
        names.sort();
        let sums = command::output(Command::new("sha256sum").current_dir(&self.out).args(names))?;
        fs::write(self.out.join("SHA256SUMS"), format!("{sums}\n"))?;
        println!("{sums}\nin {}", self.out.display());
        Ok(())
    }
}

/// cargo-deb, from below `target/`, where it is built once.
fn cargo_deb() -> Result<PathBuf> {
    if let Some(instruction) = tools::provide(&[tools::named("dpkg-shlibdeps")], true)? {
        bail!("what makes the Debian package is missing: {instruction}");
    }
    let folder = workspace::target().join(format!("cargo-deb-{CARGO_DEB}"));
    let program = folder.join("bin/cargo-deb");
    if !program.is_file() {
        let mut install = workspace::cargo();
        install.args(["install", "--locked", "--debug", "--version", CARGO_DEB, "--root"]).arg(&folder);
        // With liblzma's source: a library of the system's is one more thing to install.
        install.args(["--features", "static-lzma", "cargo-deb"]);
        command::run(&mut install)?;
    }
    Ok(program)
}
