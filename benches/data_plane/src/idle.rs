//! What connections cost that do nothing: each has had one answer, and is kept.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::contender::{Contender, Kind, Setup, connections};
use crate::hosts::{self, Host};

/// Opens them through each proxy, and gives a table of the memory that they take.
///
/// # Errors
/// When a contender does not start, or does not answer.
pub(crate) fn run(gogeta: &Path, is_quick: bool) -> Result<String> {
    let folder = &hosts::raise()?;
    let count = connections().min(if is_quick { 1_000 } else { 10_000 });
    let setup = Setup { gogeta, folder, logs: false };
    let _servers = setup.servers()?;
    let mut text = format!(
        "# Connections that do nothing\n\nMemory of {count} connections, each of which has had one answer.\n\n\
         | | at the start, MiB | with them, MiB | KiB for each |\n| --- | --: | --: | --: |\n"
    );
    for kind in Kind::ALL {
        let Some(contender) = setup.start(kind)? else { continue };
        let Some(process) = &contender.process else { continue };
        open(&contender, 1)?;
        let before = process.memory();
        let connections = open(&contender, count).with_context(|| kind.title())?;
        let after = process.memory();
        drop(connections);
        let mib = |kib: u64| kib as f64 / 1024.0;
        let each = after.saturating_sub(before) as f64 / count as f64;
        writeln!(text, "| {} | {:.1} | {:.1} | {each:.1} |", kind.title(), mib(before), mib(after))?;
    }
    Ok(text)
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
            ensure!(buffer[..read].starts_with(b"HTTP/1.1 200"), "not answered");
        }
        Ok(streams)
    })
}
