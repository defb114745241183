"""How to write a squeeze so that it is quick on a device: where two ways compute the same, both are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from se_nas.profiling.rounds import run_rounds, undisturbed
from se_nas.profiling.runtimes import How, made_calls
from se_nas.se.block import SQUEEZES
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

RUNTIMES = ("deploy", "onnx")
"""Those whose exported files are written for speed."""

ROUNDS = 20

LEAST = 0.01
"""Share of the network's time below which a difference is none."""


def quicker_spelling(space: SearchSpace, how: How, seed: int, tell: Callable[[str], None] = lambda text: None) -> dict[str, str]:
    """The spelling of each squeeze of a space that is quicker than the usual one, beyond what two halves of the rounds differ by.

    Timed is the network with that squeeze at each site that has it, written in each way.

    Args:
        space: the search space.
        how: how to run the networks.
        seed: of the order.
        tell: hears what happens.

    Returns:
        Squeeze -> spelling, see `se_nas.se.block.Squeeze`. Squeezes that the usual way serves as well are left out.

    Raises:
        KeyboardInterrupt: if it was stopped.
    """
    ways = [(squeeze, name) for squeeze in space.squeeze for name in ("", *SQUEEZES[squeeze].spellings) if SQUEEZES[squeeze].spellings]
    if how.runtime not in RUNTIMES or not ways:
        return {}
    networks = [(_everywhere(space, squeeze), replace(how, spelling={squeeze: name} if name else {})) for squeeze, name in ways]
    with made_calls(space, networks, lambda text: tell(f"spelling: {text}")) as calls:
        times, stopped = run_rounds(calls, ROUNDS, seed, lambda done, left: tell(f"spelling: round {done} of {ROUNDS}, {left:.0f} s left"))
    if stopped:
        raise KeyboardInterrupt
    halves = dict(zip(ways, undisturbed(times)[1].tolist(), strict=True))
    quicker: dict[str, str] = {}
    for squeeze in dict(ways):
        names = [name for other, name in ways if other == squeeze]
        best = min(names, key=lambda name: sum(halves[squeeze, name]))
        one, usual = halves[squeeze, best], halves[squeeze, ""]
        noise = max(abs(one[0] - one[1]), abs(usual[0] - usual[1]))
        if sum(usual) - sum(one) > 2 * max(LEAST * sum(usual) / 2, 2 * noise):
            quicker[squeeze] = best
    return quicker


def _everywhere(space: SearchSpace, squeeze: str) -> Architecture:
    """One squeeze at each site that may have it."""
    chosen = {group.name: next((spec for spec in group.options if spec and spec.squeeze == squeeze), None) for group in space.groups}
    return replace(space.reference("plain"), choices=tuple(chosen.items()))
