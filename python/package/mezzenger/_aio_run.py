"""How an event loop waits for the client: what runs operations on it, and subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from . import _core
from ._core import AioDelivery as Delivery
from ._core import Filter, Operation
from ._errors import ReceiveTimedOut, SubscriptionClosed, WrongEventLoop
from ._values import Seconds

S = TypeVar("S", bound="Subscription")

TURN = 256
"""Messages that are read without a wait before other tasks of the loop get their turn."""


class Runner:
    """Runs operations on one event loop. The loop keeps it, and it keeps no client."""

    __slots__ = ("_drain", "_loop", "_reactor", "reports")

    def __init__(self) -> None:
        self._reactor = _core.Reactor()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[], None] = self._reactor.run
        self.reports: Callable[[], Callable[[], None] | None] | None = None
        """Leads to what tells what the client reports, as long as there is the client."""

    def begin(self) -> None:
        """Watches the descriptor, on the loop that this is called on first."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        self.check()
        loop.add_reader(self._reactor.fileno(), self._woken)

    def check(self) -> None:
        """Raises WrongEventLoop on another loop."""
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise WrongEventLoop("the client was connected on another event loop: make one on each loop")

    @property
    def is_over(self) -> bool:
        """Whether its loop has ended, so that nothing runs there any more."""
        return self._loop is not None and self._loop.is_closed()

    def end(self) -> None:
        """Watches no more. On its loop."""
        if self._loop is None or self._loop.is_closed():
            return
        # What the client's end has decided is reported first: the loop may not have looked yet.
        self._woken()
        self._loop.remove_reader(self._reactor.fileno())

    def abandon(self) -> None:
        """Has the loop watch no more, from whatever thread."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self.end)
            except RuntimeError:
                # It was closed just now.
                pass

    def _woken(self) -> None:
        self._drain()
        if self.reports is not None and (tell := self.reports()) is not None:
            tell()

    async def _run(self, operation: Operation, lost: Callable[[Any], None] | None = None) -> Any:
        """Waits for an operation. `lost` gets what came of one that was cancelled at that moment."""
        self.check()
        done = operation.start(self._reactor)
        if done is not None:
            return done[0]
        future = asyncio.get_running_loop().create_future()
        operation.attach(future)
        try:
            return await future
        except asyncio.CancelledError:
            operation.cancel()
            if lost is not None and future.done() and not future.cancelled() and future.exception() is None:
                lost(future.result())
            raise


async def limited(wait: Awaitable[Any], seconds: float | None) -> Any:
    """Waits so long at most."""
    if seconds is None:
        return await wait
    async with asyncio.timeout(seconds):
        return await wait


def read_timeout(timeout: Seconds | None) -> float | None:
    """A timeout in seconds."""
    return None if timeout is None else _core.seconds("timeout", timeout)


class Subscription:
    """A subscription that is read with `async for`. Each message comes once; close() or the end of an `async with` block ends it. It keeps its
    client."""

    __slots__ = ("_client", "_returned", "_run", "_since", "_subscription", "_try_recv")

    def __init__(self, subscription: _core.Subscription, runner: Runner, client: object) -> None:
        self._client = client
        self._subscription = subscription
        self._try_recv: Callable[[], Any] = subscription.try_recv
        self._run = runner._run
        self._since = 0
        # What came when the wait for it was cancelled.
        self._returned: list[Delivery] = []

    @property
    def filter(self) -> Filter:
        """What it is for."""
        return self._subscription.filter

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._subscription.closed

    async def recv(self, timeout: Seconds | None = None) -> Delivery:
        """Waits for the next message. Raises ReceiveTimedOut after `timeout`, and SubscriptionClosed when none comes any more. Cancelling it
        loses no message."""
        seconds = read_timeout(timeout)
        if self._since >= TURN:
            # Others have to get their turn. Nothing is taken yet that a cancellation could lose.
            self._since = 0
            await asyncio.sleep(0)
        message = self.try_recv()
        if message is not None:
            self._since += 1
            return message
        self._since = 0
        try:
            return await self._wait(seconds)
        except ReceiveTimedOut:
            raise
        except TimeoutError:
            raise ReceiveTimedOut(f"no message within {seconds} s") from None

    async def _wait(self, seconds: float | None) -> Delivery:
        operation = self._subscription._receive()
        message: Delivery = await limited(self._run(operation, self._returned.append), seconds)
        return message

    def try_recv(self) -> Delivery | None:
        """The next message if one is here, or None."""
        if self._returned:
            return self._returned.pop(0)
        message: Delivery | None = self._try_recv()
        return message

    async def recv_many(self, max: int = 1024, timeout: Seconds | None = None) -> list[Delivery]:
        """Waits for a message, and returns it with those that are here, at most `max`; an empty list after `timeout`."""
        seconds = read_timeout(timeout)
        here = self.try_many(max)
        if here or max <= 0:
            return here
        try:
            first = await self._wait(seconds)
        except TimeoutError:
            return []
        return [first, *self.try_many(max - 1)]

    def try_many(self, max: int = 1024) -> list[Delivery]:
        """What is here, at most `max` messages."""
        here: list[Any] = []
        while self._returned and len(here) < max:
            here.append(self._returned.pop(0))
        return here + self._subscription.try_many(max - len(here))

    async def close(self) -> None:
        """Ends it: what was not acknowledged goes to others. Closing again does nothing."""
        self._subscription.close()

    def __aiter__(self: S) -> S:
        return self

    async def __anext__(self) -> Delivery:
        try:
            return await self.recv()
        except SubscriptionClosed:
            raise StopAsyncIteration from None

    async def __aenter__(self: S) -> S:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscription.close()

    def __repr__(self) -> str:
        return repr(self._subscription)
