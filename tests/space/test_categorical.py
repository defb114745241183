from __future__ import annotations

import numpy as np
import pytest

import se_nas
from se_nas.errors import InputError
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies.domain.additive import find_parts

DIMS = {"width": [16, 32, 48], "se": [False, True], "act": ["relu", "swish", None], "kernel": [(3, 3), (5, 5)]}


def params(a) -> float:
    return a["width"] * (1 + 0.5 * a["se"]) + {"relu": 0, "swish": 1, None: 2}[a["act"]] + a["kernel"][0] ** 2


def test_an_architecture_reads_as_its_mapping() -> None:
    space = se_nas.CategoricalSpace(DIMS)
    arch = space.sample(0)
    assert dict(arch) == {name: arch[name] for name in DIMS} and arch == dict(arch) and len(arch) == 4
    assert space.size == 36 and len({space.sample(seed) for seed in range(500)}) == 36
    assert space.decode(space.encode(dict(arch))) == arch and hash(space.decode(space.encode(arch))) == hash(arch)
    with pytest.raises(TypeError):
        arch["width"] = 16  # type: ignore[index]


def test_costs_of_one_and_of_many() -> None:
    space = CategoricalSpace(DIMS, {"params": params})
    codes = np.array([space.encode(space.sample(seed)) for seed in range(20)])
    assert space.cost_rows("params", codes).tolist() == [params(space.decode(row)) for row in codes]
    assert space.cost(space.decode(codes[0])) == {"params": params(space.decode(codes[0]))}


def test_a_function_of_arrays_is_used_only_if_it_is_right() -> None:
    class Cost:
        def __init__(self, factor: float) -> None:
            self.factor, self.arrays = factor, 0

        def __call__(self, a) -> float:
            return DIMS["width"].index(a["width"]) + 1.0

        def rows(self, codes):
            self.arrays += 1
            return self.factor * (codes[:, 0] + 1.0)

    right, wrong = Cost(1), Cost(2)
    space = CategoricalSpace(
        DIMS, {"right": right, "wrong": wrong, "both": lambda a: a[:, 0] * 1.0 if hasattr(a, "shape") else Cost(1)(a) - 1}
    )
    codes = np.array([[0, 0, 0, 0], [2, 1, 1, 1]])
    for name, expected in [("right", [1, 3]), ("wrong", [1, 3]), ("both", [0, 2])]:
        assert space.cost_rows(name, codes).tolist() == expected
    assert right.arrays == 2 and wrong.arrays == 1


@pytest.mark.parametrize(
    ("dims", "message"),
    [({}, "no dimensions"), ({"a": []}, "dims, a: no value"), ({"a": "xyz"}, "not a list"), ({"a": [1, 2, 1]}, "contains a value twice")],
)
def test_bad_dimensions_are_said(dims, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CategoricalSpace(dims)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"width": 16}, "differ from the space's in act, kernel, se"),
        ({"width": 17, "se": True, "act": None, "kernel": (3, 3)}, "width: 17 is not one of"),
        ([16, True], "not an architecture of this space"),
    ],
)
def test_what_is_no_architecture_is_said(architecture, message: str) -> None:
    space = CategoricalSpace(DIMS)
    with pytest.raises(InputError, match=message):
        space.encode(architecture)
    assert not space.contains(architecture)


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "finite"), ("many", "returns a number"), (None, "returns a number")])
def test_a_cost_that_is_none_is_said(value, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CategoricalSpace(DIMS, {"params": lambda a: value}).cost({"width": 16, "se": True, "act": None, "kernel": (3, 3)})


def test_parts_over_which_costs_add_up_are_found() -> None:
    sizes = [3, 2, 4, 3, 2, 1]

    def costs(x):
        return np.stack([(x[:, 0] + 1) * (x[:, 2] + 2) + 7 * x[:, 1], x[:, 1] * x[:, 4] + 0.1 * x[:, 3]], 1).astype(float)

    parts = find_parts(costs, sizes)
    assert [part.tolist() for part in parts.members] == [[0, 2], [1, 4], [3], [5]]
    codes = np.random.default_rng(0).integers(0, sizes, (300, 6))
    assert np.allclose(parts.costs(codes), costs(codes), rtol=1e-12)
    keys = np.stack(
        [np.ravel_multi_index(tuple(codes[:, d].T), tuple(c[-1] + 1)) for d, c in zip(parts.members, parts.combinations, strict=True)], 1
    )
    assert (parts.codes(keys) == codes).all()


def test_costs_that_do_not_add_up_have_no_parts() -> None:
    sizes = [4] * 12
    assert find_parts(lambda x: np.prod(x + 1.0, 1, keepdims=True), sizes) is None
    assert find_parts(lambda x: x.max(1, keepdims=True).astype(float), sizes) is None
