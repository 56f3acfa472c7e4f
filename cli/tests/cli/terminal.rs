//! What is printed on a terminal, which does what control characters say.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use mezzenger::Filter;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::broker::{Broker, DEADLINE, check_ok};

/// Clears the screen; sets a colour by a control character of two bytes; and stays what it is.
const TEXT: &str = "\u{1b}[2J\u{9b}31mgrüße";

/// The text, as it is printed on a terminal.
const ESCAPED: &str = "\\u{1b}[2J\\u{9b}31mgrüße\r\n";

/// What the command prints with a terminal as its output.
fn on_terminal(broker: &Broker, args: &[&str]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("it is ours");
    unlockpt(&terminal).expect("it can be opened");
    let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("a path");
    let mut options = File::options();
    options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let screen = options.open(name).expect("it opens");
    let mut command = broker.command(args);
    let mut child = command.stdin(Stdio::null()).stdout(screen).spawn().expect("mezzenger starts");
    // It holds the terminal, too, whose output ends when nobody does.
    drop(command);
    let (mut printed, mut buffer) = (Vec::new(), [0; 1024]);
    let mut terminal = File::from(terminal);
    // Linux says by an error that nobody is left.
    while let Ok(bytes @ 1..) = terminal.read(&mut buffer) {
        printed.extend_from_slice(&buffer[..bytes]);
    }
    assert!(child.wait().expect("mezzenger ends").success());
    String::from_utf8(printed).expect("text")
}

#[test]
fn control_characters_of_messages_are_escaped_on_a_terminal_alone() {
    let broker = Broker::start();
    let client = broker.client();
    let sub = ["sub", "greet", "--ack", "--count", "1"];
    let publish = || client.message("greet", TEXT).ack().send().expect("the server takes it");
    publish();
    assert_eq!(on_terminal(&broker, &sub), ESCAPED);
    // Unless it shall do what they say.
    publish();
    let raw = on_terminal(&broker, &[&sub[..], &["--raw"]].concat());
    assert!(raw.contains(TEXT), "{raw:?}");
    publish();
    assert_eq!(check_ok(&broker.run(&sub)), format!("{TEXT}\n"));
}

#[test]
fn answers_and_dead_letters_do_nothing_to_a_terminal() {
    let broker = Broker::start();
    let client = broker.client();
    let mut jobs = client.subscription_to(Filter::name("jobs")).group("g").open().expect("a group");
    client.message("jobs", TEXT).ack().send().expect("the server takes it");
    let job = jobs.recv_timeout(DEADLINE).expect("a job");
    let id = job.id().to_string();
    job.reject("no \u{1b}[2J good");
    while client.dead_letters("g").count() != Ok(1) {
        std::thread::yield_now();
    }
    let shown = on_terminal(&broker, &["dead", "show", "g", &id]);
    assert!(shown.ends_with(&format!("rejected: no \\u{{1b}}[2J good\r\n{ESCAPED}")), "{shown:?}");
    let requests = client.subscription("ask").expect("a subscription");
    let answering = std::thread::spawn(move || {
        for request in requests.take(1) {
            request.reply(TEXT).expect("the server takes it");
        }
        client.flush().expect("the server takes it");
    });
    assert_eq!(on_terminal(&broker, &["request", "ask", "?"]), ESCAPED);
    answering.join().expect("an answer");
}
