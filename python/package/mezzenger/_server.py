"""The broker in this process."""

from __future__ import annotations

from os import PathLike
from types import TracebackType
from typing import TypeVar

from . import _core, _lifecycle
from ._errors import ServerError
from ._records import Metrics
from ._values import Seconds

S = TypeVar("S", bound="Server")


class Server(_core.Server):
    """The broker in this process, for tests and small programs.

        with mezzenger.Server() as server, mezzenger.Client(server.url) as client:
            ...

    Options are those of the program mezzenger-server, with their defaults:

    - `bind` ("127.0.0.1"), `port` and `pub_port` (free ones): where it listens, for clients and for the original's subscribers.
    - `persist_file` (none): the journal, in which unacknowledged messages outlive the server. `fsync` ("always"): "always", "interval=50ms" or
      "never". `repair` (False): repair a damaged journal, which loses its damaged records.
    - `retry_interval` (10): after how long an unacknowledged message is sent again. `idempotency_window` (120): how long a key counts.
    - `max_pending_messages`, `max_pending_bytes`: most unacknowledged messages. `max_message_size` (64 MiB): the largest one.
    - `max_connections`, `max_connections_per_address`: further ones are closed.
    - `slow_subscriber` ("hold"): "hold", "drop" or "disconnect" one that does not keep up.
    - `verify` ("stored"): which checksums are checked: "never", "stored" (those of messages with ack) or "always".
    - `drain_timeout` (5): how long close() may take.
    - `curve_secret` and `authorized_keys`: the file with the server's keys, and the folder with the public ones of its clients, or "*".
    - `access`: the file that says what each client may do, read once.
    - `insecure` (False): whether an address that other machines can reach is allowed without keys.

    Durations are seconds or timedelta. Raises a ServerError when it cannot be started.
    """

    def __init__(
        self,
        *,
        bind: str | None = None,
        port: int | None = None,
        pub_port: int | None = None,
        persist_file: str | PathLike[str] | None = None,
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
        access: str | PathLike[str] | None = None,
        insecure: bool = False,
    ) -> None:
        options = {
            "bind": bind, "port": port, "pub_port": pub_port, "persist_file": persist_file, "fsync": fsync, "repair": repair,
            "retry_interval": retry_interval, "idempotency_window": idempotency_window,
            "max_pending_messages": max_pending_messages, "max_pending_bytes": max_pending_bytes,
            "max_message_size": max_message_size, "max_connections": max_connections,
            "max_connections_per_address": max_connections_per_address, "slow_subscriber": slow_subscriber,
            "verify": verify, "drain_timeout": drain_timeout, "curve_secret": curve_secret,
            "authorized_keys": authorized_keys, "access": access, "insecure": insecure,
        }  # fmt: skip
        self._start(options)
        _lifecycle.begin()

    def metrics(self) -> Metrics:
        """What it counted so far. Raises ServerError once it was closed."""
        counted = self._metrics()
        if counted is None:
            raise ServerError("the server was closed: its counts went with it")
        return Metrics(**counted)

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mezzenger.Server at {self.url}{', closed' if self.closed else ''}>"


__all__ = ["Server"]
