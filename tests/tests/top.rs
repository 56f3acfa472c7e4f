//! `mezzenger top` at a terminal: what it shows, what its keys do, and that the terminal is as it was however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::client_names::slow;
use crate::harness::http;
use crate::harness::{Native, Server, eventually};
use crate::http_commands::command;

const ROWS: u16 = 30;
const COLUMNS: u16 = 160;

/// A terminal on which the command runs.
struct Top {
    child: Child,
    keys: File,
    /// The other end, so that its modes can be looked at when the command is gone.
    screen: File,
    parser: Arc<Mutex<vt100::Parser>>,
    before: Termios,
}

impl Top {
    #[track_caller]
    fn start(at: SocketAddr) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
        let screen = options.open(name).unwrap();
        let before = tcgetattr(&screen).unwrap();
        let at = at.to_string();
        let child = command(&["top", "--interval", "50ms", "--http", &at])
            .stdin(screen.try_clone().unwrap())
            .stdout(screen.try_clone().unwrap())
            .stderr(screen.try_clone().unwrap())
            .env("TERM", "xterm-256color")
            .spawn()
            .unwrap();
        let keys = File::from(terminal);
        let [rows, columns] = [ROWS, COLUMNS].map(|it| NonZero::new(it).unwrap());
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut read, parsed) = (keys.try_clone().unwrap(), Arc::clone(&parser));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = read.read(&mut buffer) {
                parsed.lock().unwrap().process(&buffer[..bytes]);
            }
        });
        Self { child, keys, screen, parser, before }
    }

    fn shown(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Waits until something is shown.
    #[track_caller]
    fn see(&self, what: &str) -> String {
        self.see_that(what, |shown| shown.contains(what))
    }

    #[track_caller]
    fn see_that(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let shown = self.shown();
            if is_there(&shown) {
                return shown;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {shown}");
            std::thread::yield_now();
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, after which the terminal has to be as it was.
    #[track_caller]
    fn end(mut self) -> ExitStatus {
        let status = eventually("the end of top", || self.child.try_wait().unwrap());
        let after = tcgetattr(&self.screen).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert!(after.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        eventually("the terminal as it was", || {
            let parser = self.parser.lock().unwrap();
            let screen = parser.screen();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        status
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start() -> (Server, SocketAddr) {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    (server, at)
}

/// In which line something stands.
#[track_caller]
fn line_of(shown: &str, text: &str) -> usize {
    shown.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {shown}"))
}

#[test]
fn it_shows_who_is_slow_and_what_is_published() {
    let (server, at) = start();
    let _other = server.client_options().client_name("invoices").connect().unwrap();
    let _slow = slow(&server, "thermometer");
    let client = server.client();
    for (name, count) in [("rare", 1), ("frequent", 3), ("middling", 2)] {
        for _ in 0..count {
            client.message(name, "hello").ack().send().unwrap();
        }
    }
    let filter = mezzenger::Filter::name("orders");
    client.groups().durable("packers", filter).create().unwrap();
    let mut publisher = Native::connect(&server);
    for _ in 0..2 {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    server.log_line("does not keep up");
    let mut top = Top::start(at);
    let shown = top.see("no credit for");
    assert!(shown.contains("pending 6 of ") && shown.contains("ready"), "{shown}");
    assert!(line_of(&shown, "thermometer") < line_of(&shown, "invoices"), "{shown}");
    // By their names, and the other way round.
    top.press("s");
    top.see_that("the order of names", |shown| {
        line_of(shown, "invoices") < line_of(shown, "thermometer") && shown.contains("Client v")
    });
    top.press("r");
    top.see_that("the order turned round", |shown| {
        line_of(shown, "thermometer") < line_of(shown, "invoices") && shown.contains("Client ^")
    });
    top.press("\t");
    top.see("packers");
    top.press("3");
    let shown = top.see("frequent");
    assert!(line_of(&shown, "frequent") < line_of(&shown, "rare"), "{shown}");
    top.press("q");
    assert!(top.end().success());
}

#[test]
fn it_says_when_the_server_is_gone_and_goes_on_when_it_is_back() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut top = Top::start(free);
    top.see("no answer for");
    let server = Server::start(&["--http", &free.to_string()]);
    top.see("ready");
    let client = server.client_options().client_name("invoices").connect().unwrap();
    top.see("invoices");
    client.stop();
    server.terminate();
    // One that ends may still answer, with that.
    top.see_that("the server gone", |shown| {
        ["no answer for", "start it with --http", "below is"].iter().all(|it| shown.contains(it))
    });
    let _server = Server::start(&["--http", &free.to_string()]);
    top.see_that("the server again", |shown| {
        shown.contains("ready") && !shown.contains("no answer for")
    });
    top.press("\u{3}");
    assert!(top.end().success());
}

#[test]
fn signals_end_it_and_the_terminal_is_as_it_was() {
    let (_server, at) = start();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let top = Top::start(at);
        top.see("ready");
        let shows = tcgetattr(&top.screen).unwrap();
        assert!(!shows.local_modes.contains(LocalModes::ECHO), "it reads keys");
        assert!(top.parser.lock().unwrap().screen().alternate_screen());
        top.signal(signal);
        assert!(top.end().success());
    }
}

#[test]
fn what_is_no_terminal_gets_it_once() {
    let (server, at) = start();
    let client = server.client_options().client_name("invoices").connect().unwrap();
    client.message("greet", "hello").ack().send().unwrap();
    client.groups().durable("packers", mezzenger::Filter::name("orders")).create().unwrap();
    let output = command(&["top", "--http", &at.to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["pending      1 of ", "invoices", "packers", "greet"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}
