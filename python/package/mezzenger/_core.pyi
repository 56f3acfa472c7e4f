"""The compiled part of the package."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, final

from ._process import Process
from ._values import Format, Headers, Trust
from ._values import Seconds as _Seconds
from ._aio_run import Runner

_Event = tuple[Any, ...]

@final
class Filter:
    """Which messages a subscription is for, by their names: one name, a prefix, or a pattern of tokens separated by "."."""

    @staticmethod
    def name(name: str) -> Filter:
        """Messages of one name. A str stands for this where a filter is expected, unless it looks like a pattern."""
    @staticmethod
    def prefix(prefix: str) -> Filter:
        """Messages whose name begins with this text; the empty text stands for all messages."""
    @staticmethod
    def pattern(pattern: str) -> Filter:
        """Messages whose tokens fit: "*" fits any one token, and ">" at the end fits one or more."""
    def fits(self, name: str) -> bool:
        """Whether messages of this name are among them."""
    @property
    def kind(self) -> Literal["name", "prefix", "pattern"]:
        """What text is."""
    @property
    def text(self) -> str:
        """The name, prefix or pattern."""
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class Verdict:
    """What a callback returns to say what becomes of its message; None stands for `Verdict.ack()`."""

    @staticmethod
    def ack() -> Verdict:
        """It is done."""
    @staticmethod
    def nak(delay: _Seconds | None = None) -> Verdict:
        """Not now: in a group it is delivered again after so long."""
    @staticmethod
    def reject(reason: str) -> Verdict:
        """Never: in a group it becomes a dead letter with this reason, of at most 255 bytes."""
    def __eq__(self, other: object) -> bool: ...

class Message:
    """A received message: memoryview(message), or its payload, is a read-only view of the bytes as they came."""

    @property
    def name(self) -> str:
        """The name it was published under."""
    @property
    def payload(self) -> memoryview:
        """The payload as a read-only memoryview, without a copy. It keeps the frame alive that the message came in."""
    def bytes(self) -> bytes:
        """The payload as bytes, which are a copy."""
    def text(self) -> str:
        """The payload as text, whatever it was published as. Raises InvalidText, a UnicodeError, if it is not UTF-8."""
    def json(self) -> Any:
        """The payload read as JSON."""
    def value(self, *, pickle: Trust | None = None) -> Any:
        """The payload as the object that was published: text, bytes, or what its content type says. What is a pickle is read with the classes
        that `pickle` allows, or the client's option `pickle`, alone."""
    @property
    def encoding(self) -> Literal["bytes", "text", "archive", "pickle"]:
        """What the payload's bytes are; "pickle" for a message of an original client."""
    @property
    def content_type(self) -> str | None:
        """What its publisher says that the payload is, as a media type."""
    @property
    def reply_to(self) -> str | None:
        """The name that an answer is to be published under."""
    @property
    def headers(self) -> dict[str, str]:
        """The headers; of several with the same key, the last one. `header_items` has all."""
    @property
    def header_items(self) -> list[tuple[str, str]]:
        """All headers, in the order in which they were given."""
    def header(self, key: str) -> str | None:
        """The first header with this key, or None."""
    @property
    def requires_ack(self) -> bool:
        """Whether the server delivers it again until it is acknowledged."""
    @property
    def timestamp(self) -> float:
        """When it was made, by its publisher's clock, in seconds since the Unix epoch."""
    @property
    def timestamp_ns(self) -> int:
        """When it was made, in nanoseconds since the Unix epoch."""
    @property
    def checksum(self) -> str:
        """The MD5 over name, payload and timestamp, as 32 hexadecimal digits."""
    @property
    def id(self) -> str:
        """Publisher and sequence: the same in each copy of a message that is delivered again."""
    @property
    def ordinal(self) -> int:
        """The publisher's count of its messages under this name, from 1; 0 when it does not count."""
    def verify(self) -> bool | None:
        """Whether the checksum matches the content; None for a message from an original client."""
    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...  # type: ignore[valid-type]
    def __buffer__(self, flags: int, /) -> memoryview: ...

class _Delivery(Message):
    """A message that was delivered to a subscription, which is to be settled if it asks for acknowledgement."""

    @property
    def redelivered(self) -> bool:
        """Whether it was sent before, to this subscription or to another one."""
    @property
    def retained(self) -> bool:
        """Whether it came because the subscription asked for the last values."""
    @property
    def attempt(self) -> int:
        """How often its group got it, this time included; 0 outside of groups."""
    @property
    def settled(self) -> bool:
        """Whether ack(), nak() or reject() was called."""
    def ack(self) -> None:
        """It is done. Does not wait: acknowledgements leave together."""
    def nak(self, delay: _Seconds | None = None) -> None:
        """Gives it back to its group, which gets it again after `delay`. Outside of groups the server delivers it again by itself."""
    def reject(self, reason: str) -> None:
        """It will never be done: in a group it becomes a dead letter with this reason, of at most 255 bytes."""
    def extend(self) -> None:
        """Asks for as much time again as the group gives, from now on."""
    def _settle(self, said: object) -> bool: ...
    def process(self, *, nak_delay: _Seconds | None = None) -> Process[Self]:
        """A context manager, also for `async with`: acknowledges at its end, and gives the message back, or leaves it unacknowledged, when
        an exception ends it."""

@final
class Delivery(_Delivery):
    """A delivery of a blocking client."""

    def reply(self, payload: object, *, format: Format | None = None) -> Receipt:
        """Answers it, if it is a request. Waits for room in the buffer alone, and settles nothing."""
    def reply_error(self, reason: str) -> Receipt:
        """Answers it, if it is a request, that it failed: whoever asked gets RequestFailed with this reason. Settles nothing."""
    def forward_to(self, name: str) -> Receipt:
        """Publishes it under another name, as it is. Waits for room in the buffer alone, and settles nothing."""

@final
class AioDelivery(_Delivery):
    """A delivery of an event loop's client."""

    def reply(self, payload: object, *, format: Format | None = None) -> Coroutine[Any, Any, Receipt]:
        """Answers it, if it is a request. Waits for room in the buffer alone, and settles nothing."""
    def reply_error(self, reason: str) -> Coroutine[Any, Any, Receipt]:
        """Answers it, if it is a request, that it failed: whoever asked gets RequestFailed with this reason. Settles nothing."""
    def forward_to(self, name: str) -> Coroutine[Any, Any, Receipt]:
        """Publishes it under another name, as it is. Waits for room in the buffer alone, and settles nothing."""

@final
class Receipt(Awaitable[int | None]):
    """The promise of the server's answer to one published message. One of an event loop's client is awaited: that returns what receivers() does.

    Dropping it is fine: an error is then counted, reported, and raised by the next flush()."""

    def wait(self, timeout: _Seconds | None = None) -> bool:
        """Waits until the server has answered; False when the answer is still missing after `timeout`."""
    def receivers(self) -> int | None:
        """Waits for the answer, and returns for how many connections the message was; None when that is not known, as it
        was sent again."""
    @property
    def done(self) -> bool:
        """Whether the answer is there."""
    def _operation(self) -> Operation: ...
    def __await__(self) -> Generator[Any, Any, int | None]: ...

@final
class Subscription(Iterator[Delivery]):
    """A subscription that is read like an iterator. Each message comes once; close() or the end of a `with` block ends it."""

    @property
    def filter(self) -> Filter:
        """What it is for."""
    @property
    def closed(self) -> bool:
        """Whether it was closed."""
    def recv(self, timeout: _Seconds | None = None) -> Delivery:
        """Waits for the next message. Raises ReceiveTimedOut after `timeout`, and SubscriptionClosed when none comes any more."""
    def try_recv(self) -> Delivery | None:
        """The next message if one is here, or None."""
    def recv_many(self, max: int = 1024, timeout: _Seconds | None = None) -> list[Delivery]:
        """Waits for a message, and returns it with those that are here, at most `max`; an empty list after `timeout`."""
    def try_many(self, max: int = 1024) -> list[Delivery]:
        """What is here, at most `max` messages."""
    def _receive(self) -> Operation: ...
    def close(self) -> None:
        """Ends it: what was not acknowledged goes to others. Closing again does nothing."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Delivery: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Operation:
    """A call that was begun."""

    def wait(self) -> Any: ...
    def start(self, reactor: Reactor) -> tuple[Any] | None: ...
    def attach(self, future: Future[Any]) -> None: ...
    def cancel(self) -> None: ...

@final
class Reactor:
    """What an event loop watches for a client."""

    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def run(self) -> None: ...

@final
class Calls:
    """The callbacks of a client, and what Python's threads wait for that call them."""

    def __init__(self) -> None: ...
    def add(
        self, subscription: Subscription, callback: Callable[[], object], retry_delay: _Seconds | None
    ) -> int: ...
    def next(self) -> Call | None: ...
    def remove(self, filter: str | Filter, timeout: _Seconds) -> tuple[int, bool]: ...
    def close(self) -> None: ...

@final
class Call:
    """A subscription that a thread calls the callback of. Python does the calling: a thread that the interpreter ends when the program
    does, in the middle of a callback, has nothing of the library's on its stack."""

    def callback(self) -> Any: ...
    def take(self) -> Delivery | None: ...
    def failed(self, message: Delivery) -> None: ...
    def leave(self, more: bool) -> None: ...

@final
class Manager:
    """What asks the server about groups, dead letters and retained messages."""

    def groups_list(self) -> Operation: ...
    def groups_get(self, name: str) -> Operation: ...
    def groups_delete(self, name: str, discard: bool) -> Operation: ...
    def groups_create(self, name: str, filter: str | Filter, options: dict[str, Any]) -> Operation: ...
    def letters_count(self, group: str) -> Operation: ...
    def letters_list(self, group: str, limit: int) -> Operation: ...
    def letters_show(self, group: str, id: str) -> Operation: ...
    def letters_change(
        self, group: str, is_replay: bool, these: list[str] | None, name: str | None
    ) -> Operation: ...
    def retained_count(self) -> Operation: ...
    def retained_list(self, filter: str | Filter, limit: int) -> Operation: ...
    def retained_clear(self, name: str) -> Operation: ...

@final
class EventQueue:
    """Where what a client has to report waits. It does not keep the client."""

    def next(self, timeout: _Seconds) -> list[_Event] | None: ...

class Core:
    """A connection to a server: what the clients of threads and of event loops hold."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self: ...
    def _configure(
        self, address: str, wanted: list[str], trust: Trust | None, runner: Runner | None, options: dict[str, Any]
    ) -> None: ...
    def publish(
        self,
        name: str,
        payload: object,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: _Seconds | None = None,
        deliver_in: _Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> Receipt:
        """Publishes a message without waiting for the server: messages travel together, and those of one name arrive in their order. Waits
        only for room, when the server does not keep up.

        bytes, str and buffers travel as they are, other values as JSON, or as `format` says. `ack` has the server keep the message until it
        is acknowledged. `expires_in`: nobody gets it after so long. `deliver_in`, or `deliver_at` (an aware datetime, or seconds since the Unix
        epoch): nobody gets it before. `retain`: the server keeps it as the last one of its name. `idempotency_key`: another message under this
        key is not published for a while."""
    def publish_many(
        self,
        name: str,
        payloads: Iterable[object],
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: _Seconds | None = None,
        deliver_in: _Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> int:
        """Publishes each of several payloads under one name, all with the same options: how many there were. Errors are those of flush()."""
    def send(
        self,
        name: str,
        payload: object,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: _Seconds | None = None,
        deliver_in: _Seconds | None = None,
        deliver_at: datetime | float | None = None,
        retain: bool = False,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> None:
        """Publishes a message and waits until the server has taken it. With ack, the server has then stored it, and delivers it again and
        again until it is acknowledged. Options are those of publish()."""
    def request(
        self,
        name: str,
        payload: object,
        timeout: _Seconds,
        *,
        ack: bool = False,
        headers: Headers | None = None,
        content_type: str | None = None,
        expires_in: _Seconds | None = None,
        deliver_in: _Seconds | None = None,
        deliver_at: datetime | float | None = None,
        idempotency_key: str | None = None,
        format: Format | None = None,
    ) -> Message:
        """Publishes a request, and waits for the first answer. Options are those of publish(). Raises NoSubscriber at once when nobody is
        there, and RequestTimedOut after `timeout`."""
    def forward(self, name: str, message: Message) -> Receipt:
        """Publishes what was received under another name, as it is. Waits for room alone."""
    @property
    def publisher_id(self) -> int:
        """This client's random id, the publisher in the ids of all its messages."""
    def _connect(self) -> Operation: ...
    def _publish(
        self,
        name: str,
        payload: object,
        ack: bool,
        headers: Headers | None,
        content_type: str | None,
        reply_to: str | None,
        expires_in: _Seconds | None,
        deliver_in: _Seconds | None,
        deliver_at: datetime | float | None,
        retain: bool,
        idempotency_key: str | None,
        format: Format | None,
        /,
    ) -> Receipt | Operation: ...
    def _send(
        self,
        name: str,
        payload: object,
        ack: bool,
        headers: Headers | None,
        content_type: str | None,
        reply_to: str | None,
        expires_in: _Seconds | None,
        deliver_in: _Seconds | None,
        deliver_at: datetime | float | None,
        retain: bool,
        idempotency_key: str | None,
        format: Format | None,
        /,
    ) -> Operation: ...
    def _request(
        self,
        name: str,
        payload: object,
        timeout: _Seconds,
        ack: bool,
        headers: Headers | None,
        content_type: str | None,
        reply_to: str | None,
        expires_in: _Seconds | None,
        deliver_in: _Seconds | None,
        deliver_at: datetime | float | None,
        retain: bool,
        idempotency_key: str | None,
        format: Format | None,
        /,
    ) -> Operation: ...
    def _forward(self, name: str, message: Message) -> Operation: ...
    def _send_original(self, name: str, pickle: bytes) -> Operation: ...
    def _manager(self) -> Manager: ...
    def _flush(self) -> Operation: ...
    def _ping(self) -> Operation: ...
    def _subscribe(
        self,
        filter: str | Filter,
        *,
        observe: bool | None = None,
        with_last: bool = False,
        lossy: bool = False,
        credit: int | None = None,
        group: str | None = None,
        ack_wait: _Seconds | None = None,
        in_flight_max: int | None = None,
        attempts_max: int | None = None,
        backoff: Sequence[_Seconds] | None = None,
        keep_expired: bool = False,
        extend: bool = True,
    ) -> Operation: ...
    def _close(self) -> Operation | None: ...
    def _counters(self) -> dict[str, Any]: ...
    def _abandon(self) -> None: ...
    def _events(self) -> EventQueue: ...
    def _tell(self, reactor: Reactor) -> None: ...

class Server:
    """The broker in this process, for tests and small programs."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self: ...
    def _start(self, options: dict[str, Any]) -> None: ...
    @property
    def closed(self) -> bool:
        """Whether close() was called."""
    @property
    def host(self) -> str:
        """The address that it listens on."""
    @property
    def port(self) -> int:
        """The port that clients connect to."""
    @property
    def pub_port(self) -> int:
        """The port of the original's subscribers."""
    @property
    def url(self) -> str:
        """What Client() takes."""
    def _metrics(self) -> dict[str, int] | None: ...
    def close(self) -> None:
        """Stops taking messages, finishes what was taken, and ends, within drain_timeout. Closing again does nothing, nor does closing in the child of a
        fork: the server is its parent's."""

def seconds(name: str, value: _Seconds) -> float: ...
def check_payloads(payloads: object) -> None: ...
def forked() -> None: ...
def set_log_level(level: int) -> None: ...
def next_logs() -> tuple[list[tuple[int, str]], int] | None: ...
def stop_logs() -> None: ...
def run_server(arguments: list[str]) -> int: ...
def run_cli(arguments: list[str]) -> int: ...
