"""The blocking client: what is published arrives as it was published, and what is said of it is heard."""

from __future__ import annotations

import datetime
import gc
import queue
import threading
import time

import mezzenger
import pytest
from conftest import LONG, until
from mezzenger import Client, Filter, Server, Verdict


def test_bytes_text_and_buffers_travel_as_they_are(client: Client) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6, dtype="<f8").reshape(2, 3)
    messages = client.subscription("a")
    for payload in (b"bytes", "täxt", bytearray(b"array"), memoryview(b"view")[1:], array, b""):
        client.publish("a", payload)
    assert (messages.recv(LONG).value(), messages.recv(LONG).value()) == (b"bytes", "täxt")
    assert [messages.recv(LONG).bytes() for _ in range(2)] == [b"array", b"iew"]
    received = numpy.frombuffer(messages.recv(LONG), dtype="<f8").reshape(2, 3)
    assert (received == array).all() and not received.flags.writeable
    empty = messages.recv(LONG)
    assert bytes(empty.payload) == b"" and len(empty) == 0 and empty


def test_a_large_buffer_may_change_as_soon_as_it_was_published(client: Client) -> None:
    messages, buffer = client.subscription("a"), bytearray(1024 * 1024)
    ahead = 3
    for number in range(60):
        buffer[0] = buffer[-1] = number
        client.publish("a", buffer)
        if number >= ahead:
            message = messages.recv(LONG)
            assert (message.payload[0], message.payload[-1], len(message)) == (number - ahead, number - ahead, len(buffer))
            assert message.verify()


def test_other_values_are_json_and_msgpack_when_asked_for(client: Client) -> None:
    messages = client.subscription("a")
    value = {"name": "tée", "price": [1, 2.5, None]}
    client.publish("a", value)
    client.publish("a", value, format="msgpack")
    client.publish("a", "text", format="json", content_type="application/json; x=1")
    first, second, third = (messages.recv(LONG) for _ in range(3))
    assert (first.content_type, first.json(), first.value()) == ("application/json", value, value)
    assert (second.content_type, second.value()) == ("application/msgpack", value)
    assert (third.text(), third.value()) == ('"text"', "text")


def test_a_payload_is_a_view_of_the_frame_that_outlives_message_and_client(server: Server) -> None:
    with Client(server.url) as client:
        messages = client.subscription("a")
        client.publish("a", b"kept")
        message = messages.recv(LONG)
        view = message.payload
        message.ack()
        del message, messages
    gc.collect()
    assert view.readonly and bytes(view) == b"kept"
    with pytest.raises(TypeError):
        view[0] = 1


def test_all_that_is_said_of_a_message_arrives(client: Client) -> None:
    messages = client.subscription("a")
    before = time.time()
    client.send("a", "x", ack=True, headers=[("k", "1"), ("k", "2")], content_type="text/x", reply_to="b")
    message = messages.recv(LONG)
    assert message.header_items == [("k", "1"), ("k", "2")]
    assert (message.headers, message.header("k"), message.header("no")) == ({"k": "2"}, "1", None)
    assert (message.name, message.content_type, message.reply_to) == ("a", "text/x", "b")
    assert message.requires_ack and message.verify() and not message.redelivered and message.attempt == 0
    assert before - 1 < message.timestamp < time.time() + 1
    assert message.id.startswith(f"{client.publisher_id:016x}-") and len(message.checksum) == 32


def test_a_receipt_tells_when_the_server_took_it_and_for_how_many(client: Client) -> None:
    assert client.publish("a", "x").receivers() == 0
    messages = client.subscription("a")
    receipt = client.publish("a", "x")
    assert receipt.wait(LONG) and receipt.done and receipt.receivers() == 1
    assert client.publish_many("a", (str(n) for n in range(1000))) == 1000
    client.flush()
    received: list[str] = [messages.recv(LONG).text()]
    while len(received) < 1001:
        received += [message.text() for message in messages.recv_many(100, LONG)]
    assert received == ["x", *map(str, range(1000))]
    assert messages.recv_many(10, 0) == [] and messages.try_recv() is None
    with pytest.raises(mezzenger.ReceiveTimedOut, match="no message within 0.001 s"):
        messages.recv(timeout=datetime.timedelta(milliseconds=1))
    assert client.counters.published == 1002


def test_times_are_seconds_or_timedelta(server: Server, client: Client) -> None:
    messages = client.subscription("a")
    start = time.monotonic()
    client.send("a", "later", ack=True, deliver_in=datetime.timedelta(milliseconds=100))
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=150)
    client.send("a", "at", deliver_at=at)
    client.send("a", "never", ack=True, expires_in=0)
    client.send("a", "now", ack=True, expires_in=LONG)
    assert [messages.recv(LONG).text() for _ in range(3)] == ["now", "later", "at"]
    assert time.monotonic() - start > 0.099
    assert server.metrics().expired == 1
    with pytest.raises(mezzenger.InvalidOption, match="-1"):
        client.publish("a", "x", expires_in=-1)
    with pytest.raises(TypeError, match="seconds or a datetime.timedelta, not str"):
        client.publish("a", "x", expires_in="1")  # type: ignore[arg-type]


def test_an_idempotency_key_publishes_once(server: Server, client: Client) -> None:
    for _ in range(3):
        client.send("a", "x", ack=True, idempotency_key="17")
    assert server.metrics().pending_messages == 1


def test_retained_messages_are_listed_given_and_cleared(client: Client) -> None:
    client.send("price.tea", "6", retain=True)
    client.send("price.tea", "7", retain=True)
    client.send("price.milk", "1", retain=True)
    retained = client.retained
    assert [message.name for message in retained.list(Filter.pattern("price.*"))] == ["price.milk", "price.tea"]
    assert (retained.count(), retained.list(limit=1)[0].name) == (2, "price.milk")
    last = client.subscription("price.tea", with_last=True).recv(LONG)
    assert last.text() == "7" and last.retained
    retained.clear("price.tea")
    assert retained.count() == 1


def test_a_request_is_answered_and_fails_at_once_without_anybody(client: Client) -> None:
    with pytest.raises(mezzenger.NoSubscriber):
        client.request("sum", "1", LONG)
    client.subscribe("sum", lambda message: message.reply(sum(map(int, message.text().split()))))
    assert client.request("sum", "1 2 3", LONG).json() == 6
    silent = client.subscription("silent")
    with pytest.raises(mezzenger.RequestTimedOut) as timed_out:
        client.request("silent", "?", 0.01)
    assert isinstance(timed_out.value, TimeoutError)
    request = silent.recv(LONG)
    with pytest.raises(mezzenger.NoReplyWanted):
        client.send("silent", "x")
        silent.recv(LONG).reply("y")
    request.ack()
    with pytest.raises(mezzenger.AlreadySettled):
        request.reply("too late")


def test_a_request_that_failed_says_why(client: Client) -> None:
    client.subscribe("divide", lambda message: message.reply_error("nothing is divided by 0"))
    with pytest.raises(mezzenger.RequestFailed, match="'divide' failed: nothing is divided by 0"):
        client.request("divide", "1/0", LONG)


def test_messages_are_forwarded_as_they_are(client: Client) -> None:
    source, target = client.subscription("a"), client.subscription("b")
    client.send("a", "x", ack=True, headers={"k": "v"})
    message = source.recv(LONG)
    message.forward_to("b").wait()
    client.forward("b", message).wait()
    for _ in range(2):
        copy = target.recv(LONG)
        assert (copy.text(), copy.headers, copy.requires_ack) == ("x", {"k": "v"}, True)


def test_observers_see_all_and_settle_nothing(server: Server, client: Client) -> None:
    observer = client.subscription(Filter.pattern("a.>"))
    also = client.subscription("a.b.c", observe=True)
    client.send("a.b.c", "x", ack=True)
    observer.recv(LONG).ack()
    also.recv(LONG).ack()
    client.flush()
    assert client.ping() > 0 and server.metrics().pending_messages == 1
    broadcast = client.subscription(Filter.pattern("a.>"), observe=False)
    client.send("a.d", "y", ack=True)
    broadcast.recv(LONG).ack()
    until("the acknowledgement", lambda: server.metrics().pending_messages == 1)


def of_any(members: list[mezzenger.Subscription]) -> mezzenger.Delivery:
    end = time.monotonic() + LONG
    while True:
        for member in members:
            if (job := member.try_recv()) is not None:
                return job
        assert time.monotonic() < end, "no member got a job"


def test_a_group_shares_work_tries_again_and_gives_up(client: Client) -> None:
    pattern = Filter.pattern("jobs.*")
    members = [client.subscription(pattern, group="g", attempts_max=2, backoff=[0.01], credit=1) for _ in range(2)]
    client.send("jobs.1", "1", ack=True)
    client.send("jobs.2", "2", ack=True)
    jobs = [member.recv(LONG) for member in members]
    assert sorted(job.text() for job in jobs) == ["1", "2"]
    jobs[0].ack()
    jobs[1].extend()
    jobs[1].nak()
    job = of_any(members)
    assert job.attempt == 2 and job.redelivered
    job.reject("no such tea")
    letters = client.dead_letters("g")
    until("the dead letter", lambda: letters.count() == 1)
    letter, message = letters.show(letters.list()[0].id)
    assert (letter.cause, letter.reason, letter.attempts, letter.group) == ("rejected", "no such tea", 2, "g")
    assert letter.filter == pattern and message.text() == job.text()
    assert client.dead_letters().list()[0] == letter
    assert letters.replay([letter.id]) == 1
    replayed = of_any(members)
    assert replayed.attempt == 1
    replayed.reject("again")
    until("the dead letter", lambda: letters.count() == 1)
    assert letters.purge(name="jobs.3") == 0 and letters.purge() == 1


def test_a_durable_group_keeps_jobs_without_members(client: Client) -> None:
    client.groups.create("g", "jobs", ack_wait=20, in_flight_max=5, attempts_max=3, backoff=[1, 2], keep_expired=True)
    client.send("jobs", "x", ack=True)
    (group,) = client.groups.list()
    assert (group.is_durable, group.ack_wait, group.in_flight_max, group.attempts_max) == (True, 20, 5, 3)
    assert (group.backoff, group.keeps_expired, group.waiting, group.filter) == ((1, 2), True, 1, Filter.name("jobs"))
    with pytest.raises(mezzenger.AdminRefused):
        client.groups.create("g", "others")
    with client.subscription("jobs", group="g") as jobs:
        jobs.recv(LONG).ack()
    until("the end of the member", lambda: client.groups.list()[0].members == 0)
    client.send("jobs", "y", ack=True)
    with pytest.raises(mezzenger.AdminRefused, match="'g' has 1 message that no member settled"):
        client.groups.delete("g")
    client.groups.delete("g", discard=True)
    assert client.groups.get("g") is None


def test_process_acknowledges_or_gives_back(client: Client) -> None:
    jobs = client.subscription("jobs", group="g")
    client.send("jobs", "x", ack=True)
    with pytest.raises(ZeroDivisionError), jobs.recv(LONG).process(nak_delay=0.01):
        raise ZeroDivisionError
    with jobs.recv(LONG).process() as job:
        assert job.attempt == 2
    assert job.settled
    client.send("jobs", "y", ack=True)
    with jobs.recv(LONG).process() as job:
        job.reject("what the block says counts")
    until("the dead letter", lambda: client.dead_letters("g").count() == 1)


def test_callbacks_say_what_becomes_of_messages(server: Server, client: Client) -> None:
    attempts = queue.Queue[tuple[str, int]]()

    def work(job: mezzenger.Delivery) -> Verdict | None:
        attempts.put((job.text(), job.attempt))
        if job.text() == "later" and job.attempt == 1:
            return Verdict.nak(0.01)
        return Verdict.reject("bad") if job.text() == "bad" else None

    client.subscribe("jobs", work, group="g")
    for job in ("later", "bad", "good"):
        client.send("jobs", job, ack=True)
    assert sorted(attempts.get(timeout=LONG) for _ in range(4)) == [
        ("bad", 1), ("good", 1), ("later", 1), ("later", 2),
    ]  # fmt: skip
    # A dead letter is kept.
    until("the acknowledgements", lambda: server.metrics().pending_messages == 1)
    client.unsubscribe("jobs")
    with pytest.raises(mezzenger.NotSubscribed):
        client.unsubscribe("jobs")


def test_callbacks_of_one_subscription_keep_the_order_and_those_of_others_go_on(client: Client) -> None:
    gate, order, other = threading.Event(), list[str](), queue.Queue[str]()

    def slow(message: mezzenger.Delivery) -> None:
        gate.wait(LONG)
        order.append(message.text())

    client.subscribe("slow", slow)
    client.subscribe("quick", lambda message: other.put(message.text()))
    client.publish_many("slow", map(str, range(1000)))
    client.publish("quick", "x")
    assert other.get(timeout=LONG) == "x"
    gate.set()
    until("all of them", lambda: len(order) == 1000)
    assert order == [str(n) for n in range(1000)]


def test_a_client_may_be_used_and_closed_in_a_callback(server: Server) -> None:
    client = Client(server.url)

    def end(message: mezzenger.Delivery) -> None:
        client.send("seen", message.text(), ack=True)
        client.close()

    client.subscribe("a", end)
    client.send("a", "x")
    assert client.wait_closed(LONG) and client.closed
    assert server.metrics().pending_messages == 1


def test_reports_come_on_a_thread_that_may_use_the_client() -> None:
    events = queue.Queue[object]()
    server = mezzenger.Server()
    port = server.port
    with Client(server.url, send_timeout=0.2, connection_retries=100, on_connection=events.put) as client:
        connected = events.get(timeout=LONG)
        assert isinstance(connected, mezzenger.ConnectionEvent) and connected.is_connected
        server.close()
        lost = events.get(timeout=LONG)
        assert isinstance(lost, mezzenger.ConnectionEvent) and not lost.is_connected and lost.why
        with mezzenger.Server(port=port):
            client.send("a", "after the server was away")


def test_what_waits_ends_with_the_client(server: Server) -> None:
    client = Client(server.url)
    messages = client.subscription("a")
    ended = queue.Queue[object]()
    threading.Thread(target=lambda: ended.put(list(messages)), daemon=True).start()
    client.close()
    assert ended.get(timeout=LONG) == []
    with pytest.raises(mezzenger.SubscriptionClosed):
        messages.recv()
    with pytest.raises(mezzenger.Stopped):
        client.publish("a", "x")
    client.close()
