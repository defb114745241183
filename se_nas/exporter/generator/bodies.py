"""What a module computes in evaluation and in training, as one body of code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from torch import nn

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.symbols import Frame, Own, Ref, Size, Step, exchange, refs_of, renumbered, substitute


@dataclass(frozen=True)
class Training:
    """``self.training``, or a choice by it."""

    train: Any = True
    evaluation: Any = False


@dataclass(frozen=True)
class Branch:
    """Steps under a condition, and the steps otherwise."""

    train: tuple[Step, ...]
    evaluation: tuple[Step, ...] = ()
    condition: str = "self.training"


Item = Step | Branch


@dataclass(frozen=True)
class Body:
    """The code of a ``forward``.

    Attributes:
        names: names of the arguments.
        params: the arguments, as tensors of the steps.
        items: the steps and branches.
        result: what is returned; a `Training` if it differs between modes.
        lists: numbers of the arguments that are lists of tensors.
    """

    names: tuple[str, ...]
    params: tuple[Any, ...]
    items: tuple[Item, ...]
    result: Any
    lists: tuple[int, ...] = ()


def merge(evaluation: Frame | None, train: Frame | None, silent: Collection[str]) -> Body:
    """One body for both modes.

    Args:
        evaluation, train: the module's frame in each mode; None if it is not called.
        silent: paths of modules that return their input; their calls are left out.

    Raises:
        Unsupported: if ``if self.training`` cannot express how the modes differ.
    """
    frames = [renumbered(without(body_of(frame), silent)) for frame in (evaluation, train) if frame is not None]
    first, last = frames[0], frames[-1]
    if len(frames) == 1 or first == last:
        return first
    if len(first.names) != len(last.names):
        raise Unsupported("its arguments differ between training and evaluation")
    try:
        return _merged(first, last)
    except Unsupported:  # steps of the evaluation alone may be a branch in those of the training
        return _merged(last, first, swapped=True)


def body_of(frame: Frame) -> Body:
    """The body of a frame."""
    return Body(frame.names, frame.params, tuple(_own_batch_norm(frame)), frame.result)


def without(body: Body, names: Collection[str]) -> Body:
    """A body without the calls of modules that return their input.

    Raises:
        Unsupported: if it gives a tensor a new value by such a call.
    """
    same: dict[Ref, Any] = {}
    made = Counter(ref for step in steps_of(body.items) for ref in refs_of(step.out))

    def kept(step: Step) -> bool:
        if step.kind != "module" or step.name not in names or len(step.args) != 1 or not isinstance(step.out, Ref):
            return True
        if made[step.out] > 1:
            raise Unsupported(f"{step.name} is called in one mode only")
        same[step.out] = substitute(step.args[0], lambda ref: same.get(ref, ref))
        return False

    items: list[Item] = []
    for item in body.items:
        if isinstance(item, Branch):
            item = replace(item, train=tuple(filter(kept, item.train)), evaluation=tuple(filter(kept, item.evaluation)))
            items += [item] if item.train or item.evaluation else []
        else:
            items += [item] if kept(item) else []
    return substitute(replace(body, items=tuple(items)), lambda ref: same.get(ref, ref)) if same else body


def _own_batch_norm(frame: Frame) -> list[Step]:
    """The steps of a frame. The steps of a batch norm that extends torch's become one call of torch's."""
    if not isinstance(frame.module, nn.modules.batchnorm._BatchNorm):
        return frame.steps
    steps = []
    for step in frame.steps:
        own = {value.path.rpartition(".")[2] for value in (*step.args, *step.kwargs.values()) if isinstance(value, Own)}
        if step.name == "F.batch_norm" and "running_mean" in own:
            step = Step("super", "forward", step.args[:1], {}, step.out)
        if not (step.name == "add_" and own == {"num_batches_tracked"}):
            steps.append(step)
    return steps


def changed(body: Body, change: Callable[[Step], Step]) -> Body:
    """A body with its steps changed."""

    def item(value: Item) -> Item:
        if isinstance(value, Branch):
            return replace(value, train=tuple(map(change, value.train)), evaluation=tuple(map(change, value.evaluation)))
        return change(value)

    return replace(body, items=tuple(map(item, body.items)))


def steps_of(items: Sequence[Item]) -> list[Step]:
    """All steps, also those in branches."""
    return [step for item in items for step in ((*item.train, *item.evaluation) if isinstance(item, Branch) else (item,))]


def reads(value: Any) -> list[Ref]:
    """The tensors that a step, a branch or a value reads, in order."""
    if isinstance(value, Branch):
        return [ref for step in (*value.train, *value.evaluation) for ref in reads(step)]
    return refs_of((value.args, value.kwargs) if isinstance(value, Step) else value)


def with_branch(body: Body, longer: Body, condition: str) -> Body | None:
    """One body for two, of which the second has further steps in one place: a branch under a condition. None if they differ otherwise."""
    try:
        merged = _merged(body, longer, condition=condition)
    except Unsupported:
        return None
    branches = [item for item in merged.items if isinstance(item, Branch) and item.condition == condition]
    params = {ref for branch in branches for step in branch.train for ref in refs_of(step.out)} & set(refs_of(merged.params))
    return merged if len(branches) == 1 and branches[0].train and not branches[0].evaluation and not params else None


def _merged(evaluation: Body, train: Body, swapped: bool = False, condition: str = "self.training") -> Body:
    """Align the steps of two bodies. Steps of one body only become a branch, in which the second may give a tensor a new value.

    ``swapped``: the first is the training, the second the evaluation.
    """

    def choice(a: Any, b: Any) -> Training:
        if condition != "self.training":
            raise Unsupported("they differ in a value")
        return Training(a, b) if swapped else Training(b, a)

    alike = SequenceMatcher(None, [_key(s) for s in evaluation.items], [_key(s) for s in train.items], autojunk=False)
    # Tensors of the training pass have their own numbers until they are matched with those of the evaluation.
    offset = 1 + max((ref.number for ref in _all_refs(evaluation)), default=0)
    train = substitute(train, lambda ref: replace(ref, number=ref.number + offset))
    given, others = refs_of(evaluation.params), refs_of(train.params)
    same: dict[Ref, Ref] = dict(zip(others, given, strict=False))
    if len(given) != len(others) or len(set(given)) != len(same):
        raise Unsupported("they are given different tensors")
    items: list[Item] = []

    def unify(a: Any, b: Any) -> Any:
        """One value for ``a`` in evaluation and ``b`` in training."""
        if isinstance(a, Ref) and isinstance(b, Ref):
            if same.setdefault(b, a) != a:
                raise Unsupported("training and evaluation mix up tensors")
            return a
        if isinstance(a, Size) and isinstance(b, Size) and a.operator == b.operator:
            return Size(a.operator, tuple(unify(x, y) for x, y in zip(a.operands, b.operands, strict=True)))
        if isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b) and not hasattr(a, "_fields"):
            return type(a)(unify(x, y) for x, y in zip(a, b, strict=True))
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            return {key: unify(a[key], b[key]) for key in a}
        if (a, b) == (swapped, not swapped) and isinstance(a, bool) and isinstance(b, bool):
            return Training()
        plain = substitute(b, lambda ref: same.get(ref, ref))
        return a if a == plain else choice(a, b)

    def joint(a: Step, b: Step) -> Step:
        return replace(a, args=unify(a.args, b.args), kwargs=unify(a.kwargs, b.kwargs), out=unify(a.out, b.out))

    def both(a: Item, b: Item) -> Item:
        if isinstance(a, Branch) and isinstance(b, Branch):
            return replace(a, train=tuple(map(joint, a.train, b.train)), evaluation=tuple(map(joint, a.evaluation, b.evaluation)))
        assert isinstance(a, Step) and isinstance(b, Step)
        return joint(a, b)

    for kind, a0, a1, b0, b1 in alike.get_opcodes():
        first, second = tuple(evaluation.items[a0:a1]), tuple(train.items[b0:b1])
        if kind == "equal":
            items += map(both, first, second)
        else:
            then, otherwise = (tuple(s for s in part if isinstance(s, Step)) for part in ((first, second) if swapped else (second, first)))
            if len(then) + len(otherwise) < len(first) + len(second):
                raise Unsupported("they differ in a branch")
            items.append(Branch(then, otherwise, condition))
    result = (
        unify(evaluation.result, train.result) if type(evaluation.result) is type(train.result) else choice(evaluation.result, train.result)
    )
    body: Body = substitute(replace(evaluation, items=tuple(items), result=result), lambda ref: same.get(ref, ref))
    _check_replaced(train, same)
    _check_reassigned(body, evaluation, swapped)
    return renumbered(body)


def _check_reassigned(body: Body, evaluation: Body, swapped: bool) -> None:
    """Raise if the second body gives several tensors a new value that is read later."""
    made = {ref for step in steps_of(evaluation.items) for ref in refs_of(step.out)} | set(refs_of(body.params))
    for i, item in enumerate(body.items):
        if isinstance(item, Branch):
            again = {ref for step in (item.evaluation if swapped else item.train) for ref in refs_of(step.out)} & made
            if len(again) > 1 and any(ref in reads(later) for later in body.items[i + 1 :] for ref in again):
                raise Unsupported("training and evaluation differ in more than one value")


def _check_replaced(second: Body, same: dict[Ref, Ref]) -> None:
    """Raise if the second body reads a tensor after another one took its place."""
    made = {ref: i for i, item in enumerate(second.items) for step in steps_of([item]) for ref in refs_of(step.out)}
    last = {ref: i for i, item in enumerate(second.items) for ref in reads(item)} | dict.fromkeys(reads(second.result), len(second.items))
    for new, i in made.items():
        if any(same[old] == same.get(new) and made.get(old, -1) < i < last.get(old, -1) for old in same):
            raise Unsupported("training and evaluation mix up tensors")


def _all_refs(body: Body) -> list[Ref]:
    made = [ref for step in steps_of(body.items) for ref in refs_of(step.out)]
    return [*refs_of(body.params), *made, *(ref for item in body.items for ref in reads(item))]


def _key(item: Item) -> str:
    """Two items can be one if they have the same key."""
    if isinstance(item, Branch):
        return repr((item.condition, *([_key(step) for step in steps] for steps in (item.train, item.evaluation))))

    parts = (item.kind, item.name, item.args, item.kwargs, item.out)
    return repr(exchange(exchange(parts, bool, lambda _: "bool"), Ref, lambda _: "tensor"))
