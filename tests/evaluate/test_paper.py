"""The paper as an evaluator gives the paper's own figures back."""

from __future__ import annotations

import numpy as np
import pytest

import se_nas
from se_nas.evaluate import ESTIMATED
from se_nas.evaluate.paper import PaperEvaluator
from se_nas.se.spec import PAPER, SESpec
from se_nas.space.space import SearchSpace

SPACE = SearchSpace("resnet50", (3, 64, 64), reduction=[2, 4, 8, 16, 32], squeeze=["avg", "max"], placement=["standard", "pre"])


def error(spec: SESpec | None, stages: str = "1234", schedule: str = "ablations") -> float:
    evaluator = PaperEvaluator(SPACE, schedule)
    return evaluator.error(SPACE.canonical({g.name: spec if g.sites[0].stage[-1] in stages else None for g in SPACE.groups}))


@pytest.mark.parametrize(
    ("spec", "stages", "printed"),
    [
        (None, "", 23.30),
        (PAPER, "1234", 22.28),
        (PAPER, "1", 23.03),
        (PAPER, "2", 23.04),
        (PAPER, "3", 22.68),
        (SESpec(2), "1234", 22.29),
        (SESpec(32), "1234", 22.72),
        (SESpec(16, "max"), "1234", 22.57),
        (SESpec(16, gate="tanh"), "1234", 23.00),
        (SESpec(16, gate="relu"), "1234", 23.47),
        (SESpec(16, placement="post"), "1234", 22.78),
        (SESpec(16, placement="identity"), "1234", 22.20),
    ],
)
def test_the_tables_come_back(spec, stages: str, printed: float) -> None:
    assert error(spec, stages) == pytest.approx(printed, abs=0.04)  # settings act on each stage: sums are off by a little
    if spec in (None, PAPER):
        assert error(spec, stages) == pytest.approx(printed, abs=1e-9)


def test_schedules_are_not_mixed() -> None:
    assert error(None, "", "table-2") == pytest.approx(24.80)
    assert error(PAPER, "1234", "table-2") == pytest.approx(23.29)


def test_what_the_tables_lack_is_refused() -> None:
    with pytest.raises(se_nas.InputError, match="ablations are of ResNet-50, not of resnet20"):
        PaperEvaluator(SearchSpace("resnet20", reduction=[4]))
    with pytest.raises(se_nas.InputError, match="no squeeze 'std'"):
        PaperEvaluator(SearchSpace("resnet50", (3, 64, 64), squeeze=["avg", "std"]))
    with pytest.raises(se_nas.InputError, match="no reduction 64"):
        PaperEvaluator(SearchSpace("resnet50", (3, 64, 64), reduction=[64]))


def test_a_search_of_the_tables(tmp_path) -> None:
    space = SearchSpace("resnet50", (3, 64, 64), reduction=[4, 16], share="stage", budgets={"params": "<= +4%"})
    run = se_nas.search(space, evaluator="paper", trials=8, out=tmp_path / "run")
    assert [o.name for o in run.front.objectives] == [ESTIMATED, "params"]
    best = run.front.best()
    assert all(architecture["layer3"] is not None for architecture in [best.architecture]) and best.values[ESTIMATED] > 0.77
    assert len(se_nas.resume(tmp_path / "run", trials=12).trials) == 12


def test_the_tables_as_a_prior(tmp_path) -> None:
    codes = SPACE.sample_many(np.random.default_rng(0), 50)
    estimates = PaperEvaluator(SPACE).estimates(codes)
    errors = [PaperEvaluator(SPACE).error(SPACE.decode(row)) for row in codes[:5]]
    assert estimates[:5] == pytest.approx([1 - e / 100 for e in errors])
    space = SearchSpace("resnet50", (3, 64, 64), reduction=[4, 16], share="stage")

    arguments = {"evaluator": "paper", "objectives": ["accuracy"], "prior": "paper"}
    run = se_nas.search(space, trials=12, out=tmp_path / "run", **arguments)  # 8 first trials beside both references, and 2
    promised = PaperEvaluator(space).estimates(np.array(list(space.enumerate_codes()))).max()
    assert run.front.best().values[ESTIMATED] == pytest.approx(promised)


def test_what_does_not_go_with_the_prior_is_refused(tmp_path) -> None:
    def search(**arguments) -> None:
        space = arguments.pop("space", SPACE)
        se_nas.search(space, evaluator="paper", trials=3, out=tmp_path / "run", **{"prior": "paper", **arguments})

    with pytest.raises(se_nas.InputError, match="unknown prior 'papers'"):
        search(prior="papers")
    with pytest.raises(se_nas.InputError, match="unknown strategy with a prior 'random'"):
        search(strategy="random")
    with pytest.raises(se_nas.InputError, match="and it is no objective"):
        search(objectives=["loss", "params"])
    with pytest.raises(se_nas.InputError, match="not of resnet20"):
        se_nas.search(SearchSpace("resnet20", reduction=[4]), prior="paper", trials=3, out=tmp_path / "run")
