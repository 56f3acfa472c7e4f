//! RESULTS.md and its charts: made in memory, then written or held against what is there.
//!
//! The page is prose with marked parts, of which alone this program writes the insides:
//!
//! ```text
//! <!-- figures: workload 8-to-32 -->
//! …
//! <!-- end -->
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loadgen::report::chart::ChartError;

use crate::baseline::Baseline;
use crate::record::Record;
use crate::{charts, goals, interop, sections, soak};

const RESULTS: &str = "RESULTS.md";
const BEGIN: &str = "<!-- figures: ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end -->";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error(transparent)]
    Chart(#[from] ChartError),
    #[error("{}: {source}; run this from the root of the workspace", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{RESULTS}: after {text:?} there is no {END:?}")]
    Open { text: String },
    #[error(
        "{RESULTS}: {BEGIN}{name} --> is not known: it is no part, and no workload that has a goal, needs none, or was measured"
    )]
    Unknown { name: String },
    #[error("{RESULTS}: the workload {name} is in the record and not shown")]
    NotShown { name: String },
    #[error("{}: not what the record gives; run `{command}`", path.display())]
    Differs { path: PathBuf, command: String },
}

/// Texts by their paths, from the root of the workspace.
pub(crate) struct Page {
    files: BTreeMap<PathBuf, String>,
    command: String,
}

impl Page {
    /// Makes the page, with its prose as it is, and the charts.
    pub(crate) fn new(record: &Record) -> Result<Self, PageError> {
        let io = |source| PageError::Io { path: RESULTS.into(), source };
        let old = fs::read_to_string(RESULTS).map_err(io)?;
        let (mut files, mut shown) = (BTreeMap::new(), BTreeSet::new());
        let (mut page, mut rest) = (String::new(), old.as_str());
        while let Some(begin) = rest.find(BEGIN) {
            let (prose, part) = rest.split_at(begin + BEGIN.len());
            let open = || PageError::Open { text: format!("{BEGIN}{}", first_line(part)) };
            let (name, part) = part.split_once(BEGIN_END).ok_or_else(open)?;
            let end = part.find(END).ok_or_else(open)?;
            let figures = figures(record, name, &mut files)?;
            shown.insert(name.trim_start_matches("workload "));
            page.extend([prose, name, BEGIN_END, "\n", &figures, "\n\n", END]);
            rest = &part[end + END.len()..];
        }
        page.push_str(rest);
        if let Some(name) = record.workloads.keys().find(|name| !shown.contains(name.as_str())) {
            return Err(PageError::NotShown { name: name.clone() });
        }
        files.insert(RESULTS.into(), page);
        let command =
            format!("cargo run -p mezzenger-results -- write {}", record.folder.display());
        Ok(Self { files, command })
    }

    /// Makes the charts of a soak, which the page shows, from the record in this folder.
    pub(crate) fn of_soak(folder: &Path) -> Result<Self, PageError> {
        let path = folder.join(soak::SAMPLES);
        let samples = fs::read_to_string(&path).map_err(|source| PageError::Io { path, source })?;
        let in_folder = |chart: charts::Chart| (folder.join("charts").join(chart.file), chart.svg);
        let files = soak::charts(&samples)?.into_iter().map(in_folder).collect();
        let command = format!("cargo run -p mezzenger-results -- soak {}", folder.display());
        Ok(Self { files, command })
    }

    pub(crate) fn write(&self) -> Result<(), PageError> {
        for (path, text) in &self.files {
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            let written = folder.and_then(|()| fs::write(path, text));
            written.map_err(|source| PageError::Io { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Fails unless page and charts are there as they have to be.
    pub(crate) fn check(&self) -> Result<(), PageError> {
        let differs = |(path, text): &(&PathBuf, &String)| {
            !fs::read_to_string(path).is_ok_and(|is| is == **text)
        };
        match self.files.iter().find(differs) {
            None => Ok(()),
            Some((path, _)) => {
                Err(PageError::Differs { path: path.clone(), command: self.command.clone() })
            }
        }
    }
}

/// The insides of a part. Charts go to `files`.
fn figures(
    record: &Record,
    name: &str,
    files: &mut BTreeMap<PathBuf, String>,
) -> Result<String, PageError> {
    let unknown = || PageError::Unknown { name: name.to_owned() };
    Ok(match name {
        "machine" => sections::machine(record),
        "goals" => goals::section(record),
        "old" => sections::old(record),
        "losses" => sections::losses(record),
        "measures" => sections::measures(record),
        "counts" => record.baseline.as_ref().map_or_else(sections::not_measured, Baseline::section),
        "interop" => record.interop.as_ref().map_or_else(sections::not_measured, interop::section),
        "torture" => record.torture.as_ref().map_or_else(sections::not_measured, sections::torture),
        _ => {
            let workload = name.strip_prefix("workload ").ok_or_else(unknown)?;
            let Some(targets) = record.workloads.get(workload) else {
                let is_known = goals::know(workload);
                return is_known.then(sections::not_measured).ok_or_else(unknown);
            };
            let mut text = sections::workload(targets);
            for chart in charts::charts(workload, targets)? {
                let path = record.folder.join("charts").join(chart.file);
                text.push_str(&format!("\n\n![{}]({})", chart.title, path.display()));
                files.insert(path, chart.svg);
            }
            text
        }
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
