//! Figures that are not rates of messages.

use std::path::PathBuf;

use loadgen::report::Spread;

use crate::markdown::{Table, link, spread};
use crate::raw::Measures;

/// A table with a row for each figure, and the commands.
pub(crate) fn section(measures: &[(PathBuf, Measures)]) -> String {
    let mut table = Table::new(&["measure", "value", "unit", "raw file"]);
    for (path, file) in measures {
        for measure in &file.measures {
            let value = Spread {
                median: measure.value,
                min: measure.min.unwrap_or(measure.value),
                max: measure.max.unwrap_or(measure.value),
            };
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            let (name, unit) = (measure.name.clone(), measure.unit.clone());
            table.row(&[name, spread(value), unit, link(&file_name, path)]);
        }
    }
    let mut text = table.finish();
    let mut commands: Vec<_> = measures.iter().map(|(_, file)| file.command.as_str()).collect();
    commands.dedup();
    for command in commands {
        text.push_str(&format!("\n\nMeasured with `{command}`."));
    }
    text
}
