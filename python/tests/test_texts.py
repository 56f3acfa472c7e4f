"""What errors, objects and help() say, and where failures are shown."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

import mezzenger
import pytest
from conftest import LONG, run
from mezzenger import Client, Filter, Server, aio


def test_errors_without_a_server_speak_of_what_was_asked() -> None:
    server = Server()
    client = Client(server.url, send_timeout=0.05, connection_retries=2)
    server.close()
    with pytest.raises(mezzenger.PingTimedOut, match="no answer to the ping within 2 tries of 50ms; check the server") as ping:
        client.ping()
    asked: list[Callable[[], Any]] = [
        client.groups.list, lambda: client.groups.create("g", "a"), client.dead_letters("g").count, client.retained.list,
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(mezzenger.AdminTimedOut, match="no answer to what the server was asked within 2 tries") as error:
            ask()
        assert "message" not in str(error.value) and isinstance(error.value, TimeoutError)
    with pytest.raises(mezzenger.SubscribeNotConfirmed, match="no answer to the subscription"):
        client.subscription("a")
    assert isinstance(ping.value, TimeoutError) and "message" not in str(ping.value)
    # Nothing was published, and so nothing is in doubt.
    client.close()
    with pytest.raises(mezzenger.AdminError) as stopped:
        client.groups.list()
    assert isinstance(stopped.value, mezzenger.Stopped)


def test_after_close_both_clients_say_the_same(server: Server) -> None:
    def of(call: Callable[[], Any]) -> type[BaseException]:
        with pytest.raises(mezzenger.Error) as error:
            call()
        return error.type

    client = Client(server.url)
    messages, ended = client.subscription("a"), client.subscription("a")
    ended.close()
    client.close()
    blocking = [of(it.recv) for it in (messages, ended)] + [of(it.try_recv) for it in (messages, ended)]
    blocking += [of(it.recv_many) for it in (messages, ended)] + [of(it.try_many) for it in (messages, ended)]
    assert blocking == [mezzenger.SubscriptionClosed] * 8

    async def test() -> None:
        client = await aio.Client(server.url).connect()
        messages, ended = await client.subscription("a"), await client.subscription("a")
        await ended.close()
        await client.close()
        for it in (messages, ended):
            for call in (it.recv, it.recv_many, lambda it=it: it.recv(1)):
                with pytest.raises(mezzenger.SubscriptionClosed):
                    await call()
            assert of(it.try_recv) is of(it.try_many) is mezzenger.SubscriptionClosed

    asyncio.run(test())


def test_a_receipt_is_awaited_for_what_it_tells(server: Server) -> None:
    async def test() -> None:
        async with aio.Client(server.url) as client:
            assert await (await client.publish("a", "x")) == 0
            async with await client.subscription("a"):
                for wait in ("wait", "receivers"):
                    # The answer may come before this asks, though not each time.
                    for _ in range(1000):
                        receipt = await client.publish("a", "x")
                        try:
                            getattr(receipt, wait)()
                        except mezzenger.WouldBlock as error:
                            assert "await the receipt" in str(error)
                            break
                    else:
                        pytest.fail(f"{wait} of a receipt without an answer waits")
                assert await receipt == 1 and receipt.receivers() == 1 and receipt.wait()

    asyncio.run(test())


def test_a_library_is_silent_on_stderr_but_for_what_nobody_else_tells(server: Server) -> None:
    code, out, error = run("""
import mezzenger
try:
    mezzenger.Client(port=1)
except mezzenger.ConnectRefused as error:
    print("told")
""")
    assert (code, out, error) == (0, "told\n", "")
    program = f"""
import logging, mezzenger, threading
SETUP
client = mezzenger.Client({server.url!r}ON_ERROR)
done = threading.Event()
def call(message):
    try:
        raise KeyError("broken")
    finally:
        done.set()
client.subscribe("a", call)
client.send("a", "x")
done.wait()
client.close()
"""
    for setup, on_error, is_shown in [
        ("", "", True),
        ("", ", on_error=lambda failure: None", False),
        ("logging.basicConfig()", "", True),
        ("logging.getLogger().addHandler(logging.NullHandler())", "", False),
    ]:
        code, _, error = run(program.replace("SETUP", setup).replace("ON_ERROR", on_error))
        assert code == 0 and ("KeyError: 'broken'" in error) == is_shown, (setup, error)
        assert error.count("Traceback") == is_shown


def test_objects_say_what_they_are_and_no_payload(server: Server, client: Client) -> None:
    messages = client.subscription(Filter.pattern("a.*"))
    receipt = client.publish("a.b", "secret", headers={"k": "secret"})
    receipt.wait()
    message = messages.recv(LONG)
    address = re.escape(server.url)
    for thing, text in [
        (client, f"<mezzenger.Client of {address}>"),
        (server, f"<mezzenger.Server at {address}>"),
        (messages, r'<Subscription to Filter.pattern\("a.\*"\)>'),
        (message, "<Delivery .a.b. 6 bytes, id .*>"),
        (receipt, "<Receipt, answered>"),
        (client.groups, "<Groups .*>"),
        (client.dead_letters("g"), "<DeadLetters of 'g'>"),
        (client.retained, "<Retained .*>"),
        (aio.Client(server.url), f"<mezzenger.aio.Client of {address}, not connected>"),
        (mezzenger.Verdict.nak(1), r"Verdict.nak\(1\)"),
    ]:
        assert re.fullmatch(text, repr(thing)), repr(thing)
        assert "secret" not in repr(thing)
    client.close()
    assert repr(client).endswith(", closed>")


@pytest.mark.parametrize("thing", [Client, Server, aio.Client, Client.publish, Client.subscription, aio.Client.publish])
def test_help_has_each_option(thing: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(thing))
    options = inspect.signature(thing).parameters
    assert "**" not in str(inspect.signature(thing)) and len(options) > 10
    documented = inspect.getdoc(thing) or ""
    if thing is aio.Client:
        documented += inspect.getdoc(Client) or ""
    for option in options:
        if option not in ("self", "name", "filter"):
            assert f"`{option}" in documented and option in text, option


def test_the_package_has_what_annotations_need() -> None:
    names = ("Callback", "Delivery", "Filter", "Format", "Headers", "Message", "Receipt", "Seconds", "Subscription", "Trust", "Verdict")
    assert {*names} <= {*mezzenger.__all__}
    assert {"Callback", "Client", "Delivery", "Subscription", "Groups", "DeadLetters", "Retained"} <= {*aio.__all__}

    def annotated(job: mezzenger.Delivery, timeout: mezzenger.Seconds, jobs: mezzenger.Subscription) -> mezzenger.Verdict | None: ...

    assert get_type_hints(annotated)["job"] is mezzenger.Delivery
    program = "import mezzenger, sys; assert 'asyncio' not in sys.modules; mezzenger.aio.Client"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no_such"):
        mezzenger.no_such  # noqa: B018
