//! One line a request. Workers format lines into buffers of their own; one thread writes them out, so that a slow
//! disk holds up no request. What does not fit its queue is dropped and counted.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::cli::AccessLogFormat;
use crate::config::AccessLog as Config;
use crate::sandbox;

/// A worker's lines are handed over when they are so many bytes, or at the next tick.
const CHUNK: usize = 16 << 10;
/// Chunks that may wait for the disk.
const QUEUE: usize = 512;

/// What is logged of a request.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// Who asked.
    pub client: IpAddr,
    /// The Host it asked for.
    pub host: &'a str,
    /// The method; empty where the request could not be read, and so are all texts but the client then.
    pub method: &'a str,
    /// The target, as it came.
    pub target: &'a str,
    /// The version, as it stood in the request line.
    pub version: &'a str,
    /// The status that was served; 499 where the client left before.
    pub status: u16,
    /// Bytes of the response's body.
    pub sent: u64,
    /// Bytes of the request's body.
    pub received: u64,
    /// From the request's head to the response's last byte.
    pub took: Duration,
    /// From asking the instance to its response's head.
    pub upstream_took: Option<Duration>,
    /// How often it was tried again.
    pub retries: u8,
    /// The request's id, where it has one.
    pub id: &'a str,
    /// The instance that answered.
    pub upstream: &'a str,
    /// The Referer field.
    pub referer: &'a str,
    /// The User-Agent field.
    pub agent: &'a str,
    /// Whether the upstream broke the response off.
    pub cut: bool,
    /// Who carried it: `relay` is userspace.
    pub engine: &'static str,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
    Finish,
}

/// The log, as those see it that write to it.
#[derive(Debug)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    format: AccessLogFormat,
    dropped: Arc<AtomicU64>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

/// Opens the log.
///
/// # Errors
///
/// The file's name, and the system's reason.
pub fn open(config: &Config) -> io::Result<(AccessLog, Writer)> {
    let output = output(config.file.as_deref())?;
    let (queue, inbox) = sync_channel(QUEUE);
    let file = config.file.clone();
    let thread = std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write_out(output, file, &inbox))?;
    Ok((AccessLog { queue, format: config.format, dropped: Arc::default() }, Writer(thread)))
}

fn output(file: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    let Some(path) = file else {
        return Ok(Box::new(io::stdout()));
    };
    let open = File::options().create(true).append(true).open(path);
    let file = open.map_err(|error| {
        let why = sandbox::explained(&error);
        io::Error::new(error.kind(), format!("{} (--access-log): {why}", path.display()))
    })?;
    Ok(Box::new(file))
}

fn write_out(mut output: Box<dyn Write + Send>, file: Option<PathBuf>, inbox: &Receiver<Message>) {
    let mut failed = false;
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Lines(lines) => {
                let outcome = output.write_all(&lines).and_then(|()| output.flush());
                if let Err(error) = &outcome
                    && !failed
                {
                    tracing::error!(%error, "cannot write the access log");
                }
                failed = outcome.is_err();
            }
            Message::Reopen => match self::output(file.as_deref()) {
                Ok(fresh) => output = fresh,
                Err(error) => {
                    tracing::error!(%error, "cannot open the access log anew; the old file goes on")
                }
            },
            Message::Finish => return,
        }
    }
}

impl Writer {
    /// Waits until all that was handed over is written.
    pub fn finish(self, log: &AccessLog) {
        let _ = log.queue.send(Message::Finish);
        let _ = self.0.join();
    }
}

impl AccessLog {
    /// A buffer for one worker.
    pub fn buffer(&self) -> Buffer {
        Buffer {
            queue: self.queue.clone(),
            format: self.format,
            dropped: self.dropped.clone(),
            bytes: RefCell::default(),
        }
    }

    /// Opens the file by its name again, after a rotation.
    pub fn reopen(&self) {
        let _ = self.queue.try_send(Message::Reopen);
    }

    /// Chunks of lines that were lost because the disk was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// One worker's lines on their way to the log.
#[derive(Debug)]
pub struct Buffer {
    queue: SyncSender<Message>,
    format: AccessLogFormat,
    dropped: Arc<AtomicU64>,
    bytes: RefCell<Vec<u8>>,
}

impl Buffer {
    /// Adds a line.
    pub fn write(&self, line: &Line<'_>) {
        let now = OffsetDateTime::now_utc();
        let full = {
            let mut bytes = self.bytes.borrow_mut();
            let text = match self.format {
                AccessLogFormat::Text => text(line, now),
                AccessLogFormat::Combined => combined(line, now),
                AccessLogFormat::Json => json(line, now),
            };
            bytes.extend_from_slice(text.as_bytes());
            bytes.len() >= CHUNK
        };
        if full {
            self.flush();
        }
    }

    /// Hands the lines over.
    pub fn flush(&self) {
        let bytes = std::mem::take(&mut *self.bytes.borrow_mut());
        if !bytes.is_empty() && self.queue.try_send(Message::Lines(bytes)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The combined log format, with the host, the instance and the seconds behind it.
pub fn text(line: &Line<'_>, now: OffsetDateTime) -> String {
    let mut text = combined(line, now);
    text.pop();
    text.push(' ');
    quote(&mut text, &[line.host]);
    text.push(' ');
    escape(&mut text, if line.upstream.is_empty() { "-" } else { line.upstream }, b' ');
    let _ = writeln!(text, " {:.6}", line.took.as_secs_f64());
    text
}

/// The combined log format of Apache and nginx:
/// `%h - - [time] "METHOD target HTTP/x" status bytes "referer" "agent"`.
pub fn combined(line: &Line<'_>, now: OffsetDateTime) -> String {
    let form = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let when = now.format(form).unwrap_or_default();
    let mut text = format!("{} - - [{when}] ", line.client);
    let request = [line.method, line.target, line.version];
    quote(&mut text, if line.method.is_empty() { &[] } else { &request });
    let _ = write!(text, " {} {} ", line.status, line.sent);
    quote(&mut text, &[line.referer]);
    text.push(' ');
    quote(&mut text, &[line.agent]);
    text.push('\n');
    text
}

/// Parts in quotes, or a dash in quotes where there is nothing.
fn quote(text: &mut String, parts: &[&str]) {
    text.push('"');
    let begin = text.len();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        escape(text, part, b'"');
    }
    if text.len() == begin {
        text.push('-');
    }
    text.push('"');
}

/// As in nginx's log, every byte that is no visible ASCII is written by its number, and so is what would `end` the
/// part: nothing that a client sends ends a part or a line.
fn escape(text: &mut String, part: &str, end: u8) {
    for byte in part.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "\\x{byte:02X}");
            }
            byte if byte == end => {
                let _ = write!(text, "\\x{byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
    }
}

/// An object with a field for each part of the line; texts as they came.
pub fn json(line: &Line<'_>, now: OffsetDateTime) -> String {
    let value = serde_json::json!({
        "time": now.format(&Rfc3339).unwrap_or_default(),
        "client": line.client.to_string(),
        "host": line.host,
        "method": line.method,
        "target": line.target,
        "version": line.version,
        "status": line.status,
        "bytes_sent": line.sent,
        "bytes_received": line.received,
        "upstream_duration": line.upstream_took.map(|took| took.as_secs_f64()),
        "retries": line.retries,
        "engine": line.engine,
        "request_id": line.id,
        "duration": line.took.as_secs_f64(),
        "upstream": line.upstream,
        "referer": line.referer,
        "user_agent": line.agent,
        "cut": line.cut,
    });
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            client: "127.0.0.1".parse().expect("an address"),
            host: "a.test",
            method: "GET",
            target: "/x\"y",
            version: "HTTP/1.0",
            status: 200,
            sent: 12,
            received: 0,
            took: Duration::from_millis(5),
            upstream_took: Some(Duration::from_millis(4)),
            retries: 0,
            id: "",
            upstream: "127.0.0.1:80",
            referer: "",
            agent: "evil\n\"agent\u{e4}",
            cut: false,
            engine: "relay",
        }
    }

    #[test]
    fn how_lines_look() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let begin = "127.0.0.1 - - [01/Jan/1970:00:00:00 +0000]";
        let end = "\"-\" \"evil\\x0A\\x22agent\\xC3\\xA4\"";
        let line = line();
        assert_eq!(combined(&line, now), format!("{begin} \"GET /x\\x22y HTTP/1.0\" 200 12 {end}\n"));
        let behind = "\"a.test\" 127.0.0.1:80 0.005000\n";
        assert_eq!(text(&line, now), format!("{} {behind}", combined(&line, now).trim_end()));
        let parsed: serde_json::Value = serde_json::from_str(&json(&line, now)).expect("valid JSON");
        assert_eq!((&parsed["user_agent"], &parsed["version"]), (&line.agent.into(), &"HTTP/1.0".into()));
        assert_eq!(json(&line, now).lines().count(), 1);
        let unread = Line { method: "", target: "", version: "", host: "", agent: "", upstream: "", ..line };
        assert_eq!(combined(&unread, now), format!("{begin} \"-\" 200 12 \"-\" \"-\"\n"));
        let odd = text(&Line { upstream: "a b\"c\n", ..line }, now);
        assert!(odd.ends_with("\" a\\x20b\\x22c\\x0A 0.005000\n"), "{odd}");
        assert!(text(&unread, now).ends_with(" \"-\" \"-\" \"-\" - 0.005000\n"));
    }

    #[test]
    fn lines_reach_the_file_and_its_successor() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let (log, writer) =
            open(&Config { file: Some(path.clone()), format: AccessLogFormat::Text }).expect("it opens");
        let buffer = log.buffer();
        buffer.write(&line());
        buffer.flush();
        log.reopen();
        buffer.write(&line());
        buffer.flush();
        writer.finish(&log);
        assert_eq!(std::fs::read_to_string(&path).expect("it is there").lines().count(), 2);
        let nowhere = Config { file: Some("/nowhere/at/all".into()), format: AccessLogFormat::Text };
        let error = open(&nowhere).expect_err("there is no such directory").to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("--access-log"), "{error}");
    }
}
