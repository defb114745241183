"""SE choices in a trial of classical NNI: ``search_space.json``, ``nni.get_next_parameter()``, ``nni.report_final_result``.

from se_nas.integrations.nni_hpo import next_parameters

parameters, architecture = next_parameters(space)   # {"lr": 0.1, ...}, and ours
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from se_nas.integrations.shortlist import shortlist

if TYPE_CHECKING:
    from se_nas.space.architecture import Architecture
    from se_nas.space.space import SearchSpace

__all__ = ["next_parameters", "search_space"]

KEY = "se"
"""Key of the choices in a search space and in a trial's parameters."""


def search_space(space: SearchSpace, number: int = 256, seed: int = 0) -> dict[str, Any]:
    """The entry ``se`` of a ``search_space.json`` of NNI.

    Without budgets: a choice for each group, no SE or one of its settings. NNI's tuners know no budgets, so with budgets: one
    choice among architectures within them (`se_nas.integrations.shortlist`).

    Args:
        space: the search space with its budgets.
        number: how many architectures to choose among; only with budgets.
        seed: of their draw.
    """
    if space.budgets:
        return {KEY: _choice([json.dumps(choices) for choices in shortlist(space, number, seed).values()])}
    nested: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, values in space.dimensions.items():
        group, _, field = name.rpartition(".")
        if group:
            groups.setdefault(group, {})[field] = list(values)
        else:
            nested[name] = _choice(list(values))
    for group, fields in groups.items():
        ratios = fields.get("reduction", [])
        settings = {field: _choice([value for value in values if value is not None]) for field, values in fields.items()}
        nested[group] = _choice([*([{"_name": "none"}] if None in ratios else []), {"_name": "se", **settings}])
    return {KEY: _choice([{"_name": KEY, **nested}])}


def next_parameters(space: SearchSpace) -> tuple[dict[str, Any], Architecture]:
    """What NNI asks this trial to try: its other parameters, and the architecture.

    In a script that is run without NNI there is nothing to try: no parameters, and an architecture drawn from the space.

    Raises:
        InputError: if what NNI gave is not an architecture of the space.
    """
    import nni

    parameters = dict(nni.get_next_parameter() or {})
    if KEY not in parameters:
        return parameters, space.sample(0)
    choices = parameters.pop(KEY)
    return parameters, space.from_dimensions(json.loads(choices) if isinstance(choices, str) else choices)


def _choice(values: list[Any]) -> dict[str, Any]:
    return {"_type": "choice", "_value": values}
