"""Bodies as a person would write them: loops over lists of modules, lists as arguments, names from the module on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.bodies import Body, Item, changed, reads, steps_of
from se_nas.exporter.generator.expressions import Name
from se_nas.exporter.generator.symbols import Own, Ref, Step, exchange, refs_of, renumbered


def listed(body: Body) -> Body:
    """A body with one variable for each list argument that is only read as a whole."""
    for i, param in enumerate(body.params):
        refs = list(param) if isinstance(param, (list, tuple)) else []
        if not isinstance(refs[:1] and refs[0], Ref) or len({type(ref) for ref in refs}) > 1:
            continue
        whole = replace(refs[0], number=1 + max(ref.number for ref in refs_of(body)))

        def swap(value: Any, refs: list[Any] = refs, whole: Ref = whole) -> Any:
            return whole if isinstance(value, (list, tuple)) and list(value) == refs else value

        swapped = changed(
            body, lambda step: replace(step, args=tuple(map(swap, step.args)), kwargs={k: swap(v) for k, v in step.kwargs.items()})
        )
        if not set(refs) & {ref for item in swapped.items for ref in reads(item)} and not set(refs) & set(reads(body.result)):
            params = tuple(whole if n == i else other for n, other in enumerate(body.params))
            body = replace(renumbered(replace(swapped, params=params)), lists=(*body.lists, i))
    return body


def relative_to(body: Body, path: str) -> Body:
    """A body with paths of modules and parameters relative to its own module.

    Raises:
        Unsupported: if it reads what is neither within its module nor given to it.
    """
    made = set(refs_of(body.params)).union(*(refs_of(step.out) for step in steps_of(body.items)))
    if {ref for item in body.items for ref in reads(item)} - made or set(reads(body.result)) - made:
        raise Unsupported(f"{path} computes with a tensor, or the size of one, that it is not given")
    prefix = f"{path}." if path else ""

    def strip(name: str) -> str:
        if not name.startswith(prefix):
            raise Unsupported(f"{path} uses {name}, which is not within it")
        return name.removeprefix(prefix)

    def step(item: Step) -> Step:
        return replace(item, name=strip(item.name)) if item.kind == "module" else item

    relative: Body = exchange(changed(body, step), Own, lambda own: Own(strip(own.path)))
    return relative


def with_attributes(body: Body, attributes: Mapping[str, Any]) -> Body:
    """A body that reads attributes of the layer that it extends, in place of equal constants."""
    named = {name: value for name, value in attributes.items() if isinstance(value, (tuple, float)) and not isinstance(value, bool)}

    def change(value: Any) -> Any:
        for name, known in named.items():
            if type(value) is type(known) and value == known:
                return Name(f"self.{name}")
        return value

    return changed(
        body,
        lambda step: replace(step, args=tuple(map(change, step.args)), kwargs={key: change(item) for key, item in step.kwargs.items()}),
    )


def _calls(item: Item, name: str) -> bool:
    return isinstance(item, Step) and item.kind == "module" and item.name == name and not item.kwargs and isinstance(item.out, Ref)


def is_chain(body: Body, names: list[str]) -> bool:
    """Whether a body only calls its children one after another."""
    if len(body.items) != len(names) or len(body.params) != 1 or not isinstance(body.params[0], Ref):
        return False
    value = body.params[0]
    for item, name in zip(body.items, names, strict=True):
        if not (_calls(item, name) and isinstance(item, Step) and item.args == (value,)):
            return False
        value = item.out
    return bool(body.result == value)


def roll(body: Body, owner: str, names: list[str], skipped: tuple[str, ...] = ()) -> Body:
    """A body with a loop over a list in place of calls of its modules ``names``, one after another; ``skipped`` ones are left out."""
    start = next((i for i, item in enumerate(body.items) if _calls(item, names[0])), None)
    if start is None or len(body.items) < start + len(names):
        return body
    run = body.items[start : start + len(names)]
    if not all(_calls(item, name) for item, name in zip(run, names, strict=True)):
        return body
    steps = [item for item in run if isinstance(item, Step)]
    reads_after = [ref for item in (*body.items[:start], *body.items[start + len(names) :]) for ref in reads(item)] + reads(body.result)
    outs = [step.out for step in steps]
    first, *rest = steps[0].args
    if (
        all(a.args == (b.out, *rest) for a, b in zip(steps[1:], steps, strict=False))
        and isinstance(first, Ref)
        and not {first, *outs} & set(refs_of(rest))
        and not set(outs[:-1]) & set(reads_after)
    ):
        loop = Step("loop", owner, (first, *rest), {"skipped": skipped}, outs[-1])
        return renumbered(replace(body, items=(*body.items[:start], loop, *body.items[start + len(names) :])))
    uses = [item for item in (*body.items[start + len(names) :],) if set(reads(item)) & set(outs)]
    same = all(step.args == (first,) for step in steps) and isinstance(first, Ref)
    if same and len(uses) == 1 and isinstance(uses[0], Step) and not set(reads(body.result)) & set(outs):
        return _collected(body, start, len(names), Step("each", owner, (first,), {"skipped": skipped}, None), outs, uses[0])
    begins = first[0] if isinstance(first, list) and len(first) == 1 else first
    growing = all(step.args == ([begins, *outs[:i]],) for i, step in enumerate(steps))
    if growing and len(uses) == 1 and isinstance(uses[0], Step) and isinstance(begins, Ref):
        return _collected(body, start, len(names), Step("gather", owner, (begins,), {"skipped": skipped}, None), [begins, *outs], uses[0])
    return body


def _collected(body: Body, start: int, length: int, loop: Step, refs: list[Ref], use: Step) -> Body:
    """A body with one step that makes a list of tensors, if another step reads it as a whole."""
    whole = max((ref.number for step in steps_of(body.items) for ref in [step.out] if isinstance(ref, Ref)), default=0) + 1

    def swap(value: Any) -> Any:
        return Ref(whole) if isinstance(value, (list, tuple)) and list(value) == refs else value

    args = tuple(map(swap, use.args))
    if args == use.args:
        return body
    items = [replace(item, args=args) if item is use else item for item in body.items]
    items[start : start + length] = [replace(loop, out=Ref(whole))]
    return renumbered(replace(body, items=tuple(items)))
