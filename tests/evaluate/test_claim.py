"""What a claim is made of: a space whose budgets are the paper's costs, and images that no table saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_nas.space.space import SearchSpace

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_budgets_are_what_the_paper_costs() -> None:
    pytest.importorskip("timm")
    space = SearchSpace.from_yaml(BENCHMARKS / "claim_insert.yaml")
    cost = space.cost(space.reference("paper"))
    assert {budget.metric: budget.limit for budget in space.budgets} == {"params": cost.params, "macs": cost.macs}


def test_no_plan_trains_on_what_it_validates_and_no_claim_on_a_tables_images() -> None:
    import claim_data
    import reliability

    images = 50_000  # of CIFAR-10
    claims = {"insert": claim_data.INSERT, "design": claim_data.DESIGN}
    for plan in (*claim_data.PLANS.values(), *claims.values()):
        train, val = map(set, reliability.places(plan, images))
        assert not train & val and max(train | val) < images and min(train | val) >= 0
        assert (len(train), len(val)) == (plan.train, plan.val)
    for name, plan in claims.items():
        own, tables = (set().union(*reliability.places(each, images)) for each in (plan, claim_data.PLANS[name]))
        assert not own & tables


def test_no_image_is_one_of_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import claim_data
    import reliability

    for number in range(60):  # each image is grey with a value of its own
        folder = tmp_path / ("test" if number % 2 else "train") / str(number // 2 % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 4 * number, np.uint8)).save(folder / f"{number}.png")
    monkeypatch.setenv("CIFAR10", f"folder:{tmp_path}")
    table = replace(claim_data.PLANS["insert"], size=(3, 8, 8), train=5, val=4, test=6)
    claim = replace(table, skip=10, test=16)
    seen = reliability.load(f"folder:{tmp_path}", table)
    given = claim_data.images(claim, untested=table.test)
    parts = [given[name][0] for name in ("train", "val", "test")] + [split.images for split in (seen.train, seen.val, seen.test)]
    values = [set(images[:, 0, 0, 0].tolist()) for images in parts]
    assert [len(value) for value in values] == [5, 4, 10, 5, 4, 6]
    assert len(set.union(*values)) == sum(map(len, values))
    assert given["augment"] == {"flip": True, "pad": 1}
