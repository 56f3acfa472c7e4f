"""Says in JSON what a Python value is, the way the Rust tests say it. Runs in Python 2 and 3."""

import binascii
import hashlib
import json
import math
import struct
import sys

PYTHON3 = sys.version_info[0] >= 3
if PYTHON3:
    unicode, long = str, int


def float_bits(number):
    return binascii.hexlify(struct.pack(">d", number)).decode("ascii")


def value(v, instance):
    """The value as a tree; `instance` says what stands for an object of a class."""
    again = lambda inner: value(inner, instance)
    if v is None or v is True or v is False:
        return v
    if type(v) in (int, long):
        return {"int": str(v)}
    if type(v) is float:
        return {"float": float_bits(v)}
    if type(v) is unicode:
        return {"text": v}
    if type(v) in (bytes, bytearray):
        if not PYTHON3 and type(v) is bytes:
            try:
                return {"text": v.decode("utf-8")}
            except UnicodeDecodeError:
                pass
        return {"bytes": binascii.hexlify(bytes(v)).decode("ascii")}
    if type(v) in (list, tuple):
        return {type(v).__name__: [again(inner) for inner in v]}
    if type(v) in (set, frozenset):
        members = [again(inner) for inner in v]
        return {type(v).__name__: sorted(members, key=lambda m: json.dumps(m, sort_keys=True))}
    if type(v) is dict:
        return {"dict": [[again(key), again(v[key])] for key in v]}
    return instance(v)


def scalar(v):
    """A payload as the broker sees it."""
    if type(v) in (list, tuple, set, frozenset, dict):
        return {"other": True}
    return value(v, lambda _: {"other": True})


def timestamp_ns(timestamp):
    fraction, seconds = math.modf(timestamp)
    return int(seconds) * 10**9 + int(math.floor(fraction * 1e9 + 0.5))


def fields(message):
    """The five fields as the broker reads them."""
    name, checksum = message["name"], message["checksum"]
    return {
        "name": name if type(name) is unicode else name.decode("utf-8"),
        "payload": scalar(message["payload"]),
        "ack": message["ack"] > 0,
        "timestamp": float_bits(message["timestamp"]),
        "timestamp_ns": str(timestamp_ns(message["timestamp"])),
        "checksum": (checksum if PYTHON3 else checksum.decode("ascii")).lower(),
    }


def text(v):
    """`str` as the original publisher applies it, as bytes."""
    if type(v) is unicode:
        return v.encode("utf-8", "surrogatepass" if PYTHON3 else "strict")
    return str(v).encode("utf-8", "surrogatepass") if PYTHON3 else str(v)


def message(name, payload, ack, timestamp):
    """The dict that the original publisher pickles."""
    checksum = hashlib.md5(text(name) + text(payload) + text(timestamp)).hexdigest()
    return {
        "name": name,
        "payload": payload,
        "ack": ack,
        "timestamp": timestamp,
        "checksum": checksum,
    }
