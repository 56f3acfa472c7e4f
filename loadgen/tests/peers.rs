//! The other brokers, started from their programs, under the same load and verification.
#![cfg(feature = "peers")]

mod harness;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{check_usage, loadgen, run};
use serde_json::Value;

/// How long a broker may take to listen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A broker on a free port, with a directory of its own; ends with the test.
struct Broker {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Broker {
    /// Starts `program` with what `arguments` makes of the port and the directory.
    fn start(program: &str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(path(program));
        command.args(arguments(port, directory.path())).current_dir(directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it starts");
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port, _directory: directory }
    }

    fn nats() -> Self {
        Self::start("nats-server", |port, directory| {
            let port = port.to_string();
            let directory = directory.to_str().expect("UTF-8");
            ["-a", "127.0.0.1", "-p", &port, "-js", "-sd", directory].map(str::to_owned).into()
        })
    }

    /// With TLS, whose certificates of both ends are in this folder.
    fn nats_tls(certificates: &Path) -> Self {
        Self::start("nats-server", |port, directory| {
            let file = directory.join("nats.conf");
            let path = |name| certificates.join(name).to_str().expect("UTF-8").to_owned();
            let (own, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
            let tls =
                format!("cert_file: '{own}', key_file: '{key}', ca_file: '{ca}', verify: true");
            let text = format!("listen: '127.0.0.1:{port}'\ntls {{ {tls} }}\n");
            fs::write(&file, text).expect("a file");
            vec!["-c".to_owned(), file.to_str().expect("UTF-8").to_owned()]
        })
    }

    fn redis(settings: &[&str]) -> Self {
        Self::start("redis-server", |port, _| {
            let port = port.to_string();
            let own = ["--bind", "127.0.0.1", "--port", &port, "--save", ""];
            [&own, settings].concat().into_iter().map(str::to_owned).collect()
        })
    }

    fn mosquitto() -> Self {
        Self::start("mosquitto", |port, directory| {
            let file = directory.join("mosquitto.conf");
            let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n");
            fs::write(&file, text).expect("a file");
            vec!["-c".to_owned(), file.to_str().expect("UTF-8").to_owned()]
        })
    }

    fn beanstalkd(settings: &[&str]) -> Self {
        Self::start("beanstalkd", |port, directory| {
            let directory = directory.to_str().expect("UTF-8");
            let own = ["-l", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
            let settings = settings.iter().map(|setting| setting.replace("FOLDER", directory));
            own.into_iter().chain(settings).collect()
        })
    }

    /// A short run with this scheme and option.
    #[track_caller]
    fn run(&self, scheme: &str, option: &str, flags: &[&str]) -> Value {
        let target = format!("{scheme}://127.0.0.1:{}{option}", self.port);
        run(&[&["--target", &target], flags].concat())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian keeps servers where not every user's PATH leads.
fn path(program: &str) -> String {
    let system = ["/usr/sbin", "/usr/bin"].map(|folder| format!("{folder}/{program}"));
    let found = system.into_iter().find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| program.to_owned())
}

#[test]
fn core_nats_loses_nothing_within_its_window() {
    let nats = Broker::nats();
    for (scheme, name) in [("nats", "nats"), ("nats+raw", "nats-raw")] {
        let report = nats.run(scheme, "", &["--pubs", "4", "--subs", "8", "--names", "2"]);
        assert_eq!(report["target"]["name"], name);
        assert_eq!(report["target"]["durability"], "memory");
        assert!(report["target"]["version"].as_str().is_some_and(|text| text.starts_with('2')));
        let report = nats.run(scheme, "", &["--rate", "1000", "--size", "40..4000"]);
        assert_eq!(report["published"], 1200);
    }
}

/// A folder with an authority's certificate, and those of a server and a client, signed by it.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[req]\ndistinguished_name = name\n[name]\n";
    fs::write(folder.path().join("conf"), text).expect("a file");
    let make = |name: &str, more: &str| {
        let common =
            "req -x509 -config conf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
        let files = format!("-subj /CN={name} -keyout {name}.key -out {name}.pem");
        let words = [common, &files, more].join(" ");
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(folder.path());
        let output = command.output().expect("openssl starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    make("ca", "-addext basicConstraints=critical,CA:TRUE");
    for end in ["server", "client"] {
        make(end, "-CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1");
    }
    folder
}

#[test]
fn nats_with_tls_loses_nothing_and_both_ends_check_certificates() {
    let folder = certificates();
    let nats = Broker::nats_tls(folder.path());
    let flags = |folder: &tempfile::TempDir| folder.path().to_str().expect("UTF-8").to_owned();
    let own = flags(&folder);
    let report = nats.run("nats", "", &["--tls", &own, "--pubs", "2", "--subs", "4"]);
    assert_eq!(report["config"]["tls"], own);
    let target = format!("nats://127.0.0.1:{}", nats.port);
    let opening = ["--target", &target, "--connections", "--duration", "500ms", "--json"];
    let output = loadgen(&[&opening[..], &["--tls", &own]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // Neither its certificate nor ours is of the same authority; and one end has none.
    let foreign = certificates();
    fs::copy(foreign.path().join("ca.pem"), folder.path().join("ca.pem")).expect("copied");
    for (wrong, why) in [(&["--tls", &own][..], "invalid peer certificate"), (&[], "")] {
        let output = loadgen(&[&["--target", &target], wrong].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[test]
fn nats_opens_connections() {
    let nats = Broker::nats();
    let target = format!("nats://127.0.0.1:{}", nats.port);
    let output = loadgen(&["--target", &target, "--connections", "--duration", "500ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(report["published_per_s"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn jetstream_settles_every_message() {
    let nats = Broker::nats();
    for (option, class) in [("", "memory"), ("?storage=file", "page-cache")] {
        let report = nats.run("nats+js", option, &["--pubs", "2", "--ack"]);
        assert_eq!(report["target"]["durability"], class);
        assert!(report["server"]["settled_per_s"].as_f64() > Some(0.0));
    }
    nats.run("nats+js", "", &["--subs", "2", "--ack", "--rate", "500"]);
    nats.run("nats+js", "", &["--subs", "2", "--rate", "500"]);
}

/// A group of four workers.
const GROUP: [&str; 7] = ["--group", "--subs", "4", "--pubs", "2", "--names", "2"];

#[test]
fn groups_share_messages_without_loss() {
    let nats = Broker::nats();
    for scheme in ["nats", "nats+raw"] {
        nats.run(scheme, "", &GROUP);
    }
    let acked = [&GROUP[..], &["--ack"]].concat();
    for option in ["", "?storage=file"] {
        let report = nats.run("nats+js", option, &acked);
        assert!(report["server"]["settled_per_s"].as_f64() > Some(0.0));
        assert_eq!(report["duplicated"], 0);
    }
    nats.run("nats+js", "", &[&GROUP[..], &["--rate", "500"]].concat());
    let redis = Broker::redis(&["--appendonly", "yes", "--appendfsync", "always"]);
    let report = redis.run("redis+streams", "", &acked);
    assert_eq!(report["target"]["durability"], "fsync");
}

#[test]
fn nats_answers_requests() {
    let nats = Broker::nats();
    for scheme in ["nats", "nats+raw"] {
        let flags = ["--request", "--pubs", "4", "--names", "2"];
        for group in [&[][..], &["--group", "--subs", "2"]] {
            let report = nats.run(scheme, "", &[&flags[..], group].concat());
            assert!(report["latency_us"]["samples"].as_u64() > Some(10), "{report}");
        }
    }
}

#[test]
fn beanstalkd_settles_every_job_and_tells_whether_it_has_a_log() {
    let log = ["-b", "FOLDER", "-f0"];
    for (settings, class) in [(&[][..], "memory"), (&log, "page-cache")] {
        let beanstalkd = Broker::beanstalkd(settings);
        for flags in [&GROUP[..], &["--rate", "500"]] {
            let report = beanstalkd.run("beanstalkd", "", &[flags, &["--ack"]].concat());
            assert_eq!(report["target"]["name"], "beanstalkd");
            assert_eq!(report["target"]["durability"], class);
            assert_eq!(report["target"]["version"], "1.12");
            assert!(report["server"]["settled_per_s"].as_f64() > Some(0.0));
        }
    }
}

#[test]
fn redis_loses_nothing_within_its_window() {
    let redis = Broker::redis(&[]);
    let report = redis.run("redis", "", &["--pubs", "2", "--subs", "3", "--names", "2"]);
    assert_eq!(report["target"]["name"], "redis");
    assert_eq!(report["target"]["durability"], "memory");
    redis.run("redis", "", &["--size", "65536", "--rate", "100"]);
}

#[test]
fn redis_streams_settle_every_message_and_tell_their_class() {
    for (settings, class) in [
        (&[][..], "memory"),
        (&["--appendonly", "yes", "--appendfsync", "everysec"], "page-cache"),
        (&["--appendonly", "yes", "--appendfsync", "always"], "fsync"),
    ] {
        let redis = Broker::redis(settings);
        let report = redis.run("redis+streams", "", &["--pubs", "2", "--names", "2", "--ack"]);
        assert_eq!(report["target"]["durability"], class);
        assert!(report["server"]["settled_per_s"].as_f64() > Some(0.0));
    }
}

#[test]
fn mqtt_loses_nothing_within_its_window() {
    let mosquitto = Broker::mosquitto();
    for (option, name) in [("", "mqtt-qos0"), ("?qos=1", "mqtt-qos1")] {
        let report = mosquitto.run("mqtt", option, &["--pubs", "2", "--subs", "3"]);
        assert_eq!(report["target"]["name"], name);
        assert!(report["target"]["version"].as_str().is_some_and(|v| v.contains("mosquitto")));
    }
    let report = mosquitto.run("mqtt", "", &["--rate", "500", "--durability", "memory"]);
    assert_eq!(report["target"]["durability"], "memory");
}

#[test]
fn what_a_broker_drops_is_a_loss_and_exit_1() {
    let redis = Broker::redis(&["--client-output-buffer-limit", "pubsub 64kb 0 0"]);
    let target = format!("redis://127.0.0.1:{}", redis.port);
    let load = ["--size", "10000", "--inflight", "100000", "--duration", "500ms"];
    let slow = ["--slow-subs", "1", "--consumer-latency", "20ms", "--warmup", "0"];
    let output = loadgen(&[&["--target", &target], &load[..], &slow[..]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("were lost"), "{stderr}");
}

#[test]
fn a_broker_that_is_not_there_is_exit_1() {
    // The discard port: nothing listens there.
    for scheme in ["nats", "nats+raw", "nats+js", "redis", "redis+streams", "beanstalkd", "mqtt"] {
        let output = loadgen(&["--target", &format!("{scheme}://127.0.0.1:9")]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{scheme}: {stderr}");
        assert!(stderr.contains("127.0.0.1:9"), "{scheme}: {stderr}");
    }
}

#[test]
fn what_a_broker_cannot_do_is_a_usage_error() {
    check_usage(&["--target", "nats://h:1", "--ack"], "no acknowledgement");
    check_usage(&["--target", "redis+streams://h:1", "--subs", "2"], "--subs 1");
    check_usage(&["--target", "beanstalkd://h:1", "--subs", "2"], "--group");
    check_usage(&["--target", "mqtt://h:1", "--group"], "leave --group out");
    check_usage(&["--target", "redis://h:1", "--request"], "leave --request out");
    check_usage(&["--target", "nats://h:1", "--target-delay", "1s"], "this project's clients");
    check_usage(&["--target", "nats+js://h:1", "--ack-ratio", "0.5"], "all messages or none");
    check_usage(&["--target", "nats://h:1", "--server", "h"], "--server");
}
