"""The exact front of the paper's estimates, against a search of everything."""

from __future__ import annotations

import numpy as np
import pytest
from paper_gains import GAINS, added

import se_nas
from se_nas.evaluate.paper import PaperEvaluator
from se_nas.evaluate.paper_front import paper_front
from se_nas.goals.objective import Objective, pareto
from se_nas.space.space import SearchSpace

SMALL = {"reduction": [4, 32], "gate": ["sigmoid", "relu"], "placement": ["standard", "pre", "inner"]}


@pytest.mark.parametrize(
    "arguments",
    [
        {**SMALL, "share": "stage"},
        {**SMALL, "share": "stage", "allow_none": False},
        {**SMALL, "share": "stage", "budgets": {"params": "<= +3%", "macs": "<= +0.02%"}},
        {"reduction": [4, 16], "squeeze": ["avg", "none"], "sites": {"stages": ["layer1", "layer4"]}},
    ],
)
@pytest.mark.parametrize("metrics", [("params", "macs"), ("params",), ("macs",)])
def test_is_the_front_of_everything(arguments: dict, metrics: tuple[str, ...]) -> None:
    space = SearchSpace("resnet50", (3, 64, 64), **arguments)
    evaluator, every = PaperEvaluator(space), np.array(list(space.enumerate_codes()))

    def points(codes: np.ndarray) -> list[dict[str, float]]:
        costs = space.cost_many(codes)
        rows = zip(np.round(evaluator.estimates(codes), 11).tolist(), costs.params.tolist(), costs.macs.tolist(), strict=True)
        return [{"accuracy": accuracy, "params": params, "macs": macs} for accuracy, params, macs in rows]

    objectives = [Objective("accuracy", "max"), *(Objective(name, "min", known=True) for name in metrics)]
    whole, names = points(every), [objective.name for objective in objectives]
    wanted = {tuple(whole[i][name] for name in names) for i in pareto(whole, objectives)}
    found = [tuple(point[name] for name in names) for point in points(paper_front(space, metrics))]
    assert set(found) == wanted and len(found) == len(wanted)


def test_a_search_of_the_shipped_space_ends_with_all_of_it(tmp_path) -> None:
    from se_nas.space.spacefile import load_space

    arguments, section = load_space("search_spaces/paper_resnet50.yaml")
    space = SearchSpace.from_dict({**arguments, "input_size": [3, 224, 224]}, "space")
    run = se_nas.search(space, **{**section, "trials": 200}, out=tmp_path / "run")
    assert run.config["ended"] == "exhausted" and len(run.trials) == section["trials"]
    assert [space.encode(entry.architecture).tolist() for entry in run.front.front] == paper_front(space).tolist()
    assert run.effects() is None
    few = se_nas.search(space, **{**section, "trials": 5}, out=tmp_path / "few")
    more = se_nas.resume(few.path, trials=20)
    assert [t.architecture for t in more.trials] == [t.architecture for t in run.trials[:20]]


def test_exact_needs_estimates(tmp_path) -> None:
    with pytest.raises(se_nas.InputError, match="known only of the paper's estimates"):
        se_nas.search(SearchSpace("resnet8", (1, 8, 8), backbone_args={"in_channels": 1}), strategy="exact", out=tmp_path / "run")


def test_gains_beside_costs() -> None:
    rows = {(row.network, row.table): row for row in GAINS}
    resnet = rows["ResNet-50", 2]
    assert resnet.points == 1.51 and added(resnet).more_params == added(resnet).more_macs == 2_514_944
    assert added(rows["MobileNet", 3]).params == 4_231_976
    assert sum(1 for row in GAINS if row.table == 2) == 8 and sum(1 for row in GAINS if row.table in (4, 5)) == 8
