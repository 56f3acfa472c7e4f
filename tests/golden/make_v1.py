"""Writes the golden pickles of v1 messages into v1/, in every protocol of the Python that runs it.

    python3.11 make_v1.py && python2.7 make_v1.py

Each is a file beside a manifest that says what is in it. Pickles with a long run of one byte (the
2 MB text) stand in the manifest instead, as [head, byte, count, tail].
"""

import binascii
import io
import json
import os
import re
import sys

if sys.version_info[0] >= 3:
    import pickle
else:
    import cPickle as pickle

import describe

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v1")
PYTHON = "python%d" % sys.version_info[0]
AT = 1763866000.25
PRECISE = 1763866000.123456


class Point(object):
    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __repr__(self):
        return "Point(%r, %r)" % (self.x, self.y)


class Classic:
    """In Python 2 a class of the old kind, which has opcodes of its own."""

    def __init__(self):
        self.kept = [1, 2]

    def __repr__(self):
        return "Classic()"


def cases():
    shared = ["shared", 1]
    recursive = [1]
    recursive.append(recursive)
    yield "text", u"hello", AT
    yield "native", "hello", PRECISE
    yield "quotes", "it's \"quoted\"\\ \n\t\r\0", AT
    yield "non_ascii", u"gr\xfc\xdfe \u20ac \U0001f600 \\u0041", PRECISE
    yield "empty", u"", AT
    yield "bytes", b"\x00\xff'bytes'\n\\", AT
    yield "empty_bytes", b"", AT
    yield "bytearray", bytearray(b"\x00\xffab"), AT
    yield "int", 17, AT
    yield "negative", -70000, AT
    yield "wide", 2**40, AT
    yield "bigint", 2**64, AT
    yield "negative_bigint", -(3**300), PRECISE
    yield "float", 0.1 + 0.2, AT
    yield "large_float", 1e300, AT
    yield "none", None, AT
    yield "true", True, AT
    yield "false", False, AT
    yield "nested", {u"list": [1, [2.5, (None, u"x", ())]], 3: {u"a": {}}, (1, 2): b"\xff"}, AT
    yield "sets", [set([1]), frozenset([2]), set(), frozenset([(3, 4)])], AT
    yield "instance", Point(1, [u"y"]), AT
    yield "classic", Classic(), AT
    yield "shared", [shared, shared, (shared,)], AT
    yield "recursive", recursive, AT
    yield "many", list(range(1100)), AT
    yield "large", u"a" * (2 * 1024 * 1024), AT


def instance(v):
    state = describe.value(vars(v), instance)
    return {"object": {"path": "__main__." + v.__class__.__name__, "state": [state]}}


def hexed(data):
    return binascii.hexlify(data).decode("ascii")


def store(case, protocol, pickled):
    """Writes a pickle and returns what the manifest says of it."""
    run = max(re.finditer(br"(.)\1*", pickled, re.DOTALL), key=lambda m: m.end() - m.start())
    run_bytes = run.end() - run.start()
    if run_bytes > 10000:
        byte = ord(run.group(1))
        return [hexed(pickled[: run.start()]), byte, run_bytes, hexed(pickled[run.end() :])]
    name = "%s.%s.%d.pickle" % (case, PYTHON, protocol)
    with open(os.path.join(HERE, name), "wb") as out:
        out.write(pickled)
    return name


def main():
    manifest = []
    for case, payload, timestamp in cases():
        message = describe.message("greet", payload, 1, timestamp)
        fields = describe.fields(message)
        if case == "recursive":
            value = {"error": "recursive"}
        elif case == "large":
            value = {"length": len(payload)}
            fields["payload"] = value
        else:
            value = describe.value(payload, instance)
        protocols = range(pickle.HIGHEST_PROTOCOL + 1)
        entry = {
            "case": case,
            "fields": fields,
            "value": value,
            "verified": None if fields["payload"] == {"other": True} else True,
            "pickles": [store(case, p, pickle.dumps(message, p)) for p in protocols],
        }
        manifest.append(json.dumps(entry, sort_keys=True, separators=(",", ":")))
    with io.open(os.path.join(HERE, PYTHON + ".json"), "wb") as out:
        out.write(("[\n" + ",\n".join(manifest) + "\n]\n").encode("ascii"))


if __name__ == "__main__":
    main()
