"""README and docs as blocks of code: what is in them, and what each needs to run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
)

FENCE = re.compile(r"(?:<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?:(?:    .*)?\n)*    .+\n", re.MULTILINE)
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")  # SPACE, RUN, PATH: what the reader fills in


@dataclass(frozen=True)
class Block:
    """A block of code of one page.

    Attributes:
        page: path of the page from the repository's root.
        line: of the page, where it begins.
        language: ``python``, ``yaml``, ``sh`` or what else is behind the fence.
        text: its lines.
        note: the HTML comment before it: ``not run: REASON``, ``in: FOLDER``, or nothing.
    """

    page: str
    line: int
    language: str
    text: str
    note: str = ""

    @property
    def run(self) -> bool:
        return not self.note.startswith("not run: ")

    @property
    def folder(self) -> str:
        """Where it runs, from where the page's other blocks run."""
        return self.note.removeprefix("in: ") if self.note.startswith("in: ") else "."

    @property
    def commands(self) -> list[list[str]]:
        """Of a shell block: its commands as words, comments left out."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Its blocks, fenced or indented, from the first to the last."""
    text = read(page)
    found = [_block(page, text, match, match["language"], match["text"], match["note"] or "") for match in FENCE.finditer(text)]
    outside = FENCE.sub(lambda match: re.sub(r".", "x", match[0]), text)  # same places, and nothing that looks indented
    found += [_block(page, text, match, "sh", re.sub(r"^    ", "", match[0], flags=re.MULTILINE)) for match in INDENTED.finditer(outside)]
    return sorted(found, key=lambda block: block.line)


def _block(page: str, text: str, match: re.Match[str], language: str, code: str, note: str = "") -> Block:
    return Block(page, text.count("\n", 0, match.start()) + 1, language, code, note)


def prose(page: str) -> str:
    """The page without its blocks."""
    return INDENTED.sub("\n", FENCE.sub("\n", read(page)))


def spans(page: str) -> list[str]:
    """What stands between single backticks in the prose."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


def anchors(path: Path) -> set[str]:
    """Names that links to the headings of a page end with, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def concrete(words: list[str]) -> bool:
    """Whether a command can be run as it is printed: nothing in it is for the reader to fill in."""
    return not any(PLACEHOLDER.search(word) for word in words)
