use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// As zmq.auth.create_certificates of pyzmq 27 writes it, with the keys of libzmq's manual.
const FROM_ZMQ_AUTH: &str = r#"#   ****  Generated on 2026-11-30 08:00:00.000000 by pyzmq  ****
#   ZeroMQ CURVE **Secret** Certificate
#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.

metadata
    public-key-of = "nobody"
curve
    public-key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    secret-key = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
"#;

#[test]
fn files_of_zmq_auth_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.key_secret");
    fs::write(&path, FROM_ZMQ_AUTH).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let pair = read_key_pair(&path).unwrap();
    assert_eq!(pair.public().to_string(), "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
    assert_eq!(read_public_key(&path).unwrap(), pair.public());
}

#[test]
fn what_was_written_is_read_and_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate();
    let [public, secret] = write_key_pair(directory.path().join("a.b"), &pair).unwrap();
    assert!(public.ends_with("a.b.key") && secret.ends_with("a.b.key_secret"));
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(read_public_key(&public).unwrap(), pair.public());
    let read = read_key_pair(&secret).unwrap();
    assert_eq!(read.secret().as_bytes(), pair.secret().as_bytes());
    let text = fs::read_to_string(&public).unwrap();
    assert!(!text.contains(&**pair.secret().to_z85()));
    let again = write_key_pair(directory.path().join("a.b"), &KeyPair::generate());
    assert!(matches!(again, Err(KeyFileError::Exists { .. })));
    assert_eq!(fs::read_to_string(&public).unwrap(), text);
    // A link is not followed, and no half of a pair is left.
    symlink(directory.path().join("elsewhere"), directory.path().join("c.key_secret")).unwrap();
    let linked = write_key_pair(directory.path().join("c"), &pair);
    assert!(matches!(linked, Err(KeyFileError::Exists { .. })));
    assert!(!directory.path().join("elsewhere").exists());
    assert!(!directory.path().join("c.key").exists());
}

#[test]
fn a_public_key_is_a_text_or_a_file_whose_path_may_look_like_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, other) = (KeyPair::generate(), KeyPair::generate());
    assert_eq!(find_public_key(other.public().to_string()).unwrap(), other.public());
    let missing = find_public_key(directory.path().join("none.key"));
    assert!(matches!(missing, Err(KeyFileError::System { .. })));
    let room = 40 - directory.path().as_os_str().len() - "/.key".len();
    let [public, _] = write_key_pair(directory.path().join("a".repeat(room)), &pair).unwrap();
    assert!(public.to_str().unwrap().parse::<PublicKey>().is_ok(), "it looks like a key");
    assert_eq!(find_public_key(&public).unwrap(), pair.public());
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_what_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let [public, secret] =
        write_key_pair(directory.path().join("a"), &KeyPair::generate()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let error = read_key_pair(&secret).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod 600 {}", secret.display())), "{error}");
    }
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    read_key_pair(&secret).unwrap();
    fs::write(&public, "curve\n").unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    let missing = read_key_pair(&public).unwrap_err();
    assert!(matches!(missing, KeyFileError::Missing { field: "secret-key", .. }), "{missing}");
}

#[test]
fn keys_that_do_not_belong_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.key_secret");
    let (one, other) = (KeyPair::generate(), KeyPair::generate());
    let [_, written] = write_key_pair(directory.path().join("one"), &one).unwrap();
    let text = fs::read_to_string(&written).unwrap();
    let write = |text: String| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        read_key_pair(&path).unwrap_err()
    };
    let swapped = text.replace(&one.public().to_string(), &other.public().to_string());
    assert!(matches!(write(swapped), KeyFileError::Mismatch { .. }));
    let short = text.replace(&**one.secret().to_z85(), "short");
    assert!(matches!(write(short), KeyFileError::Malformed { field: "secret-key", .. }));
}

#[test]
fn a_directory_is_read_as_the_keys_of_its_key_files() {
    let directory = tempfile::tempdir().unwrap();
    let pairs = [KeyPair::generate(), KeyPair::generate()];
    for (name, pair) in ["a", "b"].iter().zip(&pairs) {
        write_key_pair(directory.path().join(name), pair).unwrap();
    }
    fs::write(directory.path().join("README"), "no key").unwrap();
    let keys = read_authorized_keys(directory.path()).unwrap();
    assert_eq!(keys, pairs.iter().map(KeyPair::public).collect());
    fs::write(directory.path().join("c.key"), "no key").unwrap();
    let error = read_authorized_keys(directory.path()).unwrap_err();
    assert!(error.to_string().contains("c.key has no public-key"), "{error}");
}

#[test]
fn a_file_that_cannot_be_used_keeps_no_other_key_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (good, other) = (KeyPair::generate(), KeyPair::generate());
    write_key_pair(path("good"), &good).unwrap();
    fs::write(path("broken.key"), "no key").unwrap();
    fs::create_dir(path("directory.key")).unwrap();
    symlink(path("nowhere"), path("dangling.key")).unwrap();
    // To open a pipe waits for whoever writes to it.
    rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe.key"), 0o600.into()).unwrap();
    let [public, _] = write_key_pair(path("shared"), &other).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o664)).unwrap();
    let (keys, unusable) = read_usable_keys(directory.path()).unwrap();
    assert_eq!(keys, [good.public()].into_iter().collect());
    let mends = format!("run chmod go-w {}", public.display());
    let mut told: Vec<_> = unusable.iter().map(ToString::to_string).collect();
    told.sort();
    let expected = [
        ("broken.key", "has no public-key"),
        ("dangling.key", "No such file"),
        ("directory.key", "is no regular file"),
        ("pipe.key", "is no regular file"),
        ("shared.key", mends.as_str()),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (text, (name, why)) in told.iter().zip(expected) {
        assert!(text.contains(name) && text.contains(why), "{text}");
    }
}

#[test]
fn hidden_files_are_no_keys() {
    let directory = tempfile::tempdir().unwrap();
    for name in [".a", ".", ".a.key"] {
        write_key_pair(directory.path().join(name), &KeyPair::generate()).unwrap();
    }
    assert_eq!(read_authorized_keys(directory.path()).unwrap().count(), Some(0));
}

#[test]
fn a_directory_that_others_may_write_is_refused_with_what_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    write_key_pair(directory.path().join("a"), &KeyPair::generate()).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let error = read_authorized_keys(directory.path()).unwrap_err().to_string();
        let mends = format!("run chmod go-w {}", directory.path().display());
        assert!(error.ends_with(&mends), "{error}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(read_authorized_keys(directory.path()).unwrap().count(), Some(1));
}

#[test]
fn the_wrong_one_of_two_files_and_a_missing_directory_are_named_with_what_helps() {
    let directory = tempfile::tempdir().unwrap();
    let [public, secret] =
        write_key_pair(directory.path().join("alice"), &KeyPair::generate()).unwrap();
    let error = read_key_pair(&public).unwrap_err();
    assert!(matches!(error, KeyFileError::Public { .. }), "{error}");
    assert!(error.to_string().contains(secret.to_str().unwrap()), "{error}");
    let missing = directory.path().join("clients");
    let error = read_authorized_keys(&missing).unwrap_err();
    assert!(matches!(&error, KeyFileError::NoDirectory { path } if *path == missing), "{error}");
}
