"""The blocking client, and the broker in this process."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import _core, _lifecycle
from ._core import Delivery, Filter, Message, Receipt, Subscription, Verdict
from ._errors import NotSubscribed, SubscribeNotConfirmed
from ._events import Reports
from ._records import Blocked, ConnectionEvent, Counters, DeadLetter, Group, Metrics, Missed, RetainedMessage
from ._values import Trust, asked

if TYPE_CHECKING:
    from ._errors import Failure

Seconds = float | timedelta
"""A duration: seconds, or a timedelta."""

Callback = Callable[[Delivery], Verdict | None | object]
"""What is called with each message. It returns None, which acknowledges, or a Verdict."""

C = TypeVar("C", bound="Client")
S = TypeVar("S", bound="Server")

RETRY_DELAY = 1.0
"""After how many seconds a group without delays gets a message again that a callback failed for."""

EVENTS_WAIT = 3600.0


class Client(_core.Core):
    """A connection to a Mezzenger server: publishes and subscribes, from any number of threads.

    `address` is a host, or a URL, `mezzenger://host:port`, which may name several servers (`mezzenger://one,two:7203`). Making the client
    waits until the server said hello, and raises a ConnectError when there is none.

    Durations are seconds or timedelta. Options, with their defaults: `port` (7202); `send_timeout` (2), how long to wait for an answer before
    a request is sent again, and `connection_retries` (5), how often in all; `callback_threads` (4), how many callbacks run at the same time;
    `verbose` (False), log each connection at level INFO; `max_message_size` (64 MiB); `window` (32), frames in flight; `buffer_bytes` (4 MiB),
    bytes that wait before publish() does; `target_delay` (8 ms), how long a message may wait here; `verify_checksums` (False);
    `curve_key` and `server_key`, for a server with keys: the file NAME.key_secret of this client's, and the server's NAME.key or its text.

    `pickle` says which classes may be in pickles that are received (see the README): none unless it is said.

    `on_missed`, `on_blocked`, `on_connection` and `on_error` are called, on a thread for them, with a Missed, Blocked, ConnectionEvent or
    Failure. They may use the client. What fails without a callback is logged by logging.getLogger("mezzenger").
    """

    _reports: Reports
    _calls: _core.Calls
    _threads: list[threading.Thread]
    _callback_threads: int
    _closed: threading.Event
    _closing: _core.Operation | None
    _patience: float

    def __new__(
        cls,
        address: str = "127.0.0.1",
        *,
        callback_threads: int = 4,
        pickle: Trust | None = None,
        on_missed: Callable[[Missed], object] | None = None,
        on_blocked: Callable[[Blocked], object] | None = None,
        on_connection: Callable[[ConnectionEvent], object] | None = None,
        on_error: Callable[[Failure], object] | None = None,
        **options: Any,
    ) -> Self:
        asked(pickle)
        reports = Reports(missed=on_missed, blocked=on_blocked, connection=on_connection, error=on_error)
        self = super().__new__(cls, address, reports.wanted, pickle, None, options)
        self._reports = reports
        self._callback_threads = max(callback_threads, 1)
        return self

    if TYPE_CHECKING:

        def __init__(
            self,
            address: str = "127.0.0.1",
            *,
            port: int | None = None,
            send_timeout: Seconds | None = None,
            connection_retries: int | None = None,
            callback_threads: int = 4,
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
        ) -> None: ...

    else:

        def __init__(self, address="127.0.0.1", *, send_timeout=None, connection_retries=None, **_options):
            self._calls = _core.Calls()
            self._threads = []
            self._closed = threading.Event()
            self._closing = None
            timeout = 2.0 if send_timeout is None else send_timeout
            timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
            self._patience = timeout * (connection_retries or 5)
            _lifecycle.begin()
            self._connect().wait()
            _lifecycle.begin(self)
            if self._reports.wanted:
                self._start("mezzenger-events", _tell, (self._next_events, self._reports))

    def _start(self, name: str, body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        # They have no reference to the client, which may go.
        thread = threading.Thread(target=body, name=name, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def flush(self) -> None:
        """Waits until every message published before has its answer. Raises the first error of a message since the last flush."""
        self._flush().wait()

    def ping(self) -> float:
        """Asks the server for a sign of life: how many seconds the answer took."""
        took: float = self._ping().wait()
        return took

    def subscription(
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
        """Subscribes, and returns what is read like an iterator. The server has the subscription then.

        `observe=True` looks on, and acknowledges nothing. `group="name"` works: of each message one member of the group gets it, with
        `ack_wait`, `in_flight_max`, `attempts_max`, `backoff`, `keep_expired`, which members agree on, and `extend=False` to ask for more time
        by hand. `credit` is how many bytes may be here unread. `with_last=True` gets the retained messages first, and `lossy=True` loses what
        does not fit into the credit, instead of slowing publishers down.
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
        """Has `callback` called with each message. Options are those of subscription().

        What it returns says what becomes of the message: None acknowledges, a Verdict says what else. An exception is reported, and the
        message comes again: in a group after `retry_delay` (default: the group's delays, or a second). Messages of one subscription come one
        after the other. Callbacks run on threads that end with the program: `wait_closed()` keeps it.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback is a coroutine function: use mezzenger.aio.Client")
        if not callable(callback):
            raise TypeError(f"the callback is no function, but {callback!r}")
        subscription = self.subscription(
            filter,
            observe=observe, with_last=with_last, lossy=lossy, credit=credit, group=group, ack_wait=ack_wait,
            in_flight_max=in_flight_max, attempts_max=attempts_max, backoff=backoff, keep_expired=keep_expired,
            extend=extend,
        )  # fmt: skip
        if group is not None and retry_delay is None:
            retry_delay = 0.0 if backoff or self._has_backoff(group) else RETRY_DELAY
        subscriptions = self._calls.add(subscription, callback, None if group is None else retry_delay)
        if len(self._threads) - bool(self._reports.wanted) < min(subscriptions, self._callback_threads):
            self._start("mezzenger-callbacks", call_callbacks, (self._calls, self._reports.failed))

    def _has_backoff(self, group: str) -> bool:
        found = self.groups.get(group)
        return found is not None and bool(found.backoff)

    def unsubscribe(self, filter: str | Filter) -> None:
        """Ends all callbacks for exactly this filter. None of them runs afterwards, unless this is called in it."""
        removed, all_ended = self._calls.remove(filter, self._patience)
        if not removed:
            text = filter if isinstance(filter, str) else filter.text
            raise NotSubscribed(f"not subscribed to '{text}': unsubscribe takes exactly what was subscribed to")
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
        """Messages that were published but never arrived here."""
        return self.counters.missed

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed.is_set()

    def wait_closed(self, timeout: Seconds | None = None) -> bool:
        """Waits until another thread or a callback closes the client, or Ctrl-C comes; False after `timeout`."""
        return self._closed.wait(timeout.total_seconds() if isinstance(timeout, timedelta) else timeout)

    def close(self) -> None:
        """Closes the client: ends its subscriptions and callbacks, sends what waits, and takes the answers that come within `send_timeout`.

        Raises the first error of a message since the last flush. Closing again waits for the same end.
        """
        self._begin_close()
        self._end_close()

    def _begin_close(self) -> None:
        self._calls.close()
        if self._closing is None:
            self._closing = self._close()

    def _end_close(self) -> None:
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

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception:
            # The block's own exception says more.
            if kind is None:
                raise


def _tell(next_events: Callable[[float], list[tuple[Any, ...]] | None], reports: Reports) -> None:
    while (events := next_events(EVENTS_WAIT)) is not None:
        for event in events:
            reports.tell(event)


_CALLS_PER_TURN = 256
"""Messages that a thread calls one callback for before it looks for other subscriptions."""


def call_callbacks(calls: _core.Calls, failed: Callable[..., object]) -> None:
    """The body of a thread: calls callbacks until the client is closed."""
    while (call := calls.next()) is not None:
        more = False
        try:
            callback = call.callback
            for _ in range(_CALLS_PER_TURN):
                if (message := call.take()) is None:
                    break
                try:
                    message._settle(callback(message))
                except BaseException as error:
                    # Reported first: what the report shows of the message is there.
                    failed(message, error)
                    call.failed(message)
            else:
                more = True
        finally:
            call.leave(more)


class Groups:
    """The groups of the server: those that have members, and durable ones, which are created and deleted."""

    def __init__(self, manager: _core.Manager) -> None:
        self._manager = manager

    def create(
        self,
        name: str,
        filter: str | Filter,
        *,
        ack_wait: Seconds | None = None,
        in_flight_max: int | None = None,
        attempts_max: int | None = None,
        backoff: Sequence[Seconds] | None = None,
        keep_expired: bool = False,
    ) -> None:
        """Creates a durable group, unless it is there as it is to be: each message with ack that fits waits for it from then on, also without
        members, until it is deleted. Members join by its name, with the same filter."""
        terms = (ack_wait, in_flight_max, attempts_max, backoff, keep_expired)
        self._manager.groups_create(name, filter, *terms).wait()

    def list(self) -> list[Group]:
        """All groups, in the order of their names."""
        groups: list[Group] = self._manager.groups_list().wait()
        return groups

    def get(self, name: str) -> Group | None:
        """The group of this name, if there is one."""
        group: Group | None = self._manager.groups_get(name).wait()
        return group

    def delete(self, name: str, *, discard: bool = False) -> None:
        """Deletes a durable group that has no members, and no messages that wait for one unless these are to be discarded with it:
        `discard=True`. What others need of them stays, and so do the group's dead letters."""
        self._manager.groups_delete(name, discard).wait()


class DeadLetters:
    """The messages that a group gave up: rejected ones, and those whose attempts were used up."""

    def __init__(self, manager: _core.Manager, group: str) -> None:
        self._manager = manager
        self._group = group

    def count(self) -> int:
        """How many there are."""
        count: int = self._manager.letters_count(self._group).wait()
        return count

    def list(self, limit: int = 100) -> list[DeadLetter]:
        """Those that died first, at most `limit`."""
        letters: list[DeadLetter] = self._manager.letters_list(self._group, limit).wait()
        return letters

    def show(self, id: str) -> tuple[DeadLetter, Message]:
        """One of them, and its message."""
        shown: tuple[DeadLetter, Message] = self._manager.letters_show(self._group, id).wait()
        return shown

    def replay(self, ids: Iterable[str] | None = None, *, name: str | None = None) -> int:
        """Delivers those with these ids, those of a name, or all to the group again: how many there were."""
        return self._change(True, ids, name)

    def purge(self, ids: Iterable[str] | None = None, *, name: str | None = None) -> int:
        """Forgets those with these ids, those of a name, or all for good: how many there were."""
        return self._change(False, ids, name)

    def _change(self, is_replay: bool, ids: Iterable[str] | None, name: str | None) -> int:
        these = None if ids is None else [ids] if isinstance(ids, str) else [*ids]
        changed: int = self._manager.letters_change(self._group, is_replay, these, name).wait()
        return changed


class Retained:
    """The messages that the server keeps as the last ones of their names."""

    def __init__(self, manager: _core.Manager) -> None:
        self._manager = manager

    def count(self) -> int:
        """How many there are, of all names."""
        count: int = self._manager.retained_count().wait()
        return count

    def list(self, filter: str | Filter | None = None, limit: int = 100) -> list[RetainedMessage]:
        """Those of the names that fit, in the order of these, at most `limit`."""
        wanted = Filter.prefix("") if filter is None else filter
        messages: list[RetainedMessage] = self._manager.retained_list(wanted, limit).wait()
        return messages

    def clear(self, name: str) -> None:
        """Has the server forget the retained message of a name, if there is one."""
        self._manager.retained_clear(name).wait()


class Server(_core.Server):
    """The broker in this process, for tests and small programs.

        with mezzenger.Server() as server, mezzenger.Client(server.url) as client:
            ...

    Ports are free ones unless they are said. Options are those of the program mezzenger-server: `bind`, `pub_port`, `port` (of requests),
    `persist_file`, `fsync` ("always", "interval=50ms", "never"), `repair`, `retry_interval`, `idempotency_window`, `max_pending_messages`,
    `max_pending_bytes`, `max_message_size`, `max_connections`, `max_connections_per_address`, `slow_subscriber` ("hold", "drop",
    "disconnect"), `verify` ("never", "stored", "always"), `drain_timeout`, `insecure`,
    `curve_secret` and `authorized_keys` (the file with its keys, and the folder with those of its clients, or "*").
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            bind: str | None = None,
            port: int | None = None,
            pub_port: int | None = None,
            persist_file: str | None = None,
            fsync: str | None = None,
            repair: bool = False,
            retry_interval: Seconds | None = None,
            idempotency_window: Seconds | None = None,
            max_pending_messages: int | None = None,
            max_pending_bytes: int | None = None,
            max_message_size: int | None = None,
            max_connections: int | None = None,
            max_connections_per_address: int | None = None,
            slow_subscriber: str | None = None,
            verify: str | None = None,
            drain_timeout: Seconds | None = None,
            curve_secret: str | PathLike[str] | None = None,
            authorized_keys: str | PathLike[str] | None = None,
            insecure: bool = False,
        ) -> None: ...

    else:

        def __init__(self, **_options):
            _lifecycle.begin()

    def metrics(self) -> Metrics:
        """What it counted so far."""
        counted = self._metrics()
        if counted is None:
            from ._errors import ServerError

            raise ServerError("the server was closed")
        return Metrics(**counted)

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = [
    "Client",
    "DeadLetters",
    "Groups",
    "Receipt",
    "Retained",
    "Server",
]
