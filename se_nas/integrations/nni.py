"""SE blocks in an NNI `ModelSpace` of one's own, and spaces of ours as NNI's.

Example:
    >>> self.se = se_choice(channels, label="stage3")  # in the ModelSpace's __init__; call it in forward

`se_choice` is a `LayerChoice` of plain blocks, so it works in every strategy of NNI, multi-trial and one-shot. With
``shared=True`` the blocks share one set of weights and squeeze, gate and reduction are choices of their own: that takes a
`ModelSpace` with `SEHooks` in one-shot strategies. `ENAS` and `Proxyless` are NNI's, but for faults of NNI 3.0 that
`se_nas.oneshot.faults` names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from se_nas.errors import InputError
from se_nas.oneshot.faults import ENAS, Proxyless
from se_nas.oneshot.imported import LayerChoice, MutableModule
from se_nas.oneshot.mixed import Hook, SEChoice, hooks
from se_nas.oneshot.supernet import SEModelSpace
from se_nas.se.block import GATES, SQUEEZES, make_block
from se_nas.se.cost import Cost
from se_nas.se.spec import SEOptions, SESpec, hidden_width
from se_nas.space.architecture import Architecture
from se_nas.space.candidates import check_candidates
from se_nas.space.space import SearchSpace

__all__ = ["ENAS", "Proxyless", "SEHooks", "architecture", "cost", "se_choice", "to_model_space", "within_budgets"]


def se_choice(
    channels: int,
    *,
    label: str,
    reductions: Sequence[int] = (4, 8, 16),
    squeezes: Sequence[str] = ("avg",),
    gates: Sequence[str] = ("sigmoid",),
    allow_none: bool = True,
    bias: bool = False,
    divisor: int = 1,
    init: str = "default",
    shared: bool = False,
) -> MutableModule:
    """A module (N, C, H, W) -> (N, C, H, W) that NNI's strategies choose: an SE block with one of the settings, or none.

    Args:
        channels: C.
        label: same label, same choice; NNI takes no slash in it.
        reductions: candidate ratios, up to the channels.
        squeezes: names in `se_nas.se.block.SQUEEZES`.
        gates: names in `se_nas.se.block.GATES`.
        allow_none: whether no SE is a candidate, called ``none``; blocks are called ``r16-avg-sigmoid``.
        bias, divisor, init: as of `se_nas.se.block.SEBlock`.
        shared: one set of weights for all candidates; see above.

    Raises:
        InputError: for values that cannot be; its source is the argument's name.
    """
    check_candidates("reductions", reductions, f"a ratio of 1 to {channels}", lambda r: type(r) is int and 1 <= r <= channels)
    check_candidates("squeezes", squeezes, f"one of {', '.join(SQUEEZES)}", SQUEEZES.__contains__)
    check_candidates("gates", gates, f"one of {', '.join(GATES)}", GATES.__contains__)
    if not label or "/" in label:
        raise InputError(f"{label!r} is no label for NNI", "write one without a slash", "label")
    options = SEOptions(bias, divisor, init)
    widths = {hidden_width(channels, r, divisor): r for r in reversed(reductions)}  # of ratios that build the same, the first
    reductions = [r for r in reductions if widths[hidden_width(channels, r, divisor)] == r]
    if shared:
        with_none = (None, *reductions) if allow_none else reductions
        candidates = {"reduction": with_none, "squeeze": squeezes, "gate": gates, "placement": ("standard",)}
        return SEChoice(channels, candidates, label, options)
    blocks: dict[str, nn.Module] = {"none": nn.Identity()} if allow_none else {}
    for spec in itertools.starmap(SESpec, itertools.product(reductions, squeezes, gates)):
        blocks[f"r{spec.reduction}-{spec.squeeze}-{spec.gate}"] = make_block(channels, spec, options)
    return LayerChoice(blocks, label=label)


class SEHooks:
    """Base of a `ModelSpace` with ``se_choice(..., shared=True)``: ``class Mine(SEHooks, ModelSpace)``."""

    def extra_oneshot_hooks(self, strategy: Any) -> list[Hook]:
        """NNI's one-shot strategies ask for them."""
        return hooks(strategy)


def to_model_space(space: SearchSpace | nn.Module, **arguments: Any) -> SEModelSpace:
    """An NNI `ModelSpace`: of a space, or of any network with sites for SE blocks, whose weights are kept.

    Args:
        space: a space; or a network, of which ``SearchSpace(network, **arguments)`` is made.
        arguments: of `SearchSpace`, with a network alone: ``input_size``, ``reduction``, ``share`` and others.

    Raises:
        InputError: if they make no space.
    """
    if isinstance(space, SearchSpace):
        if arguments:
            raise InputError(f"a space takes no {', '.join(arguments)}", "give them to SearchSpace", "to_model_space")
        return SEModelSpace(space)
    return SEModelSpace(SearchSpace(space, **arguments))


def architecture(space: SearchSpace, sample: Mapping[str, Any]) -> Architecture:
    """What a sample of NNI's (``model.sample``, or an element of ``export_top_models(formatter="dict")``) stands for."""
    return space.from_dimensions(sample)


def cost(space: SearchSpace, sample: Mapping[str, Any]) -> Cost:
    """Exact parameters and MACs of a sample, before anything is built."""
    return space.cost(architecture(space, sample))


def within_budgets(space: SearchSpace) -> Callable[[Any], bool]:
    """For NNI's middleware: ``Chain(strategy, Filter(within_budgets(space)))`` tries nothing over the space's budgets."""
    return lambda model: space.is_feasible(architecture(space, model.sample))
