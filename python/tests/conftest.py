"""What all tests use: a server, clients, and waits for conditions. Nothing waits for a time to pass."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import mezzenger
import pytest

LONG = 30.0
"""Longer than anything takes that works, in seconds."""


@pytest.fixture
def server() -> Iterator[mezzenger.Server]:
    with mezzenger.Server() as server:
        yield server


@pytest.fixture
def client(server: mezzenger.Server) -> Iterator[mezzenger.Client]:
    with mezzenger.Client(server.url) as client:
        yield client


def until(what: str, is_there: Callable[[], object]) -> None:
    """Waits for a condition."""
    end = time.monotonic() + LONG
    while not is_there():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0)


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a Python program."""
    command = [sys.executable, "-u", "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program: str, *arguments: str) -> tuple[int, str, str]:
    """Runs a Python program to its end: its exit code, stdout and stderr."""
    process = start(program, *arguments)
    out, error = process.communicate(timeout=LONG)
    return process.returncode, out, error
