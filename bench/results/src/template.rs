//! The text around the figures, with placeholders: `{{name}}` or `{{name argument}}`.

/// A part of a template.
#[derive(Debug, PartialEq)]
pub(crate) enum Part<'a> {
    /// To be taken as it is.
    Text(&'a str),
    /// To be filled in.
    Placeholder {
        /// What for.
        name: &'a str,
        /// Which one; may be empty.
        argument: &'a str,
        /// The line it stands in, from 1.
        line: usize,
    },
}

/// A placeholder that does not end.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {line} of the template: a placeholder without }}}}")]
pub(crate) struct OpenError {
    line: usize,
}

/// Cuts a template into its parts.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, OpenError> {
    let mut parts = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some((before, behind)) = rest.split_once("{{") {
        line += before.matches('\n').count();
        let Some((inner, after)) = behind.split_once("}}") else {
            return Err(OpenError { line });
        };
        let inner = inner.trim();
        let (name, argument) = inner.split_once(' ').unwrap_or((inner, ""));
        parts.push(Part::Text(before));
        parts.push(Part::Placeholder { name, argument: argument.trim(), line });
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_at_its_placeholders() {
        let found = parts("# A\n\n{{ goals }} b\n{{workload 8-to-32}}\n");
        let expected = [
            Part::Text("# A\n\n"),
            Part::Placeholder { name: "goals", argument: "", line: 3 },
            Part::Text(" b\n"),
            Part::Placeholder { name: "workload", argument: "8-to-32", line: 4 },
            Part::Text("\n"),
        ];
        assert_eq!(found.as_deref(), Ok(&expected[..]));
        assert_eq!(parts("a\nb {{goals"), Err(OpenError { line: 2 }));
    }
}
