"""What clients may do where the server says so, and users with passwords."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import mezzenger
import pytest
from conftest import LONG
from mezzenger import aio

HASH = "import sys; from mezzenger import _programs; sys.exit(_programs.cli())"


def access(folder: Path, text: str) -> Path:
    file = folder / "access.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def hashed(password: str) -> str:
    """What `mezzenger hash-password` prints."""
    run = subprocess.run(
        [sys.executable, "-c", HASH, "hash-password"], input=password, text=True, check=True, capture_output=True, timeout=LONG
    )
    return run.stdout.strip()


def test_users_say_a_password_and_may_do_what_is_said_of_them(tmp_path: Path) -> None:
    file = access(
        tmp_path,
        f"[[client]]\nuser = 'shop'\npassword = '{hashed('open sesame')}'\npublish = ['orders.>']\nsubscribe = ['orders.*']\n",
    )

    async def receive(url: str) -> str | None:
        async with aio.Client(url, user="shop", password="open sesame") as client:
            messages = await client.subscription("orders.new")
            await client.send("orders.new", "tea", ack=True)
            with pytest.raises(mezzenger.SendNotAllowed, match="not allowed: publish to 'prices'; user 'shop' may"):
                await client.send("prices", "free")
            return (await messages.recv(timeout=LONG)).text()

    with mezzenger.Server(access=file) as server:
        assert asyncio.run(receive(server.url)) == "tea"
        with mezzenger.Client(server.url, user="shop", password="open sesame") as client:
            with pytest.raises(PermissionError, match="subscribe to the name 'prices'"):
                client.subscription("prices")
            with pytest.raises(mezzenger.AdminNotAllowed, match="list groups"):
                client.groups.list()
        for user, password in (("shop", "guess"), ("nobody", "open sesame")):
            with pytest.raises(mezzenger.ConnectSecurity, match=f"does not accept the name '{user}'"):
                mezzenger.Client(server.url, user=user, password=password, send_timeout=1)
        with pytest.raises(mezzenger.ConnectSecurity, match="asks for a user"):
            mezzenger.Client(server.url, send_timeout=1)


def test_what_belongs_together_is_named(tmp_path: Path) -> None:
    with pytest.raises(mezzenger.InvalidOption, match="belong together"):
        mezzenger.Client(user="shop")
    file = access(tmp_path, "[[clients]]")
    with pytest.raises(mezzenger.ServerConfigError, match="`client`"):
        mezzenger.Server(access=file)
    file.chmod(0o644)
    with pytest.raises(mezzenger.ServerConfigError, match="chmod 600"):
        mezzenger.Server(access=file)
