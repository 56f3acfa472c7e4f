"""The original's client, with its names and behaviour. It needs a Mezzenger server of this project; clients of the original may use the same
one. `mezzenger.Client` is what new programs take."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import mezzenger
from mezzenger import _core
from mezzenger._client import call_callbacks
from mezzenger._events import UNTOLD
from mezzenger._values import TRUST_ALL, Trust, asked, loads

import message

SERVER = "127.0.0.1"
SUB_PORT = 7201
SEND_PORT = 7202

DEFAULT_SEND_TIMEOUT = 2
DEFAULT_CONNECTION_RETRIES = 5

TRUSTED = "MEZZENGER_TRUSTED"
"""The environment variable that says which classes payloads may have, for programs that do not say `trusted`: names of classes and modules with
commas between, or "all senders are trusted"."""

logger = logging.getLogger("mezzenger")


class MezzengerException(Exception):
    """Something went wrong; the text says what, and what to do."""


def _from_environment() -> Trust | None:
    said = os.environ.get(TRUSTED, "").strip()
    if said == TRUST_ALL:
        return TRUST_ALL
    return [name.strip() for name in said.split(",") if name.strip()] or None


class _Connection(mezzenger.Client):
    """The client, and the turns of the thread that listens."""

    def _listen(self, failed: Callable[[Any, BaseException], object]) -> None:
        call_callbacks(self._calls, lambda: failed)


class Mezzenger(threading.Thread):
    """Sends messages, and calls functions for those that it subscribed to, on its own thread, one after the other."""

    def __init__(
        self,
        server_address: str = SERVER,
        send_port: int = SEND_PORT,
        sub_port: int = SUB_PORT,
        send_timeout: float = DEFAULT_SEND_TIMEOUT,
        connection_retries: int = DEFAULT_CONNECTION_RETRIES,
        auto_start: bool = True,
        verbose: bool = False,
        trusted: Trust | None = None,
    ) -> None:
        """Connects.

        Args:
        - server_address: The server.
        - send_port: The server's port for requests. Everything goes through it.
        - sub_port: Not used: what is subscribed to comes through send_port, too.
        - send_timeout: How long to wait for an answer before a message is sent again, in seconds.
        - connection_retries: How often a message is sent in all.
        - auto_start: If True, the listening thread is started.
        - verbose: If True, each connection is logged at level INFO, by logging.getLogger("mezzenger").
        - trusted: Which classes payloads may have: classes, their names, modules, or a function of module and name. Plain values need none.
        """
        super().__init__(name="mezzenger")
        self.server_address = server_address
        self.send_port = send_port
        self.sub_port = sub_port
        self.verbose = verbose
        self.trusted = trusted if trusted is not None else _from_environment()
        asked(self.trusted)
        self.msg_map: dict[str, Callable[[Any, message.Message], object]] = {}
        self._stopping = threading.Event()
        try:
            self._client = _Connection(
                server_address, port=send_port, send_timeout=send_timeout,
                connection_retries=connection_retries, verbose=verbose, pickle=self.trusted,
            )  # fmt: skip
        except mezzenger.Error as error:
            raise MezzengerException(f"Could not connect to server: {error}") from error
        if auto_start:
            self.start()

    def subscribe(self, msg_name: str, callback: Callable[[Any, message.Message], object]) -> None:
        """Has `callback(payload, message)` called with each message of this name. Another one for the same name takes its place."""
        if self.stopped():
            raise MezzengerException("Cannot subscribe to message, client is not running")
        is_new = msg_name not in self.msg_map
        self.msg_map[msg_name] = callback
        if not is_new:
            return
        try:
            operation = self._client._subscribe(mezzenger.Filter.name(msg_name))
            self._client._call_for(operation.wait(), self._call, None)
        except mezzenger.Error as error:
            del self.msg_map[msg_name]
            raise MezzengerException(f"Could not subscribe to {msg_name}: {error}") from error

    def unsubscribe(self, msg_name: str) -> None:
        """Ends the subscription to this name."""
        if msg_name not in self.msg_map:
            raise MezzengerException(f"You do not subscribe to msg: {msg_name}")
        del self.msg_map[msg_name]
        try:
            self._client.unsubscribe(mezzenger.Filter.name(msg_name))
        except mezzenger.Error as error:
            raise MezzengerException(f"Could not unsubscribe from {msg_name}: {error}") from error

    def send_message(self, msg_name: str, payload: Any, ack: int = 0) -> None:
        """Sends a message, and returns when the server has taken it.

        Args:
        - msg_name: The name, which subscribers subscribe to.
        - payload: Anything that can be pickled.
        - ack: If > 0, the server sends it again until a subscriber's callback has returned.
        """
        try:
            pickled = message.Message(msg_name, payload=payload, ack=ack).pickled()
        except Exception as error:
            raise MezzengerException(f"Could not pickle a payload of type {type(payload).__name__}: {error}") from error
        try:
            self._client._send_original(msg_name, pickled).wait()
        except mezzenger.Error as error:
            raise MezzengerException(f"Could not send message to server: {error}") from error

    def run(self) -> None:
        """The listening thread."""
        self._client._listen(self._failed)

    def _call(self, delivery: _core.Delivery) -> None:
        callback = self.msg_map.get(delivery.name)
        if callback is None:
            return
        if delivery.encoding == "pickle":
            received = message.of_fields(loads(delivery.bytes(), self.trusted))
        else:
            received = message.Message(delivery.name, delivery.value(), delivery.checksum, int(delivery.requires_ack))
            received.timestamp = delivery.timestamp
        callback(received.payload, received)

    def _failed(self, delivery: _core.Delivery, error: BaseException) -> None:
        hint = ""
        if isinstance(error, mezzenger.UntrustedPickle):
            hint = f" (here: Mezzenger(trusted=[...]), or the environment variable {TRUSTED})"
        logger.error("the callback for %r failed: %s%s", delivery.name, error, hint, exc_info=error, extra=UNTOLD)

    def stop(self) -> None:
        """Stops the client: its thread ends at once, or when a callback that runs has returned."""
        self._stopping.set()
        try:
            self._client.close()
        except mezzenger.Error as error:
            logger.error("the client stops with messages that were not sent: %s", error, extra=UNTOLD)

    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopping.is_set()


__all__ = ["Mezzenger", "MezzengerException"]
