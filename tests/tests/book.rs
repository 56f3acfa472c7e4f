//! The guide is a book: each page is in it once, its links lead somewhere, and mdBook builds it without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::harness::binaries::workspace;
use crate::harness::pages::{Page, guide, is_decision};
use crate::harness::python;
use crate::tidy::{files, shown};

/// Every `[text](target)` of a page.
fn links(page: &Page) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (n, line) in page.prose() {
        for (at, _) in line.match_indices("](") {
            if let Some((target, _)) = line[at + 2..].split_once(')') {
                links.push((n, target));
            }
        }
    }
    links
}

/// The anchors of a page's headings, made as forges and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in page.prose() {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let words = heading.trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = words.chars().filter(kept).collect::<String>().replace(' ', "-");
        let before = times.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leaves its root", path.display()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn relative_links_and_their_anchors_lead_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in files(&[".md"]) {
        let page = Page::read(&shown(&file));
        let folder = file.parent().unwrap();
        for (n, link) in links(&page).into_iter().filter(|(_, link)| !link.contains("://")) {
            checked += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { folder.join(path) };
            let leads = target.exists()
                && (anchor.is_empty()
                    || anchors(&Page::read(&shown(&plain(&target)))).contains(anchor));
            if !leads {
                broken.push(format!("{}:{n}: {link}", page.path));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 100, "the links were not found");
}

#[test]
fn each_page_is_in_the_book_once() {
    let mut listed: Vec<_> = guide().into_iter().map(|page| page.path).collect();
    listed.retain(|path| path != "README.md");
    listed.sort();
    let there: Vec<_> = files(&[".md"])
        .iter()
        .map(|file| shown(file))
        .filter(|path| path.starts_with("docs/") && path != "docs/SUMMARY.md")
        .collect();
    assert_eq!(listed, there, "pages of docs/SUMMARY.md, and files of docs/");
}

/// The targets of a page's `href` and `src`.
fn targets(html: &str) -> Vec<&str> {
    ["href=\"", "src=\""]
        .iter()
        .flat_map(|name| html.split(name).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn the_book_is_built_without_a_warning_and_its_links_lead_somewhere() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python::environment().join("bin/mdbook"))
        .arg("build")
        .arg(workspace().join("docs"))
        .arg("--dest-dir")
        .arg(folder.path())
        .env("MDBOOK_OUTPUT__HTML__GIT_REPOSITORY_URL", "https://forge.example/mezzenger")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_clean = !said.contains("WARN") && !said.contains("ERROR");
    assert!(output.status.success() && is_clean, "mdbook: {said}");
    let (mut broken, mut checked) = (Vec::new(), 0);
    for page in guide().iter().filter(|page| page.path != "README.md") {
        let of_book = page.path.strip_prefix("docs/").unwrap();
        let name = of_book.replace(".md", ".html");
        let html = fs::read_to_string(folder.path().join(&name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for target in targets(&html).into_iter().filter(|target| !target.starts_with("data:")) {
            checked += 1;
            if let Some((_, path)) = target.split_once("/blob/main/") {
                if !workspace().join(path.split('#').next().unwrap()).exists() {
                    broken.push(format!("{name}: {target}"));
                }
                continue;
            }
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = Path::new(&name).parent().unwrap().join(path);
            let file = if path.is_empty() { name.clone().into() } else { plain(&file) };
            let there = fs::read(folder.path().join(&file));
            let leads = there.is_ok_and(|there| {
                anchor.is_empty()
                    || String::from_utf8_lossy(&there).contains(&format!("id=\"{anchor}\""))
            });
            if !leads {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 500, "{checked} links");
}

/// Programs of the guide in Rust are compiled as documentation tests, if their page is named there.
#[test]
fn each_page_with_a_program_in_rust_is_compiled() {
    let tests = fs::read_to_string(workspace().join("tests/src/lib.rs")).unwrap();
    for page in guide() {
        let is_rust = |language: &str| language.split(',').any(|word| word == "rust");
        if page.blocks().iter().any(|block| is_rust(&block.language)) {
            let include = format!("include_str!(\"../../{}\")", page.path);
            assert!(tests.contains(&include), "tests/src/lib.rs lacks {}", page.path);
        }
    }
}

/// The figures of the README are those of RESULTS.md: a row names the section that has them, and the column.
#[test]
fn the_readmes_figures_are_in_the_results() {
    let results = Page::read("RESULTS.md");
    let readme = Page::read("README.md");
    let mut checked = 0;
    for (n, row) in readme.prose() {
        let Some((head, cells)) = row.strip_prefix("| [").and_then(|row| row.split_once(" |"))
        else {
            continue;
        };
        let anchor = head.split_once("](RESULTS.md#").and_then(|(_, rest)| rest.split_once(')'));
        let (anchor, column) = anchor.unwrap_or_else(|| panic!("README.md:{n}: no section"));
        let column = column.trim_start_matches([',', ' ']);
        let lines = results.text.lines().skip_while(|line| {
            let heading = Page { path: String::new(), text: (*line).to_owned() };
            !anchors(&heading).contains(anchor)
        });
        let section: Vec<_> = lines.skip(1).take_while(|line| !line.starts_with("##")).collect();
        let table: Vec<Vec<_>> = section
            .iter()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let at = table.first().and_then(|head| head.iter().position(|cell| *cell == column));
        let at = at.unwrap_or_else(|| panic!("README.md:{n}: {anchor} has no column {column}"));
        for figure in cells.trim_matches([' ', '|']).split('|') {
            let figure = figure.trim().trim_matches('*');
            let is_there =
                |row: &Vec<&str>| row[at].split(" (").next().is_some_and(|cell| cell == figure);
            assert!(
                figure == "–" || table.iter().any(is_there),
                "README.md:{n}: {anchor} of RESULTS.md has no {column} of {figure}: take the new figure from there"
            );
            checked += usize::from(figure != "–");
        }
    }
    assert!(checked >= 15, "{checked} figures found");
}

/// The list of decisions says of each what the decision says of itself.
#[test]
fn each_decision_has_a_status_and_a_date_and_is_listed_with_them() {
    let list = Page::read("docs/decisions/index.md");
    let mut checked = 0;
    for page in guide().iter().filter(|page| is_decision(page)) {
        let name = page.path.rsplit('/').next().unwrap();
        let row = list.text.lines().find(|line| line.starts_with(&format!("| {} |", &name[..4])));
        let row = row.unwrap_or_else(|| panic!("docs/decisions/index.md lacks {name}"));
        let status = page.text.lines().find(|line| line.starts_with("Status: "));
        let status = status.unwrap_or_else(|| panic!("{name} has no line `Status: `"));
        let state =
            if status.starts_with("Status: superseded") { "superseded" } else { "accepted" };
        let date = row.split('|').nth(3).unwrap().trim();
        let is_same = row.contains(&format!("| {state}")) && status.contains(date);
        assert!(is_same && date.starts_with("20"), "{name}: {status}\nis listed as: {row}");
        checked += 1;
    }
    assert!(checked > 30, "{checked} decisions");
}

#[test]
fn the_readme_is_two_screens() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= 130, "README.md has {lines} lines: what is more belongs to the guide");
}
