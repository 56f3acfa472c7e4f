#!/usr/bin/env bash
# Measures what is no rate of messages, and adds it to a record: the idle server, the memory of pending
# messages and of subscriptions, the start with unsettled ones. Builds and runs release programs, which takes
# some minutes.
#
#   bash bench/footprint.sh bench/record/DATE
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
record=${1:?the folder of the record}
target=${CARGO_TARGET_DIR:-target}/release
server=$target/mezzenger-server
cargo build --release --quiet --package mezzenger-results --package mezzenger-server
work=$(mktemp -d)
pid=
trap 'if [ -n "$pid" ]; then kill "$pid"; fi; rm -rf "$work"' EXIT

# Adds a measure: key, unit, command, name, and its values on stdin.
add() {
    xargs "$target/mezzenger-results" add-measure "$record" "$@"
}

mkfifo "$work/said"

# Starts the server and waits until it listens.
start() {
    "$server" --pub-port 0 --recv-port 0 >"$work/said" &
    pid=$!
    read -r _ <"$work/said"
}

stop() {
    kill "$pid"
    wait "$pid" || true
    pid=
}

command='mezzenger-server --pub-port 0 --recv-port 0'
for _ in $(seq 20); do
    begin=$EPOCHREALTIME
    start
    echo "$begin $EPOCHREALTIME" | awk '{ printf "%.2f\n", ($2 - $1) * 1e3 }'
    stop
done | add start ms "$command" 'from starting the server until it listens'
start
sleep 3
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
awk '/^VmRSS/ { printf "%.2f\n", $2 * 1024 / 1e6 }' "/proc/$pid/status" |
    add idle-memory MB "$command" 'resident memory of the idle server'
before=$(ticks)
sleep 3
echo $((($(ticks) - before) * 10)) | add idle-cpu ms "$command" 'processor time of the idle server in 3 s'
stop

example() { cargo run --release --quiet --package mezzenger-bench --example "$@"; }
for pending in 1M:1000000 10M:10000000; do
    example pending_memory -- "${pending#*:}" |
        sed -n "s/^${pending#*:} pending .* \([0-9.]*\) B each$/\1/p" |
        add "pending-${pending%:*}" B "cargo run --release -p mezzenger-bench --example pending_memory -- ${pending#*:}" \
            "resident memory of a pending 128-byte message, of ${pending#*:}"
done
example subscription_memory -- 1000000 1000 "$server" | sed -n 's/.* \([0-9.]*\) B each$/\1/p' |
    add subscription-1M B "cargo run --release -p mezzenger-bench --example subscription_memory -- 1000000 1000 $server" \
        'resident memory of a subscription, of 1,000,000 over 1,000 connections'
example server_recovery -- 2000000 0 "$server" |
    sed -n 's/.* \([0-9.]*\) M appended\/s.*/\1/p' | awk '{ print $1 * 1e6 }' |
    add recovery messages/s "cargo run --release -p mezzenger-bench --example server_recovery -- 2000000 0 $server" \
        'start of a server with 2,000,000 unsettled messages'
