"""Text from outside, as it may be shown: in a message, a terminal, HTML, Markdown and source. One place for each.

Names of classes, files and notes may hold anything: line ends, control characters, characters that turn the direction of what
follows, markup. Loads nothing.
"""

from __future__ import annotations

import html as _html
import re
import reprlib
from collections.abc import Sequence

NBSP = "\N{NO-BREAK SPACE}"
"""Goes between a number and its unit, so that no line breaks there."""

SHOWN = 100
"""Characters of a value that a message shows."""


def clean(text: object) -> str:
    """One line of printable characters. Bidirectional and other control characters become a replacement character."""
    return "".join(c if c.isprintable() or c == NBSP else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def flat(text: object) -> str:
    """`clean` with ordinary blanks only, so that terminals and logs can be searched."""
    return clean(text).replace(NBSP, " ")


def printable(value: object) -> str:
    """A value on one line: characters that cannot be printed are left out, and each gap is one blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def cut(text: str, length: int = SHOWN) -> str:
    """The first characters of a text; dots say that there is more."""
    return text if len(text) <= length else f"{text[:length]}..."


def several(number: int, noun: str) -> str:
    """``1 epoch``, ``5 epochs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def shown(value: object) -> str:
    """A value as a message shows it: as Python writes it, on one line, and no more than its first hundred characters."""
    return cut(flat(_REPR.repr(value)))


def html(text: object) -> str:
    """`clean`, escaped for HTML."""
    return _html.escape(clean(text))


def markdown(value: object) -> str:
    """`printable`, and nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~&$])", r"\\\1", printable(value))


def docstring(text: str) -> str:
    """Text as it may stand in a docstring: nothing in it ends the string or escapes a character, and its lines are `clean`."""
    return "\n".join(map(clean, text.split("\n"))).replace("\\", "\\\\").replace('"', "'")


class _Repr(reprlib.Repr):
    """Python's `repr` of the first few parts: a value that a few bytes of YAML describe can be larger than the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 20
        self.maxother = 2 * SHOWN

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[:SHOWN]) + "..." * (len(x) > SHOWN)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[:SHOWN]) + "..." * (len(x) > SHOWN)

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 300 else f"a whole number of {x.bit_length():,} bits"

    def repr_dict(self, x: dict[object, object], level: int) -> str:  # in its own order, which Python's sorts
        if level <= 0 and x:
            return "{...}"
        parts = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in list(x)[: self.maxdict]]
        return "{" + ", ".join([*parts, *["..."] * (len(x) > self.maxdict)]) + "}"


_REPR = _Repr()
