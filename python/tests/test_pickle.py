"""Pickles: whatever is not allowed is not loaded, and above all not run."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import mezzenger
import pytest
from conftest import LONG
from mezzenger import Client, Server
from mezzenger._values import loads

TYPE = "application/x-python-pickle"


@dataclasses.dataclass
class Order:
    """Something that a program would send to itself."""

    id: int
    items: list[str]


class Evil:
    """What whoever attacks would send."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def attacks(path: str) -> list[bytes]:
    touch = f"open({path!r}, 'w')".encode()
    return [
        *(pickle.dumps(Evil(path), protocol) for protocol in range(6)),
        b"cbuiltins\neval\n(V" + touch + b"\ntR.",
        b"c__builtin__\neval\n(V" + touch + b"\ntR.",
        b"cos\nsystem\n(Vtouch " + path.encode() + b"\ntR.",
        # By way of what is allowed.
        b"\x80\x04\x8c\x08builtins\x8c\x1aobject.__subclasses__.real\x93.",
        b"\x80\x04\x8c\x08datetime\x8c\x0bsys.modules\x93.",
        b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"\x80\x02cbuiltins\ngetattr\n.",
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_malicious_pickle_is_never_run(server: Server, tmp_path: Path, number: int) -> None:
    written = tmp_path / "written"
    attack = attacks(str(written))[number]
    with Client(server.url, pickle=[Order]) as client:
        messages = client.subscription("a")
        client.publish("a", attack, content_type=TYPE)
        message = messages.recv(LONG)
        with pytest.raises(mezzenger.UntrustedPickle):
            message.value()
        with pytest.raises(mezzenger.UntrustedPickle):
            message.value(pickle=["datetime", "os.path"])
    assert not written.exists()


def test_an_attack_does_what_it_says_where_all_are_trusted(tmp_path: Path) -> None:
    # Or the test above would show nothing.
    written = tmp_path / "written"
    loads(attacks(str(written))[0], mezzenger.TRUST_ALL)
    assert written.exists()


def test_classes_are_loaded_that_were_named(server: Server) -> None:
    order = Order(7, ["tea"])
    name = f"{__name__}.Order"
    with Client(server.url) as client:
        messages = client.subscription("a")
        client.publish("a", order, format="pickle")
        message = messages.recv(LONG)
        with pytest.raises(mezzenger.UntrustedPickle, match=rf"{name}, which is not allowed.*add it to pickle="):
            message.value()
        trusts: list[Any] = [[Order], [name], [__name__], lambda module, name: name == "Order", mezzenger.TRUST_ALL]
        for trust in trusts:
            assert message.value(pickle=trust) == order
        with pytest.raises(ValueError, match="all senders are trusted"):
            message.value(pickle="yes")
        with pytest.raises(TypeError):
            message.value(pickle=[1])  # type: ignore[list-item]
    with Client(server.url, pickle=[Order]) as client:
        messages = client.subscription("a")
        client.publish("a", order, format="pickle")
        assert messages.recv(LONG).value() == order


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_need_no_list(protocol: int) -> None:
    values = [
        None, True, 7, 2**80, 1.5, 2j, "täxt", b"\x00\xff", b"", bytearray(b"x\xff"), bytearray(), (1, [2, {"k": {3}}]), frozenset([4]),
        collections.OrderedDict(a=1), collections.deque([1]), datetime.datetime(2026, 1, 2, 3, 4, 5),
        datetime.timedelta(1, 2), datetime.timezone.utc, decimal.Decimal("1.10"), uuid.UUID(int=5),
    ]  # fmt: skip
    assert loads(pickle.dumps(values, protocol), None) == values


@pytest.mark.parametrize("name", ["bytes", "bytearray"])
def test_a_pickle_takes_no_more_memory_than_it_has_bytes(name: str) -> None:
    with pytest.raises(mezzenger.PayloadError):
        loads(b"cbuiltins\n" + name.encode() + b"\n(I4000000000\ntR.", None)
