"""Writes the interop matrix, as Markdown, from the rows that the tests left.

The first argument is the directory of the rows.
"""

import json
import pathlib
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


def main():
    rows = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
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
