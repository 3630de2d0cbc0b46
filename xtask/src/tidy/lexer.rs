//! Rust source taken apart into code and comments, line by line.
//!
//! A rule about code must not stumble over a word in a comment or a string. That takes no parser,
//! but it does take knowing where comments and literals begin and end.

use super::tree::File;

/// What stands in for the content of a string: no word, no bracket, and not blank.
const IN_STRING: char = '"';

/// A Rust file.
pub(super) struct RustFile<'a> {
    file: &'a File,
    /// The lines, without comments and what is in strings.
    pub(super) code: Vec<String>,
    /// The lines, with nothing but the comments.
    pub(super) comments: Vec<String>,
    /// For each line, whether it is in a module of unit tests.
    pub(super) is_test: Vec<bool>,
}

impl<'a> RustFile<'a> {
    /// Takes `file` apart, if it is a Rust file.
    pub(super) fn new(file: &'a File) -> Option<Self> {
        if !file.is("rs") {
            return None;
        }
        let (code, comments) = split(&file.text);
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (code, comments) = (lines(code), lines(comments));
        let is_test = test_modules(&code);
        Some(Self { file, code, comments, is_test })
    }

    /// From the repository's root.
    pub(super) fn path(&self) -> &'a str {
        &self.file.path
    }

    /// The file as it is.
    pub(super) fn text(&self) -> &'a str {
        &self.file.text
    }

    /// The numbers of the lines whose code `is_bad`.
    pub(super) fn lines(&self, is_bad: impl Fn(&str) -> bool) -> Vec<usize> {
        numbers(self.code.iter().map(|line| is_bad(line)))
    }
}

/// The numbers, from 1, of the lines that are bad.
pub(super) fn numbers(is_bad: impl Iterator<Item = bool>) -> Vec<usize> {
    is_bad.zip(1..).filter_map(|(bad, number)| bad.then_some(number)).collect()
}

/// The identifiers and keywords of `code`, each with what comes after it.
pub(super) fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = code;
    std::iter::from_fn(move || {
        let start = rest.find(is_word)?;
        let word = &rest[start..];
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        rest = &word[end..];
        Some((&word[..end], rest))
    })
}

/// Whether `c` can be in an identifier.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `text` twice: once as code, once as comments, each with blanks in place of the other.
fn split(text: &str) -> (String, String) {
    let mut out = Split::default();
    let mut rest = text;
    let mut after_word = false;
    while let Some(c) = rest.chars().next() {
        let (kind, len) = if let Some(len) = comment(rest) {
            (Kind::Comment, len)
        } else if let Some(len) = (!after_word).then(|| string(rest)).flatten() {
            (Kind::String, len)
        } else if let Some(len) = string(rest).filter(|_| c == '"' || c == '\'') {
            (Kind::String, len)
        } else {
            (Kind::Code, c.len_utf8())
        };
        out.push(kind, &rest[..len]);
        after_word = is_word(c);
        rest = &rest[len..];
    }
    (out.code, out.comments)
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    String,
}

#[derive(Default)]
struct Split {
    code: String,
    comments: String,
}

impl Split {
    fn push(&mut self, kind: Kind, text: &str) {
        for c in text.chars() {
            let (code, comment) = match kind {
                _ if c == '\n' => ('\n', '\n'),
                Kind::Code => (c, ' '),
                Kind::Comment => (' ', c),
                Kind::String => (IN_STRING, ' '),
            };
            self.code.push(code);
            self.comments.push(comment);
        }
    }
}

/// The length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(text.len())
}

/// The length of the string or character that `text` begins with, with its prefix.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#', '\''])))
        .unwrap_or("");
    let body = &text[prefix.len()..];
    let len = if prefix.ends_with('r') {
        raw_string(body)?
    } else if body.starts_with('"') {
        escaped(body, '"')
    } else if body.starts_with('\'') && !is_lifetime(body) {
        escaped(body, '\'')
    } else {
        return None;
    };
    Some(prefix.len() + len)
}

/// The length of `"..."` or `#"..."#`; a raw identifier, as in `r#type`, is none.
fn raw_string(body: &str) -> Option<usize> {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let content = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &body[..hashes]);
    let len = content.find(&end).map_or(content.len(), |at| at + end.len());
    Some(hashes + 1 + len)
}

/// The length of a literal in `quote`s, where `\` takes away the next character's meaning.
fn escaped(body: &str, quote: char) -> usize {
    let mut chars = body.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    body.len()
}

/// Whether a `'` begins a name, as in `'static`, rather than a character.
fn is_lifetime(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    chars.next() != Some('\\') && chars.next() != Some('\'')
}

/// For each line of `code`, whether it is in a `#[cfg(test)] mod .. { .. }`.
fn test_modules(code: &[String]) -> Vec<bool> {
    let mut is_test = vec![false; code.len()];
    let mut first = 0;
    while first < code.len() {
        let last = test_module(&code[first..]).map_or(first, |len| {
            is_test[first..first + len].fill(true);
            first + len - 1
        });
        first = last + 1;
    }
    is_test
}

/// The number of lines of the test module that begins in the first line.
fn test_module(code: &[String]) -> Option<usize> {
    let first = code.first()?.trim_start();
    if !first.starts_with("#[cfg(test)]") && !first.starts_with("#[cfg(all(test") {
        return None;
    }
    let (mut depth, mut is_module) = (0_usize, false);
    for (line, number) in code.iter().zip(1..) {
        if depth == 0 && !is_module {
            match item(line) {
                Some("mod") => is_module = true,
                Some(_) => return None,
                None => continue,
            }
        }
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                // A module in a file of its own.
                ';' if depth == 0 => return None,
                _ => {}
            }
        }
        if depth == 0 && line.contains('}') {
            return Some(number);
        }
    }
    None
}

/// The keyword that says what kind of item begins in `line`: its first word after attributes.
fn item(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("#[") {
        Some(_) => &line[line.rfind(']')? + 1..],
        None => line,
    };
    words(line).map(|(word, _)| word).find(|word| *word != "pub")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        split(text).0.replace(IN_STRING, "")
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e").replace(' ', ""), "ae");
        assert_eq!(split("a // b").1, "  // b");
    }

    #[test]
    fn strings_are_no_code_and_no_comments() {
        for text in [
            r#"f("// x")"#,
            r#"f("a\"x")"#,
            r##"f(r#"a"x"#)"##,
            r#"f(br"x\")"#,
            r"f('x')",
            r"f(b'\'')",
            "f(\"a\nx\")",
        ] {
            let code = code(text).replace('\n', "");
            assert_eq!(code, "f()", "{text}");
            assert_eq!(split(text).1.trim(), "", "{text}");
        }
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        assert_eq!(code("&'a str /*x*/").trim(), "&'a str");
        assert_eq!(code("let r#type = b;"), "let r#type = b;");
        assert_eq!(code("for 'x: &'x"), "for 'x: &'x");
    }

    #[test]
    fn words_are_whole() {
        let words: Vec<_> = words("use tokio_util::a1;").map(|(word, _)| word).collect();
        assert_eq!(words, ["use", "tokio_util", "a1"]);
    }

    fn test_lines(text: &str) -> Vec<usize> {
        let file = File { path: "a.rs".to_owned(), text: text.to_owned() };
        let is_test = RustFile::new(&file).unwrap().is_test;
        numbers(is_test.into_iter())
    }

    #[test]
    fn test_modules_are_found() {
        assert_eq!(
            test_lines("a\n#[cfg(test)]\n#[rustfmt::skip]\nmod x {\n fn f() {}\n}\nb"),
            [2, 3, 4, 5, 6]
        );
        assert_eq!(test_lines("#[cfg(test)] mod x { }\nb"), [1]);
    }

    #[test]
    fn other_test_items_are_not_modules() {
        assert!(test_lines("#[cfg(test)]\nmod x;\nfn f() {}").is_empty());
        assert!(test_lines("#[cfg(test)]\nuse a::{b};\nfn f() {}").is_empty());
        assert!(test_lines("#[cfg(test)]\nfn f() {\n}\nmod x {\n}").is_empty());
    }
}
