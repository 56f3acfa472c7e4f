"""What a client tells the server that it is called."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LONG

CLIENT = """
import sys
import mezzenger

mezzenger.Client(port=int(sys.argv[1]), send_timeout=20, connection_retries=1{})
"""
AIO = """
import asyncio, sys
from mezzenger import aio

asyncio.run(aio.Client(port=int(sys.argv[1]), send_timeout=20, connection_retries=1{}).connect())
"""


def frame(stream: socket.SocketType) -> bytes:
    """The next frame's body."""
    flags, length = exactly(stream, 2)
    assert not flags & 2, "a long frame"
    return exactly(stream, length)


def exactly(stream: socket.SocketType, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = stream.recv(count - len(found))
        assert part, "the client hung up"
        found += part
    return found


Told = Callable[..., bytes]


@pytest.fixture
def told() -> Iterator[Told]:
    """Runs Python with these arguments and a port behind them, and gives what its client says behind its secret."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONG)

        def told(*arguments: str) -> bytes:
            command = [sys.executable, *arguments, str(listener.getsockname()[1])]
            with subprocess.Popen(command) as process:
                try:
                    stream = listener.accept()[0]
                    with stream:
                        stream.settimeout(LONG)
                        stream.sendall(b"\xff" + b"\0" * 8 + b"\x7f\3\0" + b"NULL".ljust(52, b"\0"))
                        exactly(stream, 64)
                        ready = b"\5READY\x0bSocket-Type\0\0\0\6ROUTER"
                        stream.sendall(bytes([4, len(ready)]) + ready)
                        assert frame(stream).startswith(b"\5READY")
                        # What the answer would begin with.
                        assert len(frame(stream)) == 8
                        assert frame(stream) == b""
                        hello = frame(stream)
                        assert hello.startswith(b"\2\1")
                        return hello[18:]
                finally:
                    process.kill()

        yield told


@pytest.mark.parametrize("program", [CLIENT, AIO])
def test_a_client_is_called_as_it_says(told: Told, program: str) -> None:
    assert told("-c", program.format(", client_name='invoices'")) == b"\x08invoices"
    assert told("-c", program.format(", client_name=''")) == b""


@pytest.mark.parametrize("program", [CLIENT, AIO])
def test_otherwise_it_is_called_by_its_script(told: Told, program: str, tmp_path: Path) -> None:
    script = tmp_path / "send_invoices.py"
    script.write_text(program.format(""))
    assert told(str(script)) == b"\x10send_invoices.py"
    assert told("-c", program.format("")) == b"\x06python"
    package = tmp_path / "invoicing"
    package.mkdir()
    script.rename(package / "__main__.py")
    assert told(str(package)) == b"\x09invoicing"
