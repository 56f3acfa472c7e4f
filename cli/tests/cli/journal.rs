//! `mezzenger journal` on the file of a server, while it runs and when it has ended.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

use crate::broker::{Broker, check_ok};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("a JSON object")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn a_backup_of_a_server_that_runs_is_taken_back_with_all_that_it_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let [live, backup, again] = ["live", "backup", "again"].map(|name| folder.path().join(name));
    let (live, backup, again) = (path(&live), path(&backup), path(&again));
    let broker = Broker::start_with(|server| server.persist_file(live));
    for text in ["tea", "milk"] {
        check_ok(&broker.run(&["pub", "orders.new", text, "--ack", "--header", "shop=7"]));
    }
    check_ok(&broker.run(&["pub", "price.tea", "7", "--retain"]));
    let copied = json(&check_ok(&broker.run(&["journal", "backup", live, backup, "--json"])));
    assert_eq!((&copied["messages"], &copied["retained"]), (&2.into(), &1.into()), "{copied}");
    // What comes later is not in it.
    check_ok(&broker.run(&["pub", "orders.new", "late", "--ack"]));
    let there = broker.run(&["journal", "backup", live, backup]);
    let stderr = String::from_utf8_lossy(&there.stderr);
    assert!(there.status.code() == Some(1) && stderr.contains("is there already"), "{stderr}");
    for command in ["repair", "compact"] {
        let used = broker.run(&["journal", command, live]);
        let stderr = String::from_utf8_lossy(&used.stderr);
        assert!(used.status.code() == Some(1) && stderr.contains("in use"), "{stderr}");
    }
    check_ok(&broker.run(&["journal", "restore", backup, again]));
    let restored = Broker::start_with(|server| server.persist_file(again));
    let dumped = check_ok(&restored.run(&["journal", "dump", again]));
    let dumped: Vec<_> = dumped.lines().map(json).collect();
    let texts: Vec<_> =
        dumped.iter().map(|it| (it["payload"].as_str(), it["retained"].as_bool())).collect();
    let expected = [("tea", false), ("milk", false), ("7", true)];
    assert_eq!(texts, expected.map(|(text, retained)| (Some(text), Some(retained))));
    assert_eq!(dumped[0]["headers"], json(r#"[["shop", "7"]]"#));
    assert_eq!(restored.server.metrics().pending_messages, 2);
}

#[test]
fn what_is_damaged_is_told_and_taken_out_and_what_is_settled_is_compacted_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, copy) = (folder.path().join("journal"), folder.path().join("copy"));
    let (file, copy) = (path(&file), path(&copy));
    let other = Broker::start();
    let broker = Broker::start_with(|server| server.persist_file(file));
    let large = "x".repeat(100_000);
    for text in [&*large, "kept", &*large] {
        check_ok(&broker.run(&["pub", "a", text, "--ack"]));
    }
    check_ok(&broker.run(&["sub", "a", "--ack", "--count", "1"]));
    drop(broker);
    let check = || other.run(&["journal", "check", file, "--json"]);
    let text = check_ok(&other.run(&["journal", "check", file]));
    assert_eq!(text.lines().nth(1), Some("format: version 2"), "{text}");
    let before = json(&check_ok(&check()));
    assert_eq!((&before["messages"], &before["settled"]), (&2.into(), &1.into()), "{before}");
    let compacted = json(&check_ok(&other.run(&["journal", "compact", file, "--json"])));
    assert_eq!((&compacted["messages"], &compacted["copy"]), (&2.into(), &Value::Null));
    let less = compacted["bytes_before"].as_u64().zip(compacted["bytes"].as_u64());
    assert!(less.is_some_and(|(before, now)| before > now + 90_000), "{compacted}");
    let mut journal = fs::OpenOptions::new().write(true).open(file).expect("the journal");
    let middle = fs::metadata(file).expect("the journal").len() / 2;
    journal.seek(SeekFrom::Start(middle)).and_then(|_| journal.write(b"?!")).expect("a write");
    let damaged = check();
    assert_eq!(damaged.status.code(), Some(1));
    assert_eq!(json(&String::from_utf8_lossy(&damaged.stdout))["damaged_records"], 1);
    let refused = other.run(&["journal", "backup", file, copy]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && stderr.contains("damaged"), "{stderr}");
    assert!(!Path::new(copy).exists());
    let repaired = json(&check_ok(&other.run(&["journal", "repair", file, "--json"])));
    assert_eq!((&repaired["messages"], &repaired["damaged_records"]), (&1.into(), &1.into()));
    let kept = repaired["copy"].as_str().expect("a copy of the file as it was");
    assert_eq!(
        json(&String::from_utf8_lossy(&other.run(&["journal", "check", kept, "--json"]).stdout))["damaged_records"],
        1
    );
    assert_eq!(json(&check_ok(&check()))["messages"], 1);
    let missing = other.run(&["journal", "repair", copy]);
    assert_eq!((missing.status.code(), Path::new(copy).exists()), (Some(1), false));
}
