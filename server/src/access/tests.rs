//! What a file can say, and what is told of one that says something else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mezzenger::curve::KeyPair;

use super::*;

fn read_text(text: &str) -> Result<Access, AccessFileError> {
    parse(Path::new("access.toml"), text)
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let error = read_text(text).unwrap_err().to_string();
    assert!(error.starts_with("access.toml") && error.contains(expected), "{error}");
}

#[test]
fn a_file_says_what_each_may_do() {
    let (alice, bob) = (KeyPair::generate().public(), KeyPair::generate().public());
    let text = format!(
        "[[client]]\nkey = '{alice}'\npublish = ['orders.>', {{ prefix = 'x' }}, {{ name = 'a.*' }}]\n\
         subscribe = ['prices']\ngroups = ['packers']\nadminister = true\n\n\
         [[client]]\nkey = '{bob}'\n\n[others]\nsubscribe = ['news.*']\n"
    );
    let shop = Permissions::none()
        .publish("orders.>")
        .publish(Names::prefix("x"))
        .publish(Names::name("a.*"))
        .subscribe("prices")
        .group("packers")
        .administer();
    let expected = Access::new()
        .key(alice, shop)
        .key(bob, Permissions::none())
        .others(Permissions::none().subscribe("news.*"));
    assert_eq!(read_text(&text).unwrap(), expected);
    assert_eq!(read_text("").unwrap(), Access::new());
}

#[test]
fn what_a_file_cannot_say_is_named() {
    let key = KeyPair::generate().public();
    let client = |rest: &str| format!("[[client]]\nkey = '{key}'\n{rest}\n");
    check_error(&client("publsh = []"), "unknown field `publsh`, expected");
    check_error(&client("publsh = []"), "`publish`");
    check_error("[other]", "`others`");
    check_error("[[client]]", "client 1: it has a key, or a user and a password");
    check_error(&client("user = 'a'\npassword = 'b'"), "say one of both");
    check_error("[[client]]\nuser = 'a'", "say one of both");
    check_error("[[client]]\nkey = 'short'", "client 1: key: ");
    check_error(&client(&client("")), "client 2: its key or user is that of another one");
    check_error(&client("publish = ['a..*']"), "access to 'a..*'");
    check_error(&client("publish = [{ prefx = 'a' }]"), "{ prefix =");
    check_error(&client("administer = 1"), "boolean");
}

#[test]
fn users_have_hashes_of_passwords_and_nothing_of_these_is_told() {
    let hash = PasswordHash::of("secret");
    let user = |password: &str| format!("[[client]]\nuser = 'shop'\npassword = '{password}'\n");
    let shop = Permissions::none().publish("a");
    let expected = Access::new().user("shop", hash.clone(), shop);
    let text = format!("{}publish = ['a']\n", user(&hash.to_string()));
    assert_eq!(read_text(&text).unwrap(), expected);
    let error = read_text(&user("hunter2")).unwrap_err().to_string();
    assert!(error.contains("client 1: password: this is no hash"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    check_error(&format!("{}{}", user(&hash.to_string()), user(&hash.to_string())), "client 2");
}

#[test]
fn an_error_names_a_place_and_nothing_that_stands_there() {
    let hash = PasswordHash::of("secret");
    let before = "[[client]]\nuser = 'shop'\n";
    for (rest, place) in [
        (format!("password = '{hash}\npublish = ['a']"), "access.toml:3:"),
        (format!("password = {hash}"), "access.toml:3:"),
        (format!("password = '{hash}' \u{1b}[2J"), "access.toml:3:"),
        (format!("'{hash}' = 1"), "access.toml:3:"),
        (format!("password = '{hash}'\npublish = '{hash}'"), "access.toml:4:11"),
        (format!("password = '{hash}'\nadminister = '\u{1b}[2J hunter2'"), "access.toml:4:"),
        ("password = hunter2".to_owned(), "access.toml:3:"),
    ] {
        let error = read_text(&format!("{before}{rest}\n")).unwrap_err().to_string();
        assert!(error.starts_with(place), "{rest}: {error}");
        let told = ["argon2", "hunter2", "\u{1b}", "$"].iter().find(|it| error.contains(**it));
        assert_eq!(told, None, "{error}");
    }
}

#[test]
fn a_star_within_a_token_is_no_pattern_and_the_error_says_what_is_one() {
    for text in ["orders*", "**", "orders.**", "a.b*.c", "orders>", "a.>>"] {
        for list in ["publish", "subscribe", "groups"] {
            let error =
                read_text(&format!("[others]\n{list} = ['{text}']")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("access.toml: '{text}': ")), "{error}");
            assert!(error.contains("{ prefix ="), "{error}");
        }
    }
    read_text("[others]\npublish = [{ name = 'orders*' }, { prefix = 'a*' }, '*', '>', 'a.*.b.>']")
        .unwrap();
}

#[test]
fn keys_that_nobody_proves_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.toml");
    fs::write(&path, format!("[[client]]\nkey = '{}'", KeyPair::generate().public())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let told = |has_curve| {
        let file = AccessFile { path: path.clone(), has_curve };
        file.read().unwrap().1.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(told(false)[0].contains("they count as [others]"));
    assert!(told(true).is_empty());
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.toml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    assert!(read_file(&path).unwrap_err().to_string().contains("is no regular file"));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_what_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.toml");
    fs::write(&path, "").unwrap();
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = read_file(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read_file(&path).unwrap(), Access::new());
}
