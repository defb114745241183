"""A profile's model, file and table, on times that follow from known coefficients."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import digits_space

from se_nas.errors import InputError
from se_nas.latency.fingerprint import fingerprint
from se_nas.latency.fit import choose_networks, error, fit
from se_nas.latency.profile import FITTED, HELD_OUT, Measured, Profile, amounts, make_profile, read_profile
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

HOW = {"device": "cpu", "runtime": "eager", "batch": 1, "threads": 1, "layout": "contiguous", "precision": "float32", "rounds": 30}


def seconds(space: SearchSpace, architecture: Architecture) -> float:
    """What the architectures take on a machine without noise."""
    each = {"plain": 0.01, "avg standard blocks": 1e-4, "max standard blocks": 2e-4, "max standard elements": 3e-8}
    return sum(each.get(name, 0.0) * amount for name, amount in amounts(space, architecture).items())


def profiled(space: SearchSpace, noise: float = 0.0, **how: object) -> Profile:
    rng, measured = np.random.default_rng(0), []
    chosen = [space.reference("plain"), *dict.fromkeys(space.sample(seed) for seed in range(40))]
    for place, architecture in enumerate(chosen):
        halves = seconds(space, architecture) + noise * rng.random(2)
        role = FITTED if place < 25 else HELD_OUT
        measured.append((architecture, Measured(architecture.to_json(), role, float(halves.min()), tuple(halves.tolist()))))
    return make_profile(space, measured, fingerprint("cpu", "eager"), {**HOW, "stopped": False, **how}, 1.0)


def test_the_fit_finds_what_there_is_and_nothing_below_0() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.ones(30), rng.random((30, 3)) * [1, 1e5, 1e-3]])
    assert fit(rows, rows @ [1.0, 0.0, 2e-6, 30.0]) == pytest.approx([1.0, 0.0, 2e-6, 30.0], abs=1e-9)
    assert (fit(rows, rows @ [1.0, -0.2, 2e-6, 30.0]) >= 0).all()


def test_chosen_networks_tell_more_than_random_ones() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.ones(200), rng.integers(0, 5, (200, 4))]).astype(float)
    chosen = choose_networks(rows, 10, [3, 7])

    def told(some: list[int]) -> float:
        return float(np.linalg.slogdet(rows[some].T @ rows[some])[1])

    assert chosen[:2] == [3, 7] and len(set(chosen)) == 10
    assert told(chosen) > max(told([3, 7, *rng.choice(200, 8, replace=False)]) for _ in range(100))


def test_an_error_is_told_of_what_se_adds() -> None:
    found = error(np.array([1.1, 1.2, 1.3]), np.array([1.2, 1.3, 1.4]), 1.0)
    assert found.whole == pytest.approx(np.mean([0.1 / 1.2, 0.1 / 1.3, 0.1 / 1.4])) and found.added == pytest.approx(0.1 / 0.3)
    assert found.spearman == pytest.approx(1.0) and error(np.ones(3), np.ones(3), 2.0).added is None


def test_a_profile_predicts_and_comes_back_from_its_file(space: SearchSpace, tmp_path: Path) -> None:
    found = profiled(space)
    assert found.model is not None and found.model.whole < 1e-6 and found.interval < 1e-8
    found.write(tmp_path / "cpu.yaml")
    known = space.with_profile(tmp_path / "cpu.yaml")
    for seed in range(20):
        architecture = known.sample(seed)
        assert known.cost(architecture).latency == pytest.approx(seconds(space, architecture), rel=1e-5)  # type: ignore[attr-defined]
    named = known.costs["latency"]
    assert named.unit == "s" and named.about.startswith("predicted from eager on ") and "batch 1, 1 thread" in named.about
    assert space.with_profile(found).costs["latency"] == named
    assert known.cost(known.reference("paper")).latency > 0.01  # type: ignore[attr-defined]  # r 16 is no option, but predicted
    tight = known.with_budgets({"latency": "<= +3%"})
    assert all(seconds(space, architecture) <= 1.03 * 0.01 * (1 + 1e-6) for architecture in tight.enumerate())


def test_noise_makes_ties_and_a_floor(space: SearchSpace) -> None:
    found = profiled(space, noise=2e-4)
    assert found.floor is not None and found.floor.added is not None and found.floor.added > 0.05
    assert space.with_profile(found).costs["latency"].tie == found.interval > 1e-5


def test_only_this_machine_unless_one_insists(space: SearchSpace) -> None:
    found = profiled(space)
    other = Profile(**{**vars(found), "machine": {**found.machine, "torch": "1.0"}})
    with pytest.raises(InputError, match=r"measured on another machine: torch 1\.0 \(here .*--foreign"):
        space.with_profile(other)
    assert "measured elsewhere: torch 1.0" in space.with_profile(other, foreign=True).costs["latency"].about


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_args": {"in_channels": 1, "width": 2.0}}, "measured on another network: resnet8 has params 75002, this one"),
        ({"squeeze": ["std"]}, "std standard were not measured"),
        ({"placement": ["standard", "pre"]}, "avg pre were not measured"),
        ({"extra": {"width": [1.0, 2.0]}}, "the space has several backbones \\(width\\)"),
    ],
)
def test_a_profile_is_of_one_network(space: SearchSpace, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits_space(**changes).with_profile(profiled(space))


def test_other_ratios_are_predicted_and_it_is_said_how_far_out_they_are(space: SearchSpace) -> None:
    found = profiled(space)
    assert "extrapolated" not in digits_space(reduction=[6]).with_profile(found).costs["latency"].about
    about = digits_space(reduction=[1, 4]).with_profile(found).costs["latency"].about
    assert about.endswith("extrapolated beyond what was measured in avg standard parameters, max standard parameters")


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"avg standard": 0.1}, "avg standard"),
        ({"avg standard": 0.1, "max standard": 0.1}, "networks with much of one kind of SE block"),
    ],
)
def test_whole_kinds_that_are_extrapolated_are_named_briefly(space: SearchSpace, of: dict[str, float], said: str) -> None:
    found = profiled(space)
    reach = {name: amount * of.get(name.rpartition(" ")[0], 1) for name, amount in found.reach.items()}
    about = space.with_profile(replace(found, reach=reach)).costs["latency"].about
    assert about.endswith(f"; extrapolated beyond what was measured in {said}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: 1", "schema: 9", "is no latency profile"),
        ("...\n", "", "is cut short"),
        ("  plain: ", "  plain: -", "is damaged"),
        ("  avg standard blocks: ", "  avg standard bricks: ", "is damaged"),
        ("interval: ", "intervals: ", "is damaged"),
        ("  seconds: 0", "  seconds: [0]\n  second: 0", "is damaged"),
        ("schema: 1", "schema: [", "not YAML"),
    ],
)
def test_damaged_files_are_told(space: SearchSpace, tmp_path: Path, old: str, new: str, message: str) -> None:
    profiled(space).write(path := tmp_path / "cpu.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=f"cpu.yaml: {message}"):
        read_profile(path, space)
    with pytest.raises(InputError, match="no such file"):
        read_profile(tmp_path / "none.yaml", space)


def write_table(space: SearchSpace, path: Path, number: int = 12) -> list[dict[str, Any]]:
    chosen = [space.reference("plain"), *dict.fromkeys(space.sample(seed) for seed in range(number))]
    rows = [{**space.to_dimensions(each), "latency": seconds(space, each)} for each in chosen]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_a_plain_table_is_a_profile(space: SearchSpace, tmp_path: Path) -> None:
    write_table(space, tmp_path / "phone.csv")
    lines = [{"architecture": "plain", "latency": 0.01}]
    lines += [{"architecture": each.to_json(), "latency": seconds(space, each)} for each in map(space.sample, range(1, 12))]
    (tmp_path / "phone.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name in ("phone.csv", "phone.jsonl"):
        known = space.with_profile(tmp_path / name)
        for seed in range(100, 110):
            architecture = known.sample(seed)
            assert known.cost(architecture).latency == pytest.approx(seconds(space, architecture), rel=1e-4)  # type: ignore[attr-defined]
        assert known.costs["latency"].about.startswith(f"predicted from the table {name}")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("latency", "", "line 3: latency '' is no time; give seconds above 0"),
        ("latency", "-0.1", "line 3: latency '-0.1' is no time"),
        ("latency", "nan", "line 3: latency 'nan' is no time"),
        ("layer1.0.reduction", "5", "line 3, layer1.0.reduction: '5' is not a candidate"),
    ],
)
def test_bad_lines_of_a_table_are_named(space: SearchSpace, tmp_path: Path, column: str, value: str, message: str) -> None:
    rows = write_table(space, path := tmp_path / "phone.csv")
    rows[1][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match=message):
        space.with_profile(path)


def test_a_table_must_tell_enough(space: SearchSpace, tmp_path: Path) -> None:
    write_table(space, tmp_path / "few.csv", 3)
    with pytest.raises(InputError, match="networks do not tell 7 coefficients"):
        space.with_profile(tmp_path / "few.csv")
    (tmp_path / "none.jsonl").write_text(json.dumps({"architecture": space.sample(1).to_json(), "latency": 1}))
    with pytest.raises(InputError, match="no line is of the plain network"):
        space.with_profile(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text("{}")
    with pytest.raises(InputError, match="line 1: has no latency"):
        space.with_profile(tmp_path / "bad.jsonl")
