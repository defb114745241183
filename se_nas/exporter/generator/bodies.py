"""What a module computes in evaluation and in training, as one body of code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from torch import nn

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.symbols import Frame, Own, Ref, Size, Step, refs_of, substitute


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
    frames = [_tidy(frame, silent) for frame in (evaluation, train) if frame is not None]
    first, last = frames[0], frames[-1]
    if len(frames) == 1 or first == last:
        return first
    if len(first.names) != len(last.names):
        raise Unsupported("its arguments differ between training and evaluation")
    try:
        return _merged(first, last)
    except Unsupported:  # steps of the evaluation alone may be a branch in those of the training
        return _merged(last, first, swapped=True)


def _tidy(frame: Frame, silent: Collection[str]) -> Body:
    """The body of a frame, without calls that do nothing, and with its tensors numbered in order."""
    same: dict[Ref, Any] = {}
    steps: list[Step] = []

    def resolve(value: Any) -> Any:
        return substitute(value, lambda ref: same.get(ref, ref))

    for step in _own_batch_norm(frame):
        args = resolve(step.args)
        if step.kind == "module" and step.name in silent and len(args) == 1 and isinstance(step.out, Ref):
            same[step.out] = args[0]
        else:
            steps.append(replace(step, args=args, kwargs=resolve(step.kwargs)))
    return numbered(Body(frame.names, frame.params, tuple(steps), resolve(frame.result)))


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


def numbered(body: Body) -> Body:
    """A body with its tensors numbered from 0 in the order in which they are made."""
    numbers: dict[Ref, Ref] = {}

    def number(ref: Ref) -> Ref:
        return numbers.setdefault(ref, Ref(len(numbers)))

    return rewritten(body, number)


def rewritten(body: Body, ref: Callable[[Ref], Any]) -> Body:
    """A body with its tensors replaced."""
    params = substitute(body.params, ref)
    return replace(body, params=params, items=tuple(rewritten_item(item, ref) for item in body.items), result=_value(body.result, ref))


def rewritten_item(item: Item, ref: Callable[[Ref], Any]) -> Item:
    if isinstance(item, Branch):
        then, otherwise = (tuple(_step(step, ref) for step in steps) for steps in (item.train, item.evaluation))
        return Branch(then, otherwise, item.condition)
    return _step(item, ref)


def with_reads(item: Any, refs: Iterator[Any]) -> Any:
    """An item or value that reads these tensors instead, in the order of `reads`."""
    if isinstance(item, Branch):
        then, otherwise = (tuple(with_reads(step, refs) for step in steps) for steps in (item.train, item.evaluation))
        return Branch(then, otherwise, item.condition)
    if isinstance(item, Step):
        args = _value(item.args, lambda _: next(refs))
        return replace(item, args=args, kwargs=_value(item.kwargs, lambda _: next(refs)))
    return _value(item, lambda _: next(refs))


def _step(step: Step, ref: Callable[[Ref], Any]) -> Step:
    return replace(step, args=_value(step.args, ref), kwargs=_value(step.kwargs, ref), out=substitute(step.out, ref))


def _value(value: Any, ref: Callable[[Ref], Any]) -> Any:
    if isinstance(value, Training):
        return Training(substitute(value.train, ref), substitute(value.evaluation, ref))
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_value(item, ref) for item in value)
    if isinstance(value, dict):
        return {key: _value(item, ref) for key, item in value.items()}
    return substitute(value, ref)


def steps_of(items: Sequence[Item]) -> list[Step]:
    """All steps, also those in branches."""
    return [step for item in items for step in ((*item.train, *item.evaluation) if isinstance(item, Branch) else (item,))]


def reads(item: Item | Any) -> list[Ref]:
    """The tensors that an item or value reads, in order."""
    if isinstance(item, Branch):
        return [ref for step in (*item.train, *item.evaluation) for ref in reads(step)]
    if isinstance(item, Step):
        return reads((*item.args, *item.kwargs.values()))
    if isinstance(item, Training):
        return [*refs_of(item.train), *refs_of(item.evaluation)]
    if isinstance(item, tuple):
        return [ref for part in item for ref in reads(part)]
    return list(refs_of(item))


def _merged(evaluation: Body, train: Body, swapped: bool = False) -> Body:
    """Align the steps of two bodies. Steps of one body only become a branch, in which the second may give a tensor a new value.

    ``swapped``: the first is the training, the second the evaluation.
    """

    def choice(a: Any, b: Any) -> Training:
        return Training(a, b) if swapped else Training(b, a)

    alike = SequenceMatcher(None, [_key(s) for s in evaluation.items], [_key(s) for s in train.items], autojunk=False)
    # Tensors of the training pass have their own numbers until they are matched with those of the evaluation.
    offset = 1 + max((ref.number for ref in _all_refs(evaluation)), default=0)
    train = rewritten(train, lambda ref: Ref(ref.number + offset))
    same: dict[Ref, Ref] = dict(zip(refs_of(train.params), refs_of(evaluation.params), strict=True))
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

    for kind, a0, a1, b0, b1 in alike.get_opcodes():
        if kind == "equal":
            for a, b in zip(evaluation.items[a0:a1], train.items[b0:b1], strict=True):
                assert isinstance(a, Step) and isinstance(b, Step)
                items.append(replace(a, args=unify(a.args, b.args), kwargs=unify(a.kwargs, b.kwargs), out=unify(a.out, b.out)))
        else:
            first, second = tuple(evaluation.items[a0:a1]), tuple(train.items[b0:b1])
            items.append(Branch(first, second) if swapped else Branch(second, first))  # type: ignore[arg-type]
    result = (
        unify(evaluation.result, train.result) if type(evaluation.result) is type(train.result) else choice(evaluation.result, train.result)
    )
    body = rewritten(Body(evaluation.names, evaluation.params, tuple(items), result), lambda ref: same.get(ref, ref))
    _check_reassigned(body, evaluation, swapped)
    return numbered(body)


def _check_reassigned(body: Body, evaluation: Body, swapped: bool) -> None:
    """Raise if the second body gives several tensors a new value that is read later."""
    made = {ref for step in steps_of(evaluation.items) for ref in refs_of(step.out)} | set(refs_of(body.params))
    for i, item in enumerate(body.items):
        if isinstance(item, Branch):
            again = {ref for step in (item.evaluation if swapped else item.train) for ref in refs_of(step.out)} & made
            if len(again) > 1 and any(ref in reads(later) for later in body.items[i + 1 :] for ref in again):
                raise Unsupported("training and evaluation differ in more than one value")


def _all_refs(body: Body) -> list[Ref]:
    made = [ref for step in steps_of(body.items) for ref in refs_of(step.out)]
    return [*refs_of(body.params), *made, *(ref for item in body.items for ref in reads(item))]


def _key(step: Item) -> str:
    """Two steps can be one if they have the same key."""
    assert isinstance(step, Step)

    def masked(value: Any) -> Any:
        if isinstance(value, bool):
            return "bool"
        if isinstance(value, (list, tuple)):
            return tuple(masked(item) for item in value)
        if isinstance(value, dict):
            return {key: masked(item) for key, item in value.items()}
        return substitute(value, lambda ref: "tensor")

    return repr((step.kind, step.name, masked(step.args), masked(step.kwargs), masked(step.out)))
