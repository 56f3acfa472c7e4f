//! Every setting by way of a file, a variable and the command line.

use super::*;

fn arguments(all: &[&str]) -> Vec<OsString> {
    ["mezzenger-server"].iter().chain(all).map(OsString::from).collect()
}

/// The settings of this file and this command line.
#[track_caller]
fn loaded(text: &str, line: &[&str]) -> Loaded {
    merge(&arguments(line), parse(text, "FILE").unwrap()).unwrap()
}

#[track_caller]
fn problem(text: &str) -> String {
    let merged = parse(text, "FILE").and_then(|said| merge(&arguments(&[]), said));
    merged.err().unwrap_or_else(|| panic!("{text:?} can be used")).0
}

/// For each setting another value than its default, whatever settings there are.
fn others() -> BTreeMap<String, &'static str> {
    let defaults = loaded("", &[]).values();
    let mut others = BTreeMap::new();
    for Value { key, text, .. } in defaults {
        let may_be = [
            "true",
            "7300",
            "11s",
            "7MiB",
            "never",
            "drop",
            "debug",
            "json",
            "127.0.0.9",
            "127.0.0.1:7280",
            "a \"b\"\\\n",
        ];
        let other = may_be.into_iter().find(|value| {
            let argument = argument(&key, OsStr::new(value));
            let read = settings().try_get_matches_from([OsString::from("settings"), argument]);
            read.is_ok() && text.as_deref() != Some(OsStr::new(value))
        });
        others.insert(key.clone(), other.unwrap_or_else(|| panic!("no value for {key}")));
    }
    others
}

fn texts(loaded: &Loaded) -> Vec<(String, Option<OsString>)> {
    loaded.values().into_iter().map(|value| (value.key, value.text)).collect()
}

#[test]
fn every_setting_is_printed_and_reads_back_to_the_same() {
    let defaults = loaded("", &[]);
    let printed = defaults.print().unwrap();
    assert_eq!(texts(&loaded(&printed, &[])), texts(&defaults));
    assert!(parse(&printed, "FILE").unwrap().is_empty(), "defaults are commented out: {printed}");
    let line: Vec<_> = others().iter().map(|(key, value)| format!("--{key}={value}")).collect();
    let line: Vec<_> = line.iter().map(String::as_str).collect();
    let changed = loaded("", &line);
    let printed = changed.print().unwrap();
    let again = loaded(&printed, &[]);
    assert_eq!(texts(&again), texts(&changed), "{printed}");
    for (value, (key, default)) in again.values().iter().zip(texts(&defaults)) {
        assert_ne!(value.text, default, "{key}");
        assert!(!value.is_default, "{key}");
    }
    // What is commented out can be used, too, once the mark is gone.
    let defaults = defaults.print().unwrap();
    let usable: Vec<_> = defaults.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let keys = others();
    let lines = usable
        .into_iter()
        .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| keys.contains_key(key)));
    assert_eq!(parse(&lines.collect::<Vec<_>>().join("\n"), "FILE").unwrap().len(), keys.len());
}

#[test]
fn a_flag_counts_before_a_variable_and_that_before_the_file() {
    for (key, other) in others() {
        let default = loaded("", &[]).values().into_iter().find(|value| value.key == key).unwrap();
        let file = || parse(&format!("{key} = {}", bare(other)), "FILE").unwrap();
        let from = |said: Vec<Said>, line: &[&str]| {
            let values = merge(&arguments(line), said).unwrap().values();
            values.into_iter().find(|value| value.key == key).unwrap().text
        };
        assert_eq!(from(file(), &[]).as_deref(), Some(OsStr::new(other)));
        // The default, said by a variable, and by a flag.
        let Some(default) = default.text else { continue };
        let set = variables(|name| (name == variable(&key)).then(|| default.clone()));
        assert_eq!(set.len(), 1, "{key}");
        let mut said = file();
        said.extend(set);
        assert_eq!(from(said, &[]).as_ref(), Some(&default));
        let flag = format!("--{key}={}", default.to_str().unwrap());
        assert_eq!(from(file(), &[&flag]).as_ref(), Some(&default));
    }
}

#[test]
fn a_key_that_does_not_exist_is_an_error_with_the_nearest_one() {
    let found = problem("# comment\npub-port = 7300\nretry-intervall = \"5s\"\n");
    assert_eq!(
        found,
        "FILE:3: there is no setting \"retry-intervall\"; did you mean retry-interval?"
    );
    assert!(problem("max_pending_bytes = 1").ends_with("did you mean max-pending-bytes?"));
    let found = problem("[limits]\nmax-pending-bytes = 1\n");
    assert!(found.starts_with("FILE:1: there is no setting \"limits\""), "{found}");
    // The command line's own are no settings.
    for key in ["config", "print-config", "check-config", "check-journal", "help", "", "=", "-"] {
        let found = problem(&format!("{key:?} = true"));
        assert!(found.starts_with("FILE:1: there is no setting"), "{found}");
    }
}

#[test]
fn a_wrong_value_is_named_with_its_place_and_its_rule() {
    for (line, says) in [
        ("pub-port = 70000", "FILE:2: pub-port is \"70000\": 70000 is not in 0..=65535"),
        (
            "retry-interval = \"soon\"",
            "retry-interval is \"soon\": expected a duration, such as 10s",
        ),
        ("max-message-size = \"much\"", "expected a size, such as 64MiB"),
        ("verify = \"perhaps\"", "none of never, stored, always"),
        ("insecure = \"perhaps\"", "insecure is \"perhaps\": expected one of true, false"),
        ("log-format = 5", "expected one of auto, text, json"),
        ("persist-file = \"\"", "persist-file is \"\": expected a value"),
        ("pub-port = [1]", "FILE:2: pub-port is of type array: expected a string"),
        ("pub-port = ", "FILE:2: this is no TOML"),
    ] {
        let found = problem(&format!("\n{line}\n"));
        assert!(found.contains(says), "{found}");
        assert!(found.starts_with("FILE:2: ") && !found.contains('\n'), "{found}");
    }
    let twice = problem("pub-port = 1\npub-port = 2\n");
    assert!(twice.starts_with("FILE:2: this is no TOML"), "{twice}");
    let set = variables(|name| (name == "MEZZENGER_FSYNC").then(|| "sometimes".into()));
    let found = merge(&arguments(&[]), set).err().unwrap().0;
    assert!(found.starts_with("MEZZENGER_FSYNC: fsync is \"sometimes\": "), "{found}");
}

#[test]
fn a_text_about_settings_says_where_they_were_set() {
    let loaded = loaded("pub-port = 7300\n\nrecv-port = 7300", &["--recv-port=7300"]);
    let text = loaded.explain("--pub-port and --recv-port are both 7300");
    assert_eq!(text, "--pub-port and --recv-port are both 7300 (pub-port is set at FILE:1)");
    assert_eq!(loaded.explain("--pub-ports"), "--pub-ports");
}

#[test]
fn a_switch_of_the_file_can_be_switched_off() {
    assert!(loaded("insecure = true", &[]).args.settings.insecure);
    assert!(!loaded("insecure = true", &["--insecure=false"]).args.settings.insecure);
    assert!(loaded("insecure = false", &["--insecure"]).args.settings.insecure);
}
