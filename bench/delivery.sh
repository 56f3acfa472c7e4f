#!/usr/bin/env bash
# Measures what groups and subscriptions promise and is no rate of messages, and adds it to a record: the time after
# a worker's death, poison messages, a million native subscriptions. Builds and runs release programs, which takes
# some minutes. Needs Python 3.
#
#   bash bench/delivery.sh bench/record/DATE
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
record=${1:?the folder of the record}
target=${CARGO_TARGET_DIR:-target}/release
cargo build --release --quiet --package mezzenger-results --package mezzenger-server --package mezzenger-delivery
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a subcommand with its arguments, and keeps what it prints.
measure() {
    "$target/mezzenger-delivery" "$@" >"$work/figures.json"
    command="mezzenger-delivery $*"
}

# Adds values to the record: an expression of the figures, then key, unit and name.
add() {
    python3 -c 'import json, sys; figures = json.load(open(sys.argv[1])); print(*eval(sys.argv[2]))' \
        "$work/figures.json" "$1" |
        xargs "$target/mezzenger-results" add-measure "$record" "$2" "$3" "$command" "$4"
}

measure worker-death
add 'figures["rounds_ms"]' worker-death ms \
    'from killing a worker with 1,000 messages in flight until another one has all'
measure worker-death --durable
add 'figures["rounds_ms"]' worker-death-durable ms 'the same, of a durable group'
measure poison
add '[r["with_poison_p99_ms"] / r["p99_ms"] for r in figures["rounds"]]' poison '×' \
    'latency p99 of 1,000 messages a second to a group, with a poison message in each 1,000, of that without'
measure subscriptions
add '[figures["bytes_each"]]' native-subscription-1M B \
    'resident memory of a native subscription, of 1,000,000 over 1,000 connections'
measure subscriptions --filter prefix
add '[r["with_all_us"] / r["with_few_us"] for r in figures["rounds"]]' matching '×' \
    'time of a publish that fits 10 of 1,000,000 prefixes, of that with those 10 alone'
