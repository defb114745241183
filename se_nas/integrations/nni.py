"""SE blocks in your own NNI `ModelSpace`, and our search spaces as NNI's.

Example:
    >>> self.se = se_choice(channels, label="stage3")  # in the ModelSpace's __init__; call it in forward

`se_choice` is a `LayerChoice` of plain blocks, so it works in every strategy of NNI, multi-trial and one-shot. With
``shared=True`` the blocks share one set of weights, and squeeze, gate and reduction are separate choices; in one-shot
strategies this needs a `ModelSpace` with `SEHooks`. `ENAS` and `Proxyless` are NNI's without the faults of NNI 3.0 that
`se_nas.oneshot.faults` names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from se_nas.errors import InputError
from se_nas.oneshot.faults import ENAS, Proxyless
from se_nas.oneshot.mixed import Hook, SEChoice, hooks
from se_nas.oneshot.nni_imports import LayerChoice, MutableModule
from se_nas.oneshot.portable import Portable
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
    """A module (N, C, H, W) -> (N, C, H, W): a choice among SE blocks, or none, for NNI's strategies.

    Args:
        channels: C.
        label: modules with the same label make the same choice. NNI takes no slash in it.
        reductions: candidate reduction ratios, each at most ``channels``.
        squeezes: candidates, names in `se_nas.se.block.SQUEEZES`.
        gates: candidates, names in `se_nas.se.block.GATES`.
        allow_none: whether "no SE block" is a candidate. It is called ``none``; a block is called ``r16-avg-sigmoid``.
        bias, divisor, init: see `se_nas.se.block.SEBlock`.
        shared: whether all candidates share one set of weights; see above.

    Raises:
        InputError: for a wrong value. Its source is the argument's name.
    """
    if type(channels) is not int or channels < 1:
        mutable = " (a choice of NNI's)" if type(channels).__module__.startswith("nni.") else ""
        fix = "give a whole number; where the width is searched, make the block in a LayerChoice or in a layer that is built per width"
        raise InputError(f"{channels!r}{mutable} is no number of channels", fix, "channels")
    check_candidates("reductions", reductions, f"a ratio of 1 to {channels}", lambda r: type(r) is int and 1 <= r <= channels)
    check_candidates("squeezes", squeezes, f"one of {', '.join(SQUEEZES)}", SQUEEZES.__contains__)
    check_candidates("gates", gates, f"one of {', '.join(GATES)}", GATES.__contains__)
    if not label or "/" in label:
        raise InputError(f"NNI cannot take {label!r} as a label", "write one without a slash", "label")
    options = SEOptions(bias, divisor, init)
    widths = {hidden_width(channels, r, divisor): r for r in reversed(reductions)}  # if several ratios build the same block, keep the first
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
    """Base class of a `ModelSpace` with ``se_choice(..., shared=True)``: ``class Mine(SEHooks, ModelSpace)``."""

    def extra_oneshot_hooks(self, strategy: Any) -> list[Hook]:
        """NNI's one-shot strategies call this."""
        return hooks(strategy)


def to_model_space(space: SearchSpace | nn.Module, **arguments: Any) -> SEModelSpace:
    """An NNI `ModelSpace` of a search space, or of any network with sites for SE blocks. A network keeps its weights.

    Args:
        space: a space, or a network; of a network, ``SearchSpace(network, **arguments)`` is made.
        arguments: of `SearchSpace`, only with a network: ``input_size``, ``reduction``, ``share`` and others.

    Raises:
        InputError: if the network and arguments make no space, or there are arguments beside a space.
    """
    if isinstance(space, SearchSpace):
        if arguments:
            raise InputError(f"a space takes no {', '.join(arguments)}", "give them to SearchSpace", "to_model_space")
        return SEModelSpace(Portable(space))
    return SEModelSpace(Portable(SearchSpace(space, **arguments)))


def architecture(space: SearchSpace, sample: Mapping[str, Any]) -> Architecture:
    """The architecture of an NNI sample: ``model.sample``, or an element of ``export_top_models(formatter="dict")``."""
    return space.from_dimensions(sample)


def cost(space: SearchSpace, sample: Mapping[str, Any]) -> Cost:
    """Exact parameters and MACs of a sample. No network is built."""
    return space.cost(architecture(space, sample))


def within_budgets(space: SearchSpace) -> Callable[[Any], bool]:
    """A condition for NNI's filter. ``Chain(strategy, Filter(within_budgets(space)))`` tries nothing over budget."""
    return lambda model: space.is_feasible(architecture(space, model.sample))
