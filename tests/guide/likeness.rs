//! Whether a command has said what the guide says. `...` stands for anything: within a line for anything there, on a
//! line of its own for any number of lines.

/// Whether that is what it said.
pub(super) fn is_like(says: &[String], said: &str) -> bool {
    let said: Vec<&str> = said.lines().map(str::trim_end).collect();
    lines_are_like(says, &said)
}

fn lines_are_like(says: &[String], said: &[&str]) -> bool {
    match says.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first.trim() == "..." => {
            (0..=said.len()).any(|skipped| lines_are_like(rest, &said[skipped..]))
        }
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, others)| line_is_like(first, line) && lines_are_like(rest, others)),
    }
}

fn line_is_like(says: &str, said: &str) -> bool {
    let Some((first, rest)) = says.split_once("...") else { return says == said };
    let Some(mut said) = said.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split("...").collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = said.find(part) else { return false };
        said = &said[at + part.len()..];
    }
    said.ends_with(last)
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    let is_like =
        |says: &str, said: &str| is_like(&says.lines().map(str::to_owned).collect::<Vec<_>>(), said);
    for (says, said) in [
        ("", ""),
        ("a", "a\n"),
        ("a", "a\r\n"),
        ("a...", "a"),
        ("a...c", "abc"),
        ("...b...d...", "abcde"),
        ("a\n...\nd", "a\nb\nc\nd\n"),
        ("...\nd", "d\n"),
    ] {
        assert!(is_like(says, said), "{says:?} {said:?}");
    }
    for (says, said) in [
        ("", "a"),
        ("a", ""),
        ("a", "ab"),
        ("a...c", "abd"),
        ("a...a", "a"),
        ("a\n...\nd", "a\nb\n"),
        ("...\nd", "d\ne\n"),
        ("a...\nb", "a\nx\nb"),
    ] {
        assert!(!is_like(says, said), "{says:?} {said:?}");
    }
}
