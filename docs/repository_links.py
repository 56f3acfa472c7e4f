"""A preprocessor of mdBook: what a page links outside of the book, as RESULTS.md, leads to the repository.

The repository's address is the setting output.html.git-repository-url (MDBOOK_OUTPUT__HTML__GIT_REPOSITORY_URL). Without it, such links become
plain text, because a page that is not in the book cannot be shown.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from typing import Any

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def rewritten(text: str, page: str, address: str | None) -> str:
    """The text of a page, with its links out of the book changed."""
    parts = []
    is_code = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        parts.append(line if is_code else LINK.sub(lambda link: changed(link, page, address), line))
    return "".join(parts)


def changed(link: re.Match[str], page: str, address: str | None) -> str:
    image, shown, target = link.groups()
    path, mark, anchor = target.partition("#")
    if "://" in path or not path:
        return link.group()
    # Pages lie in docs/ of the repository.
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    if path.startswith("docs/"):
        return link.group()
    return f"{image}[{shown}]({address}/blob/main/{path}{mark}{anchor})" if address else shown


def walk(items: list[Any], address: str | None) -> None:
    """Changes all chapters, and those within them."""
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            chapter["content"] = rewritten(chapter["content"], chapter["path"] or "", address)
            walk(chapter["sub_items"], address)


def main() -> None:
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    address = context["config"].get("output", {}).get("html", {}).get("git-repository-url")
    walk(book["items"] if "items" in book else book["sections"], address)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
