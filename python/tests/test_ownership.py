"""Who ends what: clients that nobody closed, several closes, other loops, and children of a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import mezzenger
import pytest
from conftest import LONG, run, until
from mezzenger import Client, Server, aio


def threads() -> int:
    return sum(1 for thread in threading.enumerate() if thread.name in ("mezzenger-callbacks", "mezzenger-events"))


def test_a_client_that_nobody_has_any_more_ends_and_says_so(server: Server) -> None:
    before = threads()

    def make() -> weakref.ref[Client]:
        client = Client(server.url, on_error=lambda failure: client.closed)
        # The callback knows its client, as callbacks do.
        client.subscribe("a", lambda message: client.publish("b", "x"))
        client.send("a", "x")
        return weakref.ref(client)

    with pytest.warns(ResourceWarning, match="mezzenger.Client of mezzenger.*was not closed"):
        gone = make()
        # A callback that just runs has it for as long.
        until("the end of the client", lambda: gc.collect() is not None and gone() is None)
    until("the end of its threads", lambda: threads() == before)
    until("the end of its connection", lambda: _receivers(server, "a") == 0)


def _receivers(server: Server, name: str) -> int | None:
    with Client(server.url) as client:
        return client.publish(name, "x").receivers()


def test_a_subscription_keeps_its_client(server: Server) -> None:
    messages = Client(server.url).subscription("a")
    gc.collect()
    with Client(server.url) as other:
        other.send("a", "x")
    assert messages.recv(LONG).text() == "x"
    with pytest.warns(ResourceWarning):
        del messages
        gc.collect()


def test_a_client_that_is_closed_warns_of_nothing(server: Server) -> None:
    code, _, error = run(f"""
import gc, warnings, mezzenger
warnings.simplefilter("error")
client = mezzenger.Client({server.url!r})
client.subscribe("a", print)
client.close()
del client
try:
    mezzenger.Client(port=1)
except mezzenger.ConnectRefused:
    pass
gc.collect()
""")
    assert (code, error) == (0, "")


def test_a_loops_client_that_nobody_has_any_more_ends_and_says_so(server: Server) -> None:
    async def test() -> None:
        client = await aio.Client(server.url, on_connection=print).connect()
        messages = await client.subscription("a")
        gone = weakref.ref(client)
        del client
        gc.collect()
        async with aio.Client(server.url) as other:
            await other.send("a", "x")
            assert (await messages.recv(LONG)).text() == "x"
            with pytest.warns(ResourceWarning, match="mezzenger.aio.Client of .* was not closed"):
                del messages
                gc.collect()
            assert gone() is None
            while await (await other.publish("a", "x")) != 0:
                pass

    asyncio.run(test())


def test_what_fails_while_a_client_is_closed_is_told_to_on_error_too(server: Server) -> None:
    told = queue.Queue[mezzenger.Failure]()
    own = Server()
    client = Client(own.url, send_timeout=0.05, connection_retries=100, on_error=told.put)
    own.close()
    client.publish("a", "x")
    with pytest.raises(mezzenger.CloseTimedOut, match="whether those were published is not known"):
        client.close()
    assert isinstance(told.get(timeout=LONG), mezzenger.PublishFailure)


def test_the_error_of_a_close_is_noted_on_the_exception_that_ends_a_block(server: Server) -> None:
    with pytest.raises(ZeroDivisionError) as error, Client(server.url) as client:
        client.publish("a", "x", deliver_in=1e9)
        raise ZeroDivisionError
    assert "3650" in error.value.__notes__[0]

    async def test() -> None:
        async with aio.Client(server.url) as client:
            await client.publish("a", "x", deliver_in=1e9)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        asyncio.run(test())
    assert "3650" in error.value.__notes__[0]


def test_a_close_that_is_cancelled_goes_on_and_its_error_is_told_once(server: Server) -> None:
    async def test() -> None:
        client = await aio.Client(server.url).connect()
        await client.publish("a", "x", deliver_in=1e9)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(mezzenger.SendMalformed, match="3650"):
            await client.close()
        await client.close()
        assert client.closed

    asyncio.run(test())


def test_a_client_may_be_closed_in_a_callback_of_its_loop(server: Server) -> None:
    async def test() -> None:
        client = await aio.Client(server.url).connect()
        ended = asyncio.Event()

        async def end(message: aio.Delivery) -> None:
            await client.close()
            ended.set()

        await client.subscribe("a", end)
        await client.send("a", "x")
        await asyncio.wait_for(client.wait_closed(), LONG)
        await asyncio.wait_for(ended.wait(), LONG)

    asyncio.run(test())


def test_a_client_of_a_loop_that_goes_on_is_not_closed_by_another_one(server: Server) -> None:
    made, done = queue.Queue[aio.Client](), threading.Event()

    async def own() -> None:
        async with aio.Client(server.url) as client:
            await client.subscribe("a", lambda message: None)
            made.put(client)
            while not done.is_set():
                await client.ping()
            await client.send("a", "x")

    async def other(client: aio.Client) -> None:
        with pytest.raises(mezzenger.WrongEventLoop, match="another event loop"):
            await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(own(), debug=True))
    thread.start()
    asyncio.run(other(made.get(timeout=LONG)), debug=True)
    done.set()
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_client_of_a_loop_that_has_ended_is_closed_by_any(server: Server) -> None:
    async def connect() -> aio.Client:
        client = await aio.Client(server.url).connect()
        await client.subscribe("a", print)
        return client

    client = asyncio.run(connect())

    async def close() -> None:
        await client.close()
        assert client.closed

    asyncio.run(close())
    until("the end of its connection", lambda: _receivers(server, "a") == 0)


def in_child(test: Callable[[], object]) -> int:
    """Runs a test in the child of a fork: its status."""
    child = os.fork()
    if child == 0:
        # No test runs on in the child, whatever happens.
        code = 1
        try:
            test()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def test_a_job_of_the_parent_is_not_settled_in_a_child(client: Client) -> None:
    jobs = client.subscription("a", group="g")
    client.send("a", "x", ack=True)
    job = jobs.recv(LONG)

    def test() -> None:
        says: list[Callable[[], Any]] = [job.ack, job.nak, lambda: job.reject("no"), job.extend, lambda: job.reply("x")]
        for say in says:
            with pytest.raises(mezzenger.Forked, match="make a new (one|client) here"):
                say()
        with pytest.raises(mezzenger.Forked), job.process():
            pass

    assert in_child(test) == 0
    job.ack()


def test_a_server_of_the_parent_goes_on_when_a_child_closes_it(server: Server, client: Client) -> None:
    def test() -> None:
        with pytest.raises(mezzenger.Forked, match="the server"):
            server.metrics()
        server.close()
        client.close()

    assert in_child(test) == 0
    client.send("a", "x")


def test_a_server_of_the_parent_that_goes_in_a_child_is_nothing() -> None:
    code, out, error = run("""
import os, sys, warnings, mezzenger
# Of any fork of a process with threads, from Python 3.12 on.
warnings.simplefilter("ignore", DeprecationWarning)
server = mezzenger.Server()
client = mezzenger.Client(server.url)
child = os.fork()
if child == 0:
    del client
    del server
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
client.send("a", "x")
client.close()
server.close()
""")
    assert (code, out, error) == (0, "", "")
