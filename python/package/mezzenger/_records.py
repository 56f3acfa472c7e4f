"""What the server and the client tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._core import Filter


def _filter(kind: str, text: str) -> Filter:
    """What a pickle of a filter is read with."""
    made: Filter = getattr(Filter, kind)(text)
    return made


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the server has it."""

    name: str
    filter: Filter
    """Whose messages are its jobs."""
    is_durable: bool
    """Whether it is there until it is deleted; otherwise it ends with its last member."""
    ack_wait: float
    """How long a member may take to settle a message, in seconds."""
    in_flight_max: int
    """How many messages one member may have without having settled them."""
    attempts_max: int | None
    """How often it gets a message before that becomes a dead letter; None: without end."""
    backoff: tuple[float, ...]
    """How long it waits after each failed attempt, in seconds."""
    keeps_expired: bool
    """Whether messages that expire become dead letters."""
    members: int
    waiting: int
    """Messages that wait for a member, or for their next attempt."""
    in_flight: int
    """Messages that members have and did not settle."""
    dead_letters: int


def _group(terms: tuple[Any, ...], counts: tuple[int, int, int, int]) -> Group:
    name, filter, is_durable, ack_wait, in_flight_max, attempts_max, backoff, keeps_expired = terms
    said = (name, filter, is_durable, ack_wait, in_flight_max, attempts_max, tuple(backoff), keeps_expired)
    return Group(*said, *counts)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is known of a message that a group gave up."""

    id: str
    name: str
    group: str
    filter: Filter
    """What the group was for."""
    attempts: int
    """How often the group got it."""
    cause: str
    """Why the group gave it up: "used up" (its last attempt failed), "rejected" or "expired"."""
    reason: str | None
    """What the member said that rejected it."""
    published: float | None
    """When it was made, by its publisher's clock, in seconds since the Unix epoch; None for a message of an original client."""
    died: float
    """When it was given up, by the server's clock, in seconds since the Unix epoch."""
    bytes: int
    """Bytes of the message without its name."""


@dataclass(frozen=True, slots=True)
class RetainedMessage:
    """What is known of a message that the server keeps as the last one of its name."""

    id: str
    name: str
    published: float
    """When it was made, by its publisher's clock, in seconds since the Unix epoch."""
    bytes: int
    """Bytes of the message without its name."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts since the client was made."""

    published: int
    """Messages that the server took."""
    failed: int
    """Messages that the server rejected or did not answer."""
    resent_frames: int
    """Frames sent again after a timeout or a lost connection."""
    received: int
    """Messages received, copies of resent ones included."""
    missed: int
    """Messages that were published but did not arrive here (see Missed)."""
    implausible: int
    """Messages received whose numbers cannot be right."""
    callback_failures: int
    """Callbacks that raised."""
    acknowledged: int
    """Acknowledgements that the server took."""
    acks_dropped: int
    """Acknowledgements that were dropped."""
    blocked: int
    """Calls that waited for room."""
    blocked_time: float
    """How long they waited, all together, in seconds."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a server counted."""

    requests: int
    refused: int
    accepted: int
    duplicates: int
    frames_published: int
    resent: int
    settled: int
    expired: int
    delayed: int
    retained: int
    dead_letters: int
    pending_messages: int
    pending_bytes: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Messages that were published under a name but did not arrive here, as the next one of the same publisher shows: each publisher counts
    its messages under each name, and the count jumped.

    So what nobody was to get any more is counted, too: messages that had expired, and those that the server rejected while a later one was in
    flight. A message with ack that is counted may still come. To a subscriber that came late, messages between old ones that are delivered again and
    the first new one are counted as well. Messages with deliver_in, deliver_at or an idempotency key have no such number, and are never counted.
    """

    name: str
    publisher: int
    messages: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Publishing is held back by the server (`is_blocked`), or no longer."""

    is_blocked: bool
    after: float
    """How long there was no room, in seconds, once there is again."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A connection was made, or ended. A new one follows by itself."""

    is_connected: bool
    why: str | None
    """Why it ended."""
