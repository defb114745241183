"""Domains: a space as strategies see it, as rows of integer codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from se_nas.errors import InputError
from se_nas.goals.objective import Objective, Reward
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies.domain.base import Domain
from se_nas.strategies.domain.categorical import CategoricalDomain
from se_nas.strategies.domain.listed import ListedCategorical, ListedDomain
from se_nas.strategies.domain.search_space import SearchSpaceDomain


def make_domain(space: Any, objectives: Sequence[Objective]) -> Domain:
    """The domain of a space, limited by the space's budgets and by those of the known objectives.

    Args:
        space: a `se_nas.space.space.SearchSpace`, a `se_nas.space.categorical.CategoricalSpace`, or any object with ``dims``
            (name -> values) and optionally ``costs``.
        objectives: objectives of the search.

    Raises:
        InputError: for any other space, for an objective with ``known=True`` that is not a cost of the space, or if nothing
            is within the budgets.
    """
    if hasattr(space, "groups") and hasattr(space, "plain_cost"):
        domain: Domain = (ListedDomain if hasattr(space, "rows") else SearchSpaceDomain)(space, objectives)
    elif hasattr(space, "dims"):
        own = space if isinstance(space, CategoricalSpace) else CategoricalSpace(space.dims, getattr(space, "costs", None))
        domain = (ListedCategorical if hasattr(own, "rows") else CategoricalDomain)(own, objectives)
    else:
        raise InputError(f"{type(space).__name__} is not a space", "take a SearchSpace, or CategoricalSpace(dims, costs=...)", "space")
    parts = [part for objective in objectives if isinstance(objective, Reward) for part in objective.parts]
    for objective in (*objectives, *parts):
        if objective.known and objective.name not in domain.known:
            have = f"the known costs are {', '.join(domain.known)}" if domain.known else "the space has no known costs"
            raise InputError(
                f"{objective.name} is said to be known, but {have}", "give its function in costs=, or say known=False", "objectives"
            )
    return domain
