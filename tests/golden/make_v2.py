#!/usr/bin/env python3
"""Writes the golden frames of the native format, from docs/wire-format.md alone.

    python3 tests/golden/make_v2.py

makes tests/golden/v2/*.bin and the manifest that says what is in each. Nothing of the Rust code is
used, so that a test which compares the two compares the code with the document.
"""

import hashlib
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent / "v2"
NS = 1_763_866_000_123_456_789
ENCODINGS = {"bytes": 0, "text": 1, "archive": 2, "pickle": 3}


def checksum(name, payload, timestamp_ns):
    seconds = "%d.%09d" % divmod(timestamp_ns, 10**9)
    return hashlib.md5(name.encode() + payload + seconds.encode()).digest()


def record(name, fields):
    payload = bytes.fromhex(fields["payload"])
    digest = checksum(name, payload, fields["timestamp_ns"])
    fields["checksum"] = digest.hex()
    root = struct.pack(
        "<QQQQ16sBB",
        fields["publisher"],
        fields["sequence"],
        fields["ordinal"],
        fields["timestamp_ns"],
        digest,
        fields["ack"],
        ENCODINGS[fields["encoding"]],
    )
    # The pointer counts from where it stands itself, back to the payload before the root.
    root += struct.pack("<iI", -(len(payload) + len(root)), len(payload))
    archive = payload + root
    return struct.pack("<I", len(archive)) + archive


def message(payload, encoding="bytes", ack=False, publisher=7, sequence=1, ordinal=1, at=NS):
    return {
        "publisher": publisher,
        "sequence": sequence,
        "ordinal": ordinal,
        "timestamp_ns": at,
        "ack": ack,
        "encoding": encoding,
        "payload": payload.hex(),
    }


FRAMES = {
    "text": ("greet", [message("héllo".encode(), "text", ack=True)]),
    "empty": ("greet", [message(b"")]),
    "every_byte": ("greet", [message(bytes(range(256)))]),
    "unusual_name": ("grüße/ 1.*", [message(b"x", "text")]),
    "three_records": (
        "greet",
        [message(b"%d" % n, "text", n == 2, 7, 40 + n, n) for n in (1, 2, 3)],
    ),
    "extremes": (
        "n" * 255,
        [message(b"x", "archive", True, 2**63 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1)],
    ),
    "from_v1": ("greet", [message(b"\x80\x02}.", "pickle", True, 2**63 | 5, 2**64 - 2, 0)]),
}
ACKS = {"ack": [(7, 1), (2**63 | 5, 2**64 - 2)]}


def main():
    HERE.mkdir(exist_ok=True)
    manifest = {"frames": {}, "acks": {}}
    for file, (name, messages) in FRAMES.items():
        frame = b"\x01" + name.encode() + b"|" + b"".join(record(name, m) for m in messages)
        (HERE / f"{file}.bin").write_bytes(frame)
        manifest["frames"][file] = {"name": name, "records": messages}
    for file, ids in ACKS.items():
        frame = b"\x01ack|" + b"".join(struct.pack("<QQ", *id) for id in ids)
        (HERE / f"{file}.bin").write_bytes(frame)
        manifest["acks"][file] = ids
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (HERE / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
