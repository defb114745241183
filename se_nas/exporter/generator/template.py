"""Source text from templates: code with ``$name`` for what varies, and ``#? flag`` at the end of optional lines."""

from __future__ import annotations

import builtins
import symtable
import textwrap
from collections.abc import Collection, Mapping, Sequence
from string import Template

from se_nas import text

WIDTH = 120
IMPORTS = (
    {"base64": "import base64"},
    {"math": "import math"},
    {"zlib": "import zlib"},
    {"Callable": "from collections.abc import Callable", "Sequence": "from collections.abc import Sequence"},
    {"NamedTuple": "from typing import NamedTuple"},
    {"OrderedDict": "from collections import OrderedDict"},
)
"""What a file may use of the standard library, name by name, a module a dict, in the order of its imports."""


def render(template: str, values: Mapping[str, str], flags: Collection[str]) -> str:
    """The text of a template.

    Args:
        template: source text. A line that ends in ``#? a !b`` is kept if flag a is set and flag b is not.
        values: what each ``$name`` stands for.
        flags: the flags that are set.
    """
    kept = []
    for line in template.strip("\n").splitlines():
        code, _, condition = line.partition("#?")
        if all((flag.removeprefix("!") in flags) != flag.startswith("!") for flag in condition.split()):
            kept.append(code.rstrip())
    return Template("\n".join(kept)).substitute(values)


def assemble(docstring: str, parts: Sequence[str]) -> str:
    """A whole file: its docstring (any text), the imports that its parts need, and the parts that are not empty."""
    used = set().union(*map(free_names, parts))
    standard = [_import([line for name, line in module.items() if name in used]) for module in IMPORTS]
    functional = "from torch.nn import functional as F" if "F" in used else ""
    blocks = [["from __future__ import annotations"], standard, ["import torch", "from torch import Tensor, nn", functional]]
    imports = "\n\n".join("\n".join(filter(None, lines)) for lines in blocks if any(lines))
    body = "\n\n\n".join(filter(None, parts))
    gap = "\n\n\n" if body.startswith(("def ", "class ")) else "\n\n"
    return f'"""{text.docstring(docstring)}\n"""\n\n{imports}{gap}{body}\n'


def _import(lines: Sequence[str]) -> str:
    """One import for all that these lines import from one module."""
    return ", ".join([*lines[:1], *(line.rpartition(" ")[2] for line in lines[1:])])


def free_names(source: str) -> set[str]:
    """Names that code takes from outside, without builtins."""
    module, *inner = _scopes(source)
    used = set(module.get_identifiers()) | {symbol.get_name() for scope in inner for symbol in scope.get_symbols() if symbol.is_global()}
    return used - _bound(module) - set(vars(builtins))


def bound_names(source: str) -> set[str]:
    """Names that code binds, in any scope, and those that every file has."""
    imported = {name for module in IMPORTS for name in module} | {"torch", "Tensor", "nn", "F"}
    return set().union(imported, vars(builtins), *map(_bound, _scopes(source)))


def _scopes(source: str) -> list[symtable.SymbolTable]:
    """The module's scope, and all within it."""
    scopes = [symtable.symtable(source, "source", "exec")]
    for scope in scopes:
        scopes.extend(scope.get_children())
    return scopes


def _bound(scope: symtable.SymbolTable) -> set[str]:
    return {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()}


def facts(rows: Mapping[str, object]) -> str:
    """One line for each name and value, values aligned, long ones wrapped."""
    names = {text.printable(name)[:40]: text.printable(value) for name, value in rows.items()}
    indent = max(map(len, names)) + 2
    gap = "\n" + " " * indent
    return "\n".join(f"{name:{indent}}{gap.join(textwrap.wrap(value, 100 - indent))}".rstrip() for name, value in names.items())


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A text table: columns as wide as their widest cell, numbers to the right. A row may be shorter than the header."""
    cells = [list(header), *([text.printable(cell)[:24] for cell in row] for row in rows)]
    lines = [""] * len(cells)
    for i in range(len(header)):
        column = [row[i] if i < len(row) else "" for row in cells]
        width = max(map(len, column))
        numeric = any(isinstance(row[i], int) for row in rows if i < len(row))
        lines = [f"{line}  {cell:>{width}}" if numeric else f"{line}  {cell:<{width}}" for line, cell in zip(lines, column, strict=True)]
    return "\n".join(line[2:].rstrip() for line in lines)
