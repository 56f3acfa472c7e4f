"""What a client reports, as the callbacks of its options get it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from . import _errors
from ._errors import CallbackFailure, EventsDroppedFailure, Failure
from ._records import Blocked, ConnectionEvent, Missed

logger = logging.getLogger("mezzenger")

UNTOLD = {"untold": True}
"""Marks a record of the log that nothing else reports."""


class Unheard(logging.Handler):
    """The handler of a library, which shows nothing, but for what nothing else reports: that goes where Python shows records that have no
    handler, if a program has none."""

    def handle(self, record: logging.LogRecord) -> bool:
        if getattr(record, "untold", False) and logging.lastResort is not None and not self._is_heard():
            logging.lastResort.handle(record)
        return True

    def _is_heard(self) -> bool:
        at: logging.Logger | None = logger
        while at is not None:
            if any(handler is not self for handler in at.handlers):
                return True
            at = at.parent if at.propagate else None
        return False


logger.addHandler(Unheard())


class Reports:
    """The callbacks that report, and the failures that were told."""

    __slots__ = ("__weakref__", "_callbacks", "callback_failures")

    def __init__(self, **callbacks: Callable[[Any], object] | None) -> None:
        self._callbacks = {kind: callback for kind, callback in callbacks.items() if callback is not None}
        self.callback_failures = 0

    @property
    def wanted(self) -> list[str]:
        """What is to be reported."""
        return list(self._callbacks)

    def tell(self, event: tuple[Any, ...]) -> object:
        """Calls the callback for an event: what that returned."""
        kind, *rest = event
        told: object
        if kind == "missed":
            told = Missed(*rest)
        elif kind == "blocked":
            told = Blocked(*rest)
        elif kind == "connection":
            told = ConnectionEvent(*rest)
        elif kind == "error":
            name, text, cause = rest
            told = getattr(_errors, name)(text)
            told.__cause__ = cause  # type: ignore[attr-defined]
        else:
            kind, told = "error", EventsDroppedFailure(f"{rest[0]} events were not told: callbacks took too long")
        return self._call(kind, told)

    def _call(self, kind: str, told: object) -> object:
        callback = self._callbacks.get(kind)
        if callback is None:
            return None
        try:
            return callback(told)
        except Exception:
            # It must not end what it is about.
            logger.exception("the callback on_%s raised", kind, extra=UNTOLD)
            return None

    def failed(self, message: Any, error: BaseException) -> object:
        """A callback for a message raised: it is logged, with its traceback, and told to on_error."""
        self.callback_failures += 1
        failure: Failure = CallbackFailure(
            f"the callback for {message.name!r} failed on message {message.id}: {type(error).__name__}: {error}"
        )
        failure.__cause__ = error
        told = "error" in self._callbacks
        logger.error("%s", failure, exc_info=error, extra=None if told else UNTOLD)
        return self._call("error", failure)
