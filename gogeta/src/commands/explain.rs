//! `gogeta explain`: how a request would be routed now, as a running gogeta or the routes themselves say.

use std::sync::Arc;

use super::client::{Client, encoded};
use super::output::{Tone, clean, coloured, paint, say, say_json};
use super::{Failure, context};
use crate::app;
use crate::cli::{Cli, ExplainOptions};
use crate::config::Config;
use crate::explain::{Circumstances, Explanation, Outcome, Question, explain};
use crate::pages::Pages;
use crate::routes::registry::{Change, Registry};
use crate::store::etcd::tree::Tree;
use crate::store::{Event, Names, file};

/// Columns before the text of a step.
const INDENT: usize = 18;

pub(super) async fn run(cli: &Cli, options: &ExplainOptions) -> Result<u8, Failure> {
    let question = question(options)?;
    let explanation = if reads_routes(cli, options) {
        by_routes(cli, options, &question).await?
    } else {
        let mut client = Client::of(cli, &options.at)?;
        client.get(&path(&question)).await.map_err(|failure| match failure {
            Failure::Away(why) => Failure::Away(format!(
                "{why}\n(the routes themselves can be asked, too: --etcd-address URL, or --routes FILE)"
            )),
            other => other,
        })?
    };
    if options.json {
        say_json(&explanation)?;
    } else {
        say(&shown(&question, &explanation, coloured(), width()))?;
    }
    Ok(u8::from(!explanation.verdict.forwarded))
}

/// Whether a flag asks for the routes themselves. Variables and files do not: they are for the gogeta that runs.
fn reads_routes(cli: &Cli, options: &ExplainOptions) -> bool {
    let in_front = cli.options.etcd_address.is_some() && std::env::var_os("GOGETA_ETCD_ADDRESS").is_none();
    let behind =
        serde_json::to_value(options.etcd.options()).is_ok_and(|given| given != serde_json::json!({}));
    options.routes.is_some() || in_front || behind
}

/// What is asked, from the command line.
fn question(options: &ExplainOptions) -> Result<Question, Failure> {
    let mut https = options.https;
    let (host, path) = match options.host.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            https |= scheme == "https";
            let rest = rest.split('#').next().unwrap_or(rest);
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let slash = if path.starts_with('?') { "/" } else { "" };
            (host, Some(format!("{slash}{path}")).filter(|path| !path.is_empty()))
        }
        Some((scheme, _)) => {
            return Err(Failure::Usage(format!(
                "{scheme}:// is no URL that gogeta routes; http:// and https:// are"
            )));
        }
        None => (options.host.as_str(), None),
    };
    let path = match (path, &options.path) {
        (Some(inside), Some(path)) if inside != "/" => {
            return Err(Failure::Usage(format!(
                "there are two paths: {inside} in the URL, and {path} behind it"
            )));
        }
        (_, Some(path)) => path.clone(),
        (path, None) => path.unwrap_or_else(|| "/".to_owned()),
    };
    let field = |text: &String| {
        let (name, value) = text.split_once(':').ok_or_else(|| {
            Failure::Usage(format!("--header must be NAME: VALUE, such as 'Accept: text/html', not {text:?}"))
        })?;
        Ok((name.to_owned(), value.trim().to_owned()))
    };
    let mut headers: Vec<(String, String)> =
        options.header.iter().map(field).collect::<Result<_, Failure>>()?;
    if https && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-proto")) {
        headers.push(("X-Forwarded-Proto".to_owned(), "https".to_owned()));
    }
    Ok(Question {
        host: host.to_owned(),
        path,
        method: options.method.clone(),
        client: options.client,
        headers,
    })
}

/// The question as a path of the API.
fn path(question: &Question) -> String {
    let Question { host, path, method, client, headers } = question;
    let fields: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let fields =
        if fields.is_empty() { String::new() } else { format!("&headers={}", encoded(&fields.join("\n"))) };
    format!(
        "/api/explain?host={}&path={}&method={}&client={}{}",
        encoded(host),
        encoded(path),
        encoded(method),
        encoded(&client.to_string()),
        fields
    )
}

/// Reads the routes, and what gogeta would run with, from where a gogeta would.
async fn by_routes(cli: &Cli, options: &ExplainOptions, question: &Question) -> Result<Explanation, Failure> {
    let mut all = context::options(cli, &options.etcd, options.at.config.as_deref())?;
    let (change, names) = if let Some(path) = &options.routes {
        if options.etcd.etcd_address.is_some() {
            return Err(Failure::Usage(
                "--routes and --etcd-address are both given; routes come from one of them".to_owned(),
            ));
        }
        (all.routes, all.etcd_address) = (Some(path.clone()), None);
        let version = file::read(path).map_err(|error| Failure::Usage(error.to_string()))?;
        let Event::Change { change, names } = version.event else {
            return Err(Failure::No(format!("{} was read, and is no change", path.display())));
        };
        (change, names)
    } else {
        all.routes = None;
        let mut tree = Tree::open(&context::etcd(&all)?).await.map_err(Failure::Etcd)?;
        let snapshot = tree.read_all().await.map_err(Failure::Etcd)?;
        let space = tree.space().clone();
        let known = |key: &[u8]| space.parse(std::str::from_utf8(key).ok()?).ok();
        let pairs = snapshot.pairs.into_iter();
        let entries = pairs.filter_map(|pair| Some((known(&pair.key)?, pair.value))).collect();
        (Change::Snapshot { revision: snapshot.revision, entries }, Names::Keys(space.clone()))
    };
    let config = Config::try_from(all)?;
    let resolver = app::resolver(config.resolver).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut registry = Registry::new(resolver);
    registry.apply(change);
    let pages = match &config.template_dir {
        Some(directory) => Pages::load(directory),
        None => Pages::embedded(),
    };
    let pages = Arc::new(pages.map_err(|error| Failure::Usage(error.to_string()))?);
    let around = Circumstances {
        table: &registry.table(),
        config: &config,
        pages: &pages,
        names: &names,
        loaded: true,
        engines: None,
        now: 1,
    };
    Ok(explain(question, around))
}

/// How wide lines may be; none where nobody looks.
fn width() -> Option<usize> {
    use std::io::IsTerminal as _;
    let size = std::io::stdout().is_terminal().then(|| ratatui::crossterm::terminal::size().ok()).flatten();
    size.map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > INDENT + 20)
}

/// The explanation, a step a line.
fn shown(question: &Question, explanation: &Explanation, coloured: bool, width: Option<usize>) -> String {
    let Question { host, path, method, .. } = question;
    let mut out = format!(
        "{} {}{}, by the routes of revision {}\n\n",
        clean(method),
        clean(host),
        if method == "CONNECT" { "".into() } else { clean(path) },
        explanation.revision
    );
    for step in &explanation.steps {
        let (word, tone) = match step.outcome {
            Outcome::Ok => ("ok", Tone::Good),
            Outcome::Info => ("", Tone::Faint),
            Outcome::Warn => ("warn", Tone::Busy),
            Outcome::Stop => ("stop", Tone::Bad),
        };
        let word = paint(&format!("{word:>5}"), tone, coloured);
        let lines = wrapped(&clean(&step.text), width.map(|width| width - INDENT));
        out += &format!("{word}  {:<9}  {}\n", clean(&step.step), lines.join(&format!("\n{:INDENT$}", "")));
        if let Some(key) = &step.key {
            out += &format!("{:INDENT$}{}\n", "", paint(&clean(key), Tone::Faint, coloured));
        }
    }
    let (word, tone) = if explanation.verdict.forwarded { ("=>", Tone::Good) } else { ("=|", Tone::Bad) };
    let verdict = wrapped(&clean(&explanation.verdict.text), width.map(|width| width - 3));
    out += &format!("\n{} {}\n", paint(word, tone, coloured), verdict.join("\n   "));
    out
}

/// A text in lines of so many columns, broken between words.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Command;

    fn asked(line: &str) -> Result<Question, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let Some(Command::Explain(options)) = cli.command else { panic!("{line}") };
        question(&options).map_err(|failure| failure.to_string())
    }

    #[test]
    fn hosts_and_urls_are_taken() {
        for (line, path) in [
            ("gogeta explain a.test", "host=a.test&path=/&method=GET&client=127.0.0.1"),
            ("gogeta explain a.test:80 /x?y", "host=a.test%3A80&path=/x%3Fy&method=GET&client=127.0.0.1"),
            (
                "gogeta explain http://a.test:80/x?y#z",
                "host=a.test%3A80&path=/x%3Fy&method=GET&client=127.0.0.1",
            ),
            ("gogeta explain http://a.test?y", "host=a.test&path=/%3Fy&method=GET&client=127.0.0.1"),
            (
                "gogeta explain https://a.test -X HEAD --client ::1",
                "host=a.test&path=/&method=HEAD&client=%3A%3A1&headers=X-Forwarded-Proto%3A%20https",
            ),
            (
                "gogeta explain a.test -H A:b",
                "host=a.test&path=/&method=GET&client=127.0.0.1&headers=A%3A%20b",
            ),
        ] {
            let question = asked(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(super::path(&question), format!("/api/explain?{path}"), "{line}");
        }
        for (line, says) in [
            ("gogeta explain ftp://a.test", "http://"),
            ("gogeta explain http://a.test/x /y", "two paths"),
            ("gogeta explain a.test -H b", "--header"),
            ("gogeta explain a.test --client x", "--client"),
        ] {
            let error = asked(line).expect_err(line);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn long_steps_are_wrapped() {
        assert_eq!(wrapped("one two three", Some(8)), ["one two", "three"]);
        assert_eq!(wrapped("longer-than-that x", Some(4)), ["longer-than-that", "x"]);
        assert_eq!(wrapped("one two three", None), ["one two three"]);
    }
}
