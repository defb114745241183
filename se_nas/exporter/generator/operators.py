"""The source text of squeeze operators and gates: the registered functions themselves."""

from __future__ import annotations

import ast
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.exporter.generator.template import bound_names, free_names
from se_nas.text import shown

GLOBALS = {"torch": torch, "Tensor": Tensor, "nn": nn, "F": nn.functional, "math": math}
"""What a function may use from outside itself: the exported file imports these, under these names."""

_FIX = f"write it as a plain function (def) that uses {', '.join(GLOBALS)} alone and keeps its helpers and constants inside"


def operators_source(functions: Iterable[tuple[str, Callable[..., Any]]]) -> dict[str, str]:
    """Function name -> source text, of (registered name, function) pairs.

    Raises:
        InputError: if a function needs more than a file has, or two functions have the same name.
    """
    texts: dict[str, str] = {}
    owners: dict[str, Any] = {}
    for label, function in functions:
        text = operator_source(label, function)
        if owners.setdefault(function.__name__, function) is not function:
            raise InputError(f"operator {shown(label)}: another one is called {function.__name__} too", "rename the function", "export")
        texts[function.__name__] = text
    return texts


def refuse_clashes(names: Collection[str], text: str) -> None:
    """Raise if the rest of the file uses an operator's name for something else."""
    for name in sorted(bound_names(text).intersection(names)):
        raise InputError(f"operator {name}: the exported file has another {name}", "rename the function", "export")


def operator_source(label: str, function: Callable[..., Any]) -> str:
    """Source text of an operator.

    Raises:
        InputError: if it needs more than a file has.
    """

    def refuse(reason: str) -> InputError:
        return InputError(f"operator {shown(label)} cannot be exported: {reason}", _FIX, "export")

    if not inspect.isfunction(function):
        raise refuse(f"it is a {type(function).__name__}, not a function written in Python")
    if function.__name__ == "<lambda>":
        raise refuse("it is a lambda")
    if hasattr(function, "__wrapped__") or function.__code__.co_freevars:
        raise refuse("it is a wrapper or a closure")
    try:
        text = textwrap.dedent(inspect.getsource(function)).rstrip()
        tree = ast.parse(text)
    except (OSError, SyntaxError):
        raise refuse("its source cannot be read") from None
    if not isinstance(tree.body[0], ast.FunctionDef) or tree.body[0].name != function.__name__ or tree.body[0].decorator_list:
        raise refuse("its source is not one undecorated def of its name")
    for name in sorted(free_names(text)):
        if name not in GLOBALS or function.__globals__.get(name) is not GLOBALS[name]:
            raise refuse(f"it uses {name}")
    for module in _imports(tree):
        if module.partition(".")[0] not in {"torch", *sys.stdlib_module_names}:
            raise refuse(f"it imports {module or 'relatively'}")
    return text


def _imports(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level else node.module or ""
