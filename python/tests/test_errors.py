"""What bad input gets: each its own exception, with the way out in its text; never a hang, an abort or a silent loss."""

from __future__ import annotations

import logging
import queue
import socket
from datetime import timedelta

import mezzenger
import pytest
from conftest import LONG, until
from mezzenger import Client, Filter, Server, Verdict, _errors


def test_all_exceptions_have_one_base_and_a_text() -> None:
    for name in _errors.__all__:
        assert issubclass(getattr(mezzenger, name), mezzenger.Error), name
        assert getattr(mezzenger, name).__doc__, name
    assert str(mezzenger.SendTimedOut("text")) == "text"


def test_connecting_fails_at_once_where_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(mezzenger.ConnectRefused, match=f"127.0.0.1:{port}.*start mezzenger-server"):
            Client(port=port)


def test_connecting_to_what_does_not_answer_takes_its_time_and_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(mezzenger.ConnectNoAnswer, match="2 tries") as error:
            Client(port=port, send_timeout=0.05, connection_retries=2)
        assert isinstance(error.value, TimeoutError)


def test_a_bad_address_and_bad_options_are_named(server: Server) -> None:
    with pytest.raises(mezzenger.ConnectNotAHost, match="give '10.0.0.5' alone"):
        Client("tcp://10.0.0.5:7202")
    with pytest.raises(mezzenger.ConnectNotAHost, match="has port 99999: give one of 1 to 65535"):
        Client("10.0.0.5:99999")
    with Client(server.url.removeprefix("mezzenger://")) as client:
        client.ping()
    with pytest.raises(mezzenger.ConnectNoSuchHost, match="no.such.host.invalid"):
        Client("no.such.host.invalid")
    with pytest.raises(mezzenger.ConnectWrongSocket, match="--recv-port"):
        Client(port=server.pub_port)
    with pytest.raises(mezzenger.InvalidOption, match="window"):
        Client(server.url, window=0)
    with pytest.raises(TypeError, match="no_such_option"):
        Client(server.url, no_such_option=1)  # type: ignore[call-arg]


def test_names_and_filters_that_break_a_rule(client: Client) -> None:
    for publish in (client.publish, client.send):
        with pytest.raises(mezzenger.InvalidName, match="|"):
            publish("a|b", "x")
    with pytest.raises(mezzenger.InvalidName):
        client.request("", "x", 1)
    with pytest.raises(ValueError):
        client.subscription(Filter.pattern("a.>.b"))
    with pytest.raises(mezzenger.InvalidFilter):
        client.subscription(Filter.pattern("a..b"))
    with pytest.raises(TypeError, match="expected a name"):
        client.subscription(b"a")  # type: ignore[arg-type]
    with pytest.raises(mezzenger.InvalidOption, match="ack_wait needs a group"):
        client.subscription("a", ack_wait=1)
    with pytest.raises(mezzenger.InvalidOption, match="keep_expired needs a group"):
        client.subscription("a", keep_expired=True)
    with pytest.raises(mezzenger.InvalidOption, match="extend needs a group"):
        client.subscription("a", extend=False)
    with pytest.raises(mezzenger.InvalidOption, match="observe.* is not for a group"):
        client.subscription("a", group="g", observe=True)
    with pytest.raises(mezzenger.InvalidOption, match="with_last.* is not for a group"):
        client.subscription("a", group="g", with_last=True)
    with pytest.raises(mezzenger.InvalidOption, match="lossy.* is not for a group"):
        client.subscribe("a", print, group="g", lossy=True)
    with pytest.raises(mezzenger.InvalidOption, match="attempts_max.* must be at least 1"):
        client.subscription("a", group="g", attempts_max=0)
    with pytest.raises(mezzenger.InvalidOption, match="in_flight_max.* must be at least 1"):
        client.groups.create("g", "a", in_flight_max=0)
    with pytest.raises(TypeError, match="no_such"):
        client.subscription("a", no_such=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no_such"):
        client.publish("a", "x", no_such=1)  # type: ignore[call-arg]
    # Nothing of it did any harm.
    client.send("a", "x")


def test_values_that_cannot_be_written(client: Client) -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(mezzenger.Unserializable, match="type object.*json"):
        client.publish("a", object())
    with pytest.raises(mezzenger.Unserializable, match="type function.*pickle"):
        client.publish("a", lambda: None, format="pickle")
    with pytest.raises(mezzenger.InvalidOption, match='format=.xml.: give "json"'):
        client.publish("a", "x", format="xml")  # type: ignore[arg-type]
    for strided in (numpy.arange(10)[::2], numpy.ones((2, 3)).T, memoryview(b"0123")[::2]):
        with pytest.raises((mezzenger.NotContiguous), match="ascontiguousarray"):
            client.publish("a", strided)
    with pytest.raises(mezzenger.Unserializable, match="no bytes of its own"):
        client.publish("a", numpy.array([{}, 1], dtype=object))
    with pytest.raises(mezzenger.Unserializable, match="type ndarray"):
        client.publish("a", numpy.array(3))
    client.publish("a", numpy.float64(0.5))
    with pytest.raises(mezzenger.SendTooLarge, match="max_message_size"):
        client.publish("a", bytes(65 * 1024 * 1024))
    with pytest.raises(mezzenger.InvalidProperties):
        client.publish("a", "x", headers={"k": "v" * 70_000})


def test_payloads_that_are_not_what_is_asked_for(client: Client) -> None:
    messages = client.subscription("a")
    client.publish("a", b"\xff")
    message = messages.recv(LONG)
    with pytest.raises(mezzenger.InvalidText, match="the payload of .a. is no text") as error:
        message.text()
    assert isinstance(error.value, UnicodeError)
    with pytest.raises(mezzenger.PayloadError, match="no JSON"):
        message.json()
    client.publish("a", b"\xc1", content_type="application/msgpack")
    with pytest.raises(mezzenger.PayloadError, match="no msgpack"):
        messages.recv(LONG).value()
    client.publish("a", b"no pickle", content_type="application/x-python-pickle")
    with pytest.raises(mezzenger.PayloadError, match="no pickle"):
        messages.recv(LONG).value()


def test_a_callback_that_raises_is_told_and_ends_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    failures, calls = queue.Queue[mezzenger.Failure](), queue.Queue[str]()

    def told(failure: mezzenger.Failure) -> None:
        failures.put(failure)
        raise RuntimeError("so does what it is told to")

    with Client(server.url, on_error=told) as client:

        def call(message: mezzenger.Delivery) -> None:
            calls.put(message.text())
            if message.text() == "bad":
                raise KeyError("broken")

        client.subscribe("a", call)
        client.publish_many("a", ["bad", "good"])
        assert [calls.get(timeout=LONG) for _ in range(2)] == ["bad", "good"]
        failure = failures.get(timeout=LONG)
        assert isinstance(failure, mezzenger.CallbackFailure) and isinstance(failure.__cause__, KeyError)
        assert client.counters.callback_failures == 1
    texts = [record.getMessage() for record in caplog.records if record.name == "mezzenger"]
    assert any("KeyError: 'broken'" in text for text in texts) and any("on_error raised" in text for text in texts)


def test_a_group_gets_again_what_a_callback_failed_for(client: Client) -> None:
    attempts = queue.Queue[int]()

    def work(job: mezzenger.Delivery) -> None:
        attempts.put(job.attempt)
        if job.attempt == 1:
            raise ValueError

    client.subscribe("jobs", work, group="g", retry_delay=0.01)
    client.send("jobs", "x", ack=True)
    assert [attempts.get(timeout=LONG) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("said", [False, "nak", Verdict.nak])
def test_what_no_callback_may_return_acknowledges_nothing(server: Server, client: Client, said: object) -> None:
    told: list[BaseException] = []
    client.groups.create("g", "jobs", attempts_max=1)
    with Client(server.url, on_error=told.append) as other:
        other.subscribe("jobs", lambda message: said, group="g")
        client.send("jobs", "x", ack=True)
        until("the dead letter", lambda: client.dead_letters("g").count() == 1)
    assert "return None, which acknowledges, or a Verdict" in str(told[0])


def test_close_raises_the_error_of_what_was_refused_however_soon_the_client_has_ended(server: Server) -> None:
    for _ in range(100):
        client = Client(server.url)
        client.publish("a", "x", deliver_in=timedelta(days=4000))
        with pytest.raises(mezzenger.SendMalformed, match="3650"):
            client.close()


def test_what_is_no_function_is_no_callback(client: Client) -> None:
    with pytest.raises(TypeError, match="the callback is no function"):
        client.subscribe("a", 5)  # type: ignore[arg-type]


def test_a_coroutine_function_is_no_callback_here(client: Client) -> None:
    async def callback(message: object) -> None: ...

    with pytest.raises(TypeError, match="aio"):
        client.subscribe("a", callback)


def test_the_library_logs_to_python(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mezzenger")
    with Server() as server, Client(server.url):
        pass
    until("a line", lambda: any("connected to" in record.getMessage() for record in caplog.records))


def test_settings_of_a_server_that_cannot_be_used(server: Server) -> None:
    with pytest.raises(mezzenger.ServerConfigError, match="nothing authenticates"):
        Server(bind="0.0.0.0")
    with pytest.raises(mezzenger.ServerConfigError, match="fsync"):
        Server(fsync="sometimes")
    with pytest.raises(mezzenger.ServerListenError, match="another"):
        Server(port=server.port)
    with pytest.raises(mezzenger.ServerJournalError):
        Server(persist_file="/dev/null/journal")
    server.close()
    server.close()
    with pytest.raises(mezzenger.ServerError, match="closed"):
        server.metrics()


def test_a_journal_outlives_the_server(tmp_path: object) -> None:
    journal = f"{tmp_path}/journal"
    with Server(persist_file=journal) as server, Client(server.url) as client:
        client.send("a", "x", ack=True)
    with Server(persist_file=journal) as server, Client(server.url) as client:
        assert client.subscription("a").recv(LONG).text() == "x"
