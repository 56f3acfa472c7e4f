"""Encrypted connections: keys of files, as `mezzenger keygen` and zmq.auth write them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import mezzenger
import pytest
from conftest import LONG
from mezzenger import aio

KEYGEN = "import sys; from mezzenger import _programs; sys.exit(_programs.cli())"


def keygen(folder: Path, name: str) -> Path:
    """Makes a pair of keys; the file with both."""
    subprocess.run([sys.executable, "-c", KEYGEN, "keygen", str(folder / name)], check=True, capture_output=True, timeout=LONG)
    return folder / f"{name}.key_secret"


def test_both_clients_speak_with_a_server_that_has_keys(tmp_path: Path) -> None:
    secret, alice, eve = (keygen(tmp_path, name) for name in ("server", "alice", "eve"))
    folder = tmp_path / "clients"
    folder.mkdir()
    (tmp_path / "alice.key").rename(folder / "alice.key")
    public = tmp_path / "server.key"

    async def receive(url: str) -> str | None:
        async with aio.Client(url, curve_key=alice, server_key=str(public)) as client:
            messages = await client.subscription("greet")
            await client.send("greet", "hello", ack=True)
            return (await messages.recv(timeout=LONG)).text()

    with mezzenger.Server(curve_secret=secret, authorized_keys=folder) as server:
        with mezzenger.Client(server.url, curve_key=alice, server_key=public) as client:
            greetings = client.subscription("greet")
            assert asyncio.run(receive(server.url)) == "hello"
            assert greetings.recv(timeout=LONG).text() == "hello"
        with pytest.raises(mezzenger.ConnectError, match="does not accept this client's key"):
            mezzenger.Client(server.url, curve_key=eve, server_key=public, send_timeout=1)
        with pytest.raises(mezzenger.ConnectError, match="key"):
            mezzenger.Client(server.url, send_timeout=1)


def test_keys_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    secret = keygen(tmp_path, "server")
    with pytest.raises(mezzenger.InvalidOption, match="belong together"):
        mezzenger.Client(curve_key=secret)
    with pytest.raises(mezzenger.InvalidOption, match="nowhere"):
        mezzenger.Client(curve_key=tmp_path / "nowhere", server_key=tmp_path / "server.key")
    with pytest.raises(mezzenger.ServerConfigError, match="belong together"):
        mezzenger.Server(curve_secret=secret)
    secret.chmod(0o644)
    with pytest.raises(mezzenger.InvalidOption, match="chmod"):
        mezzenger.Client(curve_key=secret, server_key=tmp_path / "server.key")
