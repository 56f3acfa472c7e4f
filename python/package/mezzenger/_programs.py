"""The programs mezzenger-server and mezzenger, which are in the extension: a wheel has one library, and no program that has to be found."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from . import _core


def _run(name: str, program: Callable[[list[str]], int]) -> int:
    # The program's own handlers take Ctrl-C. Python's would raise when it has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    return program([name, *sys.argv[1:]])


def server() -> int:
    """mezzenger-server"""
    return _run("mezzenger-server", _core.run_server)


def cli() -> int:
    """mezzenger"""
    return _run("mezzenger", _core.run_cli)
