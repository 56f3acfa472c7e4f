"""The blocking client."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _lifecycle
from ._core import Delivery, Filter, Subscription, Verdict
from ._errors import ConnectThread, InvalidOption, NotSubscribed, SubscribeNotConfirmed
from ._events import Reports
from ._manage import DeadLetters, Groups, Retained
from ._records import Blocked, ConnectionEvent, Counters, Missed
from ._values import Seconds, Trust, asked

if TYPE_CHECKING:
    from ._errors import Failure

logger = logging.getLogger("mezzenger")

Callback = Callable[[Delivery], Verdict | None | object]
"""What is called with each message. It returns None, which acknowledges, or a Verdict."""

C = TypeVar("C", bound="Client")

RETRY_DELAY = 1.0
"""After how many seconds a group without delays gets a message again that a callback failed for."""

EVENTS_WAIT = 3600.0


class _Held:
    """A callback, which a client holds and its threads look up: they keep neither."""

    __slots__ = ("__weakref__", "call")

    def __init__(self, call: Callable[[Delivery], object]) -> None:
        self.call = call


class Client(_core.Core):
    """A connection to a Mezzenger server: publishes and subscribes, from any number of threads.

    `address` is a host, `host:port`, or a URL, `mezzenger://host:port`, which may name several servers (`mezzenger://one,two:7203`). Making the client
    waits until the server said hello, and raises a ConnectError when there is none. close(), or the end of a `with` block, ends it.

    Durations are seconds or timedelta. Options, with their defaults:

    - `port` (7202): the port that the client connects to, unless the address says one.
    - `send_timeout` (2): how long to wait for an answer before a request is sent again, and `connection_retries` (5): how often in all.
    - `callback_threads` (4): how many callbacks of subscribe() run at the same time.
    - `client_name` (the script's name): what the server calls this client in its log, on its page and in its metrics: the first 64
      bytes of it, without control characters.
    - `verbose` (False): log each connection at level INFO.
    - `max_message_size` (64 MiB): larger messages are not sent. The server has a limit of its own.
    - `window` (32): frames in flight. `buffer_bytes` (4 MiB): bytes that wait before publish() does. `target_delay` (8 ms): how long a message
      may wait here when the server does not keep up.
    - `verify_checksums` (False): check each received message's checksum; one that does not match is reported and not delivered.
    - `curve_key` and `server_key`: for a server with keys, the file NAME.key_secret of this client's, and the server's NAME.key or its text.
    - `user` and `password`: for a server with users. Both travel in the clear.
    - `pickle` (None): which classes may be in pickles that are received: classes, their names or modules, a function of module and name, or
      TRUST_ALL. By default, none are allowed.
    - `on_missed`, `on_blocked`, `on_connection` and `on_error`: called, on a thread for them, with a Missed, Blocked, ConnectionEvent or Failure.
      They may use the client. What fails is also logged by logging.getLogger("mezzenger").

    A client that is open and that nothing refers to any more is closed without a wait, with a ResourceWarning. One that is open when the
    interpreter exits is closed.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        port: int | None = None,
        send_timeout: Seconds | None = None,
        connection_retries: int | None = None,
        callback_threads: int = 4,
        client_name: str | None = None,
        verbose: bool = False,
        max_message_size: int | None = None,
        window: int | None = None,
        buffer_bytes: int | None = None,
        target_delay: Seconds | None = None,
        verify_checksums: bool = False,
        curve_key: str | PathLike[str] | None = None,
        server_key: str | PathLike[str] | None = None,
        user: str | None = None,
        password: str | None = None,
        pickle: Trust | None = None,
        on_missed: Callable[[Missed], object] | None = None,
        on_blocked: Callable[[Blocked], object] | None = None,
        on_connection: Callable[[ConnectionEvent], object] | None = None,
        on_error: Callable[[Failure], object] | None = None,
    ) -> None:
        asked(pickle)
        if not isinstance(callback_threads, int):
            raise TypeError(f"callback_threads: expected an int, not {type(callback_threads).__name__}")
        if callback_threads < 1:
            raise InvalidOption(f"callback_threads={callback_threads}: give at least 1")
        options = {
            "port": port, "send_timeout": send_timeout, "connection_retries": connection_retries, "client_name": client_name, "verbose": verbose,
            "max_message_size": max_message_size, "window": window, "buffer_bytes": buffer_bytes,
            "target_delay": target_delay, "verify_checksums": verify_checksums, "curve_key": curve_key, "server_key": server_key,
            "user": user, "password": password,
        }  # fmt: skip
        reports = Reports(missed=on_missed, blocked=on_blocked, connection=on_connection, error=on_error)
        self._configure(address, reports.wanted, pickle, None, options)
        self._address = address
        self._reports = reports
        self._callback_threads = callback_threads
        self._calls = _core.Calls()
        self._held: dict[Filter, list[_Held]] = {}
        self._threads: list[threading.Thread] = []
        self._process = os.getpid()
        self._closed = threading.Event()
        self._closing: _core.Operation | None = None
        timeout = 2.0 if send_timeout is None else _core.seconds("send_timeout", send_timeout)
        self._patience = timeout * (connection_retries or 5)
        _lifecycle.begin()
        self._connect().wait()
        self._is_open = True
        _lifecycle.begin(self)
        if reports.wanted:
            self._start("mezzenger-events", _tell, (self._events().next, weakref.ref(reports)))

    def _start(self, name: str, body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        # They have no reference to the client, which may go.
        thread = threading.Thread(target=body, name=name, args=arguments, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise ConnectThread(f"a thread could not be started: {error}; check the process limits") from error
        self._threads.append(thread)

    def flush(self) -> None:
        """Waits until every message published before has its answer. Raises the first error of a message since the last flush."""
        self._flush().wait()

    def ping(self) -> float:
        """Pings the server, and returns how many seconds the answer took. Raises PingTimedOut without one."""
        took: float = self._ping().wait()
        return took

    def subscription(
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
        """Subscribes, and returns what is read like an iterator. The server has the subscription then. It keeps the client.

        `filter` is a name, or a Filter: Filter.pattern("orders.*"), Filter.prefix("orders.").

        - `observe=True`: observes, and acknowledges nothing; `observe=False`: takes part. The default is to observe for a pattern, and to take
          part for a name and a prefix.
        - `with_last=True`: gets the retained messages first.
        - `lossy=True`: loses what does not fit into the credit, instead of slowing publishers down.
        - `credit`: how many bytes may be here and not dealt with (4 MiB; in a group 256 KiB). Who takes long for a job gives 1, and gets the next
          one when that is settled.
        - `group="name"`: works. Of each message one member of the group gets it. Members agree on the following:
        - `ack_wait`: how long a member may take to settle a message before another one gets it (the server's retry interval, 10 seconds).
        - `in_flight_max`: how many messages a member may have without having settled them (8192).
        - `attempts_max`: how often the group gets a message before that becomes a dead letter (without end).
        - `backoff`: how long it waits after each failed attempt, as in [1, 10, 60] (not at all).
        - `keep_expired=True`: messages that expire become dead letters.
        - `extend=False`: this member asks for more time by hand, with job.extend(). Otherwise the client does as long as a job is held.
        """
        opening = self._subscribe(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        subscription: Subscription = opening.wait()
        return subscription

    def subscribe(
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
        """Has `callback` called with each message, a Delivery. Options are those of subscription().

        What it returns says what becomes of the message: None acknowledges, a Verdict says what else. An exception is reported, and the
        message is delivered again: in a group after `retry_delay` (default: the group's delays, or a second). Messages of one subscription come one
        after the other. Callbacks run on threads that end with the program: `wait_closed()` keeps it.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback is a coroutine function: use mezzenger.aio.Client")
        if not callable(callback):
            raise TypeError(f"the callback is no function, but {callback!r}")
        if retry_delay is not None:
            retry_delay = _core.seconds("retry_delay", retry_delay)
        subscription = self.subscription(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        if group is not None and retry_delay is None:
            retry_delay = 0.0 if backoff or self._has_backoff(group) else RETRY_DELAY
        subscriptions = self._call_for(subscription, callback, None if group is None else retry_delay)
        if len(self._threads) - bool(self._reports.wanted) < min(subscriptions, self._callback_threads):
            arguments = (self._calls, weakref.WeakMethod(self._reports.failed))
            self._start("mezzenger-callbacks", call_callbacks, arguments)

    def _call_for(self, subscription: Subscription, callback: Callback, retry_delay: float | None) -> int:
        """Has a callback called for a subscription: how many subscriptions have one."""
        held = _Held(callback)
        self._held.setdefault(subscription.filter, []).append(held)
        return self._calls.add(subscription, weakref.ref(held), retry_delay)

    def _has_backoff(self, group: str) -> bool:
        found = self.groups.get(group)
        return found is not None and bool(found.backoff)

    def unsubscribe(self, filter: str | Filter) -> None:
        """Ends all callbacks for exactly this filter. None of them runs afterwards, unless this is called in it."""
        removed, all_ended = self._calls.remove(filter, self._patience)
        wanted = Filter.name(filter) if isinstance(filter, str) else filter
        self._held.pop(wanted, None)
        if not removed:
            raise NotSubscribed(f"not subscribed to '{wanted.text}': unsubscribe takes exactly what was subscribed to")
        if not all_ended:
            raise SubscribeNotConfirmed(f"the callback still runs after {self._patience} s; it is called no more")

    @property
    def groups(self) -> Groups:
        """The groups of the server."""
        return Groups(self._manager())

    def dead_letters(self, group: str = "") -> DeadLetters:
        """The messages that a group gave up; without a name those of all groups, for lists and counts alone."""
        return DeadLetters(self._manager(), group)

    @property
    def retained(self) -> Retained:
        """The messages that the server keeps as the last ones of their names."""
        return Retained(self._manager())

    @property
    def counters(self) -> Counters:
        """Counts since the client was made."""
        counters = self._counters()
        counters["callback_failures"] = self._reports.callback_failures
        return Counters(**counters)

    @property
    def missed(self) -> int:
        """Messages that were published but did not arrive here, expired ones included (see Missed)."""
        return self.counters.missed

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed.is_set()

    def wait_closed(self, timeout: Seconds | None = None) -> bool:
        """Waits until another thread or a callback closes the client, or Ctrl-C comes; False after `timeout`."""
        limit = None if timeout is None else min(_core.seconds("timeout", timeout), threading.TIMEOUT_MAX)
        return self._closed.wait(limit)

    def close(self) -> None:
        """Closes the client: ends its subscriptions and callbacks, sends what waits, and takes the answers that come within `send_timeout`.

        Raises the first error of a message since the last flush, CloseTimedOut for messages that have no answer by then. Closing again waits
        for the same end. In the child of a fork it does nothing: the client is its parent's.
        """
        self._begin_close()
        self._end_close()

    def _begin_close(self) -> None:
        if self._process != os.getpid():
            return
        self._calls.close()
        if self._closing is None:
            self._closing = self._close()

    def _end_close(self) -> None:
        self._is_open = False
        if self._process != os.getpid():
            self._closed.set()
            return
        _lifecycle.end(self)
        closing, self._closing = self._closing or self._close(), None
        try:
            if closing is not None:
                closing.wait()
        finally:
            self._closed.set()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join(1)
                    if thread.is_alive():
                        logger.warning("a client was closed, and a callback of it still runs (thread %s)", thread.name)
            self._held.clear()

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as failure:
            # The block's own exception says more.
            if error is None:
                raise
            error.add_note(f"The client that was closed had failed, too: {type(failure).__name__}: {failure}")

    def __del__(self) -> None:
        if not getattr(self, "_is_open", False) or self._process != os.getpid():
            return
        self._calls.close()
        self._abandon()
        warnings.warn(f"{self!r} was not closed: call close(), or use `with`", ResourceWarning, source=self)

    def __repr__(self) -> str:
        if not hasattr(self, "_closed"):
            return "<mezzenger.Client, not connected>"
        return f"<mezzenger.Client of {self._address}{', closed' if self.closed else ''}>"


def _tell(next_events: Callable[[float], list[tuple[Any, ...]] | None], reports: weakref.ref[Reports]) -> None:
    while (events := next_events(EVENTS_WAIT)) is not None:
        for event in events:
            # Not for longer: it knows callbacks, which may know the client.
            if (teller := reports()) is not None:
                teller.tell(event)
            teller = None


_CALLS_PER_TURN = 256
"""Messages that a thread calls one callback for before it looks for other subscriptions."""


def call_callbacks(
    calls: _core.Calls, failed: Callable[[], Callable[[Any, BaseException], object] | None]
) -> None:
    """The body of a thread: calls callbacks until the client is closed. `failed` leads to what reports failures."""
    while (call := calls.next()) is not None:
        _call_some(call, failed)
        # Nothing of the last turn stays while there is none.
        del call


def _call_some(call: _core.Call, failed: Callable[[], Callable[[Any, BaseException], object] | None]) -> None:
    more = False
    try:
        held = call.callback()
        if held is None:
            return
        for _ in range(_CALLS_PER_TURN):
            if (message := call.take()) is None:
                break
            try:
                message._settle(held.call(message))
            except BaseException as error:
                # Reported first: what the report shows of the message is there.
                if (tell := failed()) is not None:
                    tell(message, error)
                call.failed(message)
        else:
            more = True
    finally:
        call.leave(more)


__all__ = ["Callback", "Client"]
