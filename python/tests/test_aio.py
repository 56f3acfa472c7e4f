"""The client for asyncio: the same promises, and none of them broken by a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import mezzenger
import pytest
from conftest import LONG, run
from mezzenger import Filter, Server, Verdict, aio


def in_loop(server: Server, test: Callable[[aio.Client], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Runs a test with a client on a loop of its own."""

    async def main() -> None:
        async with asyncio.timeout(LONG), aio.Client(server.url, **options) as client:
            await test(client)

    asyncio.run(main())


def test_an_answer_that_nobody_awaits_is_named(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        async with await client.subscription("a") as messages:
            await client.publish("a", "?")
            message = await messages.recv()
            calls: dict[str, Callable[[], Coroutine[Any, Any, mezzenger.Receipt]]] = {
                "reply": lambda: message.reply("x"),
                "reply_error": lambda: message.reply_error("x"),
                "forward_to": lambda: message.forward_to("b"),
            }
            for name, call in calls.items():
                with pytest.warns(RuntimeWarning, match=f"coroutine 'Delivery.{name}' was never awaited"):
                    lost = call()
                    del lost
            assert await message.forward_to("b") is not None

    in_loop(server, test)


def test_what_is_published_arrives_and_receipts_are_awaited(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        async with await client.subscription("a") as messages:
            receipt = await client.publish("a", "first", headers={"k": "v"})
            assert await receipt == 1 and receipt.done and receipt.receivers() == 1
            await client.send("a", {"n": 1}, ack=True)
            assert await client.publish_many("a", (str(n) for n in range(1000))) == 1000
            await client.flush()
            first = await messages.recv()
            assert (first.text(), first.headers) == ("first", {"k": "v"})
            async with (await messages.recv()).process() as second:
                assert second.json() == {"n": 1}
            rest: list[str] = []
            while len(rest) < 1000:
                rest += [message.text() for message in await messages.recv_many(300)]
            assert rest == [str(n) for n in range(1000)]
            assert await messages.recv_many(10, timeout=0.001) == [] and messages.try_recv() is None
            with pytest.raises(mezzenger.ReceiveTimedOut, match="no message within 0.001 s"):
                await messages.recv(timeout=0.001)
            assert await client.ping() > 0 and client.counters.published == 1002

    in_loop(server, test)


def test_requests_callbacks_and_groups(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        with pytest.raises(mezzenger.NoSubscriber):
            await client.request("up", "x", 1)

        async def answer(request: aio.Delivery) -> None:
            await asyncio.sleep(0)
            await request.reply(request.text().upper())

        await client.subscribe("up", answer)
        answers = await asyncio.gather(*(client.request("up", f"a{n}", LONG) for n in range(100)))
        assert [message.text() for message in answers] == [f"A{n}" for n in range(100)]

        async def refuse(request: aio.Delivery) -> None:
            await request.reply_error("not today")

        await client.subscribe("down", refuse)
        with pytest.raises(mezzenger.RequestFailed, match="not today"):
            await client.request("down", "x", LONG)
        await client.unsubscribe("up")
        with pytest.raises(mezzenger.NotSubscribed):
            await client.unsubscribe("up")

        done: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

        def work(job: aio.Delivery) -> Verdict | None:
            done.put_nowait((job.text(), job.attempt))
            if job.text() == "bad":
                raise ValueError("bad")
            return Verdict.nak(0.001) if job.attempt == 1 else None

        await client.subscribe("jobs", work, group="g", attempts_max=2, retry_delay=0.001)
        for job in ("good", "bad"):
            await client.send("jobs", job, ack=True)
        assert sorted([await done.get() for _ in range(4)]) == [("bad", 1), ("bad", 2), ("good", 1), ("good", 2)]
        while await client.dead_letters("g").count() == 0:
            pass
        (letter,) = await client.dead_letters("g").list()
        assert (letter.cause, letter.attempts) == ("used up", 2)
        assert (await client.dead_letters("g").show(letter.id))[1].text() == "bad"
        assert await client.dead_letters("g").purge() == 1

    in_loop(server, test)


def test_groups_retained_and_forwarding(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        await client.groups.create("g", Filter.pattern("a.*"))
        assert [group.name for group in await client.groups.list()] == ["g"]
        await client.groups.delete("g")
        assert await client.groups.get("g") is None
        await client.send("price", "7", retain=True)
        assert [it.name for it in await client.retained.list()] == ["price"] and await client.retained.count() == 1
        prices, copies = await client.subscription("price", with_last=True), await client.subscription("copy")
        price = await prices.recv()
        await (await price.forward_to("copy"))
        await (await client.forward("copy", price))
        assert [(await copies.recv()).text() for _ in range(2)] == ["7", "7"]
        await client.retained.clear("price")

    in_loop(server, test)


def test_an_exception_gives_a_job_back(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        async with await client.subscription("jobs", group="g") as jobs:
            await client.send("jobs", "x", ack=True)
            attempts = []
            async for job in jobs:
                attempts.append(job.attempt)
                try:
                    async with job.process(nak_delay=0.001):
                        if job.attempt < 3:
                            raise ZeroDivisionError
                        break
                except ZeroDivisionError:
                    pass
            assert attempts == [1, 2, 3]

    in_loop(server, test)


@pytest.mark.parametrize("turns", range(6))
def test_no_cancellation_loses_a_message(server: Server, turns: int) -> None:
    async def test(client: aio.Client) -> None:
        async with await client.subscription("a") as messages:
            received: list[str] = []
            for n in range(100):
                reading = asyncio.ensure_future(messages.recv())
                await client.publish("a", str(n))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if turns % 2:
                    await client.ping()
                reading.cancel()
                try:
                    received.append((await reading).text())
                except asyncio.CancelledError:
                    pass
            while len(received) < 100:
                received.append((await messages.recv()).text())
            assert received == [str(n) for n in range(100)]

    in_loop(server, test)


def test_whatever_waits_may_be_cancelled_and_nothing_stays(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        silent = await client.subscription("silent")
        waits: list[Callable[[], Coroutine[Any, Any, object]]] = [
            silent.recv,
            lambda: client.request("silent", "?", LONG),
            lambda: client.send("silent", "x"),
            client.flush,
            client.ping,
            lambda: client.subscription("b"),
            client.groups.list,
        ]
        for wait in waits:
            for turns in range(3):
                task = asyncio.create_task(wait())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        # And all goes on.
        await client.send("end", "x")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_loop(server, test)


def test_a_full_buffer_waits_and_the_loop_goes_on() -> None:
    async def main() -> None:
        server = Server()
        client = await aio.Client(server.url, send_timeout=0.2, buffer_bytes=1000).connect()
        server.close()

        async def fill() -> None:
            for _ in range(100):
                await client.publish("a", bytes(500))

        filling = asyncio.create_task(fill())
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not filling.done()
        filling.cancel()
        with pytest.raises(mezzenger.SendError):
            await client.close()

    asyncio.run(main())


def test_reports_are_called_on_the_loop(server: Server) -> None:
    async def main() -> None:
        connected: asyncio.Queue[tuple[bool, int]] = asyncio.Queue()

        async def told(event: mezzenger.ConnectionEvent) -> None:
            await connected.put((event.is_connected, threading.get_ident()))

        async with aio.Client(server.url, on_connection=told):
            assert await asyncio.wait_for(connected.get(), LONG) == (True, threading.get_ident())

    asyncio.run(main())


def test_misuse_is_named(server: Server) -> None:
    async def connect() -> aio.Client:
        return await aio.Client(server.url).connect()

    async def use(client: aio.Client) -> None:
        with pytest.raises(mezzenger.WrongEventLoop, match="make one on each loop"):
            await client.ping()
        with pytest.raises(mezzenger.NotConnected, match="async with"):
            await aio.Client(server.url).publish("a", "x")
        again = await connect()
        with pytest.raises(mezzenger.Stopped, match="connected before"):
            await again.connect()
        # Which did it no harm.
        await again.ping()
        await again.close()
        with pytest.raises(mezzenger.Stopped):
            await again.publish("a", "x")
        await again.close()
        with pytest.raises(mezzenger.ConnectRefused):
            await aio.Client(port=1).connect()

    client = asyncio.run(connect())
    asyncio.run(use(client))
    asyncio.run(client.close())


def test_what_waits_ends_with_the_client(server: Server) -> None:
    async def test(client: aio.Client) -> None:
        messages = await client.subscription("a")

        async def read() -> list[aio.Delivery]:
            return [message async for message in messages]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await client.close()
        assert await reading == [] and client.closed
        with pytest.raises(mezzenger.SubscriptionClosed):
            await messages.recv()

    in_loop(server, test)


def test_the_interpreter_exits_after_a_loop_that_closed_nothing(server: Server) -> None:
    code, _, error = run(f"""
import asyncio
from mezzenger import aio
async def main():
    client = await aio.Client({server.url!r}).connect()
    await client.subscription("a")
    await client.subscribe("b", print)
    await client.publish("c", "x")
    return client
client = asyncio.run(main())
""")
    assert code == 0, error
