#!/usr/bin/env bash
# Measures what --http costs: a server without it and one with it, whose metrics are read each second, take turns under
# load. Prints a JSON line for each run. Needs curl and Python 3.
#
#   bash bench/http.sh [ROUNDS] >FILE
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-8}
programs=${CARGO_TARGET_DIR:-target}/release
cargo build --release --quiet --package mezzenger-server --package loadgen
work=$(mktemp -d)
server=
scraper=
stop() {
    for process in $scraper $server; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    server=
    scraper=
}
trap 'stop; rm -rf "$work"' EXIT

# Free ports of 127.0.0.1, as many as asked for.
free_ports() {
    python3 -c 'import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in sockets))' "$1"
}

# One run: with or without http, then loadgen's flags.
run() {
    local mode=$1 publish receive http flags=()
    shift
    read -r publish receive http < <(free_ports 3)
    if [ "$mode" = http ]; then flags=(--http "127.0.0.1:$http"); fi
    "$programs/mezzenger-server" --pub-port "$publish" --recv-port "$receive" "${flags[@]}" >"$work/out" 2>"$work/log" &
    server=$!
    for _ in $(seq 200); do
        if grep -q ready "$work/out"; then break; fi
        sleep 0.05
    done
    if [ "$mode" = http ]; then
        (while sleep 1; do curl --silent --output /dev/null "127.0.0.1:$http/metrics"; done) &
        scraper=$!
    fi
    "$programs/loadgen" --server 127.0.0.1 --port "$receive" "$@" --json >"$work/run.json"
    stop
    python3 -c 'import json, sys
print(json.dumps({"mode": sys.argv[1], "arguments": sys.argv[2], "result": json.load(open(sys.argv[3]))}))' "$mode" "$*" "$work/run.json"
}

for load in '--pubs 8 --subs 32 --duration 3s' '--rate 10000 --duration 3s --warmup 1s'; do
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) -eq 1 ]; then order='plain http'; else order='http plain'; fi
        for mode in $order; do
            # shellcheck disable=SC2086 # several words
            run "$mode" $load
        done
    done
done
