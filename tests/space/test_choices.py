"""What samplers, tables, logs and files make of an architecture comes back as that architecture, or is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from conftest import digits_space

import se_nas
from se_nas.errors import InputError
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace


def nested(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """What Hydra makes of ``se.layer1.0.reduction=4``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(separator)
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


def by_group(values: Mapping[str, Any]) -> dict[str, Any]:
    """What NNI makes of nested choices."""
    groups: dict[str, Any] = {}
    for name, value in values.items():
        group, _, field = name.rpartition(".")
        if group:
            groups.setdefault(group, {})[field] = value
        else:
            groups[name] = value
    no_se = {"_name": "none"}
    return {
        group: each if not isinstance(each, dict) else no_se if each["reduction"] is None else {"_name": "se", **each}
        for group, each in groups.items()
    }


def without(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a define-by-run sampler suggests: nothing more where there is no SE."""
    absent = {name.rpartition(".")[0] for name, value in values.items() if name.endswith(".reduction") and value is None}
    return {name: value for name, value in values.items() if name.endswith(".reduction") or name.rpartition(".")[0] not in absent}


def through_csv(values: Mapping[str, Any]) -> dict[str, Any]:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(values))
    writer.writeheader()
    writer.writerow(dict(values))
    file.seek(0)
    return next(csv.DictReader(file))


def table_row(values: Mapping[str, Any]) -> Any:
    pandas = pytest.importorskip("pandas")
    other = {name: 1.5 if isinstance(value, float) else value for name, value in values.items()}
    table = pandas.DataFrame([without(values), other, {name: None for name in values}])  # None and gaps become NaN, 4 becomes 4.0
    return table.iloc[0]


FORMS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "as they are": dict,
    "define by run": without,
    "JSON": lambda values: json.loads(json.dumps(values)),
    "MLflow's texts": lambda values: {f"se/{name}": str(value) for name, value in values.items()},
    "a CSV file": through_csv,
    "NumPy's scalars": lambda values: {name: value if value is None else np.array([value])[0] for name, value in values.items()},
    "floats and NaN": lambda values: {
        name: math.nan if value is None else float(value) if type(value) is int else value for name, value in values.items()
    },
    "float32": lambda values: {name: np.float32(value) if isinstance(value, float) else value for name, value in values.items()},
    "tensors": lambda values: {name: torch.tensor(value) if isinstance(value, (int, float)) else value for name, value in values.items()},
    "a row of a table": table_row,
    "Hydra's nested config": lambda values: {"lr": 0.1, "se": nested(values)},
    "NNI's nested choices": by_group,
    "a column name of Optuna": lambda values: {"number": 3, **{f"params_{name}": value for name, value in values.items()}},
    "a column name of Ray": lambda values: {"config/lr": 0.1, **{f"config/se/{name}": value for name, value in values.items()}},
}


@pytest.fixture(scope="module")
def wide() -> SearchSpace:
    return digits_space(gate=["sigmoid", "tanh"], extra={"width": [1.0, 1.1], "kernel": [3, 5]})


@pytest.mark.parametrize("form", FORMS)
def test_it_comes_back_as_the_architecture_that_was_tried(wide: SearchSpace, form: str) -> None:
    for seed in range(10):
        architecture = wide.sample(seed)
        given = FORMS[form](wide.to_dimensions(architecture))
        found = wide.from_dimensions(given)
        assert found == architecture and found.id == architecture.id
        assert all(type(spec.reduction) is int for _, spec in found if spec)


def test_an_architecture_in_json_comes_back_too(wide: SearchSpace) -> None:
    for seed in range(5):
        architecture = wide.sample(seed)
        for given in (architecture, architecture.to_json(), json.loads(json.dumps({"se": architecture.to_json()}))):
            assert wide.from_dimensions(given) == architecture


def test_texts_and_numbers_stand_for_each_other_but_true_is_not_1() -> None:
    space = digits_space(share="network", extra={"kernel": [3, 5]})
    assert space.from_dimensions({"kernel": "5.0", "network.reduction": "none"}).extra == (("kernel", 5),)
    for wrong in (True, "true", 4, "five", [5], np.array([3, 5])):
        with pytest.raises(InputError, match=r"kernel: .* is not a candidate of the space; it has 3, 5"):
            space.from_dimensions({"kernel": wrong, "network.reduction": None})


GOOD = {"layer1.0.reduction": 4, "layer2.0.reduction": None, "layer3.0.reduction": 8}
GOOD |= {f"layer{i}.0.squeeze": "avg" for i in (1, 2, 3)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer1.0.reduction": 16}, "layer1.0.reduction: 16 is not a candidate of the space; it has None, 4, 8"),
        ({"layer3.0.reduction": 4.8}, "layer3.0.reduction: 4.8 is not a candidate"),
        ({"layer3.0.reduction": math.inf}, "layer3.0.reduction: inf is not a candidate"),
        ({"layer3.0.reduction": True}, "layer3.0.reduction: True is not a candidate"),
        ({"layer3.0.reduction": "r8"}, "layer3.0.reduction: 'r8' is not a candidate"),
        ({"layer1.0.squeeze": "std"}, "layer1.0.squeeze: 'std' is not a candidate of the space; it has avg, max"),
        ({"layer1.0.squeeze": math.nan}, "layer1.0.squeeze: nan is not a candidate"),
        ({"layer1.0.gate": "tanh"}, "layer1.0.gate: 'tanh' is not a candidate of the space; it has sigmoid"),
        ({"layer4.0.reduction": 4}, "layer4.0.reduction: the space has no group 'layer4.0'; it has layer1.0, layer2.0, layer3.0"),
    ],
)
def test_all_else_is_refused_with_dimension_value_and_candidates(changes: dict[str, Any], message: str) -> None:
    space = digits_space()
    assert space.contains(space.from_dimensions(GOOD))
    with pytest.raises(InputError, match=message):
        space.from_dimensions({**GOOD, **changes})


def test_what_is_missing_is_named() -> None:
    space = digits_space()
    for name in ("layer1.0.reduction", "layer3.0.squeeze"):
        with pytest.raises(InputError, match=f"{name}: is missing; give one of"):
            space.from_dimensions({key: value for key, value in GOOD.items() if key != name})
    with pytest.raises(InputError, match="'best' holds no choices"):
        space.from_dimensions("best")
    with pytest.raises(InputError, match=r"layer1.0.reduction: 16 is not a candidate"):
        digits_space(allow_none=False, reduction=[4]).from_dimensions({"layer1.0.reduction": 16})


def test_no_se_where_the_space_has_none_is_refused() -> None:
    space = digits_space(allow_none=False, share="network")
    with pytest.raises(InputError, match=r"network.reduction: None is not a candidate of the space; it has 4, 8"):
        space.from_dimensions({"network.reduction": None, "network.squeeze": "avg"})


def test_two_choices_side_by_side_need_a_prefix() -> None:
    space = digits_space(share="network")
    both = {"a/network.reduction": 4, "a/network.squeeze": "avg", "b/network.reduction": 8, "b/network.squeeze": "max"}
    assert space.from_dimensions(both, prefix="b/")["network"] == SESpec(8, "max")
    with pytest.raises(InputError, match=r"there are choices below 'a.' and 'b.'; say which: prefix="):
        space.from_dimensions(both)


def test_nothing_outside_the_space_is_built_costed_or_exported_as_if_it_were_in_it(tmp_path: Any) -> None:
    space = digits_space()
    outside = Architecture.of({"layer1.0": SESpec(16), "layer2.0": None, "layer3.0": SESpec(4)})
    assert not space.contains(outside)
    message = "layer1.0, reduction: 16 is not a candidate of the space; it has 4, 8"
    for use in (space.build, space.cost, space.is_feasible, lambda arch: se_nas.export(space, arch, tmp_path / "out")):
        with pytest.raises(InputError, match=message):
            use(outside)
    with pytest.raises(InputError, match="groups differ"):
        space.build(Architecture.of({"layer1.0": None}))
    assert not (tmp_path / "out").exists()
    paper = space.reference("paper")  # r=16 at every site: the yardstick of every search
    assert space.cost(paper).params == sum(p.numel() for p in space.build(paper).parameters())
