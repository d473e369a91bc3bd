"""The pages of the documentation as tests see them: links, headings, fenced blocks, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / n for n in ("README.md", "CONTRIBUTING.md", "sample_data/README.md"))])

_FENCE = re.compile(r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```", re.M | re.S)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``mark`` is the comment right above it, such as "not run: needs a cluster"."""

    page: Path
    line: int
    language: str
    body: str
    mark: str

    @property
    def is_run(self) -> bool:
        """Whether the page says nothing against running it."""
        return self.language in ("bash", "python") and not self.mark.startswith("not run")


def name(page: Path) -> str:
    """Path inside the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks from top to bottom."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["body"], found["mark"] or "")


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of links and pictures that lead to no other site."""
    return [link for link in _LINK.findall(prose(page)) if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Ids of the headings, as GitHub and MkDocs both make them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", title)) for title in titles)
    return {re.sub(r"\s", "-", title.strip().lower()) for title in plain}


def commands(body: str) -> Iterator[list[str]]:
    """Arguments of every ``napari-connecto`` in a block of shell."""
    for line in body.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        command: list[str] = []
        for token in [*lexer, ";"]:
            if set(token) <= set("();<>|&"):
                if command[:1] == ["napari-connecto"]:
                    yield command[1:]
                command = []
            else:
                command.append(token)


def mentioned(page: Path) -> Iterator[list[str]]:
    """Arguments of ``napari-connecto COMMAND ...`` in running text."""
    for code in _CODE.findall(prose(page)):
        if code.startswith("napari-connecto ") and "..." not in code:
            yield from commands(code)


def options(page: Path) -> set[str]:
    """Options mentioned alone in running text, ``--audit 2000`` as ``--audit``."""
    return {code.split()[0] for code in _CODE.findall(prose(page)) if re.match(r"--[a-z]", code)}
