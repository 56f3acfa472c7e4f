//! What clients may do, between the real programs: the file of `--access`, users with passwords, and what the log says.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::curve::Keys;
use crate::harness::server::command;
use crate::harness::{Server, binaries, eventually};

/// Writes a file that its owner alone may read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs the command line, with something on its standard input.
fn mezzenger(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(binaries::path("mezzenger"));
    command.env_remove("MEZZENGER_PASSWORD").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Users with passwords, and where the server's file is.
struct Users {
    directory: TempDir,
}

impl Users {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Says of a user what he may do; his password is his name and `-secret`.
    fn say(&self, user: &str, may: &str) {
        let password = format!("{user}-secret\n");
        write(&self.path(user), &password);
        let hash = mezzenger(&["hash-password"], &password);
        assert!(hash.status.success(), "{}", String::from_utf8_lossy(&hash.stderr));
        let hash = String::from_utf8(hash.stdout).unwrap();
        let text = format!("[[client]]\nuser = '{user}'\npassword = '{}'\n{may}\n", hash.trim());
        write(&self.path("access.toml"), &text);
    }

    fn server(&self) -> Server {
        Server::start(&["--access", self.path("access.toml").to_str().unwrap()])
    }

    fn run(&self, server: &Server, user: &str, args: &[&str]) -> Output {
        let (port, file) = (server.recv_addr.port().to_string(), self.path(user));
        let login = ["--user", user, "--password-file", file.to_str().unwrap()];
        let to = ["--server", "127.0.0.1", "--port", &port, "--timeout", "10s"];
        mezzenger(&[&to[..], &login, args].concat(), "")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn users_of_the_file_may_do_what_it_says_and_changes_count() {
    let users = Users::new();
    users.say("shop", "publish = ['orders.>']\ngroups = ['g']\nadminister = true");
    let server = users.server();
    let sent = users.run(&server, "shop", &["pub", "orders.new", "tea"]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    let refused = users.run(&server, "shop", &["pub", "prices", "free"]);
    assert_eq!(refused.status.code(), Some(1));
    let text =
        "not allowed: publish to 'prices'; user 'shop' may publish to the pattern 'orders.>'";
    assert!(stderr(&refused).contains(text), "{}", stderr(&refused));
    let unknown = users.run(&server, "shop", &["dead", "list", "g"]);
    assert!(stderr(&unknown).contains("there is no group 'g'"), "{}", stderr(&unknown));
    let refused = users.run(&server, "shop", &["group", "delete", "other"]);
    assert!(stderr(&refused).contains("not allowed: delete group 'other'"), "{}", stderr(&refused));

    // The log says who did what.
    let line = server.log_line("connected: user 'shop'");
    assert!(line.contains(" audit"), "{line}");
    server.log_line("rejected: not allowed: publish to");
    let line = server.log_line("user 'shop' asks to delete group 'other'");
    assert!(line.contains("127.0.0.1:"), "{line}");

    users.say("shop", "publish = ['prices']");
    eventually("the change", || {
        users.run(&server, "shop", &["pub", "prices", "free"]).status.success().then_some(())
    });
    assert_eq!(users.run(&server, "shop", &["pub", "orders.new", "tea"]).status.code(), Some(1));
    server.log_line("what clients may do changed");
    // What cannot be read changes nothing, and is told once.
    write(&users.path("access.toml"), "[[cliend]]");
    server.log_line("the permissions stay as they are");
    assert!(users.run(&server, "shop", &["pub", "prices", "free"]).status.success());
}

#[test]
fn who_is_no_user_is_refused_and_the_log_has_no_control_characters() {
    let users = Users::new();
    users.say("shop", "publish = ['a']");
    let server = users.server();
    write(&users.path("guess"), "guess");
    let args = ["--server", "127.0.0.1", "--port", &server.recv_addr.port().to_string()];
    let guess = users.path("guess");
    let with = |user: &str| {
        let login = ["ping", "--user", user, "--password-file", guess.to_str().unwrap()];
        mezzenger(&[&args[..], &login].concat(), "")
    };
    // The first one first: the log has a bounded number of lines.
    for user in ["no\x1b[31m\nbody", "shop"] {
        let refused = with(user);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("does not accept the name"), "{}", stderr(&refused));
    }
    let line = server.log_line(r"no\u{1b}[31m\nbody");
    assert!(!line.contains('\x1b') && line.contains("is that of no user"), "{line:?}");
    let none = mezzenger(&[&args[..], &["ping"]].concat(), "");
    assert!(stderr(&none).contains("asks for a user's name and password"), "{}", stderr(&none));
    let missing = mezzenger(&[&args[..], &["ping", "--user", "shop"]].concat(), "");
    assert!(stderr(&missing).contains("MEZZENGER_PASSWORD"), "{}", stderr(&missing));
    fs::set_permissions(&guess, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(stderr(&with("shop")).contains("chmod 600"));
    for input in ["", "\n", &"x".repeat(300)] {
        let hash = mezzenger(&["hash-password"], input);
        assert_eq!(hash.status.code(), Some(1));
        assert!(stderr(&hash).contains("1 to 255 bytes"), "{}", stderr(&hash));
    }
}

#[test]
fn passwords_on_a_network_are_warned_of_once_and_keys_and_users_do_not_go_together() {
    let users = Users::new();
    users.say("shop", "publish = ['a']");
    let file = users.path("access.toml");
    let file = file.to_str().unwrap();
    let with = |more: &[&str]| {
        let mut command = command();
        command.args(["--pub-port", "0", "--recv-port", "0", "--access", file]).args(more);
        Server::run(&mut command)
    };
    let server = with(&["--bind", "0.0.0.0"]).unwrap();
    server.log_line("travel in the clear on 0.0.0.0");
    assert_eq!(server.terminate().matches("in the clear").count(), 1);
    assert!(!with(&[]).unwrap().terminate().contains("in the clear"));

    let keys = Keys::new();
    let (secret, clients) = (keys.path("server.key_secret"), keys.path("clients"));
    let (secret, clients) = (secret.to_str().unwrap(), clients.to_str().unwrap());
    let refused = with(&["--curve-secret", secret, "--authorized-keys", clients]).err().unwrap();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("give each client a key"), "{}", refused.stderr);
    fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = with(&[]).err().unwrap();
    assert!(refused.stderr.contains(&format!("chmod 600 {file}")), "{}", refused.stderr);
    write(Path::new(file), "[[client]]\nuser = 'shop'\npublsh = []");
    let refused = with(&[]).err().unwrap();
    assert!(refused.stderr.contains("unknown field `publsh`"), "{}", refused.stderr);
}
