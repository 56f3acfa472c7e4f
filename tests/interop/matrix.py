"""Writes the interop matrix, as Markdown, from the rows that the tests left.

The first argument is the directory of the rows. The second is the file for what RESULTS.md shows of the
matrix: the day, the commit, and of each client its version and what became of each step.
"""

import datetime
import json
import pathlib
import subprocess
import sys


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |")
    print()


def shown(result):
    if result == "pass":
        return "yes"
    if result.startswith("lacks: "):
        return "-"
    return "**NO**"


# What the server is made of.
SOURCES = ["Cargo.lock", "engine/src", "engine/Cargo.toml", "server"]


def git(*words):
    command = ["git", *words, "--", *SOURCES]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def commit():
    """The last commit that changed the server; -dirty follows when it changed since."""
    changed = git("status", "--porcelain")
    return git("log", "-1", "--abbrev=12", "--format=%h") + ("-dirty" if changed else "")


def write_record(path, rows):
    clients = [{key: row[key] for key in ("title", "version", "skipped", "steps") if key in row} for row in rows]
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    record = {"date": today, "commit": commit(), "clients": clients}
    pathlib.Path(path).write_text(json.dumps(record, indent=2) + "\n")


def main():
    rows = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
    if len(sys.argv) > 2:
        write_record(sys.argv[2], rows)
    run = [row for row in rows if "skipped" not in row]
    notes = ["%s: SKIPPED: %s" % (row["title"], row["skipped"]) for row in rows if "skipped" in row]

    print("## What each library does\n")
    steps = [step["step"] for step in run[0]["steps"]] if run else []
    body = []
    for row in run:
        body.append([row["version"]] + [shown(step["result"]) for step in row["steps"]])
        for step in row["steps"]:
            if step["result"] != "pass":
                notes.append("%s, %s: %s" % (row["title"], step["step"], step["result"]))
    table(["client"] + steps, body)
    for note in notes:
        print("- " + " ".join(note.split()))

    print("\n## What each library says on the wire\n")
    head = ["client", "ZMTP", "bytes sent in each stage", "mechanism, as-server", "READY of REQ", "READY of SUB"]
    head += ["subscribes, cancels by", "PING of REQ", "PING of SUB", "to a 3.0 server"]
    body = []
    for row in run:
        facts = row["facts"]
        if not facts:
            continue
        body.append(
            [
                row["title"],
                "%s (server: %s)" % (facts["version"], facts["towards"]),
                ", ".join(map(str, facts["stages"])),
                "%s, %s" % (facts["mechanism"], facts["as_server"]),
                ", ".join(facts["req"]) or "none",
                ", ".join(facts["sub"]) or "none",
                "%s, %s" % (facts["subscribe"], facts["cancel"]),
                facts["ping_req"] or "none",
                facts["ping_sub"] or "none",
                "%s; PING: %s" % (facts["subscribe_3_0"] or "none", facts["ping_3_0"] or "none"),
            ]
        )
    table(head, body)
    print(
        "Stages: before it hears anything; after the signature (10 bytes); after the revision byte; "
        "after the rest of the greeting; after READY."
    )


if __name__ == "__main__":
    main()
