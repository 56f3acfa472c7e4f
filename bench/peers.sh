#!/usr/bin/env bash
# Puts the same workloads on this project's server, a bare forwarder and other brokers, in turns, and
# keeps every result: bench/record/DATE/WORKLOAD/TARGET-ROUND.json, with a rate also its latencies: .hgrm.
# Linux with Debian's packages.
#
#   bash bench/peers.sh [--rounds N] [--duration TIME] [--only WORKLOAD] [--out FOLDER]
#
# Targets of a workload run one after the other, the next round in the opposite order (A B C C B A), each
# with a server started for that run on a free port of 127.0.0.1, at its defaults but for what the class of
# durability asks for. Workloads (the class is in the name where it is not memory):
#
#   8-to-32, 1-to-1, 64KiB           saturated
#   rate-1k, rate-10k, rate-100k     open loop, 1 to 1
#   ack-memory, ack-page-cache, ack-fsync   publish, deliver, acknowledge, forget; 8 to 1
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

WORKLOADS=(8-to-32 1-to-1 64KiB rate-1k rate-10k rate-100k ack-memory ack-page-cache ack-fsync)
rounds=5
duration=10s
only=
out=bench/record/$(date +%F)
while [ $# -gt 0 ]; do
    case $1:${2:-} in
        --help:*) usage; exit 0 ;;
        --rounds:?*) rounds=$2 ;;
        --duration:?*) duration=$2 ;;
        --only:?*) only=$2 ;;
        --out:?*) out=$2 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift 2
done
if [ -n "$only" ]; then
    if [[ " ${WORKLOADS[*]} " != *" $only "* ]]; then
        echo "peers: no workload '$only'; there are: ${WORKLOADS[*]}" >&2
        exit 2
    fi
    WORKLOADS=("$only")
fi

# Brokers.

packages=target/peers/packages
# Not in /tmp, which may lie in memory: journals belong on a disk.
mkdir -p target/peers
# Relative and always the same: it stands in the commands that results show.
scratch=target/peers/run
if ! mkdir "$scratch"; then
    echo "peers: if nobody else measures here, remove $scratch" >&2
    exit 1
fi
server=

stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# Unpacks the packages that a broker lacks, without installing them: their scripts want an init system.
unpack() {
    echo "peers: unpacking Debian's $1 into $packages" >&2
    mkdir -p "$packages/root"
    if ! apt-cache show "$1" >/dev/null 2>&1; then
        if [ "$(id -u)" -eq 0 ]; then
            apt-get update --quiet >&2
        else
            echo "peers: apt knows no $1: run 'apt-get update' as root" >&2
            exit 1
        fi
    fi
    local missing
    missing=$(apt-get install --simulate --no-install-recommends "$1" | awk '/^Inst/ { print $2 }')
    # shellcheck disable=SC2086 # one word a package
    (cd "$packages" && apt-get download --quiet $missing >&2)
    for package in "$packages"/*.deb; do
        dpkg --extract "$package" "$packages/root"
    done
    rm -f "$packages"/*.deb
}

# Prints the path of a broker's program.
program() {
    local name=$1 package=$2 folder
    for attempt in installed unpacked; do
        for folder in /usr/bin /usr/sbin "$PWD/$packages/root/usr/bin" "$PWD/$packages/root/usr/sbin"; do
            if [ -x "$folder/$name" ]; then
                echo "$folder/$name"
                return
            fi
        done
        if [ "$attempt" = installed ]; then unpack "$package"; fi
    done
    echo "peers: $package holds no $name" >&2
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts a broker and waits until it listens; its port is then in $port.
start_server() {
    local broker=$1 folder=$scratch/server
    rm -rf "$folder"
    mkdir "$folder"
    port=$(free_port)
    local redis_command=("${redis_server:-}" --bind 127.0.0.1 --port "$port" --dir "$folder" --save "")
    case $broker in
        nats) set -- "$nats_server" -a 127.0.0.1 -p "$port" -js -sd "$folder" ;;
        redis) set -- "${redis_command[@]}" --appendonly no ;;
        redis-everysec) set -- "${redis_command[@]}" --appendonly yes --appendfsync everysec ;;
        redis-always) set -- "${redis_command[@]}" --appendonly yes --appendfsync always ;;
        mosquitto)
            # With its default bound on queues it miscounts what waits for a client, and drops it.
            printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n' "$port" >"$folder/conf"
            if [ "$(id -u)" -eq 0 ]; then echo 'user root' >>"$folder/conf"; fi
            set -- "$mosquitto" -c "$folder/conf"
            ;;
    esac
    LD_LIBRARY_PATH=$libraries "$@" >"$scratch/log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.05
    done
    echo "peers: $broker did not start:" >&2
    cat "$scratch/log" >&2
    exit 1
}

# Runs.

failed=()

# One run: workload, round, target, broker to start or none, then loadgen's flags.
run() {
    local workload=$1 round=$2 target=$3 broker=$4
    shift 4
    local result=$out/$workload/$target-$round
    mkdir -p "$out/$workload"
    port=
    if [ "$broker" != none ]; then start_server "$broker"; fi
    local flags=("${@//PORT/$port}") files=()
    # Saturated, a latency says how long the queues are.
    if [[ $workload == rate-* ]]; then files=(--hgrm "$result.hgrm"); fi
    rm -rf "$scratch/own"
    mkdir "$scratch/own"
    if ! "$loadgen" "${flags[@]}" --json "${files[@]}" >"$result.json"; then
        failed+=("$workload/$target-$round")
    fi
    stop_server
    echo "peers: $workload, round $round: $target" >&2
}

# Targets of a workload: a name, the broker to start, loadgen's flags for it.
own='mezzenger none --target mezzenger'
forwarder='zmq-forwarder none --target zmq-forwarder'
nats='nats nats --target nats://127.0.0.1:PORT'
redis='redis redis --target redis://127.0.0.1:PORT'
mqtt0='mqtt-qos0 mosquitto --target mqtt://127.0.0.1:PORT?qos=0 --durability memory --inflight 512'
mqtt1='mqtt-qos1 mosquitto --target mqtt://127.0.0.1:PORT?qos=1 --durability memory --inflight 512'
journal="--target mezzenger --persist-file $scratch/own/journal --fsync"

targets() {
    case $1 in
        8-to-32 | 1-to-1) printf '%s\n' "$own" "$forwarder" "$nats" "$redis" "$mqtt0" "$mqtt1" ;;
        64KiB | rate-*) printf '%s\n' "$own" "$forwarder" "$nats" "$redis" ;;
        ack-memory)
            printf '%s\n' "$own" 'jetstream-memory nats --target nats+js://127.0.0.1:PORT?storage=memory' \
                'redis-streams redis --target redis+streams://127.0.0.1:PORT'
            ;;
        ack-page-cache)
            printf '%s\n' "mezzenger-never none $journal never" "mezzenger-interval none $journal interval=1s" \
                'jetstream-file nats --target nats+js://127.0.0.1:PORT?storage=file' \
                'redis-streams-everysec redis-everysec --target redis+streams://127.0.0.1:PORT'
            ;;
        ack-fsync)
            printf '%s\n' "mezzenger none $journal always" \
                'redis-streams-always redis-always --target redis+streams://127.0.0.1:PORT'
            ;;
    esac
}

load() {
    case $1 in
        8-to-32) echo --pubs 8 --subs 32 ;;
        1-to-1) echo --pubs 1 --subs 1 ;;
        64KiB) echo --size 65536 ;;
        rate-1k) echo --rate 1000 ;;
        rate-10k) echo --rate 10000 ;;
        rate-100k) echo --rate 100000 ;;
        ack-*) echo --pubs 8 --subs 1 --ack ;;
    esac
}

nats_server=$(program nats-server nats-server)
redis_server=$(program redis-server redis-server)
mosquitto=$(program mosquitto mosquitto)
libraries=$(find "$PWD/$packages/root/usr/lib" -maxdepth 1 -type d -name "*-linux-gnu*" 2>/dev/null | paste -sd:) || true
cargo build --release --quiet --package loadgen --features peers
loadgen=${CARGO_TARGET_DIR:-target}/release/loadgen

for round in $(seq "$rounds"); do
    for workload in "${WORKLOADS[@]}"; do
        mapfile -t order < <(if [ $((round % 2)) -eq 1 ]; then targets "$workload"; else targets "$workload" | tac; fi)
        read -ra flags <<<"$(load "$workload")"
        for line in "${order[@]}"; do
            read -ra target <<<"$line"
            # Mosquitto is far slower than the others; a short run says so as well.
            time=$duration
            if [[ ${target[0]} == mqtt-* ]]; then time=3s; fi
            run "$workload" "$round" "${target[@]}" "${flags[@]}" --duration "$time"
        done
    done
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "peers: these runs lost something, or failed: ${failed[*]}" >&2
    exit 1
fi
