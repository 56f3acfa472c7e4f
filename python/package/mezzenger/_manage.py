"""Groups, dead letters and retained messages, for the blocking client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import _core
from ._core import Filter, Message
from ._records import DeadLetter, Group, RetainedMessage
from ._values import Seconds


class Groups:
    """The groups of the server: those that have members, and durable ones, which are created and deleted."""

    def __init__(self, manager: _core.Manager) -> None:
        self._manager = manager

    def __repr__(self) -> str:
        return "<Groups of a server>"

    def create(
        self,
        name: str,
        filter: str | Filter,
        *,
        ack_wait: Seconds | None = None,
        in_flight_max: int | None = None,
        attempts_max: int | None = None,
        backoff: Sequence[Seconds] | None = None,
        keep_expired: bool = False,
    ) -> None:
        """Creates a durable group; does nothing if the same group exists. Each message with ack that fits waits for it from then on, also without
        members, until it is deleted. Members join by its name, with the same filter.

        Its terms: `ack_wait` (the server's retry interval, 10 seconds by default), how long a member may take to settle a message; `in_flight_max` (8192), how
        many messages one member may have without having settled them; `attempts_max` (without end), how often it gets a message before that
        becomes a dead letter; `backoff` (none), how long it waits after each failed attempt, as in [1, 10, 60]; `keep_expired` (False), whether
        messages that expire become dead letters. Raises AdminRefused when a group of this name is there with other terms.
        """
        terms = {
            "ack_wait": ack_wait, "in_flight_max": in_flight_max, "attempts_max": attempts_max, "backoff": backoff,
            "keep_expired": keep_expired,
        }  # fmt: skip
        self._manager.groups_create(name, filter, terms).wait()

    def list(self) -> list[Group]:
        """All groups, in the order of their names."""
        groups: list[Group] = self._manager.groups_list().wait()
        return groups

    def get(self, name: str) -> Group | None:
        """The group of this name, if there is one."""
        group: Group | None = self._manager.groups_get(name).wait()
        return group

    def delete(self, name: str, *, discard: bool = False) -> None:
        """Deletes a durable group that has no members, and no messages that wait for one unless these are to be discarded with it:
        `discard=True`. What others need of them stays, and so do the group's dead letters."""
        self._manager.groups_delete(name, discard).wait()


class DeadLetters:
    """The messages that a group gave up: rejected ones, and those whose attempts were used up."""

    def __init__(self, manager: _core.Manager, group: str) -> None:
        self._manager = manager
        self._group = group

    def __repr__(self) -> str:
        return f"<DeadLetters of {self._group!r}>" if self._group else "<DeadLetters of all groups>"

    def count(self) -> int:
        """How many there are."""
        count: int = self._manager.letters_count(self._group).wait()
        return count

    def list(self, limit: int = 100) -> list[DeadLetter]:
        """Those that died first, at most `limit`."""
        letters: list[DeadLetter] = self._manager.letters_list(self._group, limit).wait()
        return letters

    def show(self, id: str) -> tuple[DeadLetter, Message]:
        """One of them, and its message."""
        shown: tuple[DeadLetter, Message] = self._manager.letters_show(self._group, id).wait()
        return shown

    def replay(self, ids: Iterable[str] | None = None, *, name: str | None = None) -> int:
        """Delivers those with these ids, those of a name, or all to the group again: how many there were."""
        return self._change(True, ids, name)

    def purge(self, ids: Iterable[str] | None = None, *, name: str | None = None) -> int:
        """Forgets those with these ids, those of a name, or all for good: how many there were."""
        return self._change(False, ids, name)

    def _change(self, is_replay: bool, ids: Iterable[str] | None, name: str | None) -> int:
        these = None if ids is None else [ids] if isinstance(ids, str) else [*ids]
        changed: int = self._manager.letters_change(self._group, is_replay, these, name).wait()
        return changed


class Retained:
    """The messages that the server keeps as the last ones of their names."""

    def __init__(self, manager: _core.Manager) -> None:
        self._manager = manager

    def __repr__(self) -> str:
        return "<Retained messages of a server>"

    def count(self) -> int:
        """How many there are, of all names."""
        count: int = self._manager.retained_count().wait()
        return count

    def list(self, filter: str | Filter | None = None, limit: int = 100) -> list[RetainedMessage]:
        """Those of the names that fit, in the order of these, at most `limit`."""
        wanted = Filter.prefix("") if filter is None else filter
        messages: list[RetainedMessage] = self._manager.retained_list(wanted, limit).wait()
        return messages

    def clear(self, name: str) -> None:
        """Has the server forget the retained message of a name, if there is one."""
        self._manager.retained_clear(name).wait()
