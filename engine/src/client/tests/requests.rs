use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, client, options, server, wait_for};
use crate::client::{Filter, Message, ReceiveError, RequestError, SendError};
use crate::limits::PROPERTIES_BYTES_MAX;

#[test]
fn headers_arrive_in_their_order_and_the_payload_alone() {
    let server = server();
    let client = client(&server);
    let mut messages = client.subscription("a").unwrap();
    let message = client.message("a", "tea").ack().content_type("text/plain");
    message
        .header("shop", "7")
        .header("shop", "8")
        .header("", "")
        .reply_to("answers")
        .send()
        .unwrap();
    let tea = messages.recv_timeout(LONG).unwrap();
    assert_eq!((tea.text(), tea.requires_ack(), tea.verify()), (Some("tea"), true, Some(true)));
    let headers: Vec<_> = tea.headers().collect();
    assert_eq!(headers, [("shop", "7"), ("shop", "8"), ("", "")]);
    assert_eq!((tea.header("shop"), tea.header("no")), (Some("7"), None));
    assert_eq!((tea.content_type(), tea.reply_to()), (Some("text/plain"), Some("answers")));
    tea.ack();
    client.message("a", vec![7; 300_000]).header("k", "v").publish().unwrap();
    let large = messages.recv_timeout(LONG).unwrap();
    assert_eq!((large.payload(), large.header("k")), (&[7; 300_000][..], Some("v")));
    client.message("a", "").header("k", "v").send().unwrap();
    let empty = messages.recv_timeout(LONG).unwrap();
    assert_eq!(
        (empty.payload(), empty.header("k"), empty.verify()),
        (&b""[..], Some("v"), Some(true))
    );
    client.message("a", "plain").send().unwrap();
    let plain = messages.recv_timeout(LONG).unwrap();
    assert_eq!((plain.headers().count(), plain.reply_to()), (0, None));
    assert_eq!(plain.reply("x").unwrap_err(), SendError::NoReplyWanted);
}

#[test]
fn a_callback_gets_the_payload_without_what_stands_behind_it() {
    let server = server();
    let client = options(&server).connect().unwrap();
    let (sender, messages) = unbounded();
    let callback = move |payload: &[u8], message: &Message| {
        sender.send((payload.to_vec(), message.clone())).unwrap();
    };
    client.subscribe("a", callback).unwrap();
    client.message("a", "tea").header("shop", "7").send().unwrap();
    let (payload, message) = messages.recv_timeout(LONG).unwrap();
    assert_eq!(
        (&*payload, message.text(), message.header("shop")),
        (&b"tea"[..], Some("tea"), Some("7"))
    );
}

#[test]
fn headers_that_are_too_long_and_names_that_are_none_are_refused_here() {
    let server = server();
    let client = client(&server);
    let long = "x".repeat(PROPERTIES_BYTES_MAX);
    let error = client.message("a", "x").header("k", &long).send().unwrap_err();
    assert!(error.to_string().contains("65536 bytes at most"), "{error}");
    let error = client.message("a", "x").reply_to("a|b").send().unwrap_err();
    assert!(matches!(error, SendError::Properties(_)), "{error}");
    client.message("a", "x").send().unwrap();
}

#[test]
fn a_request_is_answered_and_each_caller_gets_its_own_answer() {
    const CALLERS: u64 = 8;
    let server = server();
    let [responder, requester] = [client(&server), client(&server)];
    let requests =
        responder.subscription_to(Filter::name("double")).group("doublers").open().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for request in requests {
                let n: u64 = request.text().unwrap().parse().unwrap();
                request.reply((2 * n).to_string()).unwrap();
                // A further answer is nobody's.
                request.reply("late").unwrap();
            }
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let requester = &requester;
                scope.spawn(move || {
                    for n in (caller..200).step_by(CALLERS as usize) {
                        let answer =
                            requester.message("double", n.to_string()).request(LONG).unwrap();
                        assert_eq!(answer.text(), Some(&*(2 * n).to_string()));
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        responder.stop();
    });
}

#[test]
fn a_request_that_failed_is_an_error_with_the_reason() {
    let server = server();
    let [responder, requester] = [client(&server), client(&server)];
    let mut requests =
        responder.subscription_to(Filter::name("divide")).group("dividers").open().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| requester.message("divide", "1/0").request(LONG));
        let request = requests.recv_timeout(LONG).unwrap();
        request.reply_error("nothing is divided by 0").unwrap();
        let failed = RequestError::Failed {
            name: "divide".to_owned(),
            reason: "nothing is divided by 0".to_owned(),
        };
        assert_eq!(asked.join().unwrap().unwrap_err(), failed);
    });
    requester.message("divide", "no request").publish().unwrap();
    let other = requests.recv_timeout(LONG).unwrap();
    assert_eq!(other.reply_error("x").unwrap_err(), SendError::NoReplyWanted);
}

#[test]
fn a_request_to_nobody_fails_at_once_and_one_without_an_answer_in_time() {
    let server = server();
    let client = client(&server);
    let start = Instant::now();
    let error = client.message("nobody", "x").request(LONG).unwrap_err();
    assert_eq!(error, RequestError::NoSubscriber { name: "nobody".to_owned() });
    assert!(start.elapsed() < LONG / 2);
    let mut silent = client.subscription("silent").unwrap();
    let timeout = Duration::from_millis(50);
    let error = client.message("silent", "x").request(timeout).unwrap_err();
    assert_eq!(error, RequestError::TimedOut { name: "silent".to_owned(), timeout });
    // An answer that comes too late reaches nobody, and the next request gets its own.
    let late = silent.recv_timeout(LONG).unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.message("silent", "y").request(LONG));
        let request = silent.recv_timeout(LONG).unwrap();
        late.reply("late").unwrap();
        request.reply("in time").unwrap();
        assert_eq!(asking.join().unwrap().unwrap().text(), Some("in time"));
    });
    assert_eq!(silent.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
}

#[test]
fn a_request_that_only_observers_get_fails_at_once() {
    let server = server();
    let client = client(&server);
    let mut observer = client.subscription_to(Filter::prefix("")).observe().open().unwrap();
    let nobody = RequestError::NoSubscriber { name: "sum".to_owned() };
    assert_eq!(client.message("sum", "1").request(LONG).unwrap_err(), nobody);
    assert_eq!(observer.recv_timeout(LONG).unwrap().text(), Some("1"));
    // Whoever publishes is told of them all.
    assert_eq!(client.publish("sum", "2").unwrap().receivers(), Ok(Some(1)));
}

#[test]
fn requests_go_on_after_the_server_was_away() {
    let first = server();
    let ports = (first.pub_addr().port(), first.recv_addr().port());
    let options = super::subscriptions::options(&first).connection_retries(100);
    let client = options.send_timeout(Duration::from_millis(200)).connect().unwrap();
    let mut requests = client.subscription("a").unwrap();
    let mut ask = || {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| client.message("a", "x").request(LONG).unwrap());
            requests.recv_timeout(LONG).unwrap().reply("y").unwrap();
            assert_eq!(asking.join().unwrap().text(), Some("y"));
        });
    };
    ask();
    first.shutdown().unwrap();
    let second = crate::Server::builder().pub_port(ports.0).recv_port(ports.1).start().unwrap();
    wait_for("the client", || client.ping().is_ok());
    ask();
    second.shutdown().unwrap();
}

#[test]
fn a_request_that_asks_for_acknowledgement_waits_for_whoever_works() {
    let server = server();
    let client = client(&server);
    let mut member = client.subscription_to(Filter::name("a")).group("g").open().unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.message("a", "x").ack().request(LONG));
        let request = member.recv_timeout(LONG).unwrap();
        request.reply("y").unwrap();
        request.ack();
        assert_eq!(asking.join().unwrap().unwrap().text(), Some("y"));
    });
}

#[test]
fn the_end_of_the_client_ends_its_requests() {
    let server = server();
    let client = client(&server);
    let mut silent = client.subscription("a").unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.message("a", "x").request(LONG * 100));
        silent.recv_timeout(LONG).unwrap();
        client.stop();
        assert_eq!(asking.join().unwrap().unwrap_err(), RequestError::Send(SendError::Stopped));
    });
}
