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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _lifecycle
from ._aio_manage import DeadLetters, Groups, Retained
from ._aio_run import TURN, Runner, Subscription
from ._client import RETRY_DELAY, Seconds
from ._core import AioDelivery as Delivery
from ._core import Filter, Message, Operation, Receipt, Verdict
from ._errors import NotSubscribed
from ._events import Reports
from ._records import Blocked, ConnectionEvent, Counters, Missed
from ._values import Format, Headers, Trust, asked

if TYPE_CHECKING:
    from ._errors import Failure

logger = logging.getLogger("mezzenger")

C = TypeVar("C", bound="Client")

Callback = Callable[[Delivery], Awaitable[Verdict | None | object] | Verdict | None | object]
"""What is called with each message: a function or a coroutine function. It returns None, which acknowledges, or a Verdict."""


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
        curve_key: str | PathLike[str] | None = None,
        server_key: str | PathLike[str] | None = None,
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
            "target_delay": target_delay, "verify_checksums": verify_checksums, "curve_key": curve_key, "server_key": server_key,
        }  # fmt: skip
        self._reports = Reports(missed=on_missed, blocked=on_blocked, connection=on_connection, error=on_error)
        self._runner = Runner()
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

    async def publish(
        self,
        name: str,
        payload: object,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: Seconds | None = None,
        deliver_in: Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> Receipt:
        """Publishes a message without waiting for the server; the receipt can be awaited. Waits only for room. Options are those of
        mezzenger.Client.publish()."""
        published = self._try_publish(
            name, payload,
            ack, headers, content_type, reply_to, expires_in, deliver_in, deliver_at, retain, idempotency_key, format,
        )  # fmt: skip
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

    async def publish_many(
        self,
        name: str,
        payloads: Iterable[object],
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: Seconds | None = None,
        deliver_in: Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> int:
        """Publishes each of several payloads under one name, all with the same options: how many there were."""
        count = 0
        for payload in payloads:
            published = self._try_publish(
                name, payload,
                ack, headers, content_type, reply_to, expires_in, deliver_in, deliver_at, retain, idempotency_key, format,
            )  # fmt: skip
            if not isinstance(published, Receipt):
                await self._run(published)
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)
        return count

    async def send(
        self,
        name: str,
        payload: object,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: Seconds | None = None,
        deliver_in: Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> None:
        """Publishes a message and waits until the server has taken it. One that is cancelled may be published all the same."""
        sending = self._core._send(
            name, payload,
            ack, headers, content_type, reply_to, expires_in, deliver_in, deliver_at, retain, idempotency_key, format,
        )  # fmt: skip
        await self._run(sending)

    async def request(
        self,
        name: str,
        payload: object,
        timeout: Seconds,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        expires_in: Seconds | None = None,
        deliver_in: Seconds | None = None,
        deliver_at: datetime | float | None = None,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> Message:
        """Publishes a request, and waits for the first answer."""
        asking = self._core._request(
            name, payload, timeout,
            ack, headers, content_type, None, expires_in, deliver_in, deliver_at, False, idempotency_key, format,
        )  # fmt: skip
        answer: Message = await self._run(asking)
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

    async def subscription(
        self,
        filter: str | Filter,
        *,
        observe: bool = False,
        with_last: bool = False,
        lossy: bool = False,
        credit: int | None = None,
        group: str | None = None,
        ack_wait: Seconds | None = None,
        in_flight_max: int | None = None,
        attempts_max: int | None = None,
        backoff: Sequence[Seconds] | None = None,
        keep_expired: bool = False,
        extend: bool = True,
    ) -> Subscription:
        """Subscribes, and returns what is read with `async for`. Options are those of mezzenger.Client.subscription()."""
        opening = self._core._subscribe(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        return Subscription(await self._run(opening), self._runner)

    async def subscribe(
        self,
        filter: str | Filter,
        callback: Callback,
        *,
        retry_delay: Seconds | None = None,
        observe: bool = False,
        with_last: bool = False,
        lossy: bool = False,
        credit: int | None = None,
        group: str | None = None,
        ack_wait: Seconds | None = None,
        in_flight_max: int | None = None,
        attempts_max: int | None = None,
        backoff: Sequence[Seconds] | None = None,
        keep_expired: bool = False,
        extend: bool = True,
    ) -> None:
        """Has `callback`, a function or a coroutine function, called with each message by a task. What it returns says what becomes of the
        message, and an exception is reported, as for mezzenger.Client.subscribe()."""
        subscription = await self.subscription(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        if group is not None and retry_delay is None:
            found = None if backoff else await self.groups.get(group)
            retry_delay = 0.0 if backoff or (found is not None and found.backoff) else RETRY_DELAY
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
                    message._settle(said)
                except Exception as error:
                    self._keep(self._reports.failed(message, error))
                    if retry_delay is not None:
                        message._settle(Verdict.nak(retry_delay))

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


__all__ = [
    "Client",
    "DeadLetters",
    "Delivery",
    "Groups",
    "Retained",
    "Subscription",
]
