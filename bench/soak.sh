#!/usr/bin/env bash
# The soak: a server with a journal and --http under mixed load, sampled each 10 s, and the verdict: whether something was
# lost, and whether memory, descriptors and latency are at the end what they were after the first minutes. Builds and runs
# release programs on free ports of 127.0.0.1, ends by itself some minutes after MINUTES, and ends only what it started.
# Needs curl and Python 3.
#
#   bash bench/soak.sh FOLDER [MINUTES]
#
# FOLDER    for the record: samples.csv (the server, each 10 s, with the latency of the plain messages), plain.csv (those
#           messages, second by second), loads.jsonl (the results of loadgen), verdict.json
# MINUTES   60 unless given, 2 at least; those that are compared are the second sixth and the last one: minutes 10 to 20
#           and 50 to 60 of an hour. A short run tries the load out: the server's memory still grows then
#
# The load, all of it at the same time:
#
#   plain         2 publishers, 4 subscribers, 2500 messages/s: the latency that is judged
#   acknowledged  2 publishers, 2 subscribers, 800 messages/s of 32 to 2048 bytes, half of which ask for acknowledgement
#   churn         300 messages/s; 4 subscribers leave and come back each second
#   slow          as many messages of 16 KiB as a subscriber lets through that takes 5 ms for each
#   requests      100 requests/s
#   jobs          20 jobs/s for the 4 workers of a durable group; each 3 s one of them is killed (-9) and started again;
#                 one job in 50 asks for a later attempt at the first
#   observer      sees everything, and is stopped (SIGSTOP) for 20 s of each minute
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
out=${1:?the folder of the record}
minutes=${2:-60}
if ! [[ $minutes =~ ^[0-9]+$ ]] || [ "$minutes" -lt 2 ]; then
    echo "soak: MINUTES is a number, 2 at least, not '$minutes'" >&2
    exit 2
fi
seconds=$((minutes * 60))
workers=4
jobs_per_s=20
# After the load: how long the last messages may take to arrive and to be acknowledged.
drain_s=240

target=${CARGO_TARGET_DIR:-target}/release
cargo build --release --quiet --locked --package mezzenger-server --package mezzenger-cli --package loadgen
work=$(mktemp -d)
mkdir -p "$out"
# Copies: a build during the run changes nothing.
cp "$target/mezzenger-server" "$target/mezzenger" "$target/loadgen" "$work"

# What runs, by name.
declare -A pids=()

# Starts a program in the background: its name here, then the command.
start() {
    local name=$1
    shift
    "$@" >>"$work/$name.out" 2>>"$work/$name.log" &
    pids[$name]=$!
}

# Ends one with a signal, and waits for it; its exit code.
end() {
    local name=$1 signal=$2 code=0
    kill -CONT "${pids[$name]}" 2>/dev/null || true
    kill "-$signal" "${pids[$name]}" 2>/dev/null || true
    wait "${pids[$name]}" 2>/dev/null || code=$?
    unset "pids[$name]"
    return "$code"
}

clean_up() {
    for name in "${!pids[@]}"; do
        end "$name" KILL || true
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

read -r publish receive http < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in sockets))')
start server "$work/mezzenger-server" --pub-port "$publish" --recv-port "$receive" --http "127.0.0.1:$http" \
    --persist-file "$work/journal" --fsync interval=50ms
server=${pids[server]}
for _ in $(seq 200); do
    if grep -q ready "$work/server.out"; then break; fi
    sleep 0.1
done

# One of loadgen's loads: its name, then its flags.
loads=()
load() {
    local name=$1
    shift
    start "$name" "$work/loadgen" --server 127.0.0.1 --port "$receive" --duration "${seconds}s" --warmup 0 --json "$@"
    loads+=("$name")
}

# The worker with this number. A job is done when its line is in the file.
worker() {
    # shellcheck disable=SC2016 # the worker's shell expands it
    start "worker-$1" "$work/mezzenger" --port "$receive" work soak.jobs --group soakers -- sh -c '
        read -r job
        if [ $((job % 50)) -eq 0 ] && [ "$MEZZENGER_ATTEMPT" = 1 ]; then exit 75; fi
        sleep 0.1
        echo "$job" >>"$0"' "$work/done"
}

# Numbers, a line each, evenly enough, as long as the load lasts.
feed() {
    local next=1
    while [ "$SECONDS" -lt "$seconds" ]; do
        seq "$next" $((next + jobs_per_s - 1)) || return 0
        next=$((next + jobs_per_s))
        sleep 1
    done
}

columns=time_s,rss_kb,descriptors,threads,cpu_s,machine_cpu_s,journal_bytes,pending,unsent_bytes,connections,subscriptions
columns+=,accepted,delivered,acknowledged,redelivered,group_redelivered,dropped,held_publishers,slow_subscribers,disconnected,dead_letters
columns+=,latency_p50_us,latency_p99_us

# A line about the server. Processor times are totals; that of the machine is of all its processes.
sample() {
    local descriptors=("/proc/$server/fd/"*)
    curl --silent --max-time 5 "127.0.0.1:$http/metrics" >"$work/metrics" || echo "soak: no metrics" >&2
    awk -v time="$SECONDS" -v descriptors="${#descriptors[@]}" -v journal="$(stat --format %s "$work/journal")" '
        FILENAME ~ /status$/ { if ($1 == "VmRSS:") rss = $2; if ($1 == "Threads:") threads = $2; next }
        FILENAME ~ /\/[0-9]+\/stat$/ { cpu = ($14 + $15) / 100; next }
        FILENAME == "/proc/stat" { if ($1 == "cpu") machine = ($2 + $3 + $4 + $7 + $8) / 100; next }
        !/^#/ { name = $0; sub(/[{ ].*/, "", name); sub(/^mezzenger_/, "", name); of[name] += $NF }
        END {
            OFS = ","
            print time, rss, descriptors, threads, cpu, machine, journal, of["pending_messages"] + 0,
                of["unsent_bytes"] + 0, of["connections"] + 0, of["subscriptions"] + 0, of["messages_accepted_total"] + 0,
                of["messages_delivered_total"] + 0, of["messages_acknowledged_total"] + 0,
                of["messages_redelivered_total"] + 0, of["group_messages_redelivered_total"] + 0,
                of["messages_dropped_total"] + 0, of["held_publishers"] + 0, of["slow_subscribers"] + 0,
                of["slow_subscribers_given_up_total"] + 0, of["dead_letters"] + 0
        }' "/proc/$server/status" "/proc/$server/stat" /proc/stat "$work/metrics" >>"$work/samples"
}

"$work/mezzenger" --port "$receive" group create soak.jobs soakers >&2
for number in $(seq "$workers"); do worker "$number"; done
"$work/mezzenger" --port "$receive" sub 'loadgen.>' >/dev/null 2>>"$work/observer.log" &
pids[observer]=$!
SECONDS=0
load plain --pubs 2 --subs 4 --names 4 --rate 2500 --server-pid "$server" --csv "$out/plain.csv"
load acknowledged --pubs 2 --subs 2 --names 2 --size 32..2048 --rate 800 --ack-ratio 0.5
load churn --churn 4 --rate 300 --ack-ratio 0.2
load slow --subs 2 --slow-subs 1 --consumer-latency 5ms --size 16384
load requests --request --pubs 2 --rate 100
"$work/mezzenger" --port "$receive" pub soak.jobs - --lines --ack < <(feed) >>"$work/jobs.out" 2>>"$work/jobs.log" &
pids[jobs]=$!

kills=0
next_kill=3
next_sample=10
while [ "$SECONDS" -lt "$seconds" ]; do
    sleep 0.5
    if ! kill -0 "$server" 2>/dev/null; then
        echo "soak: the server ended:" >&2
        tail -20 "$work/server.log" >&2
        exit 1
    fi
    if [ "$SECONDS" -ge "$next_kill" ]; then
        number=$((kills % workers + 1))
        end "worker-$number" KILL || true
        worker "$number"
        kills=$((kills + 1))
        next_kill=$((next_kill + 3))
    fi
    case $((SECONDS % 60)) in
        2[0-9] | 3[0-9]) kill -STOP "${pids[observer]}" ;;
        *) kill -CONT "${pids[observer]}" ;;
    esac
    if [ "$SECONDS" -ge "$next_sample" ]; then
        sample
        next_sample=$((next_sample + 10))
    fi
done

# The end: the loads verify what they received, the workers do what is left.
deadline=$((SECONDS + drain_s))
failed=
for name in "${loads[@]}" jobs; do
    while kill -0 "${pids[$name]}" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.2; done
    end "$name" TERM || failed+=" $name ended with $?;"
    if [ -s "$work/$name.log" ]; then sed "s/^/soak: $name: /" "$work/$name.log" >&2; fi
done
while [ "$SECONDS" -lt "$deadline" ]; do
    sleep 2
    sample
    if tail -1 "$work/samples" | awk -F, '{ exit $8 != 0 }'; then break; fi
done
end observer INT || true
for number in $(seq "$workers"); do end "worker-$number" TERM || true; done
end server TERM || failed+=" the server ended with $?;"
# Slow and stopped subscribers are a part of the load; one that the server waits for no longer is not.
grep -v ' INFO \| a subscriber does not keep up\| disconnected a subscriber' "$work/server.log" | head -20 >&2 || true

python3 - "$work" "$out" "$seconds" "$columns" "$kills" "$failed" "${loads[@]}" <<'PYTHON'
import csv, json, sys
from collections import Counter
from statistics import median

work, out, seconds, columns, kills, failed, *loads = sys.argv[1:]
seconds = int(seconds)
columns = columns.split(",")
failures = [text.strip() for text in failed.split(";") if text.strip()]

with open(f"{out}/plain.csv") as file:
    plain = [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]
with open(f"{work}/samples") as file:
    samples = [dict(zip(columns, map(float, row))) for row in csv.reader(file)]
# A point of latency is the median of what its ten seconds had each.
for sample in samples:
    of_these = [row for row in plain if sample["time_s"] - 10 < row["time_s"] <= sample["time_s"]]
    for key in ("latency_p50_us", "latency_p99_us"):
        sample[key] = median(row[key] for row in of_these) if of_these else float("nan")
with open(f"{out}/samples.csv", "w") as file:
    print(*columns, sep=",", file=file)
    for sample in samples:
        values = (sample[column] for column in columns)
        print(*("" if value != value else f"{value:.10g}" for value in values), sep=",", file=file)

results = {}
with open(f"{out}/loads.jsonl", "w") as file:
    for name in loads:
        try:
            with open(f"{work}/{name}.out") as of_load:
                results[name] = json.load(of_load)
        except ValueError:
            failures.append(f"{name} has no result")
            continue
        print(json.dumps({"load": name, "result": results[name]}), file=file)
        failures += [f"{name}: {failure}" for failure in results[name]["failures"]]

# A job was published when the publisher could read the one after it: all of them, as it ended well.
with open(f"{work}/done") as file:
    done = Counter(int(line) for line in file)
missing = set(range(1, max(done) + 1)) - set(done)
with open(f"{work}/metrics") as file:
    names = dict(line.rsplit(" ", 1) for line in file if line.startswith("mezzenger_name_messages_accepted_total"))
published = sum(int(float(value)) for name, value in names.items() if '"soak.jobs"' in name)
if missing or len(done) != published:
    failures.append(f"jobs: {published} published, {len(done)} done; first ones missing: {sorted(missing)[:5]}")
last = samples[-1]
for what in ("pending", "dead_letters"):
    if last[what]:
        failures.append(f"{last[what]:.0f} {what} at the end")

# The second sixth and the last one.
part = seconds / 6
def between(rows, begin, end, key):
    return [row[key] for row in rows if begin < row["time_s"] <= end and row[key] == row[key]]
def both(rows, key, of):
    return [of(between(rows, *window, key)) for window in ((part, 2 * part), (5 * part, 6 * part))]
memory, threads = both(samples, "rss_kb", median), both(samples, "threads", max)
descriptors, latency = both(samples, "descriptors", max), both(plain, "latency_p99_us", median)
def busy(key):
    totals = both(samples, key, lambda values: (values[-1] - values[0]) / (10 * (len(values) - 1)))
    return [round(total, 3) for total in totals]
judged = {
    # Up to four subscribers of the churn, and one worker, may be there or not when a sample is taken.
    "resident memory, kB, median": (memory, memory[1] <= 1.10 * memory[0]),
    "descriptors, maximum": (descriptors, descriptors[1] <= descriptors[0] + 5),
    "threads, maximum": (threads, threads[1] <= threads[0]),
    "latency p99 of a second, us, median": (latency, latency[1] <= 1.25 * latency[0]),
}
verdict = {
    "minutes": seconds / 60,
    "compared_minutes": [[part / 60, 2 * part / 60], [5 * part / 60, seconds / 60]],
    "flat": {what: {"first": of[0], "last": of[1], "holds": holds} for what, (of, holds) in judged.items()},
    # Those in which the stopped observer held publishers back, or the machine was busy with something else.
    "seconds_with_p99_over_100_ms": both(plain, "latency_p99_us", lambda values: sum(value > 1e5 for value in values)),
    "server_cpu_cores": busy("cpu_s"),
    "machine_cpu_cores": busy("machine_cpu_s"),
    "accepted": last["accepted"],
    "delivered": last["delivered"],
    "journal_bytes": [min(s["journal_bytes"] for s in samples), max(s["journal_bytes"] for s in samples)],
    "stalled_subscribers_disconnected": int(last["disconnected"]),
    "pending_max": max(sample["pending"] for sample in samples),
    "worker_kills": int(kills),
    "jobs": {"published": published, "done": len(done), "done_again": sum(done.values()) - len(done)},
    "lost": sum(r["lost"] + (r["churn"] or {}).get("lost", 0) for r in results.values()),
    "churn_sessions": sum((r["churn"] or {}).get("sessions", 0) for r in results.values()),
    "failures": failures,
}
verdict["passed"] = not failures and all(holds for _, holds in judged.values())
with open(f"{out}/verdict.json", "w") as file:
    json.dump(verdict, file, indent=1)
    file.write("\n")
print(json.dumps(verdict, indent=1))
sys.exit(not verdict["passed"])
PYTHON
