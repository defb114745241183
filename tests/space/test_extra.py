"""Extra dimensions: a builder's own arguments, searched together with the SE settings."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import ROOT, digits_space
from counting import count_by_hooks
from torch import nn

import se_nas
from se_nas.api import export_trial
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import parse_objectives
from se_nas.report.words import summary
from se_nas.run.trial import Trial
from se_nas.space.archfile import find_architecture, read_architecture
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES, create_strategy, replay, tell

EXTRA = {"width": [1.0, 1.5], "kernel": [3, 5]}
OBJECTIVES = parse_objectives(["accuracy", "params"])


def extra_space(**changes) -> SearchSpace:
    return digits_space(**{"squeeze": ["avg"], "extra": EXTRA, **changes})


@pytest.fixture(scope="module")
def wide() -> SearchSpace:
    return extra_space()


@pytest.fixture(scope="module")
def tight() -> SearchSpace:
    return extra_space(budgets={"params": "<= +130%"})


def table(architecture: Architecture, seed, fidelity, device, report) -> Evaluation:
    extra = dict(architecture.extra)
    return Evaluation({"accuracy": 0.1 * extra["width"] + 0.01 * extra["kernel"] + sum(spec is not None for _, spec in architecture) / 10})


def test_costs_are_those_of_the_network_that_is_built(wide: SearchSpace) -> None:
    assert wide.size == 4 * 27
    every = list(wide.enumerate())
    assert len(set(every)) == len({a.id for a in every}) == wide.size
    codes = np.array([wide.encode(a) for a in every])
    costs = wide.cost_many(codes)
    for place in np.random.default_rng(0).permutation(len(every))[:12]:
        a = every[place]
        counted = count_by_hooks(wide.build(a), torch.zeros(1, 1, 8, 8))
        assert counted == (costs.params[place], costs.macs[place]) == wide.cost_of(codes[place].tolist())[:2] == wide.cost(a)[:2]
        assert wide.decode(codes[place]) == a and wide.contains(a)
        assert wide.build(a).layer1[0].conv1.kernel_size == (dict(a.extra)["kernel"],) * 2
        assert wide.from_dimensions(wide.to_dimensions(a)) == a
    assert wide.cost(wide.dearest()).params == costs.params.max() and wide.cost(wide.cheapest()).params == costs.params.min()


def test_budgets_hold_over_all_backbones_and_drawing_is_uniform(wide: SearchSpace, tight: SearchSpace) -> None:
    limit = tight.budgets[0].limit
    within = [a for a in wide.enumerate() if wide.cost(a).params <= limit]
    assert tight.feasible_exact and tight.feasible_size == len(within) < wide.size
    assert list(tight.enumerate()) == within
    assert tight.cost(tight.dearest(within_budgets=True)).params == max(wide.cost(a).params for a in within)
    drawn = tight.sample_many(0, 100 * len(within))
    counts = np.unique([tight.decode(row).id for row in drawn], return_counts=True)[1]
    assert len(counts) == len(within)
    freedom = len(within) - 1
    assert ((counts - 100) ** 2 / 100).sum() < freedom + 4 * (2 * freedom) ** 0.5  # four deviations of the chi-squared distribution
    assert extra_space(budgets={"params": f"<= {wide.plain_cost.params}"}).feasible_size == 1


def test_references_and_percentages_have_the_first_values(wide: SearchSpace, tight: SearchSpace) -> None:
    for name in ("plain", "paper"):
        assert dict(wide.reference(name).extra) == {"width": 1.0, "kernel": 3}
    assert tight.budgets[0].limit == int(2.3 * digits_space().plain_cost.params)


def test_an_architecture_with_extras_in_json(wide: SearchSpace, tmp_path) -> None:
    a = wide.sample(3)
    assert Architecture.from_json(json.loads(json.dumps(a.to_json()))) == a
    assert str(a).startswith("width=") and summary(a).startswith("width=")
    plain = wide.reference("plain")
    assert len({digits_space().reference("plain").id, plain.id, wide.canonical(dict(plain), {"width": 1.5, "kernel": 3}).id}) == 3
    named_extra = Architecture((("extra", None), ("b", None)))  # a group of that name, where there are no extra dimensions
    assert Architecture.from_json(named_extra.to_json()) == named_extra
    file = tmp_path / "a.json"
    file.write_text(json.dumps(a.to_json()))
    assert find_architecture(wide, str(file)) == a
    paper = wide.canonical(dict(wide.reference("paper")), {"width": 1.5, "kernel": 5})  # r = 16 is no candidate
    assert read_architecture(wide, paper.to_json()) == paper
    for data, message in [
        ({**a.to_json(), "extra": {"width": 3, "kernel": 3}}, "extra.width: 3 is not a candidate of the space; it has 1.0, 1.5"),
        ({**a.to_json(), "extra": {"width": 1.0}}, "the extra dimensions differ from the space's in kernel"),
        ({**a.to_json(), "extra": {"width": True, "kernel": 3}}, "extra.width: True is not a candidate"),
    ]:
        with pytest.raises(InputError, match=message):
            read_architecture(wide, data)
    with pytest.raises(InputError, match="this space has none"):
        read_architecture(digits_space(), a.to_json())


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy(name: str, tight: SearchSpace) -> None:
    def measured(a: Architecture) -> dict[str, float]:
        return table(a, 0, {}, "cpu", print).metrics

    strategy, ledger = create_strategy(name, tight, OBJECTIVES, 3), []
    while len(ledger) < 16:
        (a,) = strategy.ask(1)
        number = len(ledger)
        ledger.append(Trial(number, "proposal", a, 0, {"epochs": 1}, "complete", measured(a), tight.cost(a)._asdict(), number))
        tell(strategy, ledger[-1])
    again = create_strategy(name, tight, OBJECTIVES, 3)
    more = strategy.ask(3)
    assert replay(again, ledger) and again.ask(3) == more
    asked = [t.architecture for t in ledger] + more
    for a in more:
        strategy.tell(a, measured(a))
    while batch := strategy.ask(8):
        asked += batch
        for a in batch:
            strategy.tell(a, None)
    assert len(asked) == len(set(asked)) == tight.feasible_size and all(tight.is_feasible(a) for a in asked)


def test_search_resume_warm_start_show_and_export(tight: SearchSpace, tmp_path, capsys) -> None:
    def search(out, space=tight, **more):
        return se_nas.search(space, evaluator=table, out=tmp_path / out, seed=1, **more)

    whole, part = search("whole", trials=14), search("part", trials=8)
    se_nas.resume(part.path, evaluator=table, trials=14)
    assert [t.architecture for t in part.trials] == [t.architecture for t in whole.trials]
    warm = search("warm", trials=14, warm_start=str(whole.path))
    assert not {t.architecture for t in warm.trials if t.role == "proposal"} & {t.architecture for t in whole.trials}
    narrow = extra_space(extra={"kernel": [3, 5], "width": [1.5, 2.0]})  # overlaps, though in another order it has no such architecture
    assert search("narrow", narrow, trials=8, warm_start=str(whole.path)).trials
    assert main(["show", str(whole.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert all(set(row["architecture"]["extra"]) == {"width", "kernel"} for row in shown["front"])
    assert main(["report", str(whole.path)]) == 0
    assert "width=1.5, kernel=3" in (whole.path / "report.html").read_text()
    best = whole.front.best().architecture
    assert dict(best.extra) != {"width": 1.0, "kernel": 3}
    export_trial(whole, "best", tmp_path / "best", untrained=True, prove=False)
    record = json.loads((tmp_path / "best/architecture.json").read_text())
    assert record["params"] == tight.cost(best).params and record["architecture"]["extra"] == dict(best.extra)
    assert find_architecture(SearchSpace.from_dict(record["space"], "record"), str(tmp_path / "best/architecture.json")) == best
    assert f"width={dict(best.extra)['width']}" in (tmp_path / "best/README.md").read_text().replace("\\", "")


class Net(nn.Module):
    """A plain stack whose builder takes what a test wants, and notes with what it was called."""

    calls: ClassVar[list[dict[str, object]]] = []

    def __init__(
        self,
        depth: int = 2,
        width: int = 8,
        kernel: int = 3,
        classes: int = 10,
        act: str = "relu",
    ) -> None:
        super().__init__()
        self.calls.append({"depth": depth, "width": width, "act": act})
        if act not in ("relu", "gelu"):
            raise ValueError(f"no activation {act}")
        blocks = [
            nn.Sequential(nn.Conv2d(width if i else 3, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width), nn.ReLU())
            for i in range(depth)
        ]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.body(x).mean((2, 3)))
        return scores


def own(extra, **changes) -> SearchSpace:
    builder = changes.pop("builder", Net)
    return SearchSpace(builder, (3, 8, 8), **{"reduction": [2, 4], "extra": extra, **changes})


def test_sites_may_differ_where_groups_do_not() -> None:
    space = own({"depth": [2, 3]}, share="network")
    for a in space.enumerate():
        assert count_by_hooks(space.build(a), torch.zeros(1, 3, 8, 8)) == space.cost(a)[:2]
    assert space.size == 6 and len({space.cost(a).params for a in space.enumerate()}) == 6


def test_only_what_is_needed_is_looked_at() -> None:
    space = own({"depth": [2, 3], "width": [8, 16, 24]}, share="network")
    a = space.canonical(dict(space.reference("paper")), {"depth": 3, "width": 24})
    Net.calls.clear()
    space.build(a), space.cost(a)
    assert {tuple(call.values()) for call in Net.calls} == {(3, 24, "relu")}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([1], r"extra: \[1\] is not a mapping"),
        ({"width": 8}, "extra.width: 8 is not a list"),
        ({"width": []}, "extra.width: no candidate"),
        ({"width": [8, 8.0]}, "extra.width: .* contains a value twice"),
        ({"width": [8, float("nan")]}, "extra.width: nan is not allowed; each value is a finite number, a text, true, false or null"),
        ({"width": [(8,), (16,)]}, r"extra.width: \(8,\) is not allowed"),
        ({"my width": [8]}, "extra: 'my width' is not the name of an argument"),
        ({"speed": [1, 2]}, "extra: Net refuses .*unexpected keyword argument 'speed'"),
        ({"act": ["relu", "swish"]}, "extra: Net refuses .*no activation swish"),
        ({"reduction": [1, 2]}, "extra.reduction: reduction is a setting of the SE blocks"),
        ({"kernel": [3, 5]}, "extra.kernel: kernel is in backbone_args too; write it in one"),
        ({"head": [1], "body.0": [1]}, "'body.0' is not the name"),
        (
            {"width": list(range(8, 25)), "depth": [2, 3]},
            "extra: 34 combinations of width, depth; give fewer values: at most 32 combinations",
        ),
    ],
)
def test_wrong_values_are_said(extra, message: str) -> None:
    with pytest.raises(InputError, match=message):
        own(extra, backbone_args={"kernel": 3})


@pytest.mark.parametrize(
    ("extra", "changes", "message"),
    [
        (
            {"network": [8]},
            {"share": "network", "builder": lambda network: Net(width=network)},
            "extra.network: a group of sites is called",
        ),
        ({"depth": [2, 3]}, {}, "extra: with depth=3 the groups of sites are others: body.2.0; tie sites by share"),
        ({"width": [8, 4]}, {"reduction": [8]}, "extra: with width=4: 8 is larger than the 4 channels"),
        ({"width": [12, 8]}, {"reduction": [4, 6, 8], "share": "network"}, "extra: with width=8 other settings of network build the same"),
        ({"classes": [10, 7]}, {"share": "network"}, "extra: with classes=7 the network has 7 outputs, not 10"),
    ],
)
def test_backbones_that_do_not_belong_together_are_said(extra, changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_strategy("random", own(extra, **changes), OBJECTIVES)


def test_a_module_that_is_built_takes_no_arguments() -> None:
    with pytest.raises(InputError, match="extra: a backbone that is built already takes no arguments; give the function that builds it"):
        SearchSpace(Net(), (3, 8, 8), reduction=[2], extra={"width": [8, 16]})
    with pytest.raises(InputError, match="the paper's tables know no width_per_group"):
        space = SearchSpace("torchvision:resnet50", (3, 64, 64), share="network", extra={"width_per_group": [64]})
        se_nas.search(space, evaluator="paper")


def test_the_shipped_space(capsys) -> None:
    file = str(ROOT / "search_spaces/digits_resnet8_extra.yaml")
    assert main(["check", file]) == 0
    out = capsys.readouterr().out
    assert "width: 1.0, 1.5" in out and "architectures: 1,372" in out
    space = SearchSpace.from_yaml(file)
    assert SearchSpace.from_dict(space.to_dict(), "again").to_dict() == space.to_dict()
    assert list(itertools.islice(space.dimensions.items(), 2)) == [("width", (1.0, 1.5)), ("kernel", (3, 5))]


def test_a_worker_gets_the_whole_space(tight: SearchSpace) -> None:
    sent = pickle.loads(pickle.dumps(tight))
    a = tight.sample(5)
    assert sent.cost(a) == tight.cost(a) and sent.feasible_size == tight.feasible_size
    assert sum(p.numel() for p in sent.build(a).parameters()) == tight.cost(a).params


@pytest.mark.slow
def test_what_is_exported_is_proven(tmp_path) -> None:
    space = extra_space()
    for number, a in enumerate((space.dearest(), space.canonical(dict(space.reference("paper")), {"width": 1.5, "kernel": 5}))):
        made = se_nas.export(space, a, tmp_path / str(number), weights=space.build(a).state_dict(), deploy=bool(number))
        assert made.proof is not None
