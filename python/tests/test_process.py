"""Forks, signals, the interpreter's exit, memory, and the interpreter's lock."""

from __future__ import annotations

import os
import signal
import threading
import time

import mezzenger
import pytest
from conftest import LONG, run, start, until
from mezzenger import Client, Server

WAITS = {
    "recv": "client.subscription('a').recv()",
    "iterator": "next(client.subscription('a'))",
    "recv_many": "client.subscription('a').recv_many(5)",
    "request": "silent = client.subscription('a'); client.request('a', 'x', 1000)",
    "wait_closed": "client.wait_closed()",
    "connect": "client.close(); server.close(); silent = socket.create_server(('127.0.0.1', 0)); "
    "mezzenger.Client(port=silent.getsockname()[1], send_timeout=1000)",
    "full": "client.close(); client = mezzenger.Client(server.url, send_timeout=1000, buffer_bytes=1000); server.close(); "
    "[client.publish('a', bytes(500)) for _ in range(100)]",
    "flush": "client.close(); client = mezzenger.Client(server.url, send_timeout=1000); server.close(); "
    "client.publish('a', 'x'); client.flush()",
}


def is_asleep(pid: int) -> bool:
    """Whether a process' main thread waits for something."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_each_wait(wait: str) -> None:
    process = start(f"""
import mezzenger, os, socket, sys
server = mezzenger.Server()
client = mezzenger.Client(server.url)
try:
    print("ready", flush=True)
    {WAITS[wait]}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    # What is not sent has a thousand seconds of patience: the exit is not what is tested.
    os._exit(0)
""")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        until("the wait", lambda: is_asleep(process.pid))
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=LONG)
        assert out == "interrupted\n", error
    finally:
        process.kill()


def test_the_interpreter_exits_with_everything_open_and_publishes_what_waits(server: Server, client: Client) -> None:
    messages = client.subscription("a")
    start = time.monotonic()
    code, out, error = run(f"""
import mezzenger, threading
from mezzenger import aio
own = mezzenger.Server()
client = mezzenger.Client({server.url!r}, on_connection=print)
client.subscribe("b", print)
kept = client.subscription("c")
threading.Thread(target=lambda: list(kept), daemon=True).start()
for n in range(1000):
    client.publish("a", str(n))
""")
    assert (code, error) == (0, ""), error
    assert [messages.recv(LONG).text() for _ in range(1000)] == [str(n) for n in range(1000)]
    assert time.monotonic() - start < LONG / 2


def test_the_interpreter_exits_while_the_server_is_away() -> None:
    code, _, error = run("""
import mezzenger
server = mezzenger.Server()
client = mezzenger.Client(server.url, send_timeout=0.2)
server.close()
client.publish("a", "x")
""")
    assert code == 0 and "not published" in error


def test_a_client_used_after_a_fork_says_so(server: Server, client: Client) -> None:
    messages = client.subscription("a")
    child = os.fork()
    if child == 0:
        # No test runs on in the child, whatever happens.
        code = 1
        try:
            for call in (lambda: client.publish("a", "x"), lambda: messages.recv(1), lambda: client.subscription("b")):
                with pytest.raises(mezzenger.Forked, match="make a new client here"):
                    call()
            with Client(server.url) as own:
                own.send("a", "from the child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    # The parent's client goes on.
    assert messages.recv(LONG).text() == "from the child"
    client.send("a", "from the parent")
    assert messages.recv(LONG).text() == "from the parent"


def test_children_of_a_fork_have_clients_of_their_own(server: Server, client: Client) -> None:
    messages = client.subscription("a")
    for n in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with Client(server.url) as own:
                    own.send("a", str(n), ack=True)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    assert [messages.recv(LONG).text() for _ in range(3)] == ["0", "1", "2"]


def test_the_interpreter_exits_in_the_middle_of_a_callback() -> None:
    code, out, error = run("""
import mezzenger, threading

begun = threading.Event()

def busy(message):
    begun.set()
    while True:
        pass

with mezzenger.Server() as server, mezzenger.Client(server.url) as client:
    client.subscribe("a", busy)
    client.send("a", "x")
    begun.wait()
print("the end")
""")
    assert (code, out) == (0, "the end\n"), error


@pytest.mark.parametrize("wait", ["recv", "request", "callback", "flush"])
def test_other_threads_run_while_a_call_waits(server: Server, client: Client, wait: str) -> None:
    messages, done = client.subscription("a"), threading.Event()
    if wait == "callback":
        client.subscribe("a", lambda message: done.set())

    def waits() -> None:
        if wait == "recv":
            messages.recv(LONG)
        elif wait == "request":
            client.request("a", "x", LONG)
        elif wait == "callback":
            client.wait_closed(LONG)
        else:
            client.flush()
        done.set()

    thread = threading.Thread(target=waits)
    thread.start()
    # This thread could not get here if the other one had the interpreter.
    counted = sum(1 for _ in range(100_000))
    client.send("a", "x")
    if wait == "request":
        next(message for message in messages if message.reply_to).reply("y").wait()
    if wait == "callback":
        done.wait(LONG)
        client.close()
    thread.join(LONG)
    assert not thread.is_alive() and done.is_set() and counted == 100_000


def rss_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_memory_stays_flat(server: Server, client: Client) -> None:
    messages, payload = client.subscription("a"), bytes(128)
    seen: list[int] = []

    def turn(count: int) -> None:
        for _ in range(count):
            client.publish_many("a", [payload] * 500)
            received = 0
            while received < 500:
                for message in messages.recv_many(500, LONG):
                    assert len(message.payload) == 128 and message.name == "a"
                    received += 1

    for _ in range(4):
        turn(200)
        seen.append(rss_kib())
    # A leak of one object for each of 300,000 messages would be ten times this.
    assert seen[-1] - seen[0] < 4096, seen
