"""What ``forward`` says: steps as statements, with variables named as a person would name them."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.bodies import Body, Branch, Training, reads, steps_of
from se_nas.exporter.generator.formulas import IN_PLACE, OPERATORS, Formula, Formulas, axes_read, maxima_of, shapes_of
from se_nas.exporter.generator.layout import Joined, Text, flat, lay_out, literal
from se_nas.exporter.generator.symbols import Number, Ref, Size, Step, refs_of

GENERIC = re.compile(r"(conv|bn|norm|layer|linear|fc|act|relu|drop|block|stage|features|stem|pool|head|classifier|flatten|se$|\d|_)", re.I)
"""Children whose names say nothing of their results: ``x = self.conv1(x)`` keeps the name x, ``branch = self.branch(x)`` does not."""

LONGEST = 88  # longest expression that is put into another
DEEPEST = 3  # deepest nesting of calls


@dataclass
class Writer:
    """Writes one body.

    Attributes:
        body: what to write.
        small: whether a child (by its path) is a layer; the call of a layer may be inside another call.
        formulas: writes the expressions.
    """

    body: Body
    small: Callable[[str], bool]
    formulas: Formulas
    pending: list[tuple[Ref, Formula]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    indent: int = 8

    def write(self) -> tuple[list[str], list[str]]:
        """The parameters with their types, and the lines of the function."""
        steps = steps_of(self.body.items)
        self.uses = Counter(ref for item in self.body.items for ref in reads(item)) + Counter(reads(self.body.result))
        self.last = {ref: position for position, step in enumerate(steps) for ref in reads(step)}
        self.last |= dict.fromkeys(reads(self.body.result), len(steps))
        in_branches = [s for item in self.body.items if isinstance(item, Branch) for s in (*item.train, *item.evaluation)]
        made = Counter(ref for step in steps for ref in refs_of(step.out))
        self.fixed = {ref for step in in_branches for ref in (*reads(step), *refs_of(step.out))} | {ref for ref, n in made.items() if n > 1}
        written = [step for step in steps if step.kind == "method" and step.name in (*IN_PLACE, "__setitem__")]
        self.fixed |= {step.args[0] for step in written if isinstance(step.args[0], Ref)}
        self.makers = {ref: step for step in steps for ref in refs_of(step.out)}
        self.places = {ref: i for i, step in enumerate(steps) for ref in refs_of(step.out)}
        self.replaced: set[Ref] = set()  # in a branch: values that it replaces and does not read again
        self.shapes = axes_read([(*step.args, *step.kwargs.values()) for step in steps])
        self.fixed |= {ref for ref, axes in self.shapes.items() if len(axes) > 2}
        self.position = 0
        parameters = self._parameters()
        for item in self.body.items:
            if isinstance(item, Branch):
                self._branch(item)
            else:
                self._step(item)
        self._return()
        return parameters, self.lines

    def _parameters(self) -> list[str]:
        texts = []
        single = [value for value in self.body.params if type(value) is Ref]
        for number, (name, value) in enumerate(zip(self.body.names, self.body.params, strict=True)):
            if number in self.body.lists:
                assert isinstance(value, Ref)
                self.formulas.names[value] = self._fresh(*(["features"] if name in ("x", "input", "inputs") else [name, "features"]))
                texts.append(f"{self.formulas.names[value]}: {'tuple[int, ...]' if isinstance(value, Number) else 'list[Tensor]'}")
                continue
            clean = "x" if single and value is single[0] and not self._taken("x") else self._fresh(name)
            if isinstance(value, Ref):
                if value not in self.formulas.names:
                    self.formulas.names[value] = clean
                texts.append(f"{clean}: {kind_of(value)}")
            else:
                refs = tuple(refs_of(value))
                self.formulas.lists[refs] = clean
                self.formulas.names |= {ref: place for ref, place in _places(value, clean).items() if ref not in self.formulas.names}
                texts.append(f"{clean}: {kind_of(value)}")
        return texts

    # Names.

    def _taken(self, name: str) -> bool:
        return (
            any(known == name and self.last.get(ref, -1) >= self.position for ref, known in self.formulas.names.items())
            or name in self.formulas.lists.values()
            or any(known.startswith(f"{name}[") and self.last.get(ref, -1) >= self.position for ref, known in self.formulas.names.items())
        )

    def _fresh(self, *wanted: str) -> str:
        names = [name for name in wanted if name.isidentifier() and not keyword.iskeyword(name) and name not in RESERVED]
        for name in (*names, "out", "y", "z", *(f"{(names or ['y'])[0].rstrip('0123456789')}{i}" for i in range(1, 1000))):
            if not self._taken(name):
                return name
        raise AssertionError

    def _name(self, step: Step, ref: Ref) -> str:
        """The variable for a result: the variable of a source that is not needed again, or a new one."""
        if ref in self.formulas.names:
            return self.formulas.names[ref]
        sources = self._sources(step)
        for read in sorted(sources, key=lambda read: self.formulas.names.get(read, "") not in PLAIN):
            old = self.formulas.names.get(read, "")
            if len(set(sources)) > 1 and old not in PLAIN:
                continue
            dead = (
                (self.last.get(read, -1) <= self.position or read in self.replaced)
                and old.isidentifier()
                and old not in self.formulas.lists.values()
            )
            if dead and not any(
                known == old and other != read and other not in self.replaced and self.last.get(other, -1) > self.position
                for other, known in self.formulas.names.items()
            ):
                return old
        child = step.name.rpartition(".")[2] if step.kind == "module" else ""
        own = [] if not child or GENERIC.match(child) else [child]
        return self._fresh(*own, *(["x"] if len(set(sources)) != 1 else []), "out")

    def _sources(self, step: Step) -> list[Ref]:
        """The tensors in an expression that are variables, also in its inner calls."""
        found: list[Ref] = []
        for ref in (ref for ref in reads(step) if type(ref) is Ref):
            found += [ref] if ref in self.formulas.names or ref not in self.makers else self._sources(self.makers[ref])
        return found

    # Statements.

    def _emit(self, text: Text, before: str = "") -> None:
        self.lines.append(" " * self.indent + lay_out(text, self.indent, before))

    def _flush(self, keep: int = 0) -> None:
        """Assign pending values to variables, except the last few."""
        while len(self.pending) > keep:
            ref, expression = self.pending.pop(0)
            self._assign(ref, expression.text)

    def _assign(self, ref: Ref, text: Text) -> None:
        step = self.makers[ref]
        position, self.position = self.position, self.places[ref]
        name = self._name(step, ref)
        self.position = position
        self.formulas.names[ref] = name
        self._emit(text, f"{name} = ")

    def _unpack(self, step: Step) -> None:
        """Write ``batch, channels, height, width = x.shape`` if many sizes of a tensor are used."""
        for ref, axes in shapes_of((*step.args, *step.kwargs.values())).items():
            if ref not in self.formulas.sizes and len(self.shapes.get(ref, ())) > 2:
                self._flush()
                names = ("batch", "channels", "height", "width") if axes == 4 else tuple(f"size{i}" for i in range(axes))
                taken = {name for known in self.formulas.sizes.values() for name in known}
                self.formulas.sizes[ref] = tuple(
                    self._fresh(*(f"{name}{n}" for n in ("", 2, 3, 4) if f"{name}{n}" not in taken)) for name in names
                )
                used = [name if axis in self.shapes[ref] else "_" for axis, name in enumerate(self.formulas.sizes[ref])]
                self._emit(f"{', '.join(used)} = {self.formulas.names[ref]}.shape")

    def _padding(self, step: Step) -> None:
        """Write ``pad = max(...)`` if a formula over sizes is used more than once."""
        for size, count in Counter(maxima_of((*step.args, *step.kwargs.values()))).items():
            if count > 1 and size not in self.formulas.named:
                self._flush()
                text = self.formulas.value(size, {}).text
                self.formulas.named[size] = next(f"pad{n}" for n in range(1, 100) if f"pad{n}" not in self.formulas.named.values())
                self._emit(text, f"{self.formulas.named[size]} = ")

    def _step(self, step: Step, inside: bool = False) -> None:
        if not inside:
            self._unpack(step)
            self._padding(step)
        self._flush(keep=self._inlined(step))
        values = dict(self.pending)
        self.pending.clear()
        if step.kind == "method" and step.name in IN_PLACE and isinstance(step.args[0], Ref) and len(step.args) == 2 and not step.kwargs:
            target, other = step.args
            name = self.formulas.names.setdefault(step.out, self.formulas.names[target])
            value = self.formulas.value(other, values)
            if name == self.formulas.names[target]:
                self._emit(value.text, f"{name} {IN_PLACE[step.name]} ")
            else:
                symbol = IN_PLACE[step.name][0]
                self._emit(Joined((self.formulas.names[target], f" {symbol} ", self.formulas.operand(value, symbol))), f"{name} = ")
        elif step.name == "__setitem__":
            if self.formulas.names.setdefault(step.out, self.formulas.names[step.args[0]]) != self.formulas.names[step.args[0]]:
                raise Unsupported("it writes into parts of a tensor in one mode only")
            self._emit(self.formulas.value(step.args[2], values).text, f"{flat(self.formulas.call(step, values).text)} = ")
        elif step.kind in ("loop", "gather"):
            self._loop(step)
        else:
            expression = self.formulas.call(step, values)
            out = step.out
            if isinstance(out, Ref) and self.uses[out] == 1 and out not in self.fixed and not inside and self._fits(expression):
                self.pending.append((out, expression))
            elif isinstance(out, Ref):
                self._flush()
                self._assign_now(step, out, expression.text)
            else:
                self._flush()
                refs = tuple(refs_of(out))
                if isinstance(out, (list, tuple)) and len(out) > 1 and all(isinstance(item, Ref) or _is_size(item) for item in out):
                    self._emit(expression.text, f"{', '.join(self._several(step, out))} = ")
                else:  # a dictionary, a list of one, or nested lists
                    whole = self._fresh("features", "outputs", "maps")
                    self.formulas.names |= _places(out, whole)
                    if isinstance(out, list) and all(isinstance(item, Ref) for item in out):
                        self.formulas.lists[refs] = whole
                    self._emit(expression.text, f"{whole} = ")
        self.position += 1

    def _assign_now(self, step: Step, ref: Ref, text: Text) -> None:
        name = self._name(step, ref)
        self.formulas.names[ref] = name
        if self.uses[ref]:
            self._emit(text, f"{name} = ")
        else:
            self._emit(text)

    def _several(self, step: Step, out: Sequence[Any]) -> list[str]:
        """The variables for several results: tensors, and sizes or pairs of them."""
        base = next((self.formulas.names[ref] for ref in self._sources(step) if ref in self.formulas.names), "x")
        base = base if base.isidentifier() else "x"
        tensors, names = [item for item in out if not _is_size(item)], dict[str, Any]()
        for i, item in enumerate(out):
            if _is_size(item):
                name = self._fresh(*(name for n in ("", 2, 3, 4) if (name := f"size{n}") not in names))
            else:
                name = self._name(step, item) if len(tensors) == 1 else self._fresh(*(f"{base}{n}" for n in range(i + 1, i + 50)))
            names[name] = item
        for name, item in names.items():
            self.formulas.names |= _places(item, name)
            self.formulas.lists |= {tuple(refs_of(item)): name} if not isinstance(item, Ref) else {}
        return list(names)

    def _fits(self, expression: Formula) -> bool:
        return expression.depth <= DEEPEST and len(flat(expression.text)) <= LONGEST

    def _inlined(self, step: Step) -> int:
        """How many of the last pending values can be written inside this step: those that it reads in their order."""
        wanted = reads(step)
        if step.kind in ("loop", "gather") or (step.kind == "module" and not self.small(step.name)):
            return 0
        formula = step.name in OPERATORS or step.name in IN_PLACE
        for count in range(min(len(self.pending), len(wanted)), 0, -1):
            taken = self.pending[-count:]
            refs = [ref for ref, _ in taken]
            in_order = [ref for ref in wanted if ref in refs] == refs
            short = sum(len(flat(e.text)) for _, e in taken) + 12 <= LONGEST and all(e.depth < DEEPEST for _, e in taken)
            if in_order and short and (formula or not any(map(self._big, refs))):
                return count
        return 0

    def _big(self, ref: Ref) -> bool:
        """Whether a value is the result of a whole block; that gets its own line."""
        step = self.makers[ref]
        return step.kind == "module" and not self.small(step.name)

    def _branch(self, branch: Branch) -> None:
        self._flush()
        for condition, steps in ((branch.condition, branch.train), ("" if branch.train else f"not {branch.condition}", branch.evaluation)):
            if steps:
                self._emit(f"if {condition}:" if condition else "else:")
                self.indent += 4
                sizes, named = dict(self.formulas.sizes), dict(self.formulas.named)  # what an arm unpacks is known in it alone
                for i, step in enumerate(steps):
                    later = {ref for other in steps[i + 1 :] for ref in reads(other)}
                    self.replaced = {ref for other in steps[i:] for ref in refs_of(other.out)} & set(self.formulas.names) - later
                    self._step(step, inside=any(ref in self.fixed_out(branch) for ref in refs_of(step.out)))
                self._flush()
                self.formulas.sizes, self.formulas.named = sizes, named
                self.replaced = set()
                self.indent -= 4

    def fixed_out(self, branch: Branch) -> set[Ref]:
        """Results of a branch that are read after it, or computed in both of its arms."""
        inner = Counter(ref for step in (*branch.train, *branch.evaluation) for ref in reads(step))
        return {ref for step in (*branch.train, *branch.evaluation) for ref in refs_of(step.out) if self.uses[ref] > inner[ref]}

    def _loop(self, step: Step) -> None:
        self._flush()
        given, *rest = step.args
        name = self._name(replace(step, args=(given,)), step.out) if step.kind == "loop" else self._fresh("features", "outputs")
        old = self.formulas.names[given]
        self.formulas.names[step.out] = name
        children, skipped = self.formulas.children(step.name), step.kwargs["skipped"]
        if step.kind == "loop":
            if old != name:
                self._emit(old, f"{name} = ")
            call = f"{name} = block({', '.join([name, *(flat(self.formulas.value(item, {}).text) for item in rest)])})"
        else:
            self._emit(f"[{old}]", f"{name} = ")
            call = f"{name}.append(block({name}))"
        if skipped:
            self._emit(f"for key, block in {children.removesuffix('.values()')}.named_children():")
            self._emit(f"    if key {'!= ' + literal(skipped[0]) if len(skipped) == 1 else 'not in ' + literal(skipped)}:")
            self._emit(f"        {call}")
        else:
            self._emit(f"for block in {children}:")
            self._emit(f"    {call}")

    def _return(self) -> None:
        result = self.body.result
        if isinstance(result, Training):
            self._flush()
            self._emit("if self.training:")
            self._emit(self.formulas.value(result.train, {}).text, "    return ")
            self._emit(self.formulas.value(result.evaluation, {}).text, "return ")
            return
        wanted = reads(result)
        pending = [ref for ref, _ in self.pending]
        keep = len(pending) if pending and wanted[: len(pending)] == pending else 0
        self._flush(keep)
        values = dict(self.pending)
        self.pending.clear()
        self._emit(self.formulas.value(result, values).text, "return ")


def kind_of(value: Any) -> str:
    """The type of an argument or a result, as source text."""
    if isinstance(value, (Number, Size, int)):
        return "int"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        kinds = [kind_of(item) for item in value]
        return f"tuple[{', '.join(kinds)}]" if len(set(kinds)) > 1 else f"tuple[{kinds[0]}, ...]"
    if isinstance(value, dict):
        return "dict[str, Tensor]"
    if isinstance(value, list):
        return f"list[{kind_of(value[0])}]" if value else "list[Tensor]"
    return type(value).__name__ if hasattr(value, "_fields") else "Tensor"


def _is_size(value: Any) -> bool:
    """Whether a value is a size, or a pair or list of sizes."""
    return isinstance(value, Number) or (isinstance(value, (list, tuple)) and bool(value) and all(map(_is_size, value)))


def _places(value: Any, name: str) -> dict[Ref, str]:
    """Source text for each tensor of a named value: ``features["out"]``, ``features[0]``."""
    if isinstance(value, Ref):
        return {value: name}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {ref: place for key, item in pairs for ref, place in _places(item, f"{name}[{literal(key)}]").items()}


PLAIN = {"x", "out", "y", "z"}
RESERVED = {
    "self",
    "torch",
    "nn",
    "F",
    "Tensor",
    "input",
    "super",
    "len",
    "list",
    "tuple",
    "range",
    "block",
    "layer",
    "branch",
    "type",
    "id",
}
