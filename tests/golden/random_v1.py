"""Random v1 messages for the Rust tests, and CPython's judgement of what they read.

    random_v1.py make --seed 1 --count 1000     prints lines {"pickle", "fields", "value"}; those
                                                without "fields" are mutated, and maybe no pickles
    random_v1.py judge                          reads lines {"pickle", "fields"} as Rust read them,
                                                prints those that CPython reads otherwise
    random_v1.py load                           reads lines {"pickle", "fields"} that Rust wrote, and
                                                prints those that do not load as such (Python 2 too)
"""

import binascii
import collections
import io
import json
import pickle
import pickletools
import random
import sys
import traceback

import describe


class Point(object):
    def __init__(self, x):
        self.x = x


def opaque(_):
    return {"object": True}


class Maker(object):
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.made = []

    def scalar(self):
        r = self.random
        kind = r.randrange(9)
        if kind == 0:
            return r.choice([None, True, False])
        if kind == 1:
            return r.choice([0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31])
        if kind == 2:
            return r.choice([1, -1]) * r.getrandbits(r.choice([8, 62, 63, 64, 65, 200, 3000]))
        if kind == 3:
            return r.choice([0.0, -0.0, 1.5, 0.1, 1e300, 5e-324, float("inf"), r.random() * 1e9])
        if kind == 4:
            return bytes(bytearray(r.getrandbits(8) for _ in range(r.choice([0, 1, 5, 300]))))
        if kind == 5:
            return bytearray(r.getrandbits(8) for _ in range(r.choice([0, 1, 5])))
        return self.text()

    def text(self):
        alphabet = self.random.choice([u"abc", u"a\\'\"\n\r\t\0\x1au", u"\xe9\xff\x80", u"\u20ac\U0001f600x"])
        return u"".join(self.random.choice(alphabet) for _ in range(self.random.choice([0, 1, 7, 40])))

    def hashable(self, depth):
        choice = self.random.randrange(4)
        if choice == 0 and depth > 0:
            return tuple(self.hashable(depth - 1) for _ in range(self.random.randrange(5)))
        if choice == 1 and depth > 0:
            return frozenset(self.hashable(depth - 1) for _ in range(self.random.randrange(3)))
        scalar = self.scalar()
        return 7 if type(scalar) is bytearray else scalar

    def any(self, depth=4):
        r = self.random
        kind = r.randrange(14) if depth > 0 else 13
        size = r.choice([0, 1, 2, 3, 4])
        if kind < 2:
            made = [self.any(depth - 1) for _ in range(size)]
        elif kind < 4:
            made = tuple(self.any(depth - 1) for _ in range(size))
        elif kind < 6:
            made = {self.hashable(2): self.any(depth - 1) for _ in range(size)}
        elif kind == 6:
            made = {self.hashable(2) for _ in range(size)}
        elif kind == 7:
            made = Point(self.any(depth - 1))
        elif kind == 8:
            made = collections.OrderedDict([(1, self.any(depth - 1))])
        elif kind == 9:
            made = complex(1, 2)
        elif kind < 12 and self.made:
            return r.choice(self.made)
        else:
            made = self.scalar()
        self.made.append(made)
        return made

    def message(self):
        self.made = []
        r = self.random
        payload = self.any() if r.random() < 0.7 else self.scalar()
        timestamp = r.choice([0.0, 1763866000.0, r.random() * 2e9, r.random() * 1e10])
        name = r.choice(["greet", u"gr\xfc\xdfe", "ack", self.text()])
        ack = r.choice([0, 1, 2, -1, True, False, 2**70, -(2**70)])
        message = describe.message("m", "", ack, timestamp)
        message.update(name=name, payload=payload)
        if r.random() < 0.1:
            message[self.hashable(2)] = payload
        return message

    def pickled(self, message):
        r = self.random
        protocol = r.randrange(6)
        dumps = pickle._dumps if r.random() < 0.3 else pickle.dumps
        pickled = dumps(message, protocol)
        return pickletools.optimize(pickled) if r.random() < 0.2 else pickled

    SNIPPETS = [
        b"0", b"1", b"2", b"(", b"N", b"K\x01", b"s", b"u", b"a", b"e", b"t", b"d", b"l", b"\x85", b"\x86",
        b"R", b"b", b"\x81", b"o", b"h\x00", b"h\x01", b"q\x00", b"q\x05", b"\x94", b"g0\n", b"g3\n", b"]", b"}",
        b")", b"\x8f", b"\x90", b"\x91", b"\x93", b"U\x03ackK\x00s", b"U\x03ackK\x00", b"Vack\nI5\ns",
        b"X\x04\x00\x00\x00name", b"c_codecs\nencode\n", b"cm\nC\n", b"I01\n", b"L-5L\n", b"F1.5\n",
        b"S'name'\n", b"\x8a\x01\xff", b"U\x07payload", b"c__builtin__\nset\n", b"c__builtin__\nbytes\n",
        b"\x96\x01\0\0\0\0\0\0\0a", b"C\x01a", b"cm\nC\n)\x81", b"\x88", b"U\x09timestampG\0\0\0\0\0\0\0\0s",
    ]

    def mutated(self, pickled):
        r = self.random
        for _ in range(r.choice([1, 1, 1, 2, 4])):
            kind = r.randrange(8)
            at = r.randrange(len(pickled) + 1)
            if kind == 0:
                pickled = pickled[:at]
            elif kind < 3 and at < len(pickled):
                byte = r.choice([pickled[at] ^ (1 << r.randrange(8)), r.randrange(256)])
                pickled = pickled[:at] + bytes([byte]) + pickled[at + 1 :]
            else:
                pickled = self.opcodes_mutated(pickled)
            if not pickled:
                break
        return pickled

    def opcodes_mutated(self, pickled):
        r = self.random
        try:
            starts = [at for _, _, at in pickletools.genops(pickled)] + [len(pickled)]
        except Exception:
            return pickled
        ops = [pickled[a:b] for a, b in zip(starts, starts[1:])]
        if r.random() < 0.8:
            ops = [op for op in ops if op[:1] != b"\x95"]
        for _ in range(r.choice([1, 1, 2, 3])):
            kind, at = r.randrange(5), r.randrange(len(ops))
            if kind == 0:
                del ops[at]
            elif kind == 1:
                ops.insert(at, r.choice(ops))
            elif kind == 2:
                ops[at], other = ops[at - 1], ops[at]
                ops[at - 1] = other
            elif kind == 3:
                ops.insert(at, r.choice(self.SNIPPETS))
            else:
                # Before the STOP, where a change does not shift what follows.
                ops.insert(len(ops) - 1, r.choice(self.SNIPPETS))
            if not ops:
                break
        return b"".join(ops)


def make(seed, count):
    maker = Maker(seed)
    for _ in range(count):
        message = maker.message()
        pickled = maker.pickled(message)
        line = {
            "pickle": binascii.hexlify(pickled).decode(),
            "fields": describe.fields(message),
            "value": describe.value(message["payload"], opaque),
        }
        print(json.dumps(line))
        for _ in range(10):
            print(json.dumps({"pickle": binascii.hexlify(maker.mutated(pickled)).decode()}))


class Inert(type):
    """A class whose instances are such classes, that takes any call and keeps nothing."""

    def __new__(mcs, *args, **kwargs):
        return type.__new__(mcs, "Stub", (), {"__new__": lambda cls, *a, **k: Inert()})

    def __init__(cls, *args, **kwargs):
        pass

    def __call__(cls, *args, **kwargs):
        return Inert()

    def take(cls, *args):
        pass

    append = extend = add = __setitem__ = __setstate__ = take


def encode(*args):
    if len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"):
        return args[0].encode("latin1")
    return Inert()


def empty_bytes(*args):
    return Inert() if args else b""


def byte_array(*args):
    if not args or (len(args) == 1 and type(args[0]) is bytes):
        return bytearray(*args)
    if len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"):
        return bytearray(*args)
    return Inert()


class Unpickler(pickle.Unpickler):
    KNOWN = {"_codecs.encode": encode, "bytes": empty_bytes, "bytearray": byte_array}

    def find_class(self, module, name):
        path = name if module in ("builtins", "__builtin__") else module + "." + name
        return self.KNOWN.get(path) or Inert()

    def persistent_load(self, pid):
        return Inert()


def same_payload(read, payload):
    if type(payload) is str:
        try:
            payload.encode("utf-8")
        except UnicodeEncodeError:
            # Either a Python 2 string that is not UTF-8, or a text with lone surrogates.
            raw = payload.encode("utf-8", "surrogatepass")
            try:
                raw = payload.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                pass
            return read in ({"other": True}, {"bytes": raw.hex()})
    if type(payload) is int and abs(payload) >= 10**4300:
        return read == {"other": True}
    return read == json.loads(json.dumps(describe.scalar(payload)))


def judge_one(pickled, read):
    unpickler = Unpickler(io.BytesIO(pickled), encoding="utf-8", errors="surrogateescape")
    try:
        message = unpickler.load()
    except ValueError as error:
        if "unregistered extension code" in str(error):
            return
        raise
    assert type(message) is dict, "a dict"
    payload = message["payload"]
    assert same_payload(read["payload"], payload), "the payload is %r" % (payload,)
    message["payload"] = None
    fields = describe.fields(message)
    fields["payload"] = read["payload"]
    assert fields == read, fields


def load_one(pickled, read):
    message = pickle.loads(pickled)
    # Text is `str` in both Pythons if it is ASCII, bytes are `bytes`.
    expected = read["payload"]
    payload = message["payload"]
    if "bytes" in expected:
        assert type(payload) is bytes, type(payload)
        assert binascii.hexlify(payload).decode() == expected["bytes"]
        raw = payload
    else:
        raw = describe.text(payload)
        assert raw == expected["text"].encode("utf-8")
        assert type(payload) is (str if len(raw) == len(expected["text"]) else type(u""))
    text = describe.text
    whole = text(message["name"]) + raw + text(message["timestamp"])
    assert describe.hashlib.md5(whole).hexdigest() == message["checksum"]
    assert type(message["timestamp"]) is float and type(message["ack"]) is int
    assert message["name"] == read["name"] and message["ack"] == int(read["ack"])
    assert message["checksum"] == read["checksum"]
    assert describe.float_bits(message["timestamp"]) == read["timestamp"]
    assert sorted(message) == ["ack", "checksum", "name", "payload", "timestamp"]


def check(one):
    wrong = 0
    for line in sys.stdin:
        line = json.loads(line)
        try:
            one(binascii.unhexlify(line["pickle"]), line["fields"])
        except Exception:
            wrong += 1
            print(line)
            print(traceback.format_exc())
    return wrong


if __name__ == "__main__":
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    if sys.argv[1] == "make":
        make(int(sys.argv[3]), int(sys.argv[5]))
    else:
        sys.exit(1 if check(judge_one if sys.argv[1] == "judge" else load_one) else 0)
