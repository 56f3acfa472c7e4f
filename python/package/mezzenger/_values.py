"""Values as payloads: JSON, and msgpack and pickle when asked for. Pickles are read with an allow-list alone."""

from __future__ import annotations

import codecs
import collections
import datetime
import decimal
import fractions
import importlib
import io
import json as _json
import pickle as _pickle
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ._errors import InvalidOption, MissingPackage, PayloadError, Unserializable, UntrustedPickle

if TYPE_CHECKING:
    from ._core import Message

JSON = "application/json"
MSGPACK = "application/msgpack"
PICKLE = "application/x-python-pickle"

TRUST_ALL = "all senders are trusted"
"""What `pickle` is to be for pickles to be loaded without a list: then whoever publishes can run any code here."""

Seconds = float | datetime.timedelta
"""A duration: seconds, or a timedelta."""

Trust = Iterable[type | str] | Callable[[str, str], bool] | str
"""Which classes pickles may have: classes, their full names ("shop.orders.Order") or modules ("shop.orders"), a function that is asked with
module and name, or TRUST_ALL."""


Format = Literal["json", "msgpack", "pickle"]
"""How a value is written that is neither bytes, text nor a buffer."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers: a dict, or pairs, whose keys may come more than once."""


def encode(value: object, format: str | None = None) -> tuple[bytes | str, str]:
    """A value as a payload, and its content type."""
    name = format or "json"
    try:
        if name == "json":
            return _json.dumps(value, ensure_ascii=False, separators=(",", ":")), JSON
        if name == "msgpack":
            return _msgpack().packb(value), MSGPACK
        if name == "pickle":
            return _pickle.dumps(value), PICKLE
    except PayloadError:
        raise
    except Exception as error:
        kind = type(value).__name__
        raise Unserializable(
            f"a value of type {kind} cannot be written as {name}: {error}; publish bytes, str, a buffer, or with another "
            f'format ("json", "msgpack", "pickle")'
        ) from error
    raise InvalidOption(f'format={name!r}: give "json", "msgpack" or "pickle"')


def _msgpack() -> Any:
    try:
        return importlib.import_module("msgpack")
    except ImportError as error:
        raise MissingPackage('the format "msgpack" needs another package: pip install msgpack') from error


def json(message: Message, trust: Trust | None) -> Any:
    """The payload read as JSON."""
    try:
        return _json.loads(message.bytes())
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the payload of {message.name!r} is no JSON that can be read: {error}") from error


def decode(message: Message, trust: Trust | None) -> Any:
    """The payload as the object that was published."""
    if message.encoding == "pickle":
        return loads(message.bytes(), trust)["payload"]
    kind = (message.content_type or "").partition(";")[0].strip().lower()
    if kind == JSON:
        return json(message, None)
    if kind == MSGPACK:
        try:
            return _msgpack().unpackb(message.bytes(), strict_map_key=False)
        except PayloadError:
            raise
        except Exception as error:
            raise PayloadError(f"the payload of {message.name!r} is no msgpack that can be read: {type(error).__name__}: {error}") from error
    if kind == PICKLE:
        return loads(message.bytes(), trust)
    return message.text() if message.encoding == "text" else message.bytes()


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    # What Python 3 writes bytes as for Python 2. Any other codec is rejected.
    if codecs.lookup(encoding).name != "iso8859-1":
        raise UntrustedPickle(f"the pickle asks for the codec {encoding!r}, which is not allowed")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    # What Python 3 writes b"" as for Python 2. With an argument it would be as much memory as a pickle names.
    return b""


def _bytearray(content: bytes | str = b"", *encoding: str) -> bytearray:
    # Not of a number, which is as much memory as a pickle names.
    return bytearray(_latin1(content, *encoding) if isinstance(content, str) else memoryview(content))


def _reconstructor(cls: type, base: type, state: object) -> object:
    # What copyreg does, for classes that the list allows and whose state is none.
    if base is not object or state is not None:
        raise UntrustedPickle(f"the pickle makes a {cls.__qualname__} of a {base.__qualname__}, which is not allowed")
    made: object = object.__new__(cls)
    return made


PLAIN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "_reconstructor"): _reconstructor,
}
PLAIN |= {
    (module, name): plain
    for module in ("builtins", "__builtin__")
    for name, plain in {
        "bytearray": _bytearray, "bytes": _no_bytes, "complex": complex, "frozenset": frozenset, "object": object, "set": set,
    }.items()
}  # fmt: skip
PLAIN |= {
    (plain.__module__, plain.__qualname__): plain
    for plain in (
        collections.OrderedDict, collections.deque, datetime.date, datetime.datetime, datetime.time,
        datetime.timedelta, datetime.timezone, decimal.Decimal, fractions.Fraction, uuid.UUID,
    )
}  # fmt: skip
"""What pickles of plain values may name without a list: none of it runs anything."""


def asked(trust: Trust | None) -> Callable[[str, str], Any]:
    """A function that resolves what a pickle names: it returns the object, or None when that is not allowed."""
    if trust is None:
        return lambda module, name: None
    if isinstance(trust, str):
        if trust != TRUST_ALL:
            raise InvalidOption(f"pickle={trust!r}: give a list of classes or names, or mezzenger.TRUST_ALL ({TRUST_ALL!r})")
        return _import
    if callable(trust):
        return lambda module, name: _import(module, name) if trust(module, name) else None
    if not isinstance(trust, Iterable):
        raise TypeError(f"pickle= takes a list of classes and names, a function or mezzenger.TRUST_ALL, not {type(trust).__name__}")
    classes: dict[tuple[str, str], Any] = {}
    names: set[str] = set()
    for allowed in trust:
        if isinstance(allowed, str):
            names.add(allowed)
        elif isinstance(allowed, type):
            classes[allowed.__module__, allowed.__qualname__] = allowed
        else:
            raise TypeError(f"pickle= takes classes, their names and names of modules, not {type(allowed).__name__}")

    def find(module: str, name: str) -> Any:
        if (module, name) in classes:
            return classes[module, name]
        if f"{module}.{name}" in names:
            return _import(module, name)
        if module in names:
            # Of a module that is trusted its classes alone, and not what it imported.
            try:
                found = _import(module, name)
            except AttributeError:
                return None
            return found if isinstance(found, type) and found.__module__ == module else None
        return None

    return find


def _import(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class _Unpickler(_pickle.Unpickler):
    def __init__(self, data: bytes, find: Callable[[str, str], Any], encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        if (plain := PLAIN.get((module, name))) is not None:
            return plain
        if (found := self._find(module, name)) is not None:
            return found
        raise UntrustedPickle(
            f"the pickle names {module}.{name}, which is not allowed, and was not loaded. If it is a class of yours, and you trust "
            f"whoever can publish here, add it to pickle=[..]"
        )


def loads(data: bytes, trust: Trust | None) -> Any:
    """Reads a pickle: plain values, and what is allowed besides."""
    find = asked(trust)
    try:
        try:
            return _Unpickler(data, find, "utf-8").load()
        except UnicodeDecodeError:
            # Python 2's str that is no text.
            return _Unpickler(data, find, "latin-1").load()
    except PayloadError:
        raise
    except Exception as error:
        raise PayloadError(f"the payload is no pickle that can be read: {type(error).__name__}: {error}") from error
