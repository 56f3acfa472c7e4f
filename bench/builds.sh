#!/usr/bin/env bash
# Measures what a newcomer waits for, and adds it to a record: the first build of the server, the README's
# first command and its test command, each in a fresh clone of what is committed, with the dependencies
# downloaded before. Takes a quarter of an hour, in which nothing else should run.
#
#   bash bench/builds.sh bench/record/DATE [KEY]
#
# With a key, only that one is measured.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
record=$PWD/${1:?the folder of the record}
only=${2:-}
results=$PWD/${CARGO_TARGET_DIR:-target}/release/mezzenger-results
cargo build --release --quiet --package mezzenger-results
unset CARGO_TARGET_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command in a clone of its own, and adds the seconds that it took: key, name, command.
measure() {
    [[ -z $only || $only == "$1" ]] || return 0
    git clone --quiet . "$work/clone"
    (
        cd "$work/clone"
        cargo fetch --locked --quiet
        begin=$EPOCHREALTIME
        $3 >"$work/said" 2>&1 || { tail -n 50 "$work/said" >&2; exit 1; }
        echo "$begin $EPOCHREALTIME" | awk '{ printf "%.0f\n", $2 - $1 }'
    ) >"$work/seconds"
    "$results" add-measure "$record" "$1" s "$3" "$2" $(cat "$work/seconds")
    rm -rf "$work/clone"
}

measure build-server 'first build of the server' 'cargo build --release -p mezzenger-server'
measure build-loadgen "the README's first command, from a clone" 'cargo run --release -p loadgen -- --pubs 8 --subs 32'
measure test-command "the README's test command, from a clone" 'cargo test --workspace'
