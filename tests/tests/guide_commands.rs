//! The commands of the guide's `sh` blocks can be given as they stand: each succeeds, or goes on until it is ended.

use std::fs;

use crate::harness::pages::guide;
use crate::harness::process::Process;
use crate::harness::shell::Shell;
use crate::harness::skipped;
use crate::harness::wait::eventually;

/// What is not run here, but by other tests, by CI, or by hand where it takes an hour.
const ELSEWHERE: [&str; 4] = ["bash", "cargo", "pip", "target/release/"];

/// What a command needs that its page says in words or leaves to the reader: how the command begins, and what is given first.
const BEFORE: [(&str, &str); 11] = [
    ("mezzenger pub orders.new --file", "echo tea > order.json"),
    ("mezzenger work 'parcels.*'", "printf '#!/bin/sh\n' > deliver && chmod +x deliver"),
    ("curl -s -X POST", "mezzenger group create 'orders.*' packers"),
    ("mezzenger connections --slow --http", "echo secret > token && chmod 600 token"),
    ("mezzenger connections close", "mezzenger sub orders.new"),
    ("mezzenger journal restore", "mv /var/lib/mezzenger/journal journal.before"),
    ("mezzenger group delete invoices", "mezzenger group create invoice.sent invoices"),
    ("mezzenger dead replay packers ", "mezzenger group create 'orders.*' packers"),
    (
        "mezzenger work 'orders.*' --group packers-2",
        "printf '#!/bin/sh\nexit 1\n' > pack && chmod +x pack",
    ),
    ("mezzenger dead list packers-2", "mezzenger work 'orders.*' --group packers-2 -- ./pack"),
    ("mezzenger dead list packers-2", "mezzenger pub orders.new tea --ack"),
];

/// What stands for something that only the running server knows, or that would take long.
const INSTEAD: [(&str, &str); 9] = [
    ("/etc/mezzenger/", "{folder}/etc/mezzenger/"),
    ("/var/lib/mezzenger/", "{folder}/var/lib/mezzenger/"),
    ("/backup/", "{folder}/backup/"),
    ("http://127.0.0.1:7280", "http://{http}"),
    ("http://10.0.0.5:7280", "http://{http}"),
    ("10.0.0.5", "127.0.0.1"),
    ("--bind 0.0.0.0", "--bind 127.0.0.1"),
    ("--backoff 1s,10s,1m", "--backoff 1ms"),
    ("curl -s", "curl --silent --show-error --fail"),
];

/// What stands for an id of the page: a command that prints the one to take.
const IDS: [(&str, &str); 2] = [
    (" close 17", r#" close "$(mezzenger connections --json | tail -n 1 | FIELD id)""#),
    (
        " 7d1f3a5c9b2e4f60-000000000000000c",
        r#" "$(mezzenger dead list packers-2 --json | FIELD id)""#,
    ),
];

/// Reads a field of a JSON object in `sh`: a text or a number.
const FIELD: &str = r#"sed -n 's/.*"NAME":"\{0,1\}\([^",}]*\).*/\1/p'"#;

/// A server and a shell, for the commands of one page.
struct Reader {
    shell: Shell,
    folder: tempfile::TempDir,
    /// What goes on until its block ends.
    behind: Vec<(String, Process)>,
}

impl Reader {
    /// Makes what pages take as given: a running server, the settings of one and the journal of one that has ended, and a place for backups.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc/mezzenger", "var/lib/mezzenger", "backup"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let journal = "--persist-file var/lib/mezzenger/journal";
        let shell = Shell::start(folder.path(), &format!("mezzenger-server {journal}"));
        shell.run("mezzenger pub orders.new tea --ack");
        let settings = "etc/mezzenger/mezzenger.toml";
        shell.run(&format!("mezzenger-server {journal} --print-config > {settings}"));
        shell.server.terminate();
        let shell = Shell::start(folder.path(), "mezzenger-server --persist-file journal");
        Self { shell, folder, behind: Vec::new() }
    }

    /// The command as it can be given here.
    fn adapted(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (from, to) in INSTEAD {
            line = line.replace(from, to);
        }
        for (from, to) in IDS {
            line = line.replace(from, &to.replace("FIELD id", &FIELD.replace("NAME", "id")));
        }
        let folder = self.folder.path().to_str().unwrap();
        line.replace("{folder}", folder).replace("{http}", &self.shell.http())
    }

    /// Gives what a command needs, and the command.
    fn follow(&mut self, line: &str) {
        for (_, before) in BEFORE.iter().filter(|(next, _)| line.starts_with(next)) {
            self.give(before);
        }
        self.give(line);
    }

    fn give(&mut self, line: &str) {
        let adapted = self.adapted(line);
        let word = |n| line.split(' ').nth(n).unwrap_or_default();
        let is_asked = line.contains("--check-config") || line.contains("--print-config");
        match (word(0), word(1)) {
            ("mezzenger-server", _) if !is_asked => {
                self.shell = Shell::start(self.folder.path(), &adapted);
            }
            ("mezzenger", "sub" | "work" | "reply") => {
                let process = self.shell.start_behind(&adapted);
                self.behind.push((line.to_owned(), process));
            }
            ("curl", _) if !self.shell.output("curl --version").status.success() => {
                skipped("the guide's requests with curl", "curl is not there");
            }
            // What shows others' work is asked until they have done it.
            ("mezzenger", "dead") => {
                eventually(line, || self.problem(&adapted).is_none().then_some(()));
            }
            _ => assert_eq!(self.problem(&adapted), None, "{line}"),
        }
    }

    /// What is wrong with a command: its errors, unless it succeeds.
    fn problem(&self, line: &str) -> Option<String> {
        let output = self.shell.output(line);
        let said = String::from_utf8_lossy(&output.stderr);
        (!output.status.success()).then(|| format!("{}: {said}", output.status))
    }

    /// Ends what goes on, and waits until the server has noticed.
    fn end_block(&mut self) {
        for (line, mut process) in self.behind.drain(..) {
            assert!(process.is_running(), "{line}: ended by itself: {}", process.stderr());
            process.kill();
        }
        eventually("the end of connections", || (self.shell.connections() == 0).then_some(()));
    }
}

#[test]
fn every_command_of_a_shell_block_succeeds() {
    let mut given = 0;
    for page in guide() {
        let mut reader = None;
        for block in page.blocks_in("sh") {
            let lines = block.replace("\\\n", "");
            let here = |line: &&str| !ELSEWHERE.iter().any(|program| line.starts_with(program));
            for line in lines.lines().map(str::trim).filter(here) {
                println!("{}: {line}", page.path);
                reader.get_or_insert_with(Reader::new).follow(line);
                given += 1;
            }
            reader.iter_mut().for_each(Reader::end_block);
        }
    }
    assert!(given > 45, "{given} commands found");
}
