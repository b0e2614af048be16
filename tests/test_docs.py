"""The documentation is true: its Python runs, its commands and jobs exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from quadra_matrix.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.relative_to(ROOT),
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


@dataclass(frozen=True)
class Block:
    """The text between two fences."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            if found[1] in languages:
                yield Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2])


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Return where each call of ``program`` stands in a shell block, and its words."""
    lines = [(str(block), line) for block in blocks("sh", "console") for line in block.text.splitlines()]
    calls = ((place, line.removeprefix("$ ").split(" #")[0]) for place, line in lines)
    return [(place, shlex.split(call)[1:]) for place, call in calls if re.match(rf"(\.venv/bin/)?{program}( |$)", call)]


@pytest.mark.parametrize("block", list(blocks("python")), ids=str)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    above = "\n" * (block.line - 1)  # so that a traceback names the line of the page

    exec(compile(above + block.text, str(block.page), "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize(("place", "words"), commands("quadra"))
def test_commands_exist_with_their_options(place: str, words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{place}: quadra has no command {words[0]}"
        command, words = found, words[1:]

    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    used = {word.split("=")[0] for word in words if word.startswith("-")}
    assert used <= known | {"--help", "-h"}


@pytest.mark.parametrize(("place", "words"), commands("make"))
def test_jobs_exist(place: str, words: list[str]) -> None:
    jobs = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {word for word in words if "=" not in word} <= jobs, place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert not missing
