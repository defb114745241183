"""The benchmark of evaluations, small: it goes on where it was stopped, and prints what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reliability import Bench, load, read
from reliability_plans import CIFAR, DESIGN, FULL, PLANS, Plan, Recipe
from reliability_table import print_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        for label in range(2):
            (tmp_path / "images" / part / str(label)).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 128, (8, 8, 3), np.uint8) + np.uint8(100 * label)
                Image.fromarray(pixels).save(tmp_path / "images" / part / str(label) / f"{i}.png")
    return tmp_path / "images"


PLAN = Plan(
    "small",
    "resnet8",
    {"num_classes": 2},
    (3, 8, 8),
    train=32,
    val=16,
    test=16,
    statistics=CIFAR,
    architectures={name: DESIGN[name] for name in ("plain", "all r4", "all post", "stage 3")},
    recipes=(
        Recipe("short", "scratch", 1, {"batch_size": 16}),
        Recipe("on", "1", 1, {**FULL, "batch_size": 16}, seeds=1),
        Recipe("long", "scratch", 2, {"batch_size": 16}, truth=True),
    ),
    seeds=(0, 1),
    placements=PLANS["design"].placements,
)


def test_goes_on_after_a_kill_and_prints_its_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(f"folder:{folder}", PLAN)
    assert (len(data.train), len(data.val), len(data.test or ())) == (32, 16, 16)
    bench = Bench(PLAN, data, "", tmp_path)
    bench.run()
    whole = read(bench.file)
    assert len(whole) == 4 * (2 + 1 + 2)
    lines = bench.file.read_text().splitlines(keepends=True)
    bench.file.write_text("".join(lines[:-2]) + lines[-2][:20])  # killed while it wrote
    again = Bench(PLAN, data, "", tmp_path)
    again.run()
    assert [{**line, "seconds": 0} for line in read(again.file)] == [{**line, "seconds": 0} for line in whole]
    print_table(PLAN, whole)
    text = capsys.readouterr().out
    assert "| short | accuracy |" in text and "| long | test loss | 1.00 | 2 |" in text and "seeds to tell two typical ones apart" in text


def test_a_supernet_says_the_same_of_an_architecture_after_a_kill(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("nni")
    recipe = Recipe("supernet", "scratch", 2, {"batch_size": 16}, supernet=True)
    plan = replace(PLAN, recipes=(recipe,), seeds=(0, 1))
    data = load(f"folder:{folder}", plan)
    Bench(plan, data, "", tmp_path).run()
    file = tmp_path / "small.jsonl"
    whole = [{**line, "seconds": 0} for line in read(file)]
    assert len(whole) == 8 and len({line["loss"] for line in whole}) == 8
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:6]))
    Bench(plan, data, "", tmp_path).run()
    assert [{**line, "seconds": 0} for line in read(file)] == whole


def test_recipes_are_chosen_on_other_images_and_seeds_than_the_tables_use() -> None:
    for part in ("insert", "design"):
        plan, recipe = PLANS[part], PLANS[f"recipe-{part}"]
        assert recipe.skip >= plan.train and not set(recipe.seeds) & set(plan.seeds)
        assert recipe.skip // 2 >= plan.val - recipe.val and len(plan.architectures) >= 12
