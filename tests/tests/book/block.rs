//! A fenced block: what it is, and the commands in it.

/// What a page shows between fences, or hides in a comment.
#[derive(Debug)]
pub(crate) struct Block {
    page: String,
    line: usize,
    pub(crate) kind: Kind,
    /// Commands are given again until they print what they have to.
    pub(crate) eventually: bool,
    /// The commands' exit codes are not 0.
    pub(crate) fails: bool,
    pub(crate) text: String,
}

/// What is done with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its commands are run on the page's machine.
    Machine,
    /// Its commands are run beside an API server.
    Cluster,
    /// Its commands are looked up: they build, test or measure.
    Tool,
    /// It is written into a file of this name.
    File(String),
    /// Nothing, for this reason.
    NotRun(String),
    /// There is nothing to run in it.
    Shown,
    /// It does not say, or in no word that is known.
    Unknown,
}

/// A line to type, and the lines that answer it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) text: String,
    pub(crate) answer: Vec<String>,
}

impl Block {
    /// Of a page, at a line, with what stands behind the fence.
    pub(crate) fn fenced(page: String, line: usize, info: &str, text: String) -> Self {
        let mut words = words(info);
        if !words.is_empty() {
            // The language, which says how it is to be coloured.
            words.remove(0);
        }
        let (mut kind, mut eventually, mut fails) = (Kind::Unknown, false, false);
        for word in words {
            match word.split_once('=').unwrap_or((&word, "")) {
                ("machine", "") => kind = Kind::Machine,
                ("cluster", "") => kind = Kind::Cluster,
                ("tool", "") => kind = Kind::Tool,
                ("shown", "") => kind = Kind::Shown,
                ("file", name) => kind = Kind::File(name.to_owned()),
                ("reason", reason) => kind = Kind::NotRun(reason.to_owned()),
                ("eventually", "") => eventually = true,
                ("fails", "") => fails = true,
                _ => {
                    kind = Kind::Unknown;
                    break;
                }
            }
        }
        Self { page, line, kind, eventually, fails, text }
    }

    /// A comment that has commands; `None` if it has none.
    pub(crate) fn comment(page: String, line: usize, text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
        let (info, text) = text.split_once('\n')?;
        let info = info.trim();
        let first = info.split(' ').next();
        matches!(first, Some("machine" | "cluster"))
            .then(|| Self::fenced(page, line, &format!("console {info}"), text.to_owned()))
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// The lines that begin with `$ `, each with those that continue it and those that answer it.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let (mut commands, mut continued) = (Vec::<Command>::new(), false);
        for line in self.text.lines() {
            match (commands.last_mut(), line.strip_prefix("$ ")) {
                (Some(command), _) if continued => {
                    command.text.push('\n');
                    command.text.push_str(line);
                }
                (_, Some(text)) => {
                    commands.push(Command { text: text.to_owned(), answer: Vec::new() });
                }
                (Some(command), None) => command.answer.push(line.trim_end().to_owned()),
                (None, None) => {
                    assert!(line.trim().is_empty(), "{}: before any command: {line}", self.place());
                }
            }
            continued = line.ends_with('\\');
        }
        commands
    }
}

/// The words of a text; blanks between quotes belong to one.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always one").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_block_says_what_it_is() {
    let block = |info| Block::fenced(String::new(), 1, info, String::new());
    assert_eq!(block("console").kind, Kind::Unknown);
    assert_eq!(block("yaml file=a/b.yaml").kind, Kind::File("a/b.yaml".to_owned()));
    assert_eq!(block("console reason=\"no way\"").kind, Kind::NotRun("no way".to_owned()));
    assert_eq!(block("console machin").kind, Kind::Unknown);
    assert_eq!(block("console machine sometimes").kind, Kind::Unknown);
    let own = block("console machine eventually fails");
    assert_eq!((own.kind, own.eventually, own.fails), (Kind::Machine, true, true));
    let hidden = Block::comment(String::new(), 1, "<!-- cluster\n$ true\n-->\n");
    assert_eq!(hidden.expect("it has commands").kind, Kind::Cluster);
    assert!(Block::comment(String::new(), 1, "<!-- A remark. -->").is_none());
}

#[test]
fn commands_go_on_behind_a_backslash() {
    let text = "$ one \\\n    --two\nsaid\n\n$ three\n".to_owned();
    let block = Block::fenced(String::new(), 1, "console machine", text);
    let command = |text: &str, answer: &[&str]| Command {
        text: text.to_owned(),
        answer: answer.iter().map(|line| (*line).to_owned()).collect(),
    };
    let expected = [command("one \\\n    --two", &["said", ""]), command("three", &[])];
    assert_eq!(block.commands(), expected);
}
