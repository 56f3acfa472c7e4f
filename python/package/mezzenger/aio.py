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
import os
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _lifecycle
from ._aio_manage import DeadLetters, Groups, Retained
from ._aio_run import TURN, Runner, Subscription
from ._client import RETRY_DELAY
from ._core import AioDelivery as Delivery
from ._core import Filter, Message, Operation, Receipt, Verdict
from ._errors import Error, NotSubscribed
from ._events import UNTOLD, Reports
from ._records import Blocked, ConnectionEvent, Counters, Missed
from ._values import Format, Headers, Seconds, Trust, asked

if TYPE_CHECKING:
    from ._errors import Failure

logger = logging.getLogger("mezzenger")

C = TypeVar("C", bound="Client")

Callback = Callable[[Delivery], Awaitable[Verdict | None | object] | Verdict | None | object]
"""What is called with each message: a function or a coroutine function. It returns None, which acknowledges, or a Verdict."""


class Client:
    """A connection to a Mezzenger server, for the tasks of one event loop. `async with aio.Client(address) as client:` connects and closes
    it; or await connect() and close().

    Addresses and options are those of mezzenger.Client, but for `callback_threads`: callbacks of subscribe() are tasks of the loop. Callbacks that
    report are called on the loop; coroutine functions become tasks. Any await may be cancelled: what was published is published as a whole or not
    at all, and no message is lost.

    A client that is open and that nothing refers to any more is closed without a wait, with a ResourceWarning.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        port: int | None = None,
        send_timeout: Seconds | None = None,
        connection_retries: int | None = None,
        client_name: str | None = None,
        verbose: bool = False,
        max_message_size: int | None = None,
        window: int | None = None,
        buffer_bytes: int | None = None,
        target_delay: Seconds | None = None,
        verify_checksums: bool = False,
        curve_key: str | os.PathLike[str] | None = None,
        server_key: str | os.PathLike[str] | None = None,
        user: str | None = None,
        password: str | None = None,
        pickle: Trust | None = None,
        on_missed: Callable[[Missed], object] | None = None,
        on_blocked: Callable[[Blocked], object] | None = None,
        on_connection: Callable[[ConnectionEvent], object] | None = None,
        on_error: Callable[[Failure], object] | None = None,
    ) -> None:
        asked(pickle)
        options = {
            "port": port, "send_timeout": send_timeout, "connection_retries": connection_retries, "client_name": client_name, "verbose": verbose,
            "max_message_size": max_message_size, "window": window, "buffer_bytes": buffer_bytes, "target_delay": target_delay,
            "verify_checksums": verify_checksums, "curve_key": curve_key, "server_key": server_key, "user": user, "password": password,
        }  # fmt: skip
        self._reports = Reports(missed=on_missed, blocked=on_blocked, connection=on_connection, error=on_error)
        self._runner, self._core = Runner(), _core.Core()
        self._core._configure(address, self._reports.wanted, pickle, self._runner, options)
        self._address = address
        self._events = self._core._events()
        self._process = os.getpid()
        self._is_open = self._is_closed = self._told = False
        self._run = self._runner._run
        self._try_publish = self._core._publish
        self._tasks: set[asyncio.Future[Any]] = set()
        self._workers: dict[Filter, list[asyncio.Task[None]]] = {}
        self._closed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._ending: Operation | None = None
        self._since = 0

    async def connect(self: C) -> C:
        """Connects: returns the client once the server said hello."""
        self._runner.check()
        connecting = self._core._connect()
        _lifecycle.begin()
        self._runner.begin()
        if self._reports.wanted:
            self._runner.reports = weakref.WeakMethod(self._tell)
            self._core._tell(self._runner._reactor)
        try:
            await self._run(connecting)
        except BaseException:
            self._core._close()
            self._runner.end()
            raise
        self._is_open = True
        _lifecycle.begin(self)
        return self

    def _tell(self) -> None:
        for event in self._events.next(0) or ():
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
            logger.error("a callback that reports raised", exc_info=error, extra=UNTOLD)

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
        """Publishes a message without waiting for the server. Waits only for room. The receipt that it returns can be awaited: that returns for
        how many connections the message was, or None.

        `payload`: bytes, str and buffers travel as they are, other values as JSON, or as `format` says: "json", "msgpack" or "pickle".

        - `ack`: the server keeps the message until it is acknowledged, and delivers it again until then.
        - `headers`: a dict of str, or pairs of str, that travel with it. `content_type`: what the payload is, as a media type.
        - `reply_to`: the name that an answer is to be published under.
        - `expires_in`: nobody gets it after so long (seconds or timedelta). `deliver_in`: nobody gets it before so long, or `deliver_at`: before
          this time (an aware datetime, or seconds since the Unix epoch).
        - `retain`: the server keeps it as the last one of its name, for subscriptions with `with_last=True`.
        - `idempotency_key`: another message with this name and key is not published for a while (2 minutes by default).
        """
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
        """Publishes each of several payloads under one name, all with the same options, which are those of publish(): how many there were."""
        _core.check_payloads(payloads)
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
        """Publishes a message and waits until the server has taken it. One that is cancelled may be published all the same. Options are those of
        publish()."""
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
        """Publishes a request, and waits `timeout` for the first answer. Options are those of publish(). Raises NoSubscriber at once when nobody is
        there, and RequestTimedOut without an answer in time."""
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
        """Pings the server, and returns how many seconds the answer took."""
        took: float = await self._run(self._core._ping())
        return took

    async def subscription(
        self,
        filter: str | Filter,
        *,
        observe: bool | None = None,
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
        """Subscribes, and returns what is read with `async for`. The server has the subscription then. It keeps the client.

        `filter` is a name, or a Filter: Filter.pattern("orders.*"), Filter.prefix("orders."). `observe`, `with_last`, `lossy` and `credit` say how
        messages come; `group` makes it a member of a group, whose members agree on `ack_wait`, `in_flight_max`, `attempts_max`, `backoff` and
        `keep_expired`; with `extend=False` it asks for more time by hand. mezzenger.Client.subscription() says more of each.
        """
        opening = self._core._subscribe(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        return Subscription(await self._run(opening), self._runner, self)

    async def subscribe(
        self,
        filter: str | Filter,
        callback: Callback,
        *,
        retry_delay: Seconds | None = None,
        observe: bool | None = None,
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
        message, and an exception is reported, as for mezzenger.Client.subscribe(). Options are those of subscription()."""
        if not callable(callback):
            raise TypeError(f"the callback is no function, but {callback!r}")
        if retry_delay is not None:
            retry_delay = _core.seconds("retry_delay", retry_delay)
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
        await self._cancel(tasks, asyncio.current_task())

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]], caller: asyncio.Task[Any] | None) -> None:
        # Not the one that this is called in.
        others = [task for task in tasks if task is not caller]
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
        """Messages that were published but did not arrive here, expired ones included (see mezzenger.Missed)."""
        return self.counters.missed

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._is_closed

    async def wait_closed(self) -> None:
        """Waits until another task or a callback closes the client."""
        await self._closed.wait()

    async def close(self) -> None:
        """Closes the client: ends its subscriptions and callbacks, sends what waits, and takes the answers that come within `send_timeout`.

        Raises the first error of a message since the last flush, CloseTimedOut for messages that have no answer by then. Closing again waits
        for the same end, and one that is cancelled goes on. Once its loop has ended, any other may close it. In the child of a fork it does
        nothing: the client is its parent's.
        """
        if self._process != os.getpid():
            self._is_open = False
            return
        if self._runner.is_over:
            await self._close_elsewhere()
            return
        self._runner.check()
        _lifecycle.end(self)
        self._is_open = False
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(asyncio.current_task()))
        try:
            await asyncio.shield(self._closing)
        except Error:
            told, self._told = self._told, True
            if not told:
                raise

    async def _close(self, closer: asyncio.Task[Any] | None) -> None:
        workers, self._workers = self._workers, {}
        try:
            await self._cancel((task for tasks in workers.values() for task in tasks), closer)
            closing = self._core._close()
            if closing is not None:
                # The one that was closed before does not watch any more.
                self._runner.begin()
                await self._run(closing)
        finally:
            self._is_closed = True
            self._closed.set()
            self._runner.end()

    async def _close_elsewhere(self) -> None:
        # Its tasks ended with its loop.
        _lifecycle.end(self)
        self._is_open, self._is_closed = False, True
        closing = self._core._close()
        if closing is not None:
            await asyncio.get_running_loop().run_in_executor(None, closing.wait)

    def _begin_close(self) -> None:
        self._ending = self._core._close()

    def _end_close(self) -> None:
        self._is_open = False
        # At exit there is no loop: this thread waits.
        if self._ending is not None:
            self._ending.wait()

    def __del__(self) -> None:
        if not getattr(self, "_is_open", False) or self._process != os.getpid():
            return
        self._core._abandon()
        self._runner.abandon()
        warnings.warn(f"{self!r} was not closed: await close(), or use `async with`", ResourceWarning, source=self)

    def __repr__(self) -> str:
        if not self._is_open:
            return f"<mezzenger.aio.Client of {self._address}, {'closed' if self.closed else 'not connected'}>"
        return f"<mezzenger.aio.Client of {self._address}>"

    async def __aenter__(self: C) -> C:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception as failure:
            # The block's own exception says more.
            if error is None:
                raise
            error.add_note(f"The client that was closed had failed, too: {type(failure).__name__}: {failure}")


__all__ = ["Callback", "Client", "DeadLetters", "Delivery", "Groups", "Retained", "Subscription"]
