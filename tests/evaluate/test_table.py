"""A search over a table proposes what the table holds, finds its best, and says in one line what is wrong with a file."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate.table import TITLE, Table, TableEvaluator
from se_nas.goals.objective import parse_objectives
from se_nas.space.architecture import Architecture
from se_nas.space.listed import ListedSpace
from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES, create_strategy

SPACE = digits_space()
HEADER = {TITLE: 1, "backbone": "resnet8", "backbone_args": {"in_channels": 1}, "input_size": [1, 8, 8], "epochs": 2, "about": "made up"}
OBJECTIVES = parse_objectives(["accuracy", "params"])


def accuracy(architecture: Architecture, seed: int = 0) -> float:
    """SE pays at the last site, and costs a little elsewhere."""
    return 0.5 + 0.3 * (architecture["layer3.0"] is not None) - 0.02 * sum(spec is not None for _, spec in architecture) + 0.001 * seed


def line(architecture: Architecture, seed: int = 0, **changes: Any) -> dict[str, Any]:
    found = accuracy(architecture, seed)
    return {
        "architecture": architecture.to_json(),
        "seed": seed,
        "metrics": {"accuracy": found, "loss": 1 - found},
        "test": {"accuracy": found - 0.1},
        **changes,
    }


def some(space: SearchSpace, number: int = 40) -> list[Architecture]:
    drawn = (space.decode(row) for row in space.codes_many(1000, 0))
    return list(dict.fromkeys([space.reference("plain"), space.reference("paper"), *islice(drawn, 2 * number)]))[:number]


def written(path: Path, lines: list[Any], header: Any = HEADER) -> Path:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in (header, *lines)))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return written(tmp_path / "table.jsonl", [line(each, seed) for each in some(SPACE) for seed in (0, 1)])


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_proposes_the_whole_list_and_nothing_else(name: str) -> None:
    listed = ListedSpace.of(SPACE, [each for each in some(SPACE, 24) if SPACE.contains(each)]).with_budgets({"params": "<= +3%"})
    known = set(listed.enumerate())
    assert 10 < len(known) == listed.feasible_size < 23 and not [each for each in known if not listed.is_feasible(each)]
    strategy = create_strategy(name, listed, OBJECTIVES, 3)
    asked: list[Architecture] = []
    while batch := strategy.ask(2):
        asked += batch
        for each in batch:
            strategy.tell(each, {"accuracy": accuracy(each)})
    assert len(asked) == len(known) and set(asked) == known


def test_what_a_strategy_makes_up_becomes_what_is_most_like_it() -> None:
    strategy = create_strategy("random", ListedSpace.of(SPACE, list(SPACE.enumerate())[::7]), OBJECTIVES)
    domain, rng = strategy.domain, np.random.default_rng(0)
    listed = domain.every
    for codes in SPACE.codes_many(20, 1).astype(np.int64):
        found = domain.repair(codes, rng)
        assert domain.feasible(found[None])[0]
        assert (found != codes).sum() <= (listed != codes).sum(1).min() + 1  # features, not choices, are counted
        assert (found == codes).all() == domain.feasible(codes[None])[0]
    assert domain.feasible(domain.neighbours(listed[0])).all() and (domain.neighbours(listed[0]) != listed[0]).any(1).all()


def test_strategies_that_learn_find_the_best_of_a_table_sooner(tmp_path: Path) -> None:
    space = SearchSpace("resnet20", (3, 8, 8), reduction=[4, 16], squeeze=["avg", "max"])
    rows = [space.decode(row) for row in space.codes_many(400, 0)]
    listed = ListedSpace.of(space, rows)

    def worth(architecture: Architecture) -> float:
        return sum((i + 1) * (spec is not None and spec.squeeze == "avg") for i, (_, spec) in enumerate(architecture))

    def trials_to_best(name: str, seed: int) -> int:
        strategy, best = create_strategy(name, listed, parse_objectives(["accuracy"]), seed), max(map(worth, rows))
        for number in range(400):
            (asked,) = strategy.ask(1)
            if worth(asked) == best:
                return number
            strategy.tell(asked, {"accuracy": worth(asked)})
        raise AssertionError("it ended early")

    for name in ("nsga2", "local-search", "evolution"):
        assert np.mean([trials_to_best(name, seed) for seed in range(6)]) < 120, name  # at random: 200


def test_a_search_of_a_table(table: Path, tmp_path: Path) -> None:
    run = se_nas.search(SPACE, evaluator=f"table:{table}", trials=12, repeats=2, seed=1, out=tmp_path / "run")
    assert run.config["search"]["epochs"] == 2 and {trial.fidelity["epochs"] for trial in run.trials} == {2}
    assert [trial.metrics["accuracy"] for trial in run.trials if trial.role == "plain"] == pytest.approx(
        [0.501, 0.5]
    )  # it begins with seed 1
    assert "table.jsonl" in (tmp_path / "run" / "run.yaml").read_text()
    run = se_nas.resume(tmp_path / "run", trials=1000)
    assert run.config["ended"] == "exhausted"
    complete = {trial.architecture for trial in run.trials if trial.complete}
    assert complete == set(some(SPACE))
    best = run.front.best()
    assert best.values["accuracy"] == pytest.approx(0.78, abs=0.002) and best.values["params"] == SPACE.cost(best.architecture).params
    with pytest.raises(InputError, match=r"table\.jsonl trains nothing; say on what to train: --data DATA"):
        se_nas.confirm(tmp_path / "run")


def test_what_the_table_lacks_fails_as_a_trial(table: Path) -> None:
    evaluator = TableEvaluator(SPACE, table)
    other = next(each for each in SPACE.enumerate() if each not in evaluator.table.trainings)
    for architecture, seed in ((other, 0), (some(SPACE)[0], 2)):
        with pytest.raises(se_nas.TrialFailed, match="the table has no"):
            evaluator(architecture, seed, {"epochs": 2}, "cpu", print)
    trainings = Table.read(table, SPACE).trainings[some(SPACE)[0]]
    assert [each.test["accuracy"] for each in trainings] == pytest.approx([0.4, 0.401])


ONE = line(some(SPACE)[0])


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([], HEADER, "holds no training"),
        ([ONE], {"backbone": "resnet8"}, "is no table: the first line has no 'se-nas table'"),
        ([ONE], {**HEADER, TITLE: 2}, "line 1: version 2 of the format is unknown; this se-nas reads version 1"),
        ([ONE], {**HEADER, "backbone": "resnet20"}, "line 1: the table has backbone 'resnet20', the search 'resnet8'"),
        ([ONE], {**HEADER, "epochs": 0}, "line 1: epochs is 0"),
        ([ONE], {**HEADER, "wide": 1}, "line 1: unknown key 'wide'"),
        ([ONE, '{"architecture": {'], HEADER, "line 3: not JSON"),
        ([ONE, "[1]"], HEADER, "line 3: [1] is no mapping"),
        ([ONE, ""], HEADER, "line 3: not JSON"),
        ([ONE, ONE], HEADER, "line 3: seed 0 of this architecture stands twice"),
        ([{**ONE, "seed": -1}], HEADER, "line 2: seed is -1"),
        ([{**ONE, "seed": True}], HEADER, "line 2: seed is True"),
        ([{"seed": 0, "metrics": {"accuracy": 1}}], HEADER, "line 2: has no architecture"),
        ([{**ONE, "metrics": {"accuracy": "high"}}], HEADER, "line 2: metrics is {'accuracy': 'high'}"),
        ([json.dumps(ONE).replace("0.5", "NaN")], HEADER, "line 2: not JSON: NaN is no number"),
        ([{**ONE, "architecture": {"layer9": None}}], HEADER, "line 2, group: unknown group 'layer9'"),
        (
            [line(SPACE.canonical({g.name: se_nas.SESpec(4, "std") for g in SPACE.groups}))],
            HEADER,
            "none of its 1 architectures is of this",
        ),
        ([json.dumps(line(some(SPACE)[1])).replace("avg", "average")], HEADER, "line 2, squeeze: unknown squeeze 'average'"),
    ],
)
def test_a_bad_file_is_one_line(lines: list[Any], header: Any, said: str, tmp_path: Path, capsys) -> None:
    path = written(tmp_path / "bad.jsonl", lines, header)
    space = tmp_path / "space.yaml"
    space.write_text("{backbone: resnet8, backbone_args: {in_channels: 1}, input_size: [1, 8, 8], reduction: [4, 8], squeeze: [avg, max]}")
    assert main(["search", str(space), "--evaluator", f"table:{path}", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not (tmp_path / "run").exists()


def test_what_does_not_go_with_a_table_is_refused(table: Path, tmp_path: Path) -> None:
    for settings, said in (
        ({"evaluator": "table:"}, "unknown evaluator 'table:'; take training, paper or table:PATH"),
        ({"evaluator": "tables"}, "unknown evaluator 'tables'"),
        ({"evaluator": f"table:{tmp_path / 'none'}"}, "no such file"),
        ({"evaluator": f"table:{table}", "repeats": 3}, "3 seeds are asked for, and the table has 2"),
        ({"evaluator": f"table:{table}", "start": "train"}, "trains nothing"),
    ):
        with pytest.raises(InputError, match=said.replace("(", r"\(")):
            se_nas.search(SPACE, out=tmp_path / "run", **settings)
