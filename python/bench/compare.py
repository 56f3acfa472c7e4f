"""Puts the same load on Mezzenger and on other brokers' Python clients: see README.md. Each role is a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import loads
import peers

HERE = Path(__file__).parent
ORIGINAL = "MEZZENGER_ORIGINAL"
"""The environment variable with the folder of the original, ported to Python 3."""
WAIT = 120.0
"""How long a role may take, in seconds."""


def free_port() -> int:
    """A free port whose next one is free, too: the original's servers have two."""
    while True:
        with socket.socket() as probe, socket.socket() as following:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                following.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def server_command(system: str, port: int, folder: str) -> list[str] | None:
    """What starts a system's server; None when it is not here; empty when it needs none."""
    if system == "pyzmq":
        return []
    if system.startswith("mezzenger"):
        program = "import sys; from mezzenger import _programs; sys.exit(_programs.server())"
        return [sys.executable, "-c", program, f"--pub-port={port + 1}", f"--recv-port={port}"]
    if system == "original":
        server = Path(os.environ.get(ORIGINAL, "")) / "mezzenger_server.py"
        return [sys.executable, str(server), f"--pub-port={port + 1}", f"--recv-port={port}"] if server.is_file() else None
    names = {"nats-py": "nats-server", "redis-py": "redis-server", "paho-mqtt": "mosquitto"}
    found = shutil.which(names[system]) or shutil.which(names[system], path=str(Path(sys.executable).parent))
    if found is None:
        return None
    arguments = {
        "nats-py": ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder],
        "redis-py": ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder],
        "paho-mqtt": ["-p", str(port)],
    }
    return [found, *arguments[system]]


@contextmanager
def server(system: str, port: int) -> Iterator[bool]:
    """Runs a system's server; whether there is one."""
    with tempfile.TemporaryDirectory() as folder:
        command = server_command(system, port, folder)
        if not command:
            yield command is not None
            return
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + WAIT
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if time.monotonic() > end or process.poll() is not None:
                        raise
                    time.sleep(0.01)
            yield True
        finally:
            process.terminate()
            process.wait(WAIT)


def role(name: str, system: str, work: str, port: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "compare.py"), "--role", name, "--systems", system, "--works", work]
    command += ["--port", str(port), "--messages", str(count)]
    environment = dict(os.environ)
    if system == "original":
        # Before the modules of the same names in the environment.
        environment["PYTHONPATH"] = environment[ORIGINAL]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return text.strip()


def measure(system: str, work: str, count: int) -> dict[str, object] | None:
    """One run: what was measured, or None without a server."""
    port = free_port()
    with server(system, port) as is_there:
        if not is_there:
            return None
        ends: list[subprocess.Popen[str]] = []
        try:
            # A pyzmq publisher is the one that listens.
            ends = [role("subscriber", system, work, port, count), role("publisher", system, work, port, count)]
            subscriber, publisher = ends
            assert line(subscriber) == "ready" and line(publisher) == "ready"
            assert publisher.stdin is not None
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
            sent, received = json.loads(line(publisher)), json.loads(line(subscriber))
        finally:
            for process in ends:
                process.kill()
                process.wait()
    found: dict[str, object] = {"system": system, "work": work, "messages": count, "verified": received["verified"]}
    if work == "request":
        return found | {"p50_us": sent["p50_us"], "p99_us": sent["p99_us"]}
    seconds = received["last"] - sent["first"]
    found |= {"seconds": round(seconds, 4), "per_second": round(count / seconds)}
    return found | {"publisher_per_second": round(count / (sent["last"] - sent["first"]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", default=",".join(peers.SYSTEMS))
    parser.add_argument("--works", default=",".join(loads.WORKS))
    parser.add_argument("--messages", type=int, help="messages of each run; without it as many as take some seconds")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each run takes")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--role", choices=["publisher", "subscriber"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.role:
        peers.run(said.role, said.systems, said.works, said.port, said.messages)
        return
    for work in said.works.split(","):
        for system in said.systems.split(","):
            if work not in peers.SYSTEMS[system]:
                continue
            count = said.messages
            if count is None:
                probe = measure(system, work, loads.PROBE[work])
                if probe is None:
                    print(f"{system}: its server is not here", file=sys.stderr)
                    continue
                rate = probe.get("per_second") or 1e6 / float(str(probe["p50_us"]))
                count = max(loads.PROBE[work], int(float(str(rate)) * said.seconds))
            for _ in range(said.runs):
                found = measure(system, work, count)
                if found is not None:
                    print(json.dumps(found | {"machine_cores": os.cpu_count()}), flush=True)


if __name__ == "__main__":
    main()
