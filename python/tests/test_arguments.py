"""What the calls reject: the option and its value are named, with the way out, and the exception is the package's own."""

from __future__ import annotations

import asyncio
import datetime
import pickle
import time
from collections.abc import Callable
from typing import Any

import mezzenger
import pytest
from conftest import LONG
from mezzenger import Client, Filter, Server, Verdict, aio

UTC = datetime.timezone.utc
HALF = "half a pair \ud800"
"""A str that UTF-8 does not have."""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 70000}, "port=70000: give a number from 0 to 65535"),
        ({"port": 10**400}, r"port=.*: give a number from 0 to 65535"),
        ({"window": -1}, "window=-1"),
        ({"window": 0}, "window=0 must be at least 1 frame"),
        ({"buffer_bytes": 0}, "buffer_bytes=0: give at least 1"),
        ({"callback_threads": -1}, "callback_threads=-1: give at least 1"),
        ({"callback_threads": 0}, "callback_threads=0: give at least 1"),
        ({"connection_retries": 0}, "connection_retries=0 must be at least 1"),
        ({"send_timeout": -1}, "send_timeout=-1: give 0 or more seconds"),
        ({"send_timeout": float("nan")}, "send_timeout=nan: give 0 or more seconds"),
        ({"send_timeout": 10**400}, "send_timeout=.* is too large"),
        ({"address": ""}, "address='' must be a host name"),
        ({"address": HALF}, "address='half a pair .ud800'"),
        ({"pickle": "everybody"}, "pickle='everybody': give a list"),
        ({"curve_key": "/no/such/file", "server_key": "x"}, "curve_key: .*/no/such/file"),
    ],
)
def test_an_option_of_a_client_that_cannot_work_is_named_with_its_value(options: dict[str, Any], text: str) -> None:
    makers: list[Callable[..., object]] = [Client, lambda **options: asyncio.run(aio.Client(**options).connect())]
    if "callback_threads" in options:
        makers.pop()
    for make in makers:
        with pytest.raises(mezzenger.InvalidOption, match=text) as error:
            make(**options)
        assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("options", [{"port": "7202"}, {"port": True}, {"send_timeout": "2"}, {"callback_threads": 1.5}, {"pickle": 5}])
def test_an_option_of_another_type_is_a_type_error_that_names_it(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        Client(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bind": "0.0.0.0"}, r"curve_secret\), or say insecure=True if"),
        ({"port": 7, "pub_port": 7}, "pub_port and port are both 7"),
        ({"repair": True}, "repair=True needs a journal: name its file with persist_file"),
        ({"max_message_size": 2**40}, "max_message_size can be at most"),
        ({"retry_interval": 0}, "retry_interval must be between"),
        ({"verify": "sometimes"}, "verify='sometimes': .* none of never, stored, always"),
        ({"bind": "here"}, "bind='here'"),
    ],
)
def test_a_setting_of_a_server_is_named_as_python_does(options: dict[str, Any], text: str) -> None:
    with pytest.raises(mezzenger.ServerConfigError, match=text) as error:
        Server(**options)
    assert "--" not in str(error.value)


def test_numbers_of_a_server_that_are_out_of_range() -> None:
    with pytest.raises(mezzenger.InvalidOption, match="port=70000"):
        Server(port=70000)
    with pytest.raises(mezzenger.InvalidOption, match="max_connections=-1"):
        Server(max_connections=-1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"credit": -1}, "credit=-1: give a number"),
        ({"credit": 0}, "credit=0"),
        ({"credit": 2**80}, "credit=1208925819614629174706176: give"),
        ({"group": "g", "ack_wait": 0}, "ack_wait=0 must be at least a millisecond"),
        ({"group": "g", "ack_wait": datetime.timedelta(days=60)}, "ack_wait=.*: give at most 49 days"),
        ({"group": "g", "attempts_max": 70000}, "attempts_max=70000: give a number from 0 to 65535"),
        ({"group": "g", "attempts_max": 0}, "attempts_max=0 must be at least 1"),
        ({"group": "g", "backoff": [1, -1]}, "backoff=-1: give 0 or more seconds"),
        ({"group": "g", "backoff": [1] * 17}, "backoff=.* must have at most 16 delays"),
        ({"group": "g", "observe": True}, "observe=True is not for a group"),
    ],
)
def test_an_option_of_a_subscription_that_cannot_work_is_named(client: Client, options: dict[str, Any], text: str) -> None:
    with pytest.raises(mezzenger.InvalidOption, match=text):
        client.subscription("a", **options)
    with pytest.raises(mezzenger.InvalidOption, match=text):
        client.subscribe("a", print, **options)
    if "attempts_max" in options or "backoff" in options:
        options.pop("group")
        with pytest.raises(mezzenger.InvalidOption, match=text):
            client.groups.create("g", "a", **options)


def test_times_that_cannot_be(client: Client) -> None:
    messages = client.subscription("a")
    naive = datetime.datetime(2040, 1, 1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"expires_in": -1}, "expires_in=-1: give 0 or more seconds"),
        ({"expires_in": float("inf")}, "expires_in=inf"),
        ({"deliver_in": 10**400}, "deliver_in=.* is too large"),
        ({"deliver_at": naive}, "deliver_at=datetime.*has no time zone: give datetime.now"),
        ({"deliver_at": -1}, "deliver_at=-1: give a time after 1970"),
        ({"deliver_in": 1, "deliver_at": time.time()}, "deliver_in and deliver_at say the same: give one"),
    ]
    for options, text in cases:
        for publish in (client.publish, client.send):
            with pytest.raises(mezzenger.InvalidOption, match=text) as error:
                publish("a", "x", **options)
            assert isinstance(error.value, mezzenger.SendError)
    client.send("a", "aware", deliver_at=datetime.datetime.now(UTC) + datetime.timedelta(days=1))
    calls: list[Callable[[Any], object]] = [
        messages.recv, lambda time: messages.recv_many(1, time), lambda time: client.request("a", "x", time),
        client.publish("a", "x").wait, client.wait_closed,
    ]  # fmt: skip
    for call in calls:
        for bad in (-1, float("nan")):
            with pytest.raises(mezzenger.InvalidOption, match=f"timeout={bad}: give"):
                call(bad)
        with pytest.raises(TypeError, match="timeout: expected seconds"):
            call("1")
    assert not client.wait_closed(0)
    for lists in (client.dead_letters().list, lambda limit: client.retained.list(limit=limit)):
        with pytest.raises(mezzenger.InvalidOption, match="limit=-1"):
            lists(-1)


def test_a_loops_client_refuses_times_that_cannot_be(server: Server) -> None:
    async def test() -> None:
        async with aio.Client(server.url) as client, await client.subscription("a") as messages:
            for call in (messages.recv, lambda time: messages.recv_many(1, time), lambda time: client.request("a", "x", time)):
                for bad in (-1, float("nan")):
                    with pytest.raises(mezzenger.InvalidOption, match=f"timeout={bad}: give"):
                        await call(bad)
            with pytest.raises(TypeError, match="publish_many"):
                await client.publish_many("a", "abc")
            with pytest.raises(TypeError, match="no function"):
                await client.subscribe("a", 5)  # type: ignore[arg-type]

    asyncio.run(test())


def test_texts_that_utf8_does_not_have(client: Client) -> None:
    for call in (
        lambda: client.publish(HALF, "x"),
        lambda: client.publish_many(HALF, ["x"]),
        lambda: client.send(HALF, "x"),
        lambda: client.request(HALF, "x", 1),
        lambda: client.subscription(HALF),
        lambda: client.subscription("a", group=HALF),
        lambda: client.groups.get(HALF),
        lambda: client.dead_letters(HALF).count(),
        lambda: client.retained.clear(HALF),
        lambda: client.publish("a", "x", reply_to=HALF),
    ):
        with pytest.raises(mezzenger.InvalidName, match="ud800"):
            call()
    with pytest.raises(mezzenger.InvalidFilter, match="ud800"):
        Filter.pattern(HALF)
    for payload in (HALF, {"key": HALF}):
        with pytest.raises(mezzenger.InvalidText, match="surrogateescape") as error:
            client.publish("a", payload)
        assert isinstance(error.value, UnicodeError)
    said: list[dict[str, Any]] = [
        {"headers": {HALF: "v"}}, {"headers": [("k", HALF)]}, {"content_type": HALF}, {"idempotency_key": HALF},
    ]  # fmt: skip
    for options in said:
        with pytest.raises(mezzenger.InvalidProperties, match="ud800"):
            client.publish("a", "x", **options)
    for headers in (5, ["k"], {"k": 1}):
        with pytest.raises(TypeError, match="headers: expected"):
            client.publish("a", "x", headers=headers)  # type: ignore[arg-type]
    # The client is as good as new.
    client.send("a", "x")


def test_a_value_that_is_too_deep(client: Client) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(mezzenger.Unserializable, match="json"):
        client.publish("a", deep)
    messages = client.subscription("a")
    client.publish("a", "[" * 100_000)
    with pytest.raises(mezzenger.PayloadError, match="no JSON"):
        messages.recv(LONG).json()


@pytest.mark.parametrize("payloads", ["abc", b"abc", bytearray(b"abc"), memoryview(b"abc"), {"a": 1}])
def test_one_payload_is_not_several(client: Client, payloads: Any) -> None:
    with pytest.raises(TypeError, match=r"publish_many\(\) takes an iterable .* give \[payload\], or call publish"):
        client.publish_many("a", payloads)
    assert client.publish_many("a", [payloads]) == 1


@pytest.mark.parametrize("text", ["orders.*", "*", "orders.>", ">", "orders*"])
def test_a_name_that_looks_like_a_pattern_is_asked_about(server: Server, client: Client, text: str) -> None:
    way_out = r'give Filter\.pattern\(".*"\), or Filter\.name\(".*"\)'

    async def test() -> None:
        async with aio.Client(server.url) as looping:
            for call in (looping.subscription, lambda name: looping.subscribe(name, print)):
                with pytest.raises(mezzenger.InvalidFilter, match=way_out):
                    await call(text)

    asyncio.run(test())
    for call in (client.subscription, lambda name: client.subscribe(name, print), lambda name: client.groups.create("g", name)):
        with pytest.raises(mezzenger.InvalidFilter, match=way_out):
            call(text)
    messages = client.subscription(Filter.name(text))
    client.publish(text, "literally")
    assert messages.recv(LONG).text() == "literally"


def test_a_reason_travels_as_a_whole_or_not_at_all(client: Client) -> None:
    jobs = client.subscription("a", group="g")
    client.send("a", "x", ack=True)
    job = jobs.recv(LONG)
    long = "é" * 128
    for reject in (job.reject, Verdict.reject):
        with pytest.raises(mezzenger.InvalidOption, match="reason=.* has 256 bytes, and at most 255 travel"):
            reject(long)
    with pytest.raises(mezzenger.InvalidOption, match="delay=5000000: give at most 49 days"):
        job.nak(5_000_000)
    assert not job.settled
    job.reject("x" * 255)
    for late in (job.extend, job.ack, job.nak):
        with pytest.raises(mezzenger.AlreadySettled):
            late()


def test_filters_are_values() -> None:
    for filter in (Filter.name("a"), Filter.prefix("a."), Filter.pattern("a.*")):
        again = pickle.loads(pickle.dumps(filter))
        assert again == filter and hash(again) == hash(filter) and again.kind == filter.kind
    assert len({Filter.name("a"), Filter.prefix("a"), Filter.name("a")}) == 2
    assert Filter.name("a") != "a"
    with pytest.raises(TypeError, match=r"Filter\.pattern\(\.\.\)"):
        Filter("a.*")  # type: ignore[call-arg]
