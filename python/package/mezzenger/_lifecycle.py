"""What is there once for each process: the thread that hands on the library's log, and the end of clients that nobody closed."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import Protocol

from . import _core
from ._events import UNTOLD

logger = logging.getLogger("mezzenger")

_DROPPED = "%d lines of the log were dropped: logging took too long"


class Closable(Protocol):
    """What is closed when the interpreter exits."""

    def _begin_close(self) -> None: ...

    def _end_close(self) -> None: ...


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_lock = threading.Lock()
_log_thread: threading.Thread | None = None


def begin(client: Closable | None = None) -> None:
    """A client or a server begins: takes the log, and closes it at exit."""
    global _log_thread
    _core.set_log_level(min(max(logger.getEffectiveLevel(), 1), 50))
    with _lock:
        if client is not None:
            _open.add(client)
        if _log_thread is None or not _log_thread.is_alive():
            _log_thread = threading.Thread(target=_hand_on, name="mezzenger-log", daemon=True)
            _log_thread.start()


def end(client: Closable) -> None:
    """A client was closed."""
    with _lock:
        _open.discard(client)


def _hand_on() -> None:
    while (taken := _core.next_logs()) is not None:
        lines, dropped = taken
        for level, text in lines:
            # What is an error there is what no caller was told of.
            logger.log(level, "%s", text, extra=UNTOLD if level >= logging.ERROR else None)
        if dropped:
            logger.warning(_DROPPED, dropped)


@atexit.register
def _close_all() -> None:
    with _lock:
        clients = list(_open)
    # All begin before the first is waited for, so that the waits do not add up.
    for client in clients:
        try:
            client._begin_close()
        except Exception:
            logger.exception("a client could not be closed", extra=UNTOLD)
    for client in clients:
        try:
            client._end_close()
        except Exception as error:
            logger.error("the program ends with messages that were not published: %s", error, extra=UNTOLD)
    _core.stop_logs()
    if _log_thread is not None:
        _log_thread.join(1)


def _forked() -> None:
    # Its threads are the parent's, and so are the clients. A lock may have been held.
    global _lock, _log_thread, _open
    _core.forked()
    _lock = threading.Lock()
    _log_thread = None
    _open = weakref.WeakSet()


os.register_at_fork(after_in_child=_forked)
