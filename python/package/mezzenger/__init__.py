"""Mezzenger: a small, fast message broker and its client.

    import mezzenger

    with mezzenger.Client() as client:
        client.subscribe("greet", lambda message: print(message.text()))
        client.send("greet", "hello, world")

`Client` blocks, `mezzenger.aio.Client` is for asyncio, and `Server` is the broker in this process. The README has all of it.
"""

from . import _errors
from ._client import Client, DeadLetters, Groups, Retained, Server
from ._core import Delivery, Filter, Message, Receipt, Subscription, Verdict
from ._errors import *  # noqa: F403
from ._records import Blocked, ConnectionEvent, Counters, DeadLetter, Group, Metrics, Missed, RetainedMessage
from ._values import TRUST_ALL

__all__ = [
    "TRUST_ALL",
    "Blocked",
    "Client",
    "ConnectionEvent",
    "Counters",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Filter",
    "Group",
    "Groups",
    "Message",
    "Metrics",
    "Missed",
    "Receipt",
    "Retained",
    "RetainedMessage",
    "Server",
    "Subscription",
    "Verdict",
]
__all__ += _errors.__all__
