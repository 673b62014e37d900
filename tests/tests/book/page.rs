//! A page of the book, as its Markdown has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use mdbook_markdown::pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::block::Block;

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Documents that are not below `docs/`.
pub(crate) const BESIDE: [&str; 4] =
    ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"];

/// A document, by its path below the repository's root.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Where a page leads to.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) line: usize,
}

/// All documents.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = BESIDE.iter().map(PathBuf::from).collect();
    for directory in ["docs", "docs/benchmarks"] {
        let entries = fs::read_dir(repository().join(directory)).expect("the folder is there");
        let entries =
            entries.map(|entry| Path::new(directory).join(entry.expect("readable").file_name()));
        paths.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    /// Reads the document at this path below the repository's root.
    pub(crate) fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(repository().join(&path)).unwrap_or_default();
        assert!(!text.is_empty(), "there is no {}", path.display());
        Self { path, text }
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
            .into_offset_iter()
    }

    /// The number of the line that this byte is in.
    fn line(&self, byte: usize) -> usize {
        self.text.get(..byte).map_or(0, |before| before.matches('\n').count()) + 1
    }

    /// What a link into the page can name behind `#`.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let (mut anchors, mut heading) = (BTreeSet::new(), None);
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let own = anchor(&heading.take().unwrap_or_default());
                    let before = times.entry(own.clone()).or_default();
                    anchors.insert(if *before == 0 { own } else { format!("{own}-{before}") });
                    *before += 1;
                }
                _ => {}
            }
        }
        anchors
    }

    /// Its links and pictures.
    pub(crate) fn links(&self) -> Vec<Link> {
        let target = |event: Event<'_>| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.into_string())
            }
            _ => None,
        };
        let links = self.events().filter_map(|(event, at)| Some((target(event)?, at)));
        links.map(|(target, at)| Link { target, line: self.line(at.start) }).collect()
    }

    /// Its fenced blocks and the comments with commands, in their order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None);
        let mut comment: Option<(usize, String)> = None;
        for (event, at) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    open = Some((self.line(at.start), info.into_string(), String::new()));
                }
                Event::Text(text) => {
                    if let Some((_, _, body)) = &mut open {
                        body.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    if let Some((line, info, body)) = open.take() {
                        blocks.push(Block::fenced(self.name(), line, &info, body));
                    }
                }
                Event::Start(Tag::HtmlBlock) => {
                    comment = Some((self.line(at.start), String::new()))
                }
                Event::Html(html) => {
                    if let Some((_, text)) = &mut comment {
                        text.push_str(&html);
                    }
                }
                Event::End(TagEnd::HtmlBlock) => {
                    let (line, text) = comment.take().unwrap_or_default();
                    blocks.extend(Block::comment(self.name(), line, &text));
                }
                _ => {}
            }
        }
        blocks
    }
}

/// What a heading is called in links, by forges and mdBook alike: lower case, without punctuation, `-` for
/// blanks.
fn anchor(heading: &str) -> String {
    let kept =
        heading.trim().chars().flat_map(char::to_lowercase).filter_map(
            |character| match character {
                ' ' => Some('-'),
                '-' | '_' => Some(character),
                _ if character.is_alphanumeric() => Some(character),
                _ => None,
            },
        );
    kept.collect()
}

#[test]
fn headings_are_named_as_forges_name_them() {
    let text = "# What *it* needs\n## `penstock explain --flow`\n## Flags\n## Flags\n".to_owned();
    let page = Page { path: PathBuf::from("x.md"), text };
    let anchors = page.anchors();
    let expected = ["flags", "flags-1", "penstock-explain---flow", "what-it-needs"];
    assert_eq!(anchors.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
