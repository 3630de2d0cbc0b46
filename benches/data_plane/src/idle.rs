//! What connections cost that do nothing: each has had one answer, and is kept.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::contender::{Contender, Kind, Setup, connections};
use crate::hosts::{self, Host};
use crate::machine::machine;

/// All of it, as it is kept.
#[derive(Serialize)]
pub(crate) struct Idle {
    /// What it ran on.
    machine: String,
    versions: Vec<String>,
    connections: usize,
    missing: Vec<Kind>,
    rows: Vec<Row>,
}

/// A contender's memory.
#[derive(Serialize)]
struct Row {
    contender: Kind,
    /// After one answer, in KiB.
    before_kib: u64,
    /// With all of the connections, in KiB.
    with_them_kib: u64,
}

/// Opens them through each proxy, and gives the memory that they take.
///
/// # Errors
/// When a contender does not start, or does not answer.
pub(crate) fn run(gogeta: &Path, is_quick: bool, versions: Vec<String>) -> Result<Idle> {
    let folder = &hosts::raise()?;
    let connections = connections().min(if is_quick { 1_000 } else { 10_000 });
    let setup = Setup { gogeta, folder, logs: false };
    let _servers = setup.servers()?;
    let mut idle = Idle { machine: machine(), versions, connections, missing: Vec::new(), rows: Vec::new() };
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_watched()) {
        let Some(contender) = setup.start(kind)? else {
            idle.missing.push(kind);
            continue;
        };
        let Some(process) = &contender.process else { continue };
        open(&contender, 1)?;
        let before_kib = process.memory();
        let kept = open(&contender, connections).with_context(|| kind.title())?;
        let with_them_kib = process.memory();
        drop(kept);
        idle.rows.push(Row { contender: kind, before_kib, with_them_kib });
    }
    Ok(idle)
}

impl Idle {
    /// As a page.
    pub(crate) fn markdown(&self) -> String {
        let Self { machine, connections, .. } = self;
        let mut text = format!(
            "# Connections that do nothing\n\n\
             Measured on {machine}, with {}. By `cargo xtask bench idle`, which writes this page; [how](README.md).\n",
            self.versions.join(", ")
        );
        for kind in &self.missing {
            text += &format!("**{}** is missing: it is not installed.\n", kind.title());
        }
        text += &format!(
            "\nMemory of {connections} connections, each of which has had one answer. It is that of the processes: what \
             the kernel\nkeeps for sockets is the same for all, and so is not in it. gogeta parks 4,096 of them at most, \
             as it does\nwithout `--splice-max-pairs`.\n\n\
             | | at the start, MiB | with them, MiB | KiB for each |\n| --- | --: | --: | --: |\n"
        );
        for Row { contender, before_kib, with_them_kib } in &self.rows {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let each = with_them_kib.saturating_sub(*before_kib) as f64 / *connections as f64;
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.1} | {each:.1} |",
                contender.title(),
                mib(*before_kib),
                mib(*with_them_kib)
            );
        }
        text
    }
}

/// So many connections from the client's host, each with one answer.
fn open(contender: &Contender, count: usize) -> Result<Vec<TcpStream>> {
    let request = format!("GET /12 HTTP/1.1\r\nHost: {}\r\n\r\n", crate::load::host(false));
    Host::Client.enter(|| {
        let mut streams = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(contender.web)?;
            stream.write_all(request.as_bytes())?;
            streams.push(stream);
        }
        for stream in &mut streams {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer)?;
            let answer = String::from_utf8_lossy(&buffer[..read]);
            let status = answer.lines().next().unwrap_or("an end");
            ensure!(status.starts_with("HTTP/1.1 200"), "it answered with {status}");
        }
        Ok(streams)
    })
}
