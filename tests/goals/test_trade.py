"""Three ways to trade objectives."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import Objective, parse_objectives
from se_nas.goals.trade import Trade, resolve_trade
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies import STRATEGIES, create_strategy

DIMS = {f"b{i}": [0, 1, 2, 3] for i in range(4)}
ACCURACY, PARAMS, LATENCY = Objective("accuracy", "max"), Objective("params", "min", known=True), Objective("latency", "min")


def params(a) -> float:
    return 10.0 + sum((i + 1) * a[name] for i, name in enumerate(DIMS))


def measured(a) -> dict[str, float]:
    return {"accuracy": 50 + sum(a.values()) + (a["b0"] == 2), "latency": params(a) ** 0.5, "throughput": 1 / params(a)}


def space() -> CategoricalSpace:
    return CategoricalSpace(DIMS, {"params": params})


def run(name: str, objectives, trials: int = 14) -> list:
    strategy, asked = create_strategy(name, space(), objectives, seed=1), []
    while len(asked) < trials:
        for a in strategy.ask(2):
            asked.append(a)
            strategy.tell(a, measured(a))
    return asked


def test_the_weighted_value_is_mnasnets() -> None:
    reward = Trade("weighted", {"params": 20, "latency": 4, "throughput": 2}).reward(
        [ACCURACY, PARAMS, LATENCY, Objective("throughput", "max")]
    )
    values = {"accuracy": 0.7, "params": 40, "latency": 4, "throughput": 1}
    assert reward.of(values) == pytest.approx(0.7 * 2**-0.07 * 2**-0.07)
    for bad in ({"params": 0}, {"accuracy": -1}):
        with pytest.raises(InputError, match="cannot be weighted"):
            reward.of({**values, **bad})


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_compare_what_is_traded(name: str) -> None:
    objectives = [ACCURACY, PARAMS]
    trade = Trade("weighted", {"params": 20}, -0.5)
    asked = run(name, trade.compared(objectives))
    strategy = create_strategy(name, space(), trade.compared(objectives), seed=1)
    assert [o.name for o in strategy.objectives] == ["reward"]
    for a in asked:
        strategy.tell(a, {"accuracy": measured(a)["accuracy"]})  # params are known
    codes, losses, _ = strategy.finished
    for row, loss in zip(codes, losses, strict=True):
        a = strategy.domain.decode(row)
        assert loss[0] == pytest.approx(-measured(a)["accuracy"] * (params(a) / 20) ** -0.5)
    for bad in (math.nan, None):
        with pytest.raises(InputError, match="accuracy is"):
            strategy.tell(asked[0], {"accuracy": bad})
    limited = [ACCURACY, Objective("params", "min", budget=25.0, known=True)]
    for kind in (Trade("constrained"), trade):
        compared = kind.compared(limited)
        asked = run(name, compared, 14)
        assert all(params(a) <= 25 for a in asked) and len(create_strategy(name, space(), compared).objectives) == 1


def test_each_trade_finds_its_own_best() -> None:
    every = [dict(zip(DIMS, values, strict=True)) for values in itertools.product(*DIMS.values())]
    weighted = Trade("weighted", {"params": 20}, -0.5)
    best = max(every, key=lambda a: measured(a)["accuracy"] * params(a) ** -0.5)
    assert best in run("known-cost", weighted.compared([ACCURACY, PARAMS]), 30)
    within = max(measured(a)["accuracy"] for a in every if params(a) <= 25)
    found = run("known-cost", Trade("constrained").compared([ACCURACY, Objective("params", "min", 25, True)]), 30)
    assert max(measured(a)["accuracy"] for a in found) == within


@pytest.mark.parametrize(
    ("section", "names", "budgets", "message"),
    [
        ({"trade": "best"}, ["accuracy", "params"], 0, "unknown trade 'best'; take one of pareto, weighted, constrained"),
        ({"trade": "constrained"}, ["accuracy", "params"], 0, "trade: constrained without a budget"),
        ({"trade": "pareto", "targets": {"params": 3}}, ["accuracy", "params"], 0, "targets: a pareto search uses no targets"),
        ({"trade": "weighted", "weight": 0.1}, ["accuracy", "params"], 0, "weight: weight 0.1 is not below 0"),
        ({"trade": "weighted"}, ["params", "accuracy"], 0, "trade: params, accuracy cannot be weighted; put a measured objective"),
        ({"trade": "weighted"}, ["accuracy"], 0, "trade: accuracy cannot be weighted"),
        ({"trade": "weighted"}, ["accuracy", "min:latency"], 0, "targets: latency has no target"),
        ({"trade": "weighted", "targets": {"latency": "+5%"}}, ["accuracy", "min:latency"], 0, "targets.latency: '[+]5%' is relative"),
        ({"trade": "weighted", "targets": {"macs": 3}}, ["accuracy", "params"], 0, "targets: macs is not an objective after the first"),
        ({"trade": "weighted", "targets": {"params": "few"}}, ["accuracy", "params"], 0, "targets.params: 'few' is not an amount"),
        ({"trade": "weighted", "targets": {"params": 0}}, ["accuracy", "params"], 0, "targets.params: 0 is not above 0"),
        ({"trade": "weighted", "targets": {"bytes": 9}}, ["accuracy", "bytes"], 0, "trade: the plain backbone has 0 bytes"),
    ],
)
def test_what_cannot_be_traded_is_said(section, names, budgets, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_trade(section, parse_objectives(names), {"params": 1000, "macs": 5000, "bytes": 0}, budgets)
    with pytest.raises(InputError, match="latency is measured, so its budget is not hard"):
        Trade("constrained").compared([ACCURACY, Objective("latency", "min", budget=3)])


def table(architecture, seed, fidelity, device, report) -> Evaluation:
    return Evaluation({"accuracy": 0.8 + 0.05 * sum(spec is not None for _, spec in architecture)})


def test_a_run_says_how_it_traded(tmp_path, capsys) -> None:
    found = {}
    for trade, more in {"pareto": {}, "weighted": {"targets": {"params": "+3%"}, "weight": -200}, "constrained": {}}.items():
        space = digits_space(budgets={"params": "<= +2%"}) if trade == "constrained" else digits_space()
        run = se_nas.search(space, evaluator=table, out=tmp_path / trade, trials=9, trade=trade, **more)
        se_nas.resume(run.path, evaluator=table, trials=12)
        best, plain = run.front.best(), space.plain_cost.params
        assert main(["show", str(run.path)]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert main(["show", str(run.path), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["trade"]["kind"] == trade and shown["best"] == best.number
        assert main(["report", str(run.path)]) == 0
        html, found[trade] = (run.path / "report.html").read_text(), best
        capsys.readouterr()
        if trade == "weighted":  # the exponent is so strong that no gain is worth a parameter
            assert f"Best accuracy x (params / {int(1.03 * plain):,})^-200" in text and "weighted<br>value" in html
            assert best.architecture == space.reference("plain")
            assert shown["front"][0]["weighted_value"] == pytest.approx(0.8 * 1.03**200, rel=1e-3)
        else:
            assert shown["front"][0]["weighted_value"] is None
            assert ("Best accuracy within the budgets (params <= +2%)" in text) == (trade == "constrained")
            assert best.values["accuracy"] == max(entry.values["accuracy"] for entry in run.front.front)
    assert found["pareto"].architecture != found["weighted"].architecture


def test_flags(tmp_path, capsys) -> None:
    from conftest import ROOT

    file = str(ROOT / "search_spaces/imagenet_resnet50.yaml")
    where = ["--evaluator", "paper", "--trials", "4", "--quiet", "--out", str(tmp_path / "run")]
    assert main(["search", file, *where, "--trade", "weighted", "--target", "params"]) == 2
    assert "--target: 'params' is not NAME=VALUE; write --target params=300k" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
