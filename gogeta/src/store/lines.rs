//! Lines of a routes file, for messages.

/// Where each line of a text ends.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// Those of that text. It is read once, so that to ask for many lines is no matter of its length.
    pub fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line that the byte there is in, from 1 on.
    pub fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|end| *end < byte) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_behind_its_line_feed() {
        let lines = Lines::of("a\n\nbc\nd");
        let all: Vec<_> = (0..9).map(|byte| lines.at(byte)).collect();
        assert_eq!(all, [1, 1, 2, 3, 3, 3, 4, 4, 4]);
        assert_eq!(Lines::of("").at(0), 1);
    }
}
