from __future__ import annotations

import itertools
import json
import math

import pytest
from conftest import digits_space
from ledgers import make_ledger

import se_nas
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import STANDARD, Objective
from se_nas.run.effects import Effect, Effects, read_effects
from se_nas.run.estimate import estimate
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.group import mean_costs

SITES = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
SPACES = {
    "sites": ({"reduction": [4, 8, 16]}, SITES),
    "fields": (
        {
            "reduction": [2, 4, 8, 16],
            "squeeze": ["avg", "max", "std"],
            "gate": ["sigmoid", "hard-sigmoid"],
            "placement": ["standard", "pre"],
        },
        ["layer1.0", "layer2.0", "layer3.0"],
    ),
    "tied": ({"reduction": [4, 16], "squeeze": ["avg", "max"]}, ["layer1", "layer2", "layer3", "layer4"]),
    "extra": ({"reduction": [4, 8], "extra": {"width": [1.0, 1.5], "kernel": [3, 5, 7]}}, ["layer1", "layer2", "layer3"]),
    "always": ({"reduction": [4, 8, 16], "squeeze": ["avg", "max"], "allow_none": False}, SITES[:6]),
}


def effects_of(trials: list[Trial], space: dict, metric: Objective = STANDARD["accuracy"]) -> Effects:
    return estimate(trials, metric, {"space": space, "backbone": {}}, len(trials))


def covered(name: str, n: int, ledgers: int) -> float:
    """How often intervals hold the truth, over all effects of so many ledgers."""
    space, groups = SPACES[name]
    hits = []
    for seed in range(ledgers):
        trials, truth = make_ledger((name, n, seed), space, groups, n)
        found = effects_of(trials, space)
        hits += [effect.low <= truth[effect.group, effect.field, effect.value] <= effect.high for effect in (*found.sites, *found.values)]
    return sum(hits) / len(hits)


def test_intervals_hold_the_truth() -> None:
    rates = [covered(name, n, 3) for name in SPACES for n in (20, 40)]
    assert 0.90 <= sum(rates) / len(rates) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 150])
def test_intervals_hold_the_truth_in_every_space(n: int) -> None:
    rates = {name: covered(name, n, 40) for name in SPACES}
    assert all(0.90 <= rate <= 0.98 for rate in rates.values()), rates


@pytest.mark.parametrize("name", ["sites", "tied"])
def test_where_there_is_nothing_it_says_so(name: str) -> None:
    space, groups = SPACES[name]
    nothing = {"site": 0, "value": 0, "by_group": 0, "extra": 0, "unit": 0}
    said = [effects_of(make_ledger((name, seed), space, groups, 40, **nothing)[0], space).conclusive for seed in range(8)]
    assert sum(said) <= 1


def test_an_obvious_effect_is_found() -> None:
    """One site of nine brings 3 points, r = 4 half a point more everywhere, noise is half a point."""
    space, groups = SPACES["sites"]
    trials, _ = make_ledger("obvious", space, groups, 48, 0, 0, 0, 0, 0, 0.005)

    def worth(trial: Trial) -> float:
        return 0.03 * (trial.architecture["layer3.1"] is not None) + 0.005 * sum(
            s is not None and s.reduction == 4 for _, s in trial.architecture
        )

    trials = [Trial(**{**vars(t), "metrics": {"accuracy": t.metrics["accuracy"] + worth(t)}}) for t in trials]
    found = effects_of(trials, space)
    assert found.conclusive and found.r2 is not None and found.r2 > 0.5
    (site,) = [effect for effect in found.sites if effect.group == "layer3.1"]
    assert site.low > 0.02 and site.low < 0.03 + 0.005 / 3 < site.high
    assert site.trials_with + site.trials_without == 48
    (ratio,) = [e for e in found.values if e.group is None and e.value == 4]
    assert ratio.low > 0 and ratio.low < 9 * 0.005 < ratio.high
    assert found.noise == pytest.approx(0.005, rel=0.4)


def factorial(a: float, b: float, metric: str = "accuracy") -> list[Trial]:
    """Four sites, with and without SE in every way, twice each; sites a and b bring something, c and d nothing."""
    trials = []
    for index, (*sites, seed) in enumerate(itertools.product((False, True), (False, True), (False, True), (False, True), (0, 1))):
        architecture = Architecture.of({name: SESpec(4) if on else None for name, on in zip("abcd", sites, strict=True)})
        value = 0.8 + a * sites[0] + b * sites[1] + (0.001 if (seed + sum(sites)) % 2 else -0.001)
        trials.append(Trial(index, "proposal", architecture, seed, {"epochs": 1}, "complete", {metric: value}, {}, 0))
    return trials


def test_a_small_case_by_hand() -> None:
    """a brings 0.02 and b 0.01 whatever the others do: the differences of means of 16 trials each."""
    found = effects_of(factorial(0.02, 0.01), {"reduction": [4]})
    a, b, c, d, everywhere = found.sites
    assert [effect.group for effect in found.sites] == ["a", "b", "c", "d", None] and not found.values
    assert a.estimate == pytest.approx(0.02, abs=2e-4) and b.estimate == pytest.approx(0.01, abs=2e-4)
    assert c.estimate == pytest.approx(0, abs=2e-4) and d.estimate == pytest.approx(0, abs=2e-4)
    assert everywhere.estimate == pytest.approx(0.03, abs=5e-4)
    assert (a.trials_with, a.trials_without) == (16, 16) and (everywhere.trials_with, everywhere.trials_without) == (30, 2)
    assert [effect.found for effect in found.sites] == [True, True, False, False, True] and found.conclusive
    assert found.architectures == 16 and found.trials == 32
    assert found.noise == pytest.approx(0.001, rel=0.3)
    assert a.half_width == pytest.approx(2.05 * 0.001 * (2 / 16) ** 0.5, rel=0.4)  # Student's, of a difference of means


def test_less_is_better_turns_effects_round() -> None:
    a, b, *_ = effects_of(factorial(-0.02, 0.01, "loss"), {"reduction": [4]}, STANDARD["loss"]).sites
    assert a.estimate == pytest.approx(0.02, abs=2e-4) and b.estimate == pytest.approx(-0.01, abs=2e-4)


def test_pairs_of_sites_enter_only_where_they_predict() -> None:
    space, groups = SPACES["sites"]
    trials, _ = make_ledger("pairs", space, groups, 120, noise=0.002, unit=0)
    assert not effects_of(trials, space).interactions

    def together(trial: Trial) -> float:
        return 0.02 * ((trial.architecture["layer1.0"] is not None) == (trial.architecture["layer3.0"] is not None))

    trials = [Trial(**{**vars(t), "metrics": {"accuracy": t.metrics["accuracy"] + together(t)}}) for t in trials]
    found = effects_of(trials, space)
    assert found.interactions and found.r2 is not None and found.r2 > 0.7


def test_spaces_without_none_have_no_effect_by_site() -> None:
    space, groups = SPACES["always"]
    found = effects_of(make_ledger("always", space, groups, 40)[0], space)
    assert [effect.group for effect in found.sites] == [None]  # of all sites: against the reference without SE
    assert {effect.field for effect in found.values} == {"reduction", "squeeze"}


def test_extra_dimensions_have_effects_of_their_own() -> None:
    space, groups = SPACES["extra"]
    trials, truth = make_ledger("extra", space, groups, 80, extra=0.03)
    found = {(e.field, e.value): e for e in effects_of(trials, space).values if e.group is None}
    for key in (("width", 1.0), ("width", 1.5), ("kernel", 3), ("kernel", 7)):
        assert found[key].estimate == pytest.approx(truth[(None, *key)], abs=0.006)
    assert found["width", 1.0].estimate == pytest.approx(-found["width", 1.5].estimate)
    assert found["width", 1.0].trials_with + found["width", 1.5].trials_with == 80


def test_an_average_over_settings_knows_how_many_have_each_value() -> None:
    """At a narrow site several ratios build one network, which counts once."""
    space = digits_space(reduction=[8, 16, 4], squeeze=["avg"], divisor=4, backbone_args={"in_channels": 1})
    narrow = mean_costs(space.groups[0])
    assert narrow["number"] == 1 and "reduction" not in narrow  # 16 channels, multiples of 4
    wide = mean_costs(space.groups[2])
    assert [entry["number"] for entry in wide["reduction"].values()] == [1] * wide["number"]
    whole = [space.groups[2].cost(spec).params for spec in space.groups[2].options if spec]
    assert wide["params"] == sum(whole) / len(whole)


def test_trials_for_a_width() -> None:
    plan = ((100, 0.004), (200, 0.003), (400, 0.002))
    effects = Effects("accuracy", 100, 100, 90, 0.5, 0.01, plan=plan)
    assert effects.trials_for(0.005) == 100 and effects.trials_for(0.003) == 200
    assert effects.trials_for(0.0025) == math.ceil(200 * 2 ** (math.log(3 / 2.5) / math.log(3 / 2)))
    assert effects.trials_for(0.001) is None


# In a run's directory.

CONFIG = {"search": {"objectives": ["accuracy", "params"], "epochs": 3, "trials": 30}, "budgets": [], "backbone": {}}


@pytest.fixture
def run(tmp_path) -> Run:
    space, groups = SPACES["tied"]
    run = Run.create(tmp_path / "run", {**CONFIG, "space": space})
    for trial in make_ledger("run", space, groups, 30)[0]:
        run.ledger.append(trial)
    return run


def test_effects_are_kept_until_the_ledger_grows(run: Run) -> None:
    first = run.effects()
    assert first is not None and first.lines == first.trials == 30
    path = run.path / "effects.json"
    assert Effects.from_json(json.loads(path.read_text())) == first
    path.write_text(path.read_text().replace('"noise": ', '"noise": 1'))  # what is read is the file
    again = Run.open(run.path).effects()
    assert again is not None and again.noise != first.noise
    failed = {**vars(run.trials[0]), "number": 30, "status": "failed", "metrics": {}}
    run.ledger.append(Trial(**failed))
    grown = run.effects()
    assert grown is not None and (grown.lines, grown.trials) == (31, 30)
    assert grown.sites == first.sites  # nothing was learned, and the same data say the same
    assert json.loads(path.read_text())["lines"] == 31


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "lines": 30}'])
def test_a_file_that_cannot_be_read_is_computed_anew(run: Run, damage: str) -> None:
    first = run.effects()
    (run.path / "effects.json").write_text(damage)
    assert run.effects() == first


def test_other_fidelities_and_stopped_trials_say_nothing(run: Run) -> None:
    first = run.effects()
    odd = vars(run.trials[5])
    run.ledger.append(Trial(**{**odd, "number": 30, "fidelity": {"epochs": 9}, "metrics": {"accuracy": 0.1}}))
    run.ledger.append(Trial(**{**odd, "number": 31, "fidelity": {"epochs": 1, "of": 3}, "status": "stopped", "metrics": {"accuracy": 0.1}}))
    after = run.effects()
    assert first is not None and after is not None and after.sites == first.sites


def test_too_few_architectures_and_no_metric(tmp_path) -> None:
    space, groups = SPACES["tied"]
    few = Run.create(tmp_path / "few", {**CONFIG, "space": space})
    for trial in make_ledger("few", space, groups, 6)[0]:
        few.ledger.append(trial)
    found = few.effects()
    assert found is not None and found.r2 is None and not found.conclusive and found.architectures == 4
    exact = Run.create(tmp_path / "exact", {**CONFIG, "search": {"objectives": ["params"], "epochs": 3}})
    assert exact.effects() is None


def test_equal_trials_tell_nothing() -> None:
    space, groups = SPACES["tied"]
    trials = [Trial(**{**vars(t), "metrics": {"accuracy": 0.5}}) for t in make_ledger("equal", space, groups, 20)[0]]
    found = effects_of(trials, space)
    assert found.r2 is None and not found.sites


def test_a_search_leaves_its_effects(tmp_path) -> None:
    def evaluator(architecture, seed, fidelity, device, report) -> Evaluation:
        return Evaluation({"accuracy": 0.5 + 0.1 * (architecture["layer2.0"] is not None) + 0.001 * seed})

    run = se_nas.search(digits_space(), out=tmp_path / "run", evaluator=evaluator, trials=12, strategy="random")
    kept = read_effects(run.path / "effects.json")
    assert kept is not None and kept.lines == 12 and kept == run.effects()
    first, second, *_ = kept.sites
    assert second.group == "layer2.0" and second.low > 0.05
    assert first.params == 96.0 and first.macs == 96.0  # r = 4 and 8 of 16 channels: 128 and 64 weights
    four = next(effect for effect in kept.values if (effect.group, effect.value) == ("layer1.0", 4))
    assert four.params == 64.0


def test_an_effect_says_whether_it_is_found() -> None:
    effect = Effect("a", None, None, 0.1, 0.02, 0.18, 3, 4)
    assert effect.found and effect.half_width == pytest.approx(0.08)
    assert not Effect("a", None, None, 0.1, -0.02, 0.18, 3, 4).found
