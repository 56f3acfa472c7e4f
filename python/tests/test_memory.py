"""Nothing is left behind: the memory of a process that publishes and receives does not grow.

A million messages go the plainest way, and fewer the others, which take longer; MEZZENGER_LEAK_MESSAGES says how many go each way.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable

import pytest
from conftest import LONG
from mezzenger import Client, Receipt, Server, aio

SAID = os.environ.get("MEZZENGER_LEAK_MESSAGES")
MESSAGES = int(SAID or "200000")
BATCH = 4000
WARM = 10
"""Batches until buffers and caches have their size."""
PAYLOAD = bytes(range(128))

RSS_MAX = 6 * 1024 * 1024
"""What the memory may grow by: less than 40 bytes for each message, and an object that is lost has more."""
BLOCKS_MAX = 2000
"""What Python's own objects may grow by: less than one for a hundred messages."""


def memory() -> tuple[int, int]:
    """Bytes of memory that this process has, and objects of Python's allocator."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), sys.getallocatedblocks()


class Growth:
    """What comes on top of the memory that the first batches took."""

    def __init__(self) -> None:
        self.batches = 0
        self.start = (0, 0)

    def end_batch(self) -> None:
        self.batches += 1
        if self.batches == WARM:
            self.start = memory()

    def check(self) -> None:
        assert self.batches > 2 * WARM
        bytes_now, blocks_now = memory()
        bytes_then, blocks_then = self.start
        counted = (self.batches - WARM) * BATCH
        assert bytes_now - bytes_then < RSS_MAX, f"{bytes_now - bytes_then} bytes more after {counted} messages"
        assert blocks_now - blocks_then < BLOCKS_MAX, f"{blocks_now - blocks_then} objects more after {counted} messages"


def read(client: Client) -> Callable[[], None]:
    messages = client.subscription("a")

    def batch() -> None:
        for _ in range(BATCH):
            client.publish("a", PAYLOAD)
        left = BATCH
        while left:
            received = messages.recv_many(timeout=LONG)
            assert received and all(message.payload == PAYLOAD for message in received)
            left -= len(received)

    return batch


def settle(client: Client) -> Callable[[], None]:
    jobs = client.subscription("a", group="g")

    def batch() -> None:
        client.publish_many("a", (PAYLOAD for _ in range(BATCH)), ack=True, headers={"k": "v"})
        for _ in range(BATCH):
            with jobs.recv(LONG).process() as job:
                assert job.headers == {"k": "v"} and len(job.bytes()) == len(PAYLOAD)
        client.flush()

    return batch


def call(client: Client) -> Callable[[], None]:
    called, all_called = 0, threading.Event()

    def count(message: object) -> None:
        nonlocal called
        called += 1
        if called % BATCH == 0:
            all_called.set()

    client.subscribe("a", count)

    def batch() -> None:
        for number in range(BATCH):
            client.publish("a", {"number": number})
        assert all_called.wait(LONG)
        all_called.clear()

    return batch


@pytest.mark.parametrize("way", [read, settle, call])
def test_a_client_of_threads_keeps_nothing(client: Client, way: Callable[[Client], Callable[[], None]]) -> None:
    batch, growth = way(client), Growth()
    messages = 1_000_000 if way is read and not SAID else MESSAGES
    for _ in range(messages // BATCH):
        batch()
        growth.end_batch()
    growth.check()


def test_a_client_of_a_loop_keeps_nothing(server: Server) -> None:
    async def test() -> None:
        async with aio.Client(server.url) as client, await client.subscription("a") as messages:
            growth = Growth()
            for _ in range(MESSAGES // BATCH):
                receipts: list[Receipt] = [await client.publish("a", PAYLOAD) for _ in range(BATCH)]
                for _ in range(BATCH):
                    assert (await messages.recv(LONG)).payload == PAYLOAD
                await asyncio.gather(*receipts[:64])
                growth.end_batch()
            growth.check()

    asyncio.run(test())
