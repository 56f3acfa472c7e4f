//! RESULTS.md and its charts: made in memory, then written or held against what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::charts::{self, ChartsError};
use crate::markdown::link;
use crate::raw::{self, Criterion, Measures, RawError, Workload};
use crate::section::{criterion, gate, goals, losses, machine, measures, torture, workload};
use crate::template::{self, OpenError, Part};

const RESULTS: &str = "RESULTS.md";
const TEMPLATE: &str = "bench/results/template.md";

/// The folder of the charts, in that of the record.
const CHARTS: &str = "charts";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PagesError {
    /// A raw file is missing or wrong.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// A goal has no figures.
    #[error(transparent)]
    Goal(#[from] goals::MissingError),
    /// A chart cannot be drawn.
    #[error(transparent)]
    Chart(#[from] ChartsError),
    /// A file cannot be read or written.
    #[error("{}: {source}; run this from the root of the workspace", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The template ends within a placeholder.
    #[error("{TEMPLATE}: {0}")]
    Open(#[from] OpenError),
    /// The template asks for something unknown.
    #[error(
        "{TEMPLATE}:{line}: there is no placeholder {text:?}; there are machine, goals, losses, \
         criterion, gate, measures, record, torture, and workload and charts with the name of a workload"
    )]
    Placeholder {
        /// Where.
        line: usize,
        /// What it asks for.
        text: String,
    },
    /// The template shows a workload that was not measured.
    #[error("{TEMPLATE}:{line}: no raw files of the workload {name:?} are in the record")]
    Workload {
        /// Where.
        line: usize,
        /// Which.
        name: String,
    },
    /// The template leaves a workload out that was measured.
    #[error(
        "{TEMPLATE}: the workload {name:?} is in the record and not shown; add {{{{workload {name}}}}}"
    )]
    NotShown {
        /// Which.
        name: String,
    },
    /// What is there is not what the raw files give.
    #[error("{}: not what the raw files give; run `{command}`", path.display())]
    Differs {
        /// Which.
        path: PathBuf,
        /// What makes it agree.
        command: String,
    },
}

/// The page and the charts.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Texts by their paths, from the root of the workspace.
    files: BTreeMap<PathBuf, String>,
    charts: PathBuf,
    command: String,
}

/// What a page is made of.
struct Sources {
    record: PathBuf,
    workloads: BTreeMap<String, Workload>,
}

impl Pages {
    /// Makes them from the record in a folder.
    pub(crate) fn new(record: &Path) -> Result<Self, PagesError> {
        // As links need it: without `./` and a slash at the end.
        let record: PathBuf = record.components().collect();
        let workloads = raw::workloads(&record)?;
        let template = fs::read_to_string(TEMPLATE)
            .map_err(|source| PagesError::Io { path: TEMPLATE.into(), source })?;
        let command = format!("cargo run -p mezzenger-results -- {}", record.display());
        let sources = Sources { record, workloads };
        let mut files = BTreeMap::new();
        let mut page = format!("<!-- Written by `{command}`. Edit {TEMPLATE} instead. -->\n");
        let mut shown = BTreeSet::new();
        for part in template::parts(&template)? {
            match part {
                Part::Text(text) => page.push_str(text),
                Part::Placeholder { name, argument, line } => {
                    if name == "workload" {
                        shown.insert(argument);
                    }
                    page.push_str(&sources.fill(name, argument, line, &mut files)?);
                }
            }
        }
        if let Some(name) = sources.workloads.keys().find(|name| !shown.contains(name.as_str())) {
            return Err(PagesError::NotShown { name: name.clone() });
        }
        files.insert(RESULTS.into(), page);
        Ok(Self { files, charts: sources.record.join(CHARTS), command })
    }

    /// Writes them.
    pub(crate) fn write(&self) -> Result<(), PagesError> {
        for stale in self.stale_charts()? {
            fs::remove_file(&stale).map_err(|source| PagesError::Io { path: stale, source })?;
        }
        for (path, text) in &self.files {
            let write = || {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(path, text)
            };
            write().map_err(|source| PagesError::Io { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Fails unless all of them are there, and no other charts.
    pub(crate) fn check(&self) -> Result<(), PagesError> {
        let is_there = |(path, text): &(&PathBuf, &String)| {
            fs::read_to_string(path).is_ok_and(|is| is == **text)
        };
        let missing = self.files.iter().find(|file| !is_there(file)).map(|(path, _)| path.clone());
        match missing.or(self.stale_charts()?.into_iter().next()) {
            None => Ok(()),
            Some(path) => Err(PagesError::Differs { path, command: self.command.clone() }),
        }
    }

    /// Charts that lie there and are no longer shown.
    fn stale_charts(&self) -> Result<Vec<PathBuf>, PagesError> {
        let io = |source| PagesError::Io { path: self.charts.clone(), source };
        let entries = match fs::read_dir(&self.charts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let paths =
            entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(io)?;
        Ok(paths.into_iter().filter(|path| !self.files.contains_key(path)).collect())
    }
}

impl Sources {
    /// What stands in place of a placeholder. Charts go to `files`.
    fn fill(
        &self,
        name: &str,
        argument: &str,
        line: usize,
        files: &mut BTreeMap<PathBuf, String>,
    ) -> Result<String, PagesError> {
        match (name, argument) {
            ("record", "") => Ok(self.record.display().to_string()),
            ("machine", "") => Ok(machine::section(&self.record, &self.workloads)),
            ("goals", "") => {
                Ok(goals::section(&self.workloads, &self.measures()?, gate::copied()?)?)
            }
            ("losses", "") => Ok(losses::section(&self.workloads)),
            ("gate", "") => Ok(gate::section()?),
            ("measures", "") => Ok(measures::section(&self.measures()?)),
            ("criterion", "") => {
                let path = self.record.join(raw::CRITERION);
                let criterion: Criterion = raw::read_json(&path, "`mezzenger-results criterion`")?;
                Ok(criterion::section(&path, &criterion))
            }
            ("torture", "") => {
                let path = self.record.join(raw::TORTURE);
                let outcome = raw::read_json(&path, "`mezzenger-torture --json`")?;
                Ok(torture::section(&path, &outcome))
            }
            ("workload", name) => Ok(workload::section(self.workload(name, line)?)),
            ("charts", name) => {
                let mut images = Vec::new();
                for chart in charts::charts(name, self.workload(name, line)?)? {
                    let path = self.record.join(CHARTS).join(chart.file);
                    images.push(format!("!{}", link(&chart.title, &path)));
                    files.insert(path, chart.svg);
                }
                Ok(images.join("\n\n"))
            }
            _ => Err(PagesError::Placeholder { line, text: format!("{name} {argument}") }),
        }
    }

    fn workload(&self, name: &str, line: usize) -> Result<&Workload, PagesError> {
        let missing = || PagesError::Workload { line, name: name.to_owned() };
        self.workloads.get(name).ok_or_else(missing)
    }

    fn measures(&self) -> Result<Vec<(PathBuf, Measures)>, RawError> {
        let read = |name| {
            let path = self.record.join(name);
            let measures = raw::read_json(&path, "`mezzenger-results footprint`")?;
            Ok((path, measures))
        };
        raw::MEASURES.into_iter().map(read).collect()
    }
}
