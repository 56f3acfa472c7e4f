"""The guide's programs and the examples, each run, and the interface as its stubs say."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import mezzenger
import pytest
from conftest import LONG, run
from mezzenger import Server, _core, aio

PACKAGE = Path(__file__).parents[1]
DOCS = PACKAGE.parent / "docs"
# Those of the original's page need pyzmq alone, and the project's own tests run them.
MIGRATING = [page for page in sorted((DOCS / "migrating").glob("*.md")) if page.stem != "original"]
PAGES = [PACKAGE / "README.md", DOCS / "python.md", *MIGRATING]
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+^```\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
PROGRAMS = {f"{page.stem}-{n}": block for page in PAGES for n, block in enumerate(BLOCK.findall(page.read_text()), 1)}


def test_each_page_has_programs() -> None:
    assert len(PROGRAMS) >= 8 and {name.rsplit("-", 1)[0] for name in PROGRAMS} == {page.stem for page in PAGES}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_a_page_prints_what_it_says(program: str) -> None:
    program, output = PROGRAMS[program]
    assert run(program) == (0, output, "")


def test_the_program_of_the_projects_readme_prints_its_message(server: Server) -> None:
    text = (PACKAGE.parent / "README.md").read_text()
    program = text.split("```python\n")[1].split("```")[0]
    connects = "mezzenger.Client()"
    assert connects in program
    assert run(program.replace(connects, f"mezzenger.Client({server.url!r})")) == (0, "pack this 1\n", "")


def example(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", str(PACKAGE / "examples" / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_order_workers(server: Server) -> None:
    out, error = example("order_workers.py", server.url).communicate(timeout=LONG)
    lines = out.splitlines()
    assert error == "" and sorted(lines[:5]) == [f"packed {it}" for it in ("bread", "coffee", "milk", "sugar", "tea")]
    assert lines[5].endswith("there are no unicorns") and len(lines) == 6


def test_the_fan_out(server: Server) -> None:
    out, error = example("fan_out.py", server.url).communicate(timeout=LONG)
    prices = "{'price.bread': 3, 'price.milk': 1, 'price.tea': 7}"
    assert (sorted(out.splitlines()), error) == ([f"display {n}: {prices}" for n in range(3)], "")


def test_the_background_events(server: Server) -> None:
    process = example("background_events.py", server.url, "0")
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}/welcome/ada", timeout=LONG) as answer:
            assert answer.status == 202
        assert process.stdout.readline() == "welcome, ada\n"
    finally:
        process.kill()
        process.communicate()


def test_all_that_is_public_is_documented_and_has_a_stub() -> None:
    stub = (PACKAGE / "package" / "mezzenger" / "_core.pyi").read_text()
    for module in (mezzenger, aio):
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.isclass(thing):
                continue
            assert thing.__doc__, name
            for member in dir(thing):
                if member.startswith("_") or member in dir(TimeoutError):
                    continue
                assert inspect.getdoc(getattr(thing, member)) is not None or hasattr(thing, "__dataclass_fields__"), (
                    f"{name}.{member}"
                )
    for name in dir(_core):
        thing = getattr(_core, name)
        if not name.startswith("__") and inspect.isclass(thing):
            assert re.search(rf"^class {name}\b", stub, re.MULTILINE), name
            for member in vars(thing):
                assert member.startswith("__") or re.search(rf"def {member}\b", stub), f"{name}.{member}"
