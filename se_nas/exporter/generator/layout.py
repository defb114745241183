"""Source text of calls and collections: on one line if it fits, otherwise one item per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from se_nas.exporter.generator.template import WIDTH


@dataclass(frozen=True)
class Brackets:
    """``head(item, item)``: the text before, the brackets, the items, and the text after."""

    head: str
    items: tuple[Text, ...]
    pair: str = "()"
    tail: str = ""
    comma: bool = False  # (item,)


@dataclass(frozen=True)
class Joined:
    """Texts in a row."""

    parts: tuple[Text, ...]


@dataclass(frozen=True)
class Comprehension:
    """``*[item for x in values]``."""

    item: Text
    clause: Text


Text = str | Brackets | Joined | Comprehension


def flat(text: Text) -> str:
    """On one line."""
    if isinstance(text, str):
        return text
    if isinstance(text, Joined):
        return "".join(map(flat, text.parts))
    if isinstance(text, Comprehension):
        return f"*[{flat(text.item)} {flat(text.clause)}]"
    inside = ", ".join(map(flat, text.items)) + ("," if text.comma else "")
    return f"{text.head}{text.pair[0]}{inside}{text.pair[1]}{text.tail}"


def lay_out(text: Text, indent: int, before: str = "", after: str = "") -> str:
    """The text after ``before``, on as few lines as possible; the first line is not indented."""
    line = f"{before}{flat(text)}{after}"
    if isinstance(text, str) or indent + len(line) <= WIDTH:
        return line
    if isinstance(text, Joined):
        head = "".join(map(flat, text.parts[:-1]))
        if isinstance(text.parts[-1], str):
            body = lay_out(Joined(text.parts[:-1]) if len(text.parts) > 2 else text.parts[0], indent, before, text.parts[-1] + after)
            return body
        return lay_out(text.parts[-1], indent, before + head, after)
    gap = "\n" + " " * (indent + 4)
    if isinstance(text, Comprehension):
        item, clause = lay_out(text.item, indent + 4), lay_out(text.clause, indent + 4)
        return f"{before}*[{gap}{item}{gap}{clause}\n{' ' * indent}]{after}"
    if not text.items:
        return line
    items = [lay_out(item, indent + 4, after=",") for item in text.items]
    return f"{before}{text.head}{text.pair[0]}{gap}{gap.join(items)}\n{' ' * indent}{text.pair[1]}{text.tail}{after}"


def literal(value: Any) -> str:
    """A constant as source text."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return str(value)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f'float("{value}")'
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if value is Ellipsis:
        return "..."
    return repr(value)


def arguments(positional: Sequence[Text], named: Sequence[tuple[str, Text]]) -> tuple[Text, ...]:
    """The arguments of a call."""
    return (*positional, *(Joined((f"{name}=", value)) for name, value in named))
