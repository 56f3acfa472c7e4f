"""The systems: for each the works it does, and its two roles."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import loads
from loads import Verified, answered, go, payload, ready, received, sent

HOST = "127.0.0.1"


def array() -> Any:
    import numpy

    return numpy.zeros(loads.ARRAY // 8, dtype="<u8")


class Mezzenger:
    """This package."""

    works = ("publish", "many", "aio", "aio-ack", "request", "array")

    def __init__(self, port: int) -> None:
        import mezzenger
        from mezzenger import aio

        self.url = f"mezzenger://{HOST}:{port}"
        self.client, self.aio = mezzenger.Client, aio.Client

    def publisher(self, work: str, count: int) -> None:
        if work == "aio-ack":
            asyncio.run(self._publish_aio(count, ack=True))
        if work == "aio":
            asyncio.run(self._publish_aio(count, ack=False))
        client = self.client(self.url)
        if work == "request":
            times = []
            go()
            for number in range(count):
                start = time.perf_counter()
                client.request("a", payload(number), 10)
                times.append(time.perf_counter() - start)
            answered(times)
        values = array() if work == "array" else None
        first = go()
        if work == "many":
            client.publish_many("a", map(payload, range(count)))
        for number in range(count if work in ("publish", "array") else 0):
            if values is None:
                client.publish("a", payload(number))
            else:
                values[0] = number
                client.publish("a", values)
        client.flush()
        sent(first)

    async def _publish_aio(self, count: int, ack: bool) -> None:
        async with self.aio(self.url) as client:
            first = go()
            for number in range(count):
                await client.publish("a", payload(number), ack=ack)
            await client.flush()
            sent(first)

    def subscriber(self, work: str, count: int) -> None:
        if work.startswith("aio"):
            asyncio.run(self._subscribe_aio(count, "g" if work == "aio-ack" else None))
        client, verified = self.client(self.url), Verified(loads.ARRAY if work == "array" else loads.SIZE)
        messages = client.subscription("a")
        ready()
        if work == "many":
            while verified.expected < count:
                for message in messages.recv_many():
                    verified.take(message.payload)
            received(verified)
        while verified.expected < count:
            message = messages.recv()
            verified.take(message.payload)
            if work == "request":
                message.reply(message.payload)
        received(verified)

    async def _subscribe_aio(self, count: int, group: str | None) -> None:
        async with self.aio(self.url) as client:
            verified, messages = Verified(), await client.subscription("a", group=group)
            ready()
            async for message in messages:
                done = verified.take(message.payload)
                if group:
                    message.ack()
                if done == count:
                    received(verified)


class Original:
    """A client of the original's API on a server: this package's modules, or other modules of the same names."""

    works = ("original",)

    def __init__(self, port: int) -> None:
        import mezzenger_client

        self.client = mezzenger_client.Mezzenger(send_port=port, sub_port=port + 1)

    def publisher(self, work: str, count: int) -> None:
        first = go()
        for number in range(count):
            self.client.send_message("a", payload(number))
        sent(first)

    def subscriber(self, work: str, count: int) -> None:
        verified, is_subscribed, ended = Verified(), threading.Event(), threading.Event()

        def take(message: Any, _: Any) -> None:
            if verified.take(message) == count:
                ended.set()

        self.client.subscribe("a", take)
        # What was asked for before is there once this is.
        self.client.subscribe("b", lambda *_: is_subscribed.set())
        while not is_subscribed.is_set():
            self.client.send_message("b", b"")
        ready()
        ended.wait()
        received(verified)


class PyZmq:
    """PUB and SUB, without a broker between them."""

    works = ("publish", "array")

    def __init__(self, port: int) -> None:
        import zmq

        self.zmq, self.context, self.address = zmq, zmq.Context(), f"tcp://{HOST}:{port}"

    def publisher(self, work: str, count: int) -> None:
        publisher, synchronised = self.context.socket(self.zmq.XPUB), False
        publisher.setsockopt(self.zmq.SNDHWM, 0)
        publisher.bind(self.address)
        while not synchronised:
            synchronised = publisher.recv() == b"\x01"
        values = array() if work == "array" else None
        first = go()
        for number in range(count):
            if values is None:
                publisher.send(payload(number))
            else:
                # It is not copied, so that each message needs its own.
                own = values.copy()
                own[0] = number
                publisher.send(own, copy=False)
        sent(first)

    def subscriber(self, work: str, count: int) -> None:
        verified = Verified(loads.ARRAY if work == "array" else loads.SIZE)
        subscriber = self.context.socket(self.zmq.SUB)
        subscriber.setsockopt(self.zmq.RCVHWM, 0)
        subscriber.setsockopt(self.zmq.SUBSCRIBE, b"")
        subscriber.connect(self.address)
        ready()
        while verified.expected < count:
            if work == "array":
                verified.take(subscriber.recv(copy=False).buffer)
            else:
                verified.take(subscriber.recv())
        received(verified)


class NatsPy:
    """NATS; with acknowledgements, JetStream on a stream in memory."""

    works = ("publish", "aio", "aio-ack", "request")

    def __init__(self, port: int) -> None:
        self.url = f"nats://{HOST}:{port}"

    def publisher(self, work: str, count: int) -> None:
        asyncio.run(self._publish(work, count))

    def subscriber(self, work: str, count: int) -> None:
        asyncio.run(self._subscribe(work, count))

    async def _publish(self, work: str, count: int) -> None:
        import nats

        client = await nats.connect(self.url)
        if work == "request":
            times = []
            go()
            for number in range(count):
                start = time.perf_counter()
                await client.request("a", payload(number), timeout=10)
                times.append(time.perf_counter() - start)
            answered(times)
        first = go()
        if work == "aio-ack":
            stream = client.jetstream(publish_async_max_pending=4000)
            for number in range(count):
                await stream.publish_async("a", payload(number), wait_stall=60)
            await stream.publish_async_completed()
        else:
            for number in range(count):
                await client.publish("a", payload(number))
            await client.flush(60)
        sent(first)

    async def _subscribe(self, work: str, count: int) -> None:
        import nats

        client, verified = await nats.connect(self.url), Verified()
        if work == "aio-ack":
            stream = client.jetstream()
            await stream.add_stream(name="s", subjects=["a"], storage="memory")
            messages = await stream.subscribe("a", durable="g", manual_ack=True, pending_msgs_limit=-1)
        else:
            messages = await client.subscribe("a", pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        ready()
        async for message in messages.messages:
            verified.take(message.data)
            if work == "aio-ack":
                await message.ack()
            if work == "request":
                await message.respond(message.data)
            if verified.expected == count:
                await client.flush()
                received(verified)


class RedisPy:
    """Redis with hiredis: publish and subscribe; with acknowledgements, a stream and a consumer group."""

    works = ("publish", "aio-ack")

    def __init__(self, port: int) -> None:
        self.port = port

    def publisher(self, work: str, count: int) -> None:
        import redis

        client = redis.Redis(HOST, self.port)
        client.ping()
        first = go()
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            if work == "publish":
                client.publish("a", payload(number))
            else:
                pipeline.xadd("a", {"p": payload(number)})
                if number % 500 == 499:
                    pipeline.execute()
        pipeline.execute()
        sent(first)

    def subscriber(self, work: str, count: int) -> None:
        import redis

        verified = Verified()
        if work == "aio-ack":
            asyncio.run(self._consume(count))
        messages = redis.Redis(HOST, self.port).pubsub(ignore_subscribe_messages=True)
        messages.subscribe("a")
        messages.get_message(timeout=1)
        ready()
        for message in messages.listen():
            if verified.take(message["data"]) == count:
                break
        received(verified)

    async def _consume(self, count: int) -> None:
        import redis.asyncio

        client, verified = redis.asyncio.Redis(host=HOST, port=self.port), Verified()
        await client.xgroup_create("a", "g", mkstream=True)
        ready()
        while verified.expected < count:
            for _, entries in await client.xreadgroup("g", "c", {"a": ">"}, count=500, block=1000):
                for _, fields in entries:
                    verified.take(fields[b"p"])
                await client.xack("a", "g", *(entry for entry, _ in entries))
        received(verified)


class PahoMqtt:
    """MQTT with QoS 0."""

    works = ("publish",)

    def __init__(self, port: int) -> None:
        self.port = port

    def _client(self) -> Any:
        import paho.mqtt.client as mqtt

        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.connect(HOST, self.port)
        return client

    def publisher(self, work: str, count: int) -> None:
        client = self._client()
        client.loop_start()
        first = go()
        for number in range(count):
            info = client.publish("a", payload(number))
        info.wait_for_publish(60)
        sent(first)

    def subscriber(self, work: str, count: int) -> None:
        client, verified = self._client(), Verified()

        def message(_client: Any, _data: Any, found: Any) -> None:
            if verified.take(found.payload) == count:
                received(verified)

        client.on_message = message
        client.on_subscribe = lambda *_: ready()
        client.on_connect = lambda *_: client.subscribe("a")
        client.loop_forever()


_SYSTEMS: dict[str, Any] = {
    "mezzenger": Mezzenger, "mezzenger-modules": Original, "original": Original, "pyzmq": PyZmq, "nats-py": NatsPy, "redis-py": RedisPy, "paho-mqtt": PahoMqtt,
}  # fmt: skip
SYSTEMS: dict[str, tuple[str, ...]] = {name: system.works for name, system in _SYSTEMS.items()}


def run(role: str, system: str, work: str, port: int, count: int) -> None:
    """Does a role."""
    getattr(_SYSTEMS[system](port), role)(work, count)
