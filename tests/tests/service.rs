//! The server as a service: what the service manager is told, the unit, and the files of packages.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::binaries::{self, workspace};
use crate::harness::server::command;
use crate::harness::{PATIENCE, Server, skipped};

/// A service manager: where it is told, and the server's command.
fn manager(watchdog: Option<Duration>) -> (tempfile::TempDir, UnixDatagram, Command) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = command();
    server.env("NOTIFY_SOCKET", &path).args(["--pub-port", "0", "--recv-port", "0"]);
    if let Some(limit) = watchdog {
        server.env("WATCHDOG_USEC", limit.as_micros().to_string());
    }
    (folder, socket, server)
}

/// What it is told next; nothing within the socket's timeout.
fn told(socket: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; 4096];
    match socket.recv(&mut bytes) {
        Ok(length) => Some(String::from_utf8(bytes[..length].to_vec()).unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_service_manager_learns_of_the_start_of_reloads_and_of_the_end() {
    let (folder, socket, mut command) = manager(None);
    let file = folder.path().join("mezzenger.toml");
    fs::write(&file, "").unwrap();
    let mut server = Server::started(command.arg("--config").arg(&file));
    let ready = told(&socket).unwrap();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("STATUS=listening at pub={}", server.pub_addr)), "{ready}");
    // A reload that changes nothing, and one that fails: either way it is over.
    for text in ["", "no-such-key = 1"] {
        fs::write(&file, text).unwrap();
        server.process.signal(Signal::HUP);
        let reloading = told(&socket).unwrap();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(told(&socket).unwrap().trim(), "READY=1");
    }
    assert_eq!(server.signal_and_wait(Signal::TERM).code(), Some(0));
    assert_eq!(told(&socket).unwrap().trim(), "STOPPING=1");
}

/// The thread of a process with this name.
fn thread(process: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let task = tasks.find(|task| {
        fs::read_to_string(task.join("comm")).unwrap().trim() == &name[..name.len().min(15)]
    });
    task.unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

/// A thread that only slept and told would feed the watchdog of a server that is stuck, too.
#[test]
fn the_watchdog_is_fed_while_the_broker_turns_and_no_longer() {
    let limit = Duration::from_millis(600);
    let (_folder, socket, mut command) = manager(Some(limit));
    let server = Server::started(&mut command);
    assert!(told(&socket).unwrap().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(told(&socket).unwrap().trim(), "WATCHDOG=1");
    }
    let broker = thread(server.process.id(), "mezzenger-broker");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2"]);
    strace.args([
        "-e",
        "inject=epoll_wait,epoll_pwait,epoll_pwait2:delay_enter=60s",
        "-p",
        &broker,
    ]);
    let Ok(mut stuck) = strace.stderr(std::process::Stdio::null()).spawn() else {
        return skipped("the watchdog of a stuck broker", "there is no strace");
    };
    server.log_line("the broker's thread has not answered");
    while told_within(&socket, limit).is_some() {}
    assert_eq!(told_within(&socket, limit * 3), None);
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    assert_eq!(told(&socket).unwrap().trim(), "WATCHDOG=1");
    server.terminate();
}

fn told_within(socket: &UnixDatagram, time: Duration) -> Option<String> {
    socket.set_read_timeout(Some(time)).unwrap();
    let text = told(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    text
}

fn unit() -> String {
    fs::read_to_string(workspace().join("packaging/mezzenger.service")).unwrap()
}

#[test]
fn the_unit_is_in_order_and_exposes_little() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("the systemd unit", "there is no systemd-analyze");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mezzenger.service");
    let server = binaries::path("mezzenger-server");
    // Where the program is here.
    let text = unit().replace("/usr/bin/mezzenger-server", server.to_str().unwrap());
    fs::write(&path, text).unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&path).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (is_well, text) = analyze(&["verify", "--man=no"]);
    assert!(is_well && text.is_empty(), "{text}");
    // In tenths.
    let (is_well, text) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(is_well, "{text}");
}

#[test]
fn the_unit_starts_the_server_with_options_that_it_has() {
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
    let parsed = mezzenger_server::command().try_get_matches_from(line.split(' '));
    parsed.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn packages_have_a_page_and_completions_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        Command::new(binaries::path("mezzenger-packaging")).arg(folder.path()).status().unwrap();
    assert!(made.success());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("man/mezzenger-server.1").contains("retry\\-interval"));
    for subcommand in mezzenger_cli::command().get_subcommands() {
        read(&format!("man/mezzenger-{}.1", subcommand.get_name()));
    }
    for program in ["mezzenger", "mezzenger-server"] {
        for name in ["bash/{}.bash", "zsh/_{}", "fish/{}.fish"] {
            let text = read(&format!("completions/{}", name.replace("{}", program)));
            assert!(text.contains("curve"), "{name} of {program}");
        }
    }
    // What the shell makes of it is bash.
    let bash = folder.path().join("completions/bash/mezzenger.bash");
    assert!(Command::new("bash").arg("-n").arg(bash).status().unwrap().success());
}

/// The instructions of a Containerfile, continued lines joined: name and rest.
fn instructions(text: &str) -> Vec<(String, String)> {
    let text: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n").replace("\\\n", " ");
    let split =
        |line: &str| line.trim().split_once(' ').map(|(a, b)| (a.to_owned(), b.trim().to_owned()));
    text.lines().filter_map(split).collect()
}

#[test]
fn the_container_is_no_root_checks_its_health_and_sets_variables_that_exist() {
    let text = fs::read_to_string(workspace().join("packaging/Containerfile")).unwrap();
    let all = instructions(&text);
    let known = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "ENV",
        "VOLUME",
        "EXPOSE",
        "USER",
        "HEALTHCHECK",
        "ENTRYPOINT",
    ];
    assert!(all.iter().all(|(name, _)| known.contains(&&**name)), "{all:?}");
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let of = |wanted: &str| {
        let found: Vec<_> = all[last..].iter().filter(|(name, _)| name == wanted).collect();
        assert_eq!(found.len(), 1, "{wanted}");
        found[0].1.clone()
    };
    // With a version, or nothing.
    let mut images = all.iter().filter(|(name, _)| name == "FROM").map(|(_, image)| image);
    assert!(images.all(|image| image == "scratch" || image.contains(':')));
    let user: u32 = of("USER").split(':').next().unwrap().parse().unwrap();
    assert_ne!(user, 0);
    let health = of("HEALTHCHECK");
    let (_, health) = health.split_once("CMD ").unwrap();
    let health: Vec<String> = serde_json::from_str(health).unwrap();
    assert_eq!(health[0], "/usr/bin/mezzenger");
    mezzenger_cli::command().try_get_matches_from(&health).unwrap();
    assert_eq!(of("ENTRYPOINT"), r#"["/usr/bin/mezzenger-server"]"#);
    // Each variable is a flag of the server.
    for variable in of("ENV").split_whitespace() {
        let (name, value) = variable.split_once('=').unwrap();
        let flag = name.strip_prefix("MEZZENGER_").unwrap().to_lowercase().replace('_', "-");
        let args = ["mezzenger-server".to_owned(), format!("--{flag}={value}")];
        mezzenger_server::command().try_get_matches_from(args).unwrap();
    }
    // It says why it does not start as it is.
    let mut bare = command();
    bare.env("MEZZENGER_BIND", "0.0.0.0");
    let refused = bare.output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--curve-secret"), "{refused:?}");
}
