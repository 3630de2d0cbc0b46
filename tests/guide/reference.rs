//! What the guide lists is what there is: its tables of flags and commands are made from the command line itself, and
//! whatever flag or metric it names exists. `GOGETA_TEST_UPDATE=1` writes the tables anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use gogeta::cli::Cli;

use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::parking::parking_with;

use super::links::prose;
use super::{files, root, text};

#[test]
fn the_tables_of_flags_and_commands_are_those_of_the_command_line() {
    for (chapter, what, table) in
        [("flags.md", "flags", flags(&Cli::command())), ("keys.md", "commands", commands(&Cli::command()))]
    {
        let file = root().join("docs/guide").join(chapter);
        let text = text(&file);
        let begin = format!("<!-- generated: {what} -->\n");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{chapter}: no {begin}"));
        let (now, after) = rest.split_once("<!-- end -->").expect("it ends");
        if std::env::var_os("GOGETA_TEST_UPDATE").is_some() {
            std::fs::write(&file, format!("{before}{begin}{table}<!-- end -->{after}")).expect("written");
        } else {
            assert_eq!(
                now, table,
                "{chapter}: run this test with GOGETA_TEST_UPDATE=1, and read what it writes"
            );
        }
    }
}

#[tokio::test]
async fn the_table_of_flags_has_what_gogeta_says_itself() {
    let said = Gogeta::bare().arg("--help").said().await.well(&[]);
    let says = said.out.lines().filter_map(|line| {
        let line = line.trim_start();
        line.starts_with('-').then(|| flags_in(line)).into_iter().flatten().next()
    });
    let mut says: BTreeSet<String> = says.collect();
    for usual in ["--help", "--version"] {
        assert!(says.remove(usual), "{says:?}");
    }
    let chapter = text(&root().join("docs/guide/flags.md"));
    let rows = chapter.lines().filter(|line| line.starts_with("| `--"));
    let has: BTreeSet<String> = rows.filter_map(|row| flags_in(row).into_iter().next()).collect();
    assert_eq!(has, says);
}

#[test]
fn each_flag_that_the_guide_names_is_one() {
    let mut known = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    collect_flags(&Cli::command(), &mut known);
    let mut count = 0;
    for file in files() {
        let text = text(&file);
        let spans = prose(&text).flat_map(|(line, text)| {
            let code = text.split('`').skip(1).step_by(2);
            code.filter(|code| code.starts_with("--") || code.starts_with("gogeta "))
                .map(move |code| (line, code))
        });
        // Those behind `$ ` are run, mistakes among them.
        let commands = (1..).zip(text.lines()).filter_map(|(line, text)| {
            let text = text.trim_start_matches("sudo ");
            text.starts_with("gogeta ").then_some((line, text))
        });
        for (line, code) in spans.chain(commands) {
            // What is behind `--` is another program's.
            let ours = code.split(" -- ").next().unwrap_or_default();
            for flag in flags_in(ours) {
                count += 1;
                assert!(known.contains(&flag), "{}:{line}: gogeta has no {flag}", file.display());
            }
        }
    }
    assert!(count > 100, "{count} flags");
}

#[tokio::test]
async fn each_metric_that_the_guide_names_is_told() {
    let Some(gogeta) = parking_with(Gogeta::routes("")).await else { return };
    let told = get(gogeta.admin, "admin", "/metrics").await;
    let told = told.text().to_owned();
    let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let told: BTreeSet<&str> = types.map(family).collect();
    let mut named = BTreeMap::new();
    for file in files() {
        for (line, text) in (1..).zip(text(&file).lines()) {
            let words =
                text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_-/.".contains(letter));
            for word in words.filter(|word| word.starts_with("gogeta_")) {
                named.insert(word.to_owned(), format!("{}:{line}", file.display()));
            }
        }
    }
    assert!(named.len() > 5, "{named:?}");
    for (name, place) in named {
        assert!(told.contains(family(&name)), "{place}: {name} is not among {told:?}");
    }
}

/// A metric's name without what tells its parts.
fn family(name: &str) -> &str {
    ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The flags of a line.
fn flags_in(line: &str) -> Vec<String> {
    let words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
}

fn collect_flags(command: &Command, flags: &mut BTreeSet<String>) {
    flags.extend(command.get_arguments().filter_map(Arg::get_long).map(|long| format!("--{long}")));
    for command in command.get_subcommands() {
        collect_flags(command, flags);
    }
}

/// The flags of the proxy as tables, one for each heading.
fn flags(command: &Command) -> String {
    let mut headings: Vec<(&str, String)> = vec![];
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) else {
            continue;
        };
        let heading = argument.get_help_heading().unwrap_or("Listening");
        let heading = if long == "config" { "Listening" } else { heading };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let (help, default) = match help.split_once(" [default: ") {
            Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
            None => (help, String::new()),
        };
        let takes = argument.get_num_args().is_none_or(|count| count.min_values() > 0);
        let names = argument.get_value_names().unwrap_or_default();
        let value = if takes {
            names.first().map_or_else(|| long.to_uppercase().replace('-', "_"), ToString::to_string)
        } else {
            String::new()
        };
        let possible: Vec<_> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let possible =
            if possible.is_empty() || !takes { String::new() } else { format!(": {}", possible.join(", ")) };
        let flag = format!("--{long} {value}");
        let default = if default.is_empty() && !takes { "off".to_owned() } else { plain(&default) };
        let row = format!("| `{}` | {default} | {}{possible} |\n", flag.trim_end(), plain(&help));
        match headings.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, rows)) => rows.push_str(&row),
            None => headings.push((heading, row)),
        }
    }
    let mut text = String::new();
    for (heading, rows) in headings {
        let _ = write!(text, "\n### {heading}\n\n| flag | default | |\n| --- | --- | --- |\n{rows}");
    }
    text + "\n"
}

/// A text without its full stop, and without what Markdown would take for its own.
fn plain(text: &str) -> String {
    text.trim_end_matches('.').replace('|', "\\|").replace('*', "\\*").replace('<', "\\<")
}

/// The commands as a table.
fn commands(command: &Command) -> String {
    let mut rows = String::from("\n| command | |\n| --- | --- |\n");
    add_commands("gogeta", command, &mut rows);
    rows + "\n"
}

fn add_commands(before: &str, command: &Command, rows: &mut String) {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{before} {}", command.get_name());
        if command.has_subcommands() {
            add_commands(&name, command, rows);
            continue;
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(rows, "| `{name}` | {} |", plain(&about));
    }
}
