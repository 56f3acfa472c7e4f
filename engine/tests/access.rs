//! What clients may do on a server that says so, through the public API alone.

mod permissions;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mezzenger::access::{Access, Names, Permissions};
use mezzenger::curve::{AuthorizedKeys, KeyPair};
use mezzenger::{
    Client, ClientBuilder, ConnectionEvent, Filter, ReceiveError, SendError, Server, SubscribeError,
};

use permissions::{LONG, World};

#[test]
fn nobody_has_others_publish_what_he_may_not() {
    let world = World::new(&[
        ("asker", Permissions::none().publish("ask").publish("mine.>").subscribe("others.*")),
        ("answerer", Permissions::none().subscribe("ask")),
        ("owner", Permissions::none().publish("others.*").subscribe(">")),
    ]);
    let (asker, answerer) = (world.connect("asker"), world.connect("answerer"));
    let mut requests = answerer.subscription("ask").unwrap();
    // A name that he may only subscribe to, another one's answers, and one that nobody may use.
    let owner = world.connect("owner");
    let other = format!("_reply.{:016x}", owner.publisher_id());
    for name in ["others.a", &other, "_reply.0", "else"] {
        let error = asker.message("ask", "").reply_to(name).send().unwrap_err();
        let SendError::NotAllowed { text } = &error else { panic!("{error:?}") };
        assert!(text.starts_with(&format!("not allowed: have answers published to '{name}'")));
    }
    let own = format!("_reply.{:016x}", asker.publisher_id());
    for name in ["mine.answers", &own] {
        asker.message("ask", "").reply_to(name).send().unwrap();
        let request = requests.recv_timeout(LONG).unwrap();
        assert_eq!(request.reply_to(), Some(name));
        request.reply("answer").unwrap().wait().unwrap();
    }
    // What the refused ones asked for was not opened.
    let error = answerer.message("others.a", "").send().unwrap_err();
    assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
}

#[test]
fn who_gets_a_request_may_answer_it_and_others_may_not() {
    let world = World::new(&[
        ("asker", Permissions::none().publish("ask.>")),
        ("answerer", Permissions::none().subscribe("ask.>").group("workers")),
        ("other", Permissions::none().subscribe("ask.other").publish("ask.>")),
    ]);
    let asker = world.connect("asker");
    let own = format!("_reply.{:016x}", asker.publisher_id());
    let other = world.connect("other");
    let _heard = other.subscription("ask.other").unwrap();
    let refused = |client: &Client| {
        let error = client.message(&own, "forged").send().unwrap_err();
        assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
    };
    let answerer = world.connect("answerer");
    refused(&answerer);
    let jobs = answerer.subscription_to(Filter::pattern("ask.>")).group("workers").open().unwrap();
    let answering = std::thread::spawn(move || {
        for request in jobs.into_iter().take(3) {
            request.reply("answer").unwrap().wait().unwrap();
            request.ack();
        }
    });
    for name in ["ask.a", "ask.b", "ask.c"] {
        let answer = asker.message(name, "").request(LONG).unwrap();
        assert_eq!(answer.text(), Some("answer"));
    }
    answering.join().unwrap();
    refused(&other);
    // Nor may it listen to the answers.
    let error = other.subscription(&own).unwrap_err();
    assert!(matches!(error, SubscribeError::NotAllowed { .. }), "{error}");
    // Whoever got a request may answer that one, and nothing else.
    refused(&world.connect("answerer"));
    // Its own answers everybody gets, also who may subscribe to nothing.
    let _answers = asker.subscription_to(Filter::name(&*own)).observe().open().unwrap();
}

#[test]
fn the_right_to_answer_is_for_one_answer_of_who_takes_part_and_is_not_passed_on() {
    let world = World::new(&[
        ("asker", Permissions::none().publish("ask")),
        ("answerer", Permissions::none().subscribe("ask").publish("help")),
        ("accomplice", Permissions::none().subscribe("help").subscribe("ask")),
    ]);
    let (asker, answerer) = (world.connect("asker"), world.connect("answerer"));
    let accomplice = world.connect("accomplice");
    let mut requests = answerer.subscription("ask").unwrap();
    let mut seen = accomplice.subscription_to(Filter::name("ask")).observe().open().unwrap();
    let asking = std::thread::spawn(move || asker.message("ask", "").request(LONG));
    let request = requests.recv_timeout(LONG).unwrap();
    let own = request.reply_to().unwrap().to_owned();
    // Who only looks on may not.
    let error = seen.recv_timeout(LONG).unwrap().reply("forged").unwrap().wait().unwrap_err();
    assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
    // Nor may it have somebody else answer there.
    let error = answerer.message("help", "").reply_to(&own).send().unwrap_err();
    assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
    // What stays, or is for later, is no answer.
    for message in [
        answerer.message(&own, "x").retain(),
        answerer.message(&own, "x").ack(),
        answerer.message(&own, "x").deliver_in(LONG),
    ] {
        let error = message.send().unwrap_err();
        assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
    }
    request.reply("answer").unwrap().wait().unwrap();
    assert_eq!(asking.join().unwrap().unwrap().text(), Some("answer"));
}

#[test]
fn a_retained_request_gives_nobody_a_right_to_answer() {
    let world = World::new(&[
        ("asker", Permissions::none().publish("ask").publish("results")),
        ("later", Permissions::none().subscribe("ask")),
    ]);
    let asker = world.connect("asker");
    asker.message("ask", "").reply_to("results").retain().send().unwrap();
    let later = world.connect("later");
    let mut last = later.subscription_to(Filter::name("ask")).with_last().open().unwrap();
    let error = last.recv_timeout(LONG).unwrap().reply("x").unwrap().wait().unwrap_err();
    assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
}

#[test]
fn what_is_no_longer_allowed_ends_within_a_second() {
    let some = || Permissions::none().publish("a").subscribe("a");
    let world = World::new(&[("kept", some()), ("narrowed", some()), ("widened", some())]);
    let connect = |who: &str| {
        let (sender, ended) = channel();
        let builder = world.options(who).on_connection(move |event: &ConnectionEvent| {
            if let ConnectionEvent::Disconnected { .. } = event {
                let _ = sender.send(Instant::now());
            }
        });
        (builder.connect().unwrap(), ended)
    };
    let (kept, kept_ended) = connect("kept");
    let (narrowed, narrowed_ended) = connect("narrowed");
    let (widened, widened_ended) = connect("widened");
    let mut messages = narrowed.subscription("a").unwrap();
    let mut kept_messages = kept.subscription("a").unwrap();
    let error = widened.message("b", "").send().unwrap_err();
    assert!(matches!(error, SendError::NotAllowed { .. }));
    let changed = Instant::now();
    let access = Access::new()
        .key(world.key("kept"), some())
        .key(world.key("narrowed"), Permissions::none().publish("a"))
        .key(world.key("widened"), some().publish("b"));
    world.server.access_handle().set_access(access).unwrap();
    let at = narrowed_ended.recv_timeout(LONG).unwrap();
    assert!(at - changed < Duration::from_secs(1), "{:?}", at - changed);
    let error = messages.recv_timeout(LONG).unwrap_err();
    let ReceiveError::Refused(SubscribeError::NotAllowed { text }) = &error else {
        panic!("{error:?}")
    };
    assert!(text.contains("may subscribe to nothing"), "{text}");
    // It is there again, with what it may still do.
    narrowed.message("a", "still").send().unwrap();
    assert_eq!(kept_messages.recv_timeout(LONG).unwrap().text(), Some("still"));
    widened.message("b", "").send().unwrap();
    assert!(kept_ended.try_recv().is_err() && widened_ended.try_recv().is_err());
    let wrong = Access::new().others(Permissions::none().publish("a..*"));
    assert!(world.server.access_handle().set_access(wrong).is_err());
    widened.message("b", "").send().unwrap();
}

#[test]
fn lists_show_no_more_than_is_allowed() {
    let admin =
        |group: &str| Permissions::none().subscribe("a.>").publish("a.>").group(group).administer();
    let world = World::new(&[("one", admin("one.*")), ("all", Permissions::all())]);
    let (one, all) = (world.connect("one"), world.connect("all"));
    for group in ["one.a", "one.b", "other", "two.a"] {
        all.groups().durable(group, Filter::pattern("a.>")).create().unwrap();
    }
    let names = |client: &Client| {
        let groups = client.groups().list().unwrap();
        groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&one), ["one.a", "one.b"]);
    assert_eq!(names(&all), ["one.a", "one.b", "other", "two.a"]);
    // Not by its name either.
    assert_eq!(one.groups().get("other").unwrap(), None);
    assert!(one.groups().get("one.b").unwrap().is_some());
}

#[test]
fn without_an_entry_what_is_said_of_others_counts() {
    let (alice, server_keys) = (KeyPair::generate(), KeyPair::generate());
    let access = Access::new()
        .key(alice.public(), Permissions::none().publish(Names::prefix("al")))
        .others(Permissions::none().publish("news"));
    let builder = Server::builder().pub_port(0).recv_port(0).access(access.clone());
    let server = builder.curve(server_keys.clone(), AuthorizedKeys::any()).start().unwrap();
    let options = || Client::builder().port(server.recv_addr().port());
    let with = |keys: KeyPair| -> ClientBuilder { options().curve(keys, server_keys.public()) };
    let check = |client: &Client, allowed: &str, refused: &str| {
        client.message(allowed, "").send().unwrap();
        let error = client.message(refused, "").send().unwrap_err();
        assert!(matches!(error, SendError::NotAllowed { .. }), "{error}");
    };
    check(&with(alice).connect().unwrap(), "alarm", "news");
    check(&with(KeyPair::generate()).connect().unwrap(), "news", "alarm");
    // Where nobody has keys, all are others.
    let open = Server::builder().pub_port(0).recv_port(0).access(access).start().unwrap();
    let nobody = Client::builder().port(open.recv_addr().port()).connect().unwrap();
    check(&nobody, "news", "alarm");
}
