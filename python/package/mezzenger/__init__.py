"""Mezzenger: a small, fast message broker and its client.

    import mezzenger

    with mezzenger.Client() as client:
        client.subscribe("greet", lambda message: print(message.text()))
        client.send("greet", "hello, world")

`Client` blocks, `mezzenger.aio.Client` is for asyncio, and `Server` is the broker in this process. The README has all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _errors
from ._client import Callback, Client
from ._core import Delivery, Filter, Message, Receipt, Subscription, Verdict
from ._errors import *  # noqa: F403
from ._manage import DeadLetters, Groups, Retained
from ._records import Blocked, ConnectionEvent, Counters, DeadLetter, Group, Metrics, Missed, RetainedMessage
from ._server import Server
from ._values import TRUST_ALL, Format, Headers, Seconds, Trust

if TYPE_CHECKING:
    from . import aio


def __getattr__(name: str) -> Any:
    # Programs without an event loop need not load asyncio.
    if name == "aio":
        import importlib

        return importlib.import_module("mezzenger.aio")
    raise AttributeError(f"module 'mezzenger' has no attribute {name!r}")


__all__ = [
    "TRUST_ALL",
    "Blocked",
    "Callback",
    "Client",
    "ConnectionEvent",
    "Counters",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Filter",
    "Format",
    "Group",
    "Groups",
    "Headers",
    "Message",
    "Metrics",
    "Missed",
    "Receipt",
    "Retained",
    "RetainedMessage",
    "Seconds",
    "Server",
    "Subscription",
    "Trust",
    "Verdict",
    "aio",
]
__all__ += _errors.__all__
