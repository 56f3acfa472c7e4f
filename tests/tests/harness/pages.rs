//! The pages of the guide, and what stands in them.

use std::fs;
use std::path::Path;

use super::binaries::workspace;

/// A Markdown file of the repository.
pub(crate) struct Page {
    /// Its path from the root, such as `docs/delivery.md`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A block of code, or of output.
pub(crate) struct Block {
    /// What stands behind the fence: `sh`, `console`, `rust,no_run`.
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Page {
    /// The page at this path from the root.
    #[track_caller]
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(workspace().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    /// Its blocks, from the top.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open = Some(Block { language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.text.push_str(line.trim_end());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        blocks
    }

    /// The texts of its blocks in this language.
    pub(crate) fn blocks_in(&self, language: &str) -> Vec<String> {
        let blocks = self.blocks().into_iter().filter(|block| block.language == language);
        blocks.map(|block| block.text).collect()
    }

    /// Its lines outside of blocks, counted from 1.
    pub(crate) fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_block = false;
        let mut prose = Vec::new();
        for (n, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_block = !is_block;
            } else if !is_block {
                prose.push((n + 1, line));
            }
        }
        prose
    }

    /// What stands in backticks outside of blocks, in one line each.
    pub(crate) fn quoted(&self) -> Vec<String> {
        let prose = self.prose().into_iter();
        prose.flat_map(|(_, line)| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    }
}

/// The README and each page of the book, in its order.
pub(crate) fn guide() -> Vec<Page> {
    let summary = Page::read("docs/SUMMARY.md");
    let mut pages = vec![Page::read("README.md")];
    for (_, line) in summary.prose() {
        if let Some((_, path)) = line.split_once("](") {
            pages.push(Page::read(&format!("docs/{}", path.trim_end_matches(')'))));
        }
    }
    assert!(pages.len() > 20, "docs/SUMMARY.md lists its pages");
    pages
}

/// Whether a page is one of the decisions, which are not rewritten.
pub(crate) fn is_decision(page: &Page) -> bool {
    let file = Path::new(&page.path).file_name().and_then(|name| name.to_str());
    page.path.starts_with("docs/decisions/") && file != Some("index.md")
}
