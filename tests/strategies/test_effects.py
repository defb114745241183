"""Strategy `effects`: its trials tell more of the same effects than random ones, as foreseen before they are run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import ROOT, digits_space

from se_nas.cli import main
from se_nas.goals.objective import STANDARD, parse_objectives
from se_nas.run.effects import Effects
from se_nas.run.estimate import estimate
from se_nas.run.trial import Trial
from se_nas.space.group import mean_costs
from se_nas.space.space import SearchSpace
from se_nas.strategies import create_strategy
from se_nas.strategies.effects import effect_rows
from se_nas.strategies.foresight import foresee

OBJECTIVES = parse_objectives(["accuracy", "params"])


def told(space: SearchSpace, name: str, seed: int, number: int, noise: float) -> tuple[Effects, dict[str, float]]:
    """What a search's trials tell of made-up effects at each site, and the truth."""
    rng = np.random.default_rng([seed, 1])
    truth = {group.name: float(effect) for group, effect in zip(space.groups, rng.normal(0, noise, len(space.groups)), strict=True)}
    strategy = create_strategy(name, space, OBJECTIVES, seed)
    trials = []
    for index in range(number):
        (architecture,) = strategy.ask(1)
        value = 0.8 + sum(truth[group] for group, spec in architecture if spec) + rng.normal(0, noise)
        strategy.tell(architecture, {"accuracy": value})
        trials.append(Trial(index, "proposal", architecture, 0, {"epochs": 1}, "complete", {"accuracy": value}, {}, index))
    config = {"space": space.to_dict(), "backbone": {"groups": {group.name: {"settings": mean_costs(group)} for group in space.groups}}}
    return estimate(trials, STANDARD["accuracy"], config, number), truth


def errors(found: Effects, truth: dict[str, float]) -> list[float]:
    return [effect.estimate - truth[effect.group] for effect in found.sites if effect.group]


def widths(found: Effects) -> list[float]:
    return [effect.half_width for effect in found.sites if effect.group]


def test_its_trials_are_foreseen_to_tell_more() -> None:
    space = digits_space(reduction=[2, 4, 8, 16], squeeze=["avg", "max", "std"], budgets={"params": "<= +8%"})
    widths = foresee(space).widths
    designed, random = dict(widths["effects"]), dict(widths["random"])
    assert all(designed[size] < 0.85 * random[size] for size in (24, 48, 96, 192))
    asked = create_strategy("effects", space, OBJECTIVES).ask(20)
    assert all(map(space.is_feasible, asked)) and len(set(asked)) == 20


@pytest.mark.slow
def test_what_is_foreseen_comes_true() -> None:
    """Over 10 made-up truths: the typical interval is as wide as foreseen and holds the truth; designed trials err less."""
    space = SearchSpace("resnet20", (3, 8, 8), reduction=[2, 4, 8, 16], squeeze=["avg", "max"], budgets={"params": "<= +4%"})
    outlook, off = foresee(space, 0.01), {}
    for name in ("effects", "random"):
        both = [told(space, name, seed, 48, 0.01) for seed in range(10)]
        foreseen = dict(outlook.widths[name])[48]
        assert np.median([width for found, _ in both for width in widths(found)]) == pytest.approx(foreseen, rel=0.3), name
        holds = [abs(error) <= width for found, truth in both for error, width in zip(errors(found, truth), widths(found), strict=True)]
        assert np.mean(holds) > 0.88
        off[name] = np.std([error for found, truth in both for error in errors(found, truth)])
    assert off["effects"] < off["random"]


def test_effects_are_sums_of_coefficients() -> None:
    """SE against none at each of three sites, then two values of the ratio over all sites, and of the squeeze."""
    space = digits_space()
    domain = create_strategy("effects", space, OBJECTIVES).domain
    rows = effect_rows(domain)
    assert rows.shape == (5, 1 + 3 * 3)
    assert rows[0].tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0] and rows[3].tolist() == [0, 0, 2, 0, 0, 2, 0, 0, 2, 0]
    assert (
        len(effect_rows(create_strategy("effects", digits_space(share="network", reduction=[4], squeeze=["avg"]), OBJECTIVES).domain)) == 1
    )


def test_plan(capsys: pytest.CaptureFixture[str]) -> None:
    space = str(ROOT / "search_spaces/cued_resnet8.yaml")
    assert main(["plan", space, "--width", "0.5", "--noise", "0.7"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "one of 3 sites, in the unit of --noise" in said and "±0.5 takes about" in said
    assert "trials with --strategy effects and about" in said
    rows = foresee(SearchSpace.from_yaml(space)).widths["effects"]
    assert all(wide > narrow for (_, wide), (_, narrow) in itertools.pairwise(rows))
    assert main(["plan", space, "--width", "0"]) == 2
    assert "--width: 0 is not a width; give a number above 0" in capsys.readouterr().err
