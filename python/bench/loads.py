"""What is sent, and how it is verified: each message begins with its number, and has a size that is checked."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

SIZE = 128
ARRAY = 1024 * 1024

PROBE = {"publish": 20_000, "original": 2_000, "many": 50_000, "aio": 20_000, "aio-ack": 5_000, "request": 1_000, "array": 100}
"""Works, and messages of the run that says how many are to follow."""
WORKS = [*PROBE]

_REST = bytes(SIZE - 8)


def payload(number: int) -> bytes:
    """The message of this number."""
    return number.to_bytes(8, "little") + _REST


class Verified:
    """Checks what is received, in the order in which it was sent."""

    __slots__ = ("expected", "size")

    def __init__(self, size: int = SIZE) -> None:
        self.expected = 0
        self.size = size

    def take(self, message: Any) -> int:
        """A message came: how many did."""
        number = int.from_bytes(message[:8], "little")
        if number != self.expected or len(message) != self.size:
            raise SystemExit(f"message {number} of {len(message)} bytes came, and {self.expected} of {self.size} was due")
        self.expected += 1
        return self.expected


def ready() -> None:
    """Says that messages may come."""
    print("ready", flush=True)


def go() -> float:
    """Waits until messages are to be sent: when."""
    ready()
    sys.stdin.readline()
    return time.monotonic()


def sent(first: float) -> None:
    """Says when the first was sent, and when all were."""
    print(json.dumps({"first": first, "last": time.monotonic()}), flush=True)
    _stay()


def received(verified: Verified) -> None:
    """Says when the last one came."""
    print(json.dumps({"last": time.monotonic(), "verified": verified.expected}), flush=True)
    _stay()


def answered(times: list[float]) -> None:
    """Says how long answers took."""
    times.sort()
    at = {f"p{part}_us": round(times[len(times) * part // 100] * 1e6, 1) for part in (50, 99)}
    print(json.dumps(at), flush=True)
    _stay()


def _stay() -> None:
    """Stays until it is killed, as what is on its way must not be lost with the connection."""
    while True:
        time.sleep(60)
