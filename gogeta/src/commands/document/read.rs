//! A routes file as keys and values, and what is wrong with it, line by line.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Entry;
use crate::commands::routes::bad_host;
use crate::routes::key::KeySpace;
use crate::store::lines::Lines;

/// What a file says.
#[derive(Debug, Default)]
pub(in crate::commands) struct Document {
    pub(in crate::commands) entries: Vec<Entry>,
    /// What is no routes file's.
    pub(in crate::commands) mistakes: Vec<Mistake>,
}

/// Something that is no routes file's.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) struct Mistake {
    pub(in crate::commands) line: usize,
    /// The path to it, or nothing where the text is no TOML.
    pub(in crate::commands) path: String,
    pub(in crate::commands) problem: String,
}

/// How a field's value becomes that of its key.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Json,
}

type Field = (&'static str, &'static str, Form);

const DOMAIN: [Field; 3] =
    [("type", "type", Form::Text), ("value", "value", Form::Text), ("config", "config", Form::Json)];
const INSTANCE: [Field; 4] = [
    ("location", "location", Form::Json),
    ("config", "config/gogeta", Form::Json),
    ("domain", "domain", Form::Text),
    ("lastAccess", "lastAccess", Form::Text),
];
const STATUS: [Field; 3] = [
    ("current", "status/current", Form::Text),
    ("expected", "status/expected", Form::Text),
    ("alive", "status/alive", Form::Text),
];

/// Reads a routes file as far as it can be read.
pub(in crate::commands) fn read(space: &KeySpace, text: &str) -> Document {
    let mut reader = Reader { lines: Lines::of(text), document: Document::default() };
    match DeTable::parse(text) {
        Ok(table) => reader.file(space, table.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reader.mistake(at, "", error.message());
        }
    }
    reader.document
}

struct Reader {
    lines: Lines,
    document: Document,
}

impl Reader {
    fn mistake(&mut self, at: usize, path: &str, problem: impl Into<String>) {
        let line = self.lines.at(at);
        self.document.mistakes.push(Mistake { line, path: path.to_owned(), problem: problem.into() });
    }

    fn entry(&mut self, at: usize, key: String, value: Vec<u8>) {
        let line = Some(self.lines.at(at));
        self.document.entries.push(Entry { key: key.into_bytes(), value, line });
    }

    fn file(&mut self, space: &KeySpace, file: &DeTable<'_>) {
        for (name, value) in file {
            match &**name.get_ref() {
                "domains" => self.each(value, "domains", |reader, host, at, value| {
                    let path = format!("domains.{host:?}");
                    match bad_host(host) {
                        Some(problem) => reader.mistake(at, &path, problem),
                        None => {
                            reader.fields(
                                value,
                                &path,
                                &format!("{}{host}/", space.domains()),
                                &DOMAIN,
                                |_, _| false,
                            );
                        }
                    }
                }),
                "services" => self.each(value, "services", |reader, service, at, value| {
                    reader.service(space, service, at, value);
                }),
                "other" => self.each(value, "other", |reader, name, at, value| match name {
                    "domains" => reader.other(space.domains(), value),
                    "services" => reader.other(space.services(), value),
                    _ => reader.mistake(at, "other", format!("{name:?} is none of domains, services")),
                }),
                other => {
                    self.mistake(
                        name.span().start,
                        other,
                        "a routes file has domains, services and other alone",
                    );
                }
            }
        }
    }

    fn service(&mut self, space: &KeySpace, service: &str, at: usize, instances: &Spanned<DeValue<'_>>) {
        let path = format!("services.{service:?}");
        if service.is_empty() || service.contains('/') {
            return self.mistake(at, &path, "a service's name is one part of a key, without a slash");
        }
        self.each(instances, &path, |reader, index, at, value| {
            let path = format!("services.{service}.{index}");
            if index.is_empty() || index.contains('/') {
                return reader.mistake(at, &path, "an index is one part of a key, without a slash");
            }
            let directory = format!("{}{service}/{index}/", space.services());
            reader.fields(value, &path, &directory, &INSTANCE, |reader, (name, value)| {
                if name == "status" {
                    reader.fields(value, &format!("{path}.status"), &directory, &STATUS, |_, _| false);
                }
                name == "status"
            });
        });
    }

    /// Each entry of a table.
    fn each(
        &mut self,
        table: &Spanned<DeValue<'_>>,
        path: &str,
        mut what: impl FnMut(&mut Self, &str, usize, &Spanned<DeValue<'_>>),
    ) {
        let Some(entries) = table.get_ref().as_table() else {
            return self.mistake(table.span().start, path, "it must be a table");
        };
        for (name, value) in entries {
            what(self, name.get_ref(), name.span().start, value);
        }
    }

    /// The fields of an entity, which are keys below `directory`; `more` takes those that are not.
    fn fields(
        &mut self,
        table: &Spanned<DeValue<'_>>,
        path: &str,
        directory: &str,
        fields: &[Field],
        mut more: impl FnMut(&mut Self, (&str, &Spanned<DeValue<'_>>)) -> bool,
    ) {
        self.each(table, path, |reader, name, at, value| {
            let Some((_, key, form)) = fields.iter().find(|(known, ..)| *known == name) else {
                if !more(reader, (name, value)) {
                    reader.mistake(at, &format!("{path}.{name}"), "gogeta knows no such field");
                }
                return;
            };
            let taken = match form {
                Form::Text => {
                    value.get_ref().as_str().map(|text| text.as_bytes().to_vec()).ok_or("it must be a text")
                }
                Form::Json => {
                    object(value.get_ref()).ok_or("it must be a table, or a text that holds a JSON object")
                }
            };
            match taken {
                Ok(value_of_key) => {
                    reader.entry(value.span().start, format!("{directory}{key}"), value_of_key)
                }
                Err(problem) => reader.mistake(value.span().start, &format!("{path}.{name}"), problem),
            }
        });
    }

    fn other(&mut self, directory: &str, table: &Spanned<DeValue<'_>>) {
        self.each(table, "other", |reader, name, at, value| {
            let bytes = match value.get_ref() {
                DeValue::String(text) => Some(text.as_bytes().to_vec()),
                DeValue::Table(table) => table.get("hex").and_then(|text| unhex(text.get_ref().as_str()?)),
                _ => None,
            };
            match bytes {
                Some(bytes) => reader.entry(at, format!("{directory}{name}"), bytes),
                None => reader.mistake(at, name, "it must be a text, or { hex = \"..\" }"),
            }
        });
    }
}

/// A table as JSON; or a text that is such an object already, as it is.
fn object(value: &DeValue<'_>) -> Option<Vec<u8>> {
    match value {
        DeValue::Table(_) => json(value).map(|value| value.to_string().into_bytes()),
        DeValue::String(text) => {
            serde_json::from_str::<serde_json::Map<String, Value>>(text).ok()?;
            Some(text.as_bytes().to_vec())
        }
        _ => None,
    }
}

fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(&**text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(_) => return None,
        DeValue::Array(list) => {
            list.iter().map(|value| json(value.get_ref())).collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => {
            let field = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.clone().into_owned(), json(value.get_ref())?))
            };
            table.iter().map(field).collect::<Option<serde_json::Map<_, _>>>()?.into()
        }
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_line_and_do_not_stop_the_reader() {
        let text = "\
[domains.\"a.test\"]
tpye = \"uri\"
value = 1
[domains.\"b c\"]
type = \"uri\"
[services.web.1]
location = \"x\"
status = { crrent = \"started\", alive = \"1\" }
[servcies]
[other.domains]
\"x\" = { hex = \"abc\" }
";
        let document = read(&KeySpace::new("/domains", "/services"), text);
        let mut lines: Vec<_> = document.mistakes.iter().map(|mistake| mistake.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [2, 3, 4, 7, 8, 9, 11], "{:?}", document.mistakes);
        assert_eq!(document.entries.len(), 1, "{:?}", document.entries);
        assert_eq!(document.entries[0].line, Some(8));
        let broken = read(&KeySpace::new("/domains", "/services"), "\n\nx =\n");
        assert_eq!(broken.mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [3]);
    }
}
