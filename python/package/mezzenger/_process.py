"""What `message.process()` returns."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Generic, TypeVar

from ._core import _Delivery

D = TypeVar("D", bound=_Delivery)


class Process(Generic[D]):
    """Acknowledges a message at the end of a block, and gives it back when an exception ends that. What the block itself said counts."""

    __slots__ = ("_message", "_nak_delay")

    def __init__(self, message: D, nak_delay: float | timedelta | None) -> None:
        self._message = message
        self._nak_delay = nak_delay

    def __enter__(self) -> D:
        return self._message

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._message.settled:
            return
        if kind is None:
            self._message.ack()
        else:
            self._message.nak(self._nak_delay)

    async def __aenter__(self) -> D:
        return self._message

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
