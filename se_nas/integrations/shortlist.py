"""Hard budgets for any searcher that knows lists only: a list of architectures, all of them within the budgets.

Example:
    >>> architectures = shortlist(space, 200)
    >>> "se": tune.choice(list(architectures))           # Tune; or hp.choice, a W&B sweep, a search_space.json, ...
    >>> space.build(space.from_dimensions(architectures[config["se"]]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

__all__ = ["shortlist"]

if TYPE_CHECKING:
    from se_nas.space.space import SearchSpace


def shortlist(space: SearchSpace, number: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Different architectures within the budgets, drawn uniformly: id -> its values of `SearchSpace.dimensions`.

    The same space, number and seed give the same list in every process. It is JSON. The whole space, if that has no more.

    Args:
        space: the search space with its budgets.
        number: how many.
        seed: of the draw.
    """
    if space.feasible_exact and space.feasible_size <= number:
        chosen = list(space.enumerate())
    else:
        found: dict[bytes, Any] = {}
        rng = np.random.default_rng(seed)
        for _ in range(20):  # draws repeat themselves where little is feasible
            for codes in space.sample_many(rng, number):
                found.setdefault(codes.tobytes(), codes)
            if len(found) >= number:
                break
        chosen = [space.decode(codes) for codes in list(found.values())[:number]]
    return {architecture.id: space.to_dimensions(architecture) for architecture in chosen}
