"""Put an SE block on an expression inside a module's method.

Sometimes no module computes the value that an SE block shall scale, as in ``out * self.scale + self.bias``. Then the
expression itself is wrapped: the module gets a class derived from its own, whose ``forward`` says ``self.se(out * self.scale +
self.bias)``, as a person would write it. The SE block is an ordinary child. So ``state_dict``, ``torch.compile``,
``torch.export`` and pickle work as usual.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

MARK = "_se_nas_mark"


@dataclass(frozen=True, order=True)
class Edit:
    """A change of one expression, or of one statement ``out *= gate``.

    Attributes:
        method: name of the method.
        node: number of the expression in the method, in the order of `ast.walk`.
        gate: name of the child that shall scale it; "" for none.
        keep: number of the operand that replaces the expression, -1 for none. To remove an SE block that the network brings,
            ``x`` replaces ``x * gate``.
    """

    method: str
    node: int
    gate: str = ""
    keep: int = -1


class Refused(Exception):
    """A method that cannot be rewritten; the message says why."""


def base_of(module: nn.Module) -> type[nn.Module]:
    """A module's class before it was rewritten."""
    base: type[nn.Module] = getattr(type(module), "rewritten", (type(module), ()))[0]
    return base


def edits_of(module: nn.Module) -> tuple[Edit, ...]:
    edits: tuple[Edit, ...] = getattr(type(module), "rewritten", (type(module), ()))[1]
    return edits


def rewrite(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Apply these edits, and no others, to a module in place. Without edits it gets its own class back.

    Raises:
        Refused: if the method's source is not available.
    """
    base: Any = base_of(module)
    module.__class__ = _rewritten(base, tuple(sorted(edits)))


@cache
def _rewritten(base: Any, edits: tuple[Edit, ...]) -> type[nn.Module]:
    if not edits:
        return base  # type: ignore[no-any-return]
    methods = {}
    for name in dict.fromkeys(edit.method for edit in edits):
        changes = [edit for edit in edits if edit.method == name]
        function = getattr(base, name)
        methods[name] = _compiled(function, _Editor(_tree(function), changes).result())

    def reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        return _restored, (base, edits), object.__reduce_ex__(self, 2)[2]

    names: dict[str, Any] = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**names, **methods, "rewritten": (base, edits), "__reduce_ex__": reduce})


def _restored(base: Any, edits: tuple[Edit, ...]) -> nn.Module:
    """An empty module of a rewritten class, for pickle and copy."""
    cls: type[nn.Module] = _rewritten(base, edits)
    return cls.__new__(cls)


# The values of expressions.


@dataclass(frozen=True)
class Mark:
    """One evaluation of an expression: its method, its number there, its value, and whether it is just a name."""

    method: str
    node: int
    value: int
    name: bool


def mark(module: nn.Module, note: Callable[[str, int, bool, Any], None]) -> None:
    """Make a module's methods report each expression that they evaluate: (method, number, whether it is a name, value)."""

    def noted(method: str, node: int, name: bool, value: Any) -> Any:
        note(method, node, name, value)
        return value

    module.__dict__[MARK] = noted
    for name, function in methods_of(type(module)):
        try:
            module.__dict__[name] = MethodType(_compiled(function, _Marker(name, _tree(function)).result()), module)
        except Refused:
            continue


def operand(module: nn.Module, method: str, node: int, candidates: Iterable[int]) -> int:
    """The number of the operand of an expression that is one of the candidates; -1 if there is none.

    For ``out *= gate`` and the operand ``out`` it is the number of the statement itself.
    """
    tree = _tree(getattr(base_of(module), method))
    numbers = _numbers(tree)
    parent = next(found for found in ast.walk(tree) if numbers[id(found)] == node)
    among = [numbers[id(found)] for found in _operands(parent) if numbers[id(found)] in set(candidates)]
    return among[0] if among else node if _target(parent) else -1


def methods_of(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """The methods of a module's class, without those that PyTorch's classes define."""
    for name in dict.fromkeys(name for base in cls.__mro__ for name in vars(base)):
        function = inspect.getattr_static(cls, name)
        own = isinstance(function, FunctionType) and not function.__module__.startswith("torch.nn.modules")
        if own and not name.startswith("__") and not hasattr(function, "__wrapped__"):
            yield name, function


# Source.


def _tree(function: FunctionType) -> ast.FunctionDef:
    """The syntax tree of a method; raises `Refused` if it is not a plain method with source."""
    try:
        module = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        raise Refused("its source is not to be had") from None
    tree = module.body[0]
    if not isinstance(tree, ast.FunctionDef) or not tree.args.args or hasattr(function, "__wrapped__"):
        raise Refused("it is no plain method")
    tree.decorator_list = []
    return tree


def _numbers(tree: ast.AST) -> dict[int, int]:
    return {id(node): number for number, node in enumerate(ast.walk(tree))}


def _compiled(function: FunctionType, tree: ast.FunctionDef) -> FunctionType:
    """A function from changed source, with the globals, defaults and closure of the original."""
    code = function.__code__
    free = [ast.arg(name) for name in code.co_freevars]
    outer = ast.FunctionDef(
        "outer", ast.arguments([], free, None, [], [], None, []), [tree, ast.Return(ast.Name(tree.name, ast.Load()))], []
    )
    if hasattr(ast, "TypeVar"):  # Python 3.12 and later
        outer.type_params = []  # type: ignore[attr-defined]
    module = ast.fix_missing_locations(ast.Module([outer], []))
    ast.increment_lineno(module, code.co_firstlineno - 1)
    compiled = compile(module, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
    inner = _inner(_inner(compiled, "outer"), tree.name)
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    made = FunctionType(inner, function.__globals__, function.__name__, function.__defaults__, tuple(cells[n] for n in inner.co_freevars))
    made.__kwdefaults__, made.__qualname__, made.__module__ = function.__kwdefaults__, function.__qualname__, function.__module__
    return made


_FUTURE = 0x1000000  # from __future__ import annotations


def _inner(code: CodeType, name: str) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name)


def _target(node: ast.AST) -> str:
    """The name that a statement changes in place: ``out`` for ``out *= gate`` and ``out.mul_(gate)``; "" for others."""
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return call.func.value.id if call.func.attr.endswith("_") and not call.func.attr.endswith("__") else ""
    return ""


def _operands(node: ast.AST) -> list[ast.expr]:
    """The operands a, b of ``a * b``, ``a.mul(b)`` and ``torch.mul(a, b)``; b of the statements ``a *= b`` and ``a.mul_(b)``."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return node.value.args
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.AugAssign):
        return [node.value]
    if isinstance(node, ast.Call):
        return [*([node.func.value] if isinstance(node.func, ast.Attribute) else []), *node.args]
    return []


class _Marker(ast.NodeTransformer):
    """Wraps every expression whose value may be a tensor."""

    def __init__(self, method: str, tree: ast.FunctionDef) -> None:
        self.method, self.tree, self.numbers = method, tree, _numbers(tree)
        self.me = tree.args.args[0].arg

    def result(self) -> ast.FunctionDef:
        self.tree.body = [found for statement in self.tree.body for found in _listed(self.visit(statement))]
        return self.tree

    def visit(self, node: ast.AST) -> Any:
        number, name = self.numbers[id(node)], isinstance(node, ast.Name)
        if isinstance(node, (ast.JoinedStr, ast.Lambda)):
            return node
        if isinstance(node, ast.AnnAssign):
            node.value = self.visit(node.value) if node.value else None  # annotations stay
            return node
        target = _target(node)
        if isinstance(node, ast.Expr):  # its value is not read, but it may change a value in place
            return [node, ast.Expr(self._noted(number, False, ast.Name(target, ast.Load())))] if target else node
        wrapped = isinstance(node, (ast.BinOp, ast.Call, ast.IfExp)) or (
            isinstance(node, (ast.Name, ast.Subscript))
            and isinstance(node.ctx, ast.Load)
            and getattr(node, "id", "") not in (self.me, "super")
        )
        self.generic_visit(node)
        if target:
            return [node, ast.Expr(self._noted(number, False, ast.Name(target, ast.Load())))]
        return self._noted(number, name, node) if wrapped else node

    def _noted(self, number: int, name: bool, node: Any) -> ast.Call:
        function = ast.Attribute(ast.Name(self.me, ast.Load()), MARK, ast.Load())
        return ast.Call(function, [ast.Constant(self.method), ast.Constant(number), ast.Constant(name), node], [])


class _Editor(ast.NodeTransformer):
    """Applies edits to one method, and removes statements that nothing needs afterwards."""

    def __init__(self, tree: ast.FunctionDef, edits: list[Edit]) -> None:
        self.tree, self.numbers, self.nodes = (
            tree,
            _numbers(tree),
            list(ast.walk(tree)),
        )  # an id is valid only as long as the node lives
        self.me = tree.args.args[0].arg
        self.edits: dict[int, Edit] = {}
        for edit in edits:  # the network's own block is replaced by another
            other = self.edits.get(edit.node, edit)
            self.edits[edit.node] = Edit(edit.method, edit.node, edit.gate or other.gate, max(edit.keep, other.keep))

    def result(self) -> ast.FunctionDef:
        before = {id(statement) for statement in _dead(self.tree.body, set())[1]}
        self.tree.body = [found for statement in self.tree.body for found in _listed(self.visit(statement))]
        if any(edit.keep >= 0 for edit in self.edits.values()):
            while dead := [statement for statement in _dead(self.tree.body, set())[1] if id(statement) not in before]:
                _drop(self.tree, {id(statement) for statement in dead})
        return self.tree

    def visit(self, node: ast.AST) -> Any:
        edit = self.edits.get(self.numbers.get(id(node), -1))
        if edit is None:
            return self.generic_visit(node)
        kept: Any
        if name := _target(node):
            gated = ast.Assign([ast.Name(name, ast.Store())], self._gated(edit.gate, ast.Name(name, ast.Load())))
            right = next((found for found in _operands(node) if self.numbers[id(found)] == edit.keep), None)
            if right is not None:
                kept = ast.Assign([ast.Name(name, ast.Store())], self.visit(right))
            else:
                kept = ast.Pass() if edit.keep >= 0 else self.generic_visit(node)
            return [kept, gated] if edit.gate else kept
        kept = next((found for found in _operands(node) if self.numbers[id(found)] == edit.keep), None) if edit.keep >= 0 else None
        changed = self.visit(kept) if kept is not None else self.generic_visit(node)
        return self._gated(edit.gate, changed) if edit.gate else changed

    def _gated(self, child: str, node: Any) -> ast.Call:
        return ast.Call(ast.Attribute(ast.Name(self.me, ast.Load()), child, ast.Load()), [node], [])


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _names(node: ast.AST, context: type) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name) and isinstance(found.ctx, context)}


def _dead(body: list[ast.stmt], live: set[str]) -> tuple[set[str], list[ast.stmt]]:
    """The names that these statements need if ``live`` names are needed after them, and the assignments that nothing reads."""
    dead: list[ast.stmt] = []
    for statement in reversed(body):
        if isinstance(statement, (ast.Assign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            plain = all(
                isinstance(t, ast.Name) or (isinstance(t, ast.Tuple) and all(isinstance(e, ast.Name) for e in t.elts)) for t in targets
            )
            stored = {name for target in targets for name in _names(target, ast.Store)}
            if plain and not stored & live:
                dead.append(statement)
                continue
            live = (
                (live - stored if plain else live)
                | _names(statement, ast.Load)
                | (stored if isinstance(statement, ast.AugAssign) else set())
            )
        elif isinstance(statement, ast.If):
            first, dead_first = _dead(statement.body, live)
            second, dead_second = _dead(statement.orelse, live)
            live = first | second | _names(statement.test, ast.Load)
            dead += [*dead_first, *dead_second]
        else:
            live = live | _names(statement, ast.Load)
    return live, dead


def _drop(tree: ast.AST, dead: set[int]) -> None:
    for node in ast.walk(tree):
        for field in ("body", "orelse"):
            body = getattr(node, field, None)
            if isinstance(body, list) and any(id(statement) in dead for statement in body):
                setattr(node, field, [s for s in body if id(s) not in dead] or ([ast.Pass()] if field == "body" else []))
