"""What the calls take: the same for threads and for event loops, with names, and each option at its place."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import mezzenger
import pytest
from conftest import LONG
from mezzenger import Client, Server, aio

SHARED = [
    name
    for name in dir(Client)
    if not name.startswith("_") and inspect.isroutine(getattr(Client, name)) and hasattr(aio.Client, name)
]
PUBLISHING = ("publish", "publish_many", "send", "request")


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(it.name, it.kind, it.default) for it in found if it.name != "self"]


@pytest.mark.parametrize("name", SHARED)
def test_both_clients_take_the_same_and_name_it(name: str) -> None:
    blocking, looping = parameters(getattr(Client, name)), parameters(getattr(aio.Client, name))
    # A callback of a loop's client closes it, and so that has no time limit of its own.
    if name != "wait_closed":
        assert blocking == looping
    kinds = {kind for _, kind, _ in blocking + looping}
    assert inspect.Parameter.VAR_KEYWORD not in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds


def test_what_publishes_has_types() -> None:
    assert {*PUBLISHING, "subscribe", "subscription"} <= set(SHARED)
    for name in (*PUBLISHING, "subscribe", "subscription"):
        hints = inspect.get_annotations(getattr(aio.Client, name))
        named = {parameter for parameter, _, _ in parameters(getattr(aio.Client, name))}
        assert named < set(hints) and "Any" not in hints.values(), name


def test_each_option_of_a_loops_client_does_what_its_name_says(server: Server) -> None:
    async def test() -> None:
        async with aio.Client(server.url) as client, await client.subscription("a") as messages:
            said: dict[str, Any] = {"headers": {"k": "v"}, "content_type": "text/x", "reply_to": "b", "ack": True}
            await client.publish("a", "1", **said)
            await client.publish_many("a", ["2"], **said)
            await client.send("a", "3", **said)
            for number in ("1", "2", "3"):
                message = await messages.recv(LONG)
                read = (message.text(), message.headers, message.content_type, message.reply_to, message.requires_ack)
                assert read == (number, {"k": "v"}, "text/x", "b", True)
                message.ack()
            for publish in (client.publish, client.send):
                await publish("a", {"n": 1}, format="msgpack")
                message = await messages.recv(LONG)
                assert (message.content_type, message.value()) == ("application/msgpack", {"n": 1})
                # Nobody gets what has expired, and nobody gets early what is for later.
                await publish("a", "expired", expires_in=0.0)
                await publish("a", "later", deliver_in=3600)
                await publish("a", "later", deliver_at=time.time() + 3600)
                await publish("a", "last", retain=True)
                assert (await messages.recv(LONG)).text() == "last"
                (retained,) = await client.retained.list()
                assert retained.name == "a"
                await client.retained.clear("a")
            for payload in ("first", "again"):
                await client.send("a", payload, idempotency_key="17")
                await client.publish("a", payload, idempotency_key="17")
            await client.send("a", "end")
            assert [(await messages.recv(LONG)).text() for _ in range(2)] == ["first", "end"]

            await client.subscribe("sum", lambda message: message.reply([message.headers, message.content_type]))
            answer = await client.request("sum", "1", LONG, headers=[("k", "v")], content_type="text/x")
            assert answer.json() == [{"k": "v"}, "text/x"]
            with pytest.raises(mezzenger.NoSubscriber):
                await client.request("nobody", "1", LONG)

    asyncio.run(test())


def test_each_option_of_a_member_reaches_its_group(server: Server, client: Client) -> None:
    said: dict[str, Any] = {
        "ack_wait": 7, "in_flight_max": 3, "attempts_max": 5, "backoff": [0.25], "keep_expired": True,
    }  # fmt: skip
    with client.subscription("a", group="read", credit=1, extend=False, **said):
        client.subscribe("a", print, group="called", **said)

        async def test() -> None:
            async with aio.Client(server.url) as looping:
                await looping.subscription("a", group="read", **said)
                await looping.subscribe("a", print, group="called of a loop", **said)
                groups = {group.name: group for group in await looping.groups.list()}
                assert set(groups) == {"read", "called", "called of a loop"}
                for group in groups.values():
                    policy = (group.ack_wait, group.in_flight_max, group.attempts_max, group.backoff)
                    assert policy == (7.0, 3, 5, (0.25,)) and group.keeps_expired
                # Members agree, or do not join.
                other: dict[str, Any] = {**said, "attempts_max": 6}
                with pytest.raises(mezzenger.SubscribeRefused):
                    await looping.subscription("a", group="read", **other)

        asyncio.run(test())
