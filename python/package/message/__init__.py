"""The original's message: what its programs import as `message`."""

from __future__ import annotations

import hashlib
import pickle
import time
from typing import Any

from mezzenger._values import Trust, loads

PROTOCOL = 2
"""The pickle protocol of what is sent, which Python 2 reads, too."""


class Message:
    """A message: its name, payload, ack, timestamp and checksum, as attributes and as items."""

    def __init__(self, name: str, payload: Any = "", checksum: str = "", ack: int = 0) -> None:
        self.name = name
        self.payload = payload
        self.ack = ack
        self.timestamp = time.time()
        self.checksum = checksum or self.get_checksum()

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __str__(self) -> str:
        line = "=" * 10
        return (
            f"\n{line}\nName: {self.name}\nAck: {self.ack}\nChecksum: {self.checksum}\nPayload: {self.payload}\n{line}\n"
        )

    def get_checksum(self) -> str:
        """The MD5 of name, payload and timestamp as Python writes them."""
        return hashlib.md5(f"{self.name}{self.payload}{self.timestamp}".encode(), usedforsecurity=False).hexdigest()

    def serialize(self) -> bytes:
        """The message as it travels."""
        return f"{self.name}|".encode() + self.pickled()

    def pickled(self) -> bytes:
        """The part behind the name."""
        return pickle.dumps(self.__dict__, PROTOCOL)


def parse(pickled_msg: bytes, trusted: Trust | None = None) -> Message:
    """Reads what serialize() wrote. A payload with instances of classes needs `trusted`: classes, their names, modules, or a function."""
    return of_fields(loads(pickled_msg.split(b"|", 1)[1], trusted))


def of_fields(fields: Any) -> Message:
    """The message of these fields."""
    message = Message(fields["name"], fields["payload"], fields.get("checksum", ""), fields["ack"])
    message.timestamp = fields.get("timestamp", message.timestamp)
    return message
