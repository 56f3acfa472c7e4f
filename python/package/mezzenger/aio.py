"""Mezzenger for asyncio. There is no second runtime: the client's own thread does its work, and the event loop watches one descriptor, which
wakes it once for all that has come.

    import asyncio
    from mezzenger import aio

    async def main():
        async with aio.Client() as client:
            async with await client.subscription("greet") as greetings:
                await client.send("greet", "hello, world")
                async for message in greetings:
                    print(message.text())
                    break

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _lifecycle
from ._aio_manage import DeadLetters, Groups, Retained
from ._client import RETRY_DELAY, Seconds
from ._core import AioDelivery as Delivery
from ._core import Filter, Message, Operation, Receipt, Verdict
from ._errors import NotSubscribed, ReceiveTimedOut, SubscriptionClosed, WrongEventLoop
from ._events import Reports
from ._records import Blocked, ConnectionEvent, Counters, Missed
from ._values import Trust, asked

if TYPE_CHECKING:
    from ._errors import Failure

logger = logging.getLogger("mezzenger")

C = TypeVar("C", bound="Client")
S = TypeVar("S", bound="Subscription")

TURN = 256
"""Messages that are read without a wait before other tasks of the loop get their turn."""

Callback = Callable[[Delivery], Awaitable[Verdict | None | object] | Verdict | None | object]
"""What is called with each message: a function or a coroutine function. It returns None, which acknowledges, or a Verdict."""


class _Runner:
    """Runs operations on one event loop."""

    __slots__ = ("_drain", "_loop", "_reactor", "reports")

    def __init__(self) -> None:
        self._reactor = _core.Reactor()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[], None] = self._reactor.run
        self.reports: Callable[[], None] | None = None

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is loop:
            loop.add_reader(self._reactor.fileno(), self._woken)

    def end(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            # What the client's end has decided is told first: the loop may not have looked yet.
            self._woken()
            loop.remove_reader(self._reactor.fileno())

    def _woken(self) -> None:
        self._drain()
        if self.reports is not None:
            self.reports()

    async def _run(self, operation: Operation, lost: Callable[[Any], None] | None = None) -> Any:
        """Waits for an operation. `lost` gets what came of one that was cancelled at that moment."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise WrongEventLoop("the client was connected on another event loop: make one on each loop")
        done = operation.start(self._reactor)
        if done is not None:
            return done[0]
        future = loop.create_future()
        operation.attach(future)
        try:
            return await future
        except asyncio.CancelledError:
            operation.cancel()
            if lost is not None and future.done() and not future.cancelled() and future.exception() is None:
                lost(future.result())
            raise


async def _limited(wait: Awaitable[Any], timeout: Seconds | None) -> Any:
    """Waits so long at most."""
    if timeout is None:
        return await wait
    seconds = timeout if isinstance(timeout, (int, float)) else timeout.total_seconds()
    async with asyncio.timeout(seconds):
        return await wait


class Client:
    """A connection to a Mezzenger server, for the tasks of one event loop. `async with aio.Client(address) as client:` connects and closes
    it; or await connect() and close().

    Addresses and options are those of mezzenger.Client. Callbacks that report are called on the loop; coroutine functions become tasks.
    Any await may be cancelled: what was published is published as a whole or not at all, and no message is lost.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        port: int | None = None,
        send_timeout: Seconds | None = None,
        connection_retries: int | None = None,
        verbose: bool = False,
        max_message_size: int | None = None,
        window: int | None = None,
        buffer_bytes: int | None = None,
        target_delay: Seconds | None = None,
        verify_checksums: bool = False,
        pickle: Trust | None = None,
        on_missed: Callable[[Missed], object] | None = None,
        on_blocked: Callable[[Blocked], object] | None = None,
        on_connection: Callable[[ConnectionEvent], object] | None = None,
        on_error: Callable[[Failure], object] | None = None,
    ) -> None:
        asked(pickle)
        options = {
            "port": port, "send_timeout": send_timeout, "connection_retries": connection_retries, "verbose": verbose,
            "max_message_size": max_message_size, "window": window, "buffer_bytes": buffer_bytes,
            "target_delay": target_delay, "verify_checksums": verify_checksums,
        }  # fmt: skip
        self._reports = Reports(missed=on_missed, blocked=on_blocked, connection=on_connection, error=on_error)
        self._runner = _Runner()
        self._core = _core.Core(address, self._reports.wanted, pickle, self._runner, options)
        self._run = self._runner._run
        self._try_publish = self._core._publish
        self._tasks: set[asyncio.Future[Any]] = set()
        self._workers: dict[Filter, list[asyncio.Task[None]]] = {}
        self._closed = asyncio.Event()
        self._closing: Operation | None = None
        self._since = 0

    async def connect(self: C) -> C:
        """Connects: returns the client once the server said hello."""
        connecting = self._core._connect()
        _lifecycle.begin()
        self._runner.begin()
        if self._reports.wanted:
            self._runner.reports = self._tell
            self._core._tell(self._runner._reactor)
        try:
            await self._run(connecting)
        except BaseException:
            self._core._close()
            self._runner.end()
            raise
        _lifecycle.begin(self)
        return self

    def _tell(self) -> None:
        for event in self._core._next_events(0) or ():
            self._keep(self._reports.tell(event))

    def _keep(self, told: object) -> None:
        """What a coroutine function returned that was told becomes a task."""
        if inspect.isawaitable(told):
            task = asyncio.ensure_future(told)
            self._tasks.add(task)
            task.add_done_callback(self._kept)

    def _kept(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a callback that reports raised", exc_info=error)

    async def publish(self, name: str, payload: object, **options: Any) -> Receipt:
        """Publishes a message without waiting for the server; the receipt can be awaited. Waits only for room. Options are those of
        mezzenger.Client.publish()."""
        published = self._try_publish(name, payload, **options)
        if isinstance(published, Receipt):
            self._since += 1
            if self._since >= TURN:
                # Others have to get their turn, among them who reads.
                self._since = 0
                await asyncio.sleep(0)
            return published
        self._since = 0
        receipt: Receipt = await self._run(published)
        return receipt

    async def publish_many(self, name: str, payloads: Iterable[object], **options: Any) -> int:
        """Publishes each of several payloads under one name, all with the same options: how many there were."""
        count = 0
        for payload in payloads:
            published = self._try_publish(name, payload, **options)
            if not isinstance(published, Receipt):
                await self._run(published)
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)
        return count

    async def send(self, name: str, payload: object, **options: Any) -> None:
        """Publishes a message and waits until the server has taken it. One that is cancelled may be published all the same."""
        await self._run(self._core._send(name, payload, **options))

    async def request(self, name: str, payload: object, timeout: Seconds, **options: Any) -> Message:
        """Publishes a request, and waits for the first answer."""
        answer: Message = await self._run(self._core._request(name, payload, timeout, **options))
        return answer

    async def forward(self, name: str, message: Message) -> Receipt:
        """Publishes what was received under another name, as it is. Waits for room alone."""
        receipt: Receipt = await self._run(self._core._forward(name, message))
        return receipt

    async def flush(self) -> None:
        """Waits until every message published before has its answer. Raises the first error of a message since the last flush."""
        await self._run(self._core._flush())

    async def ping(self) -> float:
        """Asks the server for a sign of life: how many seconds the answer took."""
        took: float = await self._run(self._core._ping())
        return took

    async def subscription(self, filter: str | Filter, **options: Any) -> Subscription:
        """Subscribes, and returns what is read with `async for`. Options are those of mezzenger.Client.subscription()."""
        operation, _, _ = self._core._subscribe(filter, **options)
        return Subscription(await self._run(operation), self._runner)

    async def subscribe(
        self, filter: str | Filter, callback: Callback, *, retry_delay: Seconds | None = None, **options: Any
    ) -> None:
        """Has `callback`, a function or a coroutine function, called with each message by a task. What it returns says what becomes of the
        message, and an exception is reported, as for mezzenger.Client.subscribe()."""
        operation, group, has_backoff = self._core._subscribe(filter, **options)
        subscription = Subscription(await self._run(operation), self._runner)
        if group is not None and retry_delay is None:
            found = None if has_backoff else await self.groups.get(group)
            retry_delay = 0.0 if has_backoff or (found is not None and found.backoff) else RETRY_DELAY
        work = self._work(subscription, callback, None if group is None else retry_delay)
        task = asyncio.get_running_loop().create_task(work)
        self._workers.setdefault(subscription.filter, []).append(task)

    async def _work(self, subscription: Subscription, callback: Callback, retry_delay: Seconds | None) -> None:
        async with subscription:
            async for message in subscription:
                try:
                    said = callback(message)
                    if inspect.isawaitable(said):
                        said = await said
                except Exception as error:
                    self._keep(self._reports.failed(message, error))
                    if retry_delay is not None:
                        message._settle(Verdict.nak(retry_delay))
                else:
                    message._settle(said)

    async def unsubscribe(self, filter: str | Filter) -> None:
        """Ends all callbacks for exactly this filter. One that awaits something is cancelled there, and its message not acknowledged."""
        wanted = Filter.name(filter) if isinstance(filter, str) else filter
        tasks = self._workers.pop(wanted, [])
        if not tasks:
            raise NotSubscribed(f"not subscribed to '{wanted.text}': unsubscribe takes exactly what was subscribed to")
        await self._cancel(tasks)

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        # Not the one that this is called in.
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def groups(self) -> Groups:
        """The groups of the server."""
        return Groups(self._core._manager(), self._runner)

    def dead_letters(self, group: str = "") -> DeadLetters:
        """The messages that a group gave up; without a name those of all groups, for lists and counts alone."""
        return DeadLetters(self._core._manager(), self._runner, group)

    @property
    def retained(self) -> Retained:
        """The messages that the server keeps as the last ones of their names."""
        return Retained(self._core._manager(), self._runner)

    @property
    def publisher_id(self) -> int:
        """This client's random id, the publisher in the ids of all its messages."""
        return self._core.publisher_id

    @property
    def counters(self) -> Counters:
        """Counts since the client was made."""
        counters = self._core._counters()
        counters["callback_failures"] = self._reports.callback_failures
        return Counters(**counters)

    @property
    def missed(self) -> int:
        """Messages that were published but never arrived here."""
        return self.counters.missed

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Waits until another task or a callback closes the client."""
        await self._closed.wait()

    async def close(self) -> None:
        """Closes the client: ends its subscriptions and callbacks, sends what waits, and takes the answers that come within `send_timeout`.

        Raises the first error of a message since the last flush. Closing again waits for the same end.
        """
        _lifecycle.end(self)
        workers, self._workers = self._workers, {}
        await self._cancel(task for tasks in workers.values() for task in tasks)
        closing = self._core._close()
        try:
            if closing is not None:
                # The one that was closed before does not watch any more.
                self._runner.begin()
                await self._run(closing)
        finally:
            self._closed.set()
            self._runner.end()

    def _begin_close(self) -> None:
        self._closing = self._core._close()

    def _end_close(self) -> None:
        # At exit there is no loop: this thread waits.
        if self._closing is not None:
            self._closing.wait()

    async def __aenter__(self: C) -> C:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception:
            # The block's own exception says more.
            if kind is None:
                raise


class Subscription:
    """A subscription that is read with `async for`. Each message comes once; close() or the end of an `async with` block ends it."""

    __slots__ = ("_returned", "_run", "_since", "_subscription", "_try_recv")

    def __init__(self, subscription: _core.Subscription, runner: _Runner) -> None:
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
            return await self._wait(timeout)
        except ReceiveTimedOut:
            raise
        except TimeoutError:
            raise ReceiveTimedOut("no message within the time given") from None

    async def _wait(self, timeout: Seconds | None) -> Delivery:
        operation = self._subscription._receive()
        message: Delivery = await _limited(self._run(operation, self._returned.append), timeout)
        return message

    def try_recv(self) -> Delivery | None:
        """The next message if one is here, or None."""
        if self._returned:
            return self._returned.pop(0)
        message: Delivery | None = self._try_recv()
        return message

    async def recv_many(self, max: int = 1024, timeout: Seconds | None = None) -> list[Delivery]:
        """Waits for a message, and returns it with those that are here, at most `max`; an empty list after `timeout`."""
        here = self.try_many(max)
        if here or max <= 0:
            return here
        try:
            first = await self._wait(timeout)
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


__all__ = [
    "Client",
    "DeadLetters",
    "Delivery",
    "Groups",
    "Retained",
    "Subscription",
]
