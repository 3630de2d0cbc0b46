//! The part of both automata that reads fields (RFC 9112, 5): `*( field-name ":" field-value CRLF ) CRLF`.

use super::grammar::{CONNECTION, Set};
use super::table::{Builder, REFUSED};

/// States that both automata know by their number. Behind an empty line.
pub(super) const DONE: u8 = 1;
/// At the beginning of a line behind the first one.
pub(super) const FIELD: u8 = 2;
/// Behind `Connection:`.
pub(super) const CONNECTION_NAMED: u8 = 3;
/// How many of these there are, with [`REFUSED`].
pub(super) const KNOWN: u8 = 4;

/// States that both automata have, and that have no known number.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// Within a name that no rule knows.
    pub(super) name: u8,
    /// Behind the CR that ends a line.
    pub(super) line_end: u8,
}

/// Says what leads from [`FIELD`] to [`DONE`], for names of these bytes.
/// `value` is the state within the value of a field that no rule knows.
pub(super) const fn add(
    builder: &mut Builder,
    value: u8,
    names: Set,
    prefixes: &[&str],
    refused: &[&str],
) -> Places {
    let name = builder.state();
    let (line_end, last_line_end) = (builder.state(), builder.state());
    builder.on_set(FIELD, names, name);
    builder.on_set(name, names, name);
    builder.on(name, b':', value);
    builder.on_set(value, Set::Value, value);
    builder.on(value, b'\r', line_end);
    builder.on(line_end, b'\n', FIELD);
    builder.on(FIELD, b'\r', last_line_end);
    builder.on(last_line_end, b'\n', DONE);

    let mut at = 0;
    while at < prefixes.len() {
        builder.refuse_prefix(FIELD, prefixes[at], name);
        at += 1;
    }
    let mut at = 0;
    while at < refused.len() {
        let named = builder.word(FIELD, refused[at], name);
        builder.on(named, b':', REFUSED);
        at += 1;
    }

    let named = builder.word(FIELD, "connection", name);
    builder.on(named, b':', CONNECTION_NAMED);
    let kept = builder.text_in_any_case(CONNECTION_NAMED, CONNECTION);
    builder.on(kept, b'\r', line_end);
    builder.optional_space(CONNECTION_NAMED);
    Places { name, line_end }
}
