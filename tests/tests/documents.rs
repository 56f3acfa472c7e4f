//! The documents agree with the code.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use mezzenger::MessageId;
use mezzenger::wire::record::{Encoding, LENGTH_BYTES, ROOT_BYTES, Record};
use mezzenger::wire::reply::{self, Reply};

use crate::harness::binaries::{self, workspace};
use crate::harness::pages::{Page, guide};

fn unindented(text: &str) -> String {
    text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

/// In these pages a file in backticks is followed by the test in it that holds the promise.
#[test]
fn the_tests_that_hold_the_promises_exist() {
    for (page, at_least) in [("reliability.md", 30), ("security.md", 8)] {
        let text = fs::read_to_string(workspace().join("docs").join(page)).unwrap();
        let mut checked = 0;
        for row in text.lines().filter(|line| line.starts_with('|')) {
            let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
            let names_a_test =
                |pair: &&[&str]| pair[0].ends_with(".rs") && !pair[1].ends_with(".rs");
            for pair in quoted.windows(2).filter(names_a_test) {
                let file = fs::read_to_string(workspace().join(pair[0])).expect(pair[0]);
                let test = format!("#[test]\nfn {}(", pair[1]);
                let (file, test) = (unindented(&file), unindented(&test));
                assert!(file.contains(&test), "{} has no test {}", pair[0], pair[1]);
                checked += 1;
            }
        }
        assert!(checked > at_least, "the tests of {page} were not found");
    }
}

fn readme() -> Page {
    Page::read("README.md")
}

/// What a program says of itself.
fn help(program: &str, subcommand: &[&str]) -> String {
    let output =
        Command::new(binaries::path(program)).args(subcommand).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// What a cargo command of this workspace says.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(workspace())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), &output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(error));
    out.into_owned()
}

/// The feature `internals` has test doubles and doors for measurements.
#[test]
fn what_the_readme_builds_for_users_has_no_internals() {
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let defaults = metadata["workspace_default_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let for_users: Vec<_> = packages
        .iter()
        .filter(|package| defaults.contains(&package["id"]))
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert!(for_users.contains(&"mezzenger-server"), "{for_users:?}");
    let (lines, mut built) = (commands(&readme()), Vec::new());
    for line in &lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let (["cargo", "build", rest @ ..] | ["cargo", "run", rest @ ..]) = &words[..] else {
            continue;
        };
        let package = rest.iter().position(|word| *word == "-p").map(|at| rest[at + 1]);
        if package.is_none_or(|package| for_users.contains(&package)) {
            built.push(package);
        }
    }
    assert!(built.contains(&Some("mezzenger-server")), "the commands were not found");
    for package in built.into_iter().chain([Some("mezzenger-server"), Some("mezzenger-cli")]) {
        let mut tree = vec!["tree", "--locked", "-e", "no-dev,features", "-i", "mezzenger"];
        tree.extend(package.into_iter().flat_map(|package| ["-p", package]));
        let features = cargo(&tree);
        assert!(features.contains("mezzenger feature \"default\""), "{features}");
        assert!(!features.contains("internals"), "{package:?} has internals:\n{features}");
    }
}

/// Whether a help text has a flag.
fn has_flag(help: &str, flag: &str) -> bool {
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == flag)
}

/// The command lines in a page's `sh` blocks.
fn commands(page: &Page) -> Vec<String> {
    page.blocks_in("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
}

#[test]
fn programs_of_the_guide_have_the_flags_it_gives_them() {
    let mut checked = 0;
    for line in guide().iter().flat_map(commands) {
        let words: Vec<_> = line.split_whitespace().collect();
        // `target/release/mezzenger-server --flag …`, or `cargo run … -p loadgen -- --flag …`.
        let (program, arguments) = if let Some(run) = words.strip_prefix(&["cargo", "run"]) {
            let Some(package) = run.iter().position(|word| *word == "-p").map(|at| run[at + 1])
            else {
                continue;
            };
            let bin = run.iter().position(|word| *word == "--bin").map(|at| run[at + 1]);
            let arguments =
                run.iter().position(|word| *word == "--").map_or(run.len(), |at| at + 1);
            (bin.unwrap_or(package), &run[arguments..])
        } else if let Some(program) = words.first().and_then(|w| w.strip_prefix("target/release/"))
        {
            (program, &words[1..])
        } else {
            continue;
        };
        let subcommand: &[&str] = match (program, arguments.first()) {
            ("mezzenger" | "loadgen" | "mezzenger-results", Some(name))
                if !name.starts_with('-') =>
            {
                &[*name]
            }
            _ => &[],
        };
        let help = help(program, subcommand);
        for flag in arguments.iter().filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().unwrap();
            assert!(has_flag(&help, flag), "{program} {subcommand:?} has no {flag}: {line}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "the commands were not found");
}

#[test]
fn ci_runs_the_readmes_test_command_with_the_lock_file() {
    let command = commands(&readme()).into_iter().find(|line| line.starts_with("cargo test"));
    let ci = fs::read_to_string(workspace().join(".ci/run")).unwrap();
    let locked = format!("{} --locked", command.unwrap());
    assert!(ci.lines().any(|line| line.trim() == locked), "{locked}");
}

/// What is between these two in a file of the workspace.
fn between(path: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(workspace().join(path)).unwrap();
    let rest = text.split_once(from).unwrap_or_else(|| panic!("{path} has no {from:?}")).1;
    rest.split_once(to).unwrap().0.to_owned()
}

#[test]
fn the_workflow_runs_every_part_of_ci() {
    let parts = between(".ci/run", "\nall=(", ")\n");
    let jobs = between(".github/workflows/ci.yml", "part: [", "]").replace(',', "");
    assert_eq!(parts, jobs);
}

#[test]
fn the_table_of_flags_has_every_flag_and_its_default() {
    let help = help("mezzenger-server", &[]);
    let settings = Page::read("docs/settings.md");
    let mut documented = BTreeMap::new();
    for line in settings.text.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        documented
            .insert(cells[0].trim_matches('`').to_owned(), cells[1].trim_matches('`').to_owned());
    }
    let mut flag = None;
    let mut found = 0;
    for line in help.lines() {
        let text = line.trim_start();
        let long = text.split([' ', ',', '[']).find(|word| word.starts_with("--"));
        if line.len() - text.len() <= 6
            && text.starts_with('-')
            && let Some(long) = long
        {
            if long != "--help" && long != "--version" {
                assert!(documented.contains_key(long), "docs/settings.md does not mention {long}");
                found += 1;
            }
            flag = Some(long);
        }
        if let Some((_, default)) = line.split_once("[default: ") {
            // A default with a space in it is shown in quotes.
            let default = default.split(']').next().unwrap().trim_matches('"');
            let flag = flag.unwrap();
            assert_eq!(documented[flag], default, "docs/settings.md: the default of {flag}");
        }
    }
    assert_eq!(found, documented.len(), "flags of the server and of docs/settings.md");
}

/// The rows of the table under a heading of `docs/wire-format.md`, cells trimmed.
fn wire_table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(workspace().join("docs/wire-format.md")).unwrap();
    let section = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}")).1;
    let rows: Vec<Vec<String>> = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table under {heading:?}");
    rows
}

#[test]
fn the_table_of_a_records_fields_is_where_they_are() {
    // No properties behind it, but room for them.
    let payload = b"PAYLOAD\0\0\0\0";
    let record = Record {
        id: MessageId { publisher: 0x0102_0304_0506_0708, sequence: 0x1112_1314_1516_1718 },
        ordinal: 0x2122_2324_2526_2728,
        timestamp_ns: 0x3132_3334_3536_3738,
        checksum: *b"checksum-of-this",
        ack: true,
        has_properties: true,
        encoding: Encoding::Archive,
        payload,
    };
    let mut bytes = Vec::new();
    record.append_to(&mut bytes).unwrap();
    let root = &bytes[LENGTH_BYTES + payload.len()..];
    assert_eq!(root.len(), ROOT_BYTES);
    let mut end = 0;
    for row in wire_table("### Fields") {
        let [offset, len, field, ..] = &row[..] else { panic!("{row:?}") };
        let (offset, len): (usize, usize) = (offset.parse().unwrap(), len.parse().unwrap());
        assert_eq!(offset, end, "{field} begins where the field before it ends");
        end = offset + len;
        let expected: Vec<u8> = match field.as_str() {
            "publisher" => record.id.publisher.to_le_bytes().into(),
            "sequence" => record.id.sequence.to_le_bytes().into(),
            "ordinal" => record.ordinal.to_le_bytes().into(),
            "timestamp" => record.timestamp_ns.to_le_bytes().into(),
            "checksum" => record.checksum.into(),
            "flags" => vec![3],
            "encoding" => vec![2],
            // From its own place back to the archive's first byte.
            "payload offset" => (-((payload.len() + offset) as i32)).to_le_bytes().into(),
            "payload length" => (payload.len() as u32).to_le_bytes().into(),
            other => panic!("a record has no field {other:?}"),
        };
        assert_eq!(root[offset..end], expected, "{field}");
    }
    assert_eq!(end, ROOT_BYTES);
}

#[test]
fn the_table_of_encodings_is_the_codes() {
    let rows = wire_table("### Encodings");
    for (encoding, row) in
        [Encoding::Bytes, Encoding::Text, Encoding::Archive, Encoding::Pickle].iter().zip(&rows)
    {
        let expected = [(*encoding as u8).to_string(), format!("{encoding:?}").to_lowercase()];
        assert_eq!(row[..2], expected);
    }
    assert_eq!(rows.len(), 4);
}

#[test]
fn the_table_of_error_codes_is_the_codes() {
    let rows = wire_table("## Replies");
    for row in &rows {
        let code: u16 = row[0].parse().unwrap();
        let bytes = [&[1][..], &code.to_le_bytes(), b"text"].concat();
        match reply::read(&bytes) {
            Some(Reply::Refused { code: Some(code), .. }) => {
                assert_eq!(format!("{code:?}"), row[1]);
            }
            other => panic!("code {code} is {other:?}"),
        }
    }
    let beyond = [&[1][..], &(rows.len() as u16 + 1).to_le_bytes()].concat();
    assert!(matches!(reply::read(&beyond), Some(Reply::Refused { code: None, .. })));
}

#[test]
fn figures_stand_where_a_command_writes_them() {
    let results = fs::read_to_string(workspace().join("RESULTS.md")).unwrap();
    let mut marked = false;
    for line in results.lines() {
        if line.starts_with("<!-- figures: ") || line == "<!-- end -->" {
            marked = line != "<!-- end -->";
        }
        assert!(marked || !line.starts_with('|'), "a table outside the marked parts: {line}");
    }
}

#[test]
fn results_are_what_their_record_gives() {
    let results = fs::read_to_string(workspace().join("RESULTS.md")).unwrap();
    let link = results.split_once("](bench/record/").and_then(|(_, rest)| rest.split_once('/'));
    let record = format!("bench/record/{}", link.expect("RESULTS.md links its record").0);
    let soak = results.split_once("/samples.csv)").and_then(|(before, _)| before.rsplit_once("]("));
    let soak = soak.expect("RESULTS.md links the samples of its soak").1;
    for (command, record) in [("write", record.as_str()), ("soak", soak)] {
        let output = Command::new(binaries::path("mezzenger-results"))
            .args([command, record, "--check"])
            .current_dir(workspace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
