"""The original's modules: its README's programs as they are, and its clients beside ours on one server."""

from __future__ import annotations

import collections
import hashlib
import pickle
import queue
import signal
import time
from typing import Any

import message
import mezzenger_client
import pytest
from conftest import LONG, run, start, until
from mezzenger import TRUST_ALL, Client, Server
from mezzenger_client import Mezzenger, MezzengerException

zmq = pytest.importorskip("zmq")

Point = collections.namedtuple("Point", "x y")


class Order:
    """An instance of a class of the program."""

    def __init__(self, item: str) -> None:
        self.item = item


def mezzenger(server: Server, **options: Any) -> Mezzenger:
    return Mezzenger(send_port=server.port, sub_port=server.pub_port, **options)


def test_any_object_arrives_with_its_message(server: Server) -> None:
    mc, got = mezzenger(server, trusted=[Order]), queue.Queue[tuple[Any, message.Message]]()
    try:
        mc.subscribe("a", lambda payload, msg: got.put((payload, msg)))
        for payload in ("täxt", b"\x00\xff", {"k": [1, (2.5, None)]}, 2**70, Order("tea")):
            before = time.time()
            mc.send_message("a", payload, ack=1)
            received, msg = got.get(timeout=LONG)
            if isinstance(payload, Order):
                assert received.item == "tea"
            else:
                assert received == payload and msg["payload"] == payload
                assert msg.checksum == hashlib.md5(f"a{payload!s}{msg.timestamp}".encode()).hexdigest()
            assert (msg.name, msg.ack) == ("a", 1) and before <= msg.timestamp <= time.time()
            until("the acknowledgement", lambda: server.metrics().pending_messages == 0)
        mc.unsubscribe("a")
        with pytest.raises(MezzengerException, match="You do not subscribe to msg: a"):
            mc.unsubscribe("a")
    finally:
        mc.stop()
    mc.join(LONG)
    assert mc.stopped() and not mc.is_alive()
    with pytest.raises(MezzengerException, match="not running"):
        mc.subscribe("a", print)
    with pytest.raises(MezzengerException, match="Could not send"):
        mc.send_message("a", "x")


def test_an_acknowledgement_needs_a_callback_that_returns(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    mc, calls = mezzenger(server), queue.Queue[str]()

    def callback(payload: str, msg: message.Message) -> None:
        calls.put(payload)
        mc.send_message("seen", payload)
        if payload == "bad":
            raise ValueError(payload)

    mc.subscribe("a", callback)
    for payload in ("bad", "good"):
        mc.send_message("a", payload, ack=1)
    assert [calls.get(timeout=LONG) for _ in range(2)] == ["bad", "good"]
    until("the acknowledgement", lambda: server.metrics().pending_messages == 1)
    mc.stop()
    assert "the callback for 'a' failed" in caplog.text


def test_classes_need_to_be_trusted(server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    mc, got = mezzenger(server), queue.Queue[Any]()
    mc.subscribe("a", lambda payload, msg: got.put(payload))
    mc.send_message("a", Order("tea"))
    mc.send_message("a", "plain")
    assert got.get(timeout=LONG) == "plain"
    assert f"{__name__}.Order, which is not allowed" in caplog.text and mezzenger_client.TRUSTED in caplog.text
    mc.stop()
    for said in (f"{__name__}.Order", f"other, {__name__}", TRUST_ALL):
        monkeypatch.setenv(mezzenger_client.TRUSTED, said)
        mc = mezzenger(server)
        mc.subscribe("a", lambda payload, msg: got.put(payload))
        mc.send_message("a", Order("tea"))
        assert got.get(timeout=LONG).item == "tea"
        mc.stop()


def test_bad_input_is_named(server: Server) -> None:
    with pytest.raises(MezzengerException, match="Could not connect to server.*nothing listens"):
        Mezzenger(send_port=1)
    mc = mezzenger(server, auto_start=False)
    with pytest.raises(MezzengerException, match="pickle a payload of type function"):
        mc.send_message("a", lambda: None)
    with pytest.raises(MezzengerException, match="Could not send"):
        mc.send_message("a|b", "x")
    with pytest.raises(MezzengerException, match="Could not subscribe"):
        mc.subscribe("a|b", print)
    mc.stop()


def original(name: str, payload: Any, ack: int, protocol: int) -> bytes:
    """What a client of the original sends."""
    timestamp = time.time()
    checksum = hashlib.md5(f"{name}{payload}{timestamp}".encode()).hexdigest()
    fields = {"name": name, "payload": payload, "ack": ack, "timestamp": timestamp, "checksum": checksum}
    return name.encode() + b"|" + pickle.dumps(fields, protocol)


@pytest.mark.parametrize("protocol", range(6))
def test_original_clients_and_ours_exchange_messages(server: Server, protocol: int) -> None:
    context = zmq.Context()
    request, subscriber = context.socket(zmq.REQ), context.socket(zmq.SUB)
    got = queue.Queue[tuple[Any, int]]()
    mc = mezzenger(server)
    try:
        request.connect(f"tcp://127.0.0.1:{server.port}")
        subscriber.connect(f"tcp://127.0.0.1:{server.pub_port}")
        subscriber.setsockopt(zmq.SUBSCRIBE, b"b|")
        subscriber.setsockopt(zmq.RCVTIMEO, int(LONG * 1000))
        mc.subscribe("a", lambda payload, msg: got.put((payload, msg.ack)))
        payload = {"k": ["täxt", 1, None]}
        request.send(original("a", payload, 1, protocol))
        assert request.recv() == b"OK"
        assert got.get(timeout=LONG) == (payload, 1)
        until("the acknowledgement", lambda: server.metrics().pending_messages == 0)
        # A SUB socket is live some time after it subscribed.
        while not subscriber.poll(10):
            mc.send_message("b", payload)
        assert message.parse(subscriber.recv()).payload == payload
        # And the client of new programs sees both.
        with Client(server.url) as client:
            messages = client.subscription("c")
            request.send(original("c", payload, 0, protocol))
            mc.send_message("c", payload)
            client.send("a", "native")
            assert [messages.recv(LONG).value() for _ in range(2)] == [payload, payload]
            assert got.get(timeout=LONG) == ("native", 0)
    finally:
        mc.stop()
        context.destroy(0)


PUBLISHER = """
import time, random
import mezzenger_client
mc = mezzenger_client.Mezzenger(server_address='127.0.0.1', auto_start=False)
people = ['John', 'David', 'Lucy']
while True:
  mc.send_message('greetings', 'Hello %s!' % random.choice(people))
  time.sleep(3)
"""

SUBSCRIBER = """
import mezzenger_client

def callback(payload, msg_obj):
  print(payload)
  
mc = mezzenger_client.Mezzenger(server_address='127.0.0.1')
mc.subscribe('greetings', callback)
"""


def at_ports(program: str, server: Server) -> str:
    """Has a program find a server that is not at the default ports."""
    return (
        f"import mezzenger_client as c; f = c.Mezzenger.__init__; f.__defaults__ = "
        f"(f.__defaults__[0], {server.port}, {server.pub_port}, *f.__defaults__[3:])\n" + program
    )


def test_the_originals_programs_run_word_for_word(server: Server) -> None:
    subscriber = start(at_ports(SUBSCRIBER, server))
    publisher = start(at_ports(PUBLISHER, server))
    try:
        assert subscriber.stdout is not None
        assert subscriber.stdout.readline() in {f"Hello {name}!\n" for name in ("John", "David", "Lucy")}
    finally:
        for program in (subscriber, publisher):
            program.kill()
            program.communicate()


def test_the_server_module_takes_the_originals_arguments() -> None:
    program = "import sys, runpy; sys.argv[0] = 'm'; runpy.run_module('mezzenger_server', run_name='__main__')"
    process = start(program, "--bind=127.0.0.1", "--pub-port=0", "--recv-port=0")
    code, out, _ = run(program, "--help")
    assert code == 0 and "--persist-file" in out
    code, _, error = run(program, "--bind=0.0.0.0")
    assert code == 1 and "--insecure" in error
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_programs_of_the_package_run() -> None:
    def program(name: str) -> str:
        return f"import sys; sys.argv[0] = 'm'; from mezzenger import _programs; sys.exit(_programs.{name}())"

    server = start(program("server"), "--pub-port=0", "--recv-port=0")
    try:
        assert server.stdout is not None
        port = server.stdout.readline().rpartition(":")[2].strip()
        code, out, error = run(program("cli"), "ping", "--port", port)
        assert (code, error) == (0, "") and "answered in" in out
        code, _, error = run(program("cli"), "nonsense")
        assert code == 2 and "nonsense" in error
        server.send_signal(signal.SIGINT)
        assert server.wait(LONG) == 0
    finally:
        server.kill()
        server.communicate()


