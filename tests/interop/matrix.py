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
    head = ["client", "ZMTP", "bytes before it hears any", "mechanism, as-server", "REQ's READY", "SUB's READY"]
    head += ["subscribes by", "cancels by", "PING of REQ", "PING of SUB"]
    body = []
    for row in run:
        facts = row["facts"]
        if not facts:
            continue
        body.append(
            [
                row["title"],
                "%s (server: %s)" % (facts["version"], facts["towards"]),
                str(facts["first_bytes"]),
                "%s, %s" % (facts["mechanism"], facts["as_server"]),
                ", ".join(facts["req"]) or "no READY",
                ", ".join(facts["sub"]) or "no READY",
                facts["subscribe"],
                facts["cancel"],
                facts["ping_req"],
                facts["ping_sub"],
            ]
        )
    table(head, body)


if __name__ == "__main__":
    main()
