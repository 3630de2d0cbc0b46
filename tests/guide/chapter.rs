//! A chapter of the guide, as what is to be done in order.

/// What a chapter has.
#[derive(Debug, Default)]
pub(super) struct Chapter {
    pub(super) steps: Vec<Step>,
    pub(super) blocks: Vec<Block>,
    /// Whether it asks for an engine in the kernel.
    pub(super) needs_kernel: bool,
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) text: String,
}

/// Something to do, and the line that says so.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A file is written.
    Write { name: String, text: String },
    /// And added to.
    Append { name: String, text: String },
    /// A command that readers do not see; it must succeed.
    Hidden { command: String },
    /// A command runs, and says this.
    Run { command: String, says: Vec<String>, manner: Manner, next_asks: bool },
}

/// How commands are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Once.
    Once,
    /// Again, until it says what it should: it looks at something that is on its way.
    Until,
    /// In the background, as in a terminal of its own.
    Beside,
}

impl Chapter {
    /// Reads a chapter. What is to be done with a block stands in a comment before it.
    pub(super) fn read(markdown: &str) -> Self {
        let mut chapter = Self::default();
        let mut order: Option<String> = None;
        let mut lines = (1..).zip(markdown.lines());
        while let Some((line, text)) = lines.next() {
            if let Some(fence) = text.strip_prefix("```") {
                let mut body = String::new();
                let end = lines.by_ref().find(|(_, text)| {
                    let is_end = *text == "```";
                    if !is_end {
                        body.push_str(text);
                        body.push('\n');
                    }
                    is_end
                });
                assert!(end.is_some(), "line {line}: the block has no end");
                chapter.block(line, fence, body, order.take().as_deref());
            } else if let Some(comment) = text.strip_prefix("<!--") {
                let mut comment = comment.to_owned();
                while !comment.contains("-->") {
                    comment.push('\n');
                    comment.push_str(lines.next().expect("the comment ends").1);
                }
                let comment = comment.replace("-->", "");
                let words = comment.trim();
                match words.split_once('\n') {
                    Some(("setup", commands)) => chapter.setup(line + 1, commands),
                    _ if words == "needs the kernel's engine" => chapter.needs_kernel = true,
                    _ if words.starts_with("generated") || words == "end" => {}
                    _ => {
                        let known =
                            ["until", "beside", "file: ", "append: "].iter().any(|w| words.starts_with(w));
                        assert!(known, "line {line}: no such order: {words}");
                        order = Some(words.to_owned());
                    }
                }
            } else if !text.is_empty() {
                assert!(order.is_none(), "line {line}: between {order:?} and its block");
            }
        }
        assert!(order.is_none(), "{order:?} has no block");
        chapter
    }

    fn setup(&mut self, line: usize, commands: &str) {
        let hidden = |(line, command): (usize, &str)| Step {
            line,
            what: What::Hidden { command: command.to_owned() },
        };
        self.steps.extend((line..).zip(commands.lines()).filter(|(_, text)| !text.is_empty()).map(hidden));
    }

    fn block(&mut self, line: usize, language: &str, text: String, order: Option<&str>) {
        if language == "console" {
            let manner = match order {
                None => Manner::Once,
                Some("until") => Manner::Until,
                Some("beside") => Manner::Beside,
                Some(other) => panic!("line {line}: {other} is no way to run commands"),
            };
            self.console(line + 1, &text, manner);
        } else if let Some(order) = order {
            let name = |name: &str| name.trim().to_owned();
            let text = text.clone();
            let what = match order.split_once(':') {
                Some(("file", file)) => What::Write { name: name(file), text },
                Some(("append", file)) => What::Append { name: name(file), text },
                _ => panic!("line {line}: {order} is for commands"),
            };
            self.steps.push(Step { line, what });
        }
        self.blocks.push(Block { line, language: language.to_owned(), text });
    }

    fn console(&mut self, first: usize, text: &str, manner: Manner) {
        let mut lines = (first..).zip(text.lines());
        while let Some((line, text)) = lines.next() {
            let Some(command) = text.strip_prefix("$ ") else {
                let last = self.steps.last_mut().filter(|last| last.line >= first);
                match last.map(|last| &mut last.what) {
                    Some(What::Run { says, .. }) => says.push(text.to_owned()),
                    _ => panic!("line {line}: nothing was asked before {text:?}"),
                }
                continue;
            };
            let mut command = command.to_owned();
            while command.ends_with('\\') {
                command.push('\n');
                command.push_str(lines.next().expect("the command goes on").1);
            }
            if command.starts_with("echo $?")
                && let Some(What::Run { next_asks, .. }) = self.steps.last_mut().map(|last| &mut last.what)
            {
                *next_asks = true;
            }
            let what = What::Run { command, says: vec![], manner, next_asks: false };
            self.steps.push(Step { line, what });
        }
    }
}

#[test]
fn a_chapter_is_read_as_what_is_to_be_done() {
    let text = "# One\n<!-- setup\ntrue\n-->\n<!-- file: a.toml -->\n```toml\na = 1\n```\n\nand\n\n\
                <!-- until -->\n```console\n$ cat \\\n  a.toml\na = 1\n$ false\n$ echo $?\n1\n```\n";
    let run = |command: &str, says: &[&str], next_asks| What::Run {
        command: command.to_owned(),
        says: says.iter().map(|line| (*line).to_owned()).collect(),
        manner: Manner::Until,
        next_asks,
    };
    let wanted = [
        (3, What::Hidden { command: "true".into() }),
        (6, What::Write { name: "a.toml".into(), text: "a = 1\n".into() }),
        (14, run("cat \\\n  a.toml", &["a = 1"], false)),
        (17, run("false", &[], true)),
        (18, run("echo $?", &["1"], false)),
    ];
    let found = Chapter::read(text).steps.into_iter().map(|step| (step.line, step.what));
    assert!(found.eq(wanted), "{:#?}", Chapter::read(text).steps);
}
