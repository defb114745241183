"""SE-Bench: a table of SE architectures trained on real images, to search in seconds (`--evaluator table:PATH`).

    python benchmarks/se_bench.py --data folder:CIFAR10 --out FILE                # hours; goes on where it was stopped
    se-nas search benchmarks/se_bench.yaml --evaluator table:benchmarks/se_bench.jsonl

The space is `se_bench.yaml`; every architecture is trained from scratch with two seeds, on 20,000 images of CIFAR-10 at 16 x 16
pixels for one epoch, measured on 5,000 others, and scored on the test split. Each training is a line of the file at once, so the
file is a table at any time. The first architectures are made to tell one thing each: no SE, one setting everywhere, SE at one site
alone or at all but one. The rest is random: how many sites have SE is drawn first, then which, then the setting of each.

The data is a folder of images with ``train`` and ``test``. Seconds in ``about`` are CPU time on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reliability import load
from reliability_plans import PLANS

from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.table import TITLE, VERSION
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.environment import describe_environment
from se_nas.se.spec import PAPER
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

SPACE = Path(__file__).with_name("se_bench.yaml")
EPOCHS = 1
ENVIRONMENT = ("python", "torch", "se-nas", "processor", "cores", "threads")
DIGITS = 6
"""Decimal places of a metric in the file."""


def architectures(space: SearchSpace) -> Iterator[Architecture]:
    """Different architectures of the space without end: planned ones, then random ones. The first n are always the same."""
    seen = set[Architecture]()
    for architecture in (*planned(space), *islice(drawn(space), 10_000)):
        if architecture not in seen:
            seen.add(architecture)
            yield architecture


def planned(space: SearchSpace) -> Iterator[Architecture]:
    """The references, each setting everywhere, and the paper's setting at one site alone and at all but one."""
    names = [group.name for group in space.groups]
    yield space.reference("plain")
    yield space.reference("paper")
    for option in space.groups[-1].options:
        yield space.canonical(dict.fromkeys(names, option))
    for alone in (True, False):
        for name in names:
            yield space.canonical({other: PAPER if (other == name) == alone else None for other in names})


def drawn(space: SearchSpace) -> Iterator[Architecture]:
    """Random architectures; every number of sites with SE is as likely."""
    rng = np.random.default_rng(0)
    while True:
        chosen = rng.permutation(len(space.groups)) < rng.integers(1, len(space.groups) + 1)
        picks = [int(rng.integers(1, len(group.options))) for group in space.groups]
        choices = {g.name: g.options[pick] if has else None for g, pick, has in zip(space.groups, picks, chosen.tolist(), strict=True)}
        yield space.canonical(choices)


def header(space: SearchSpace) -> dict[str, Any]:
    given, plan = space.to_dict(), PLANS["design"]
    about = {
        "name": "SE-Bench: ResNet-20 on CIFAR-10 at 16 x 16",
        "made by": "benchmarks/se_bench.py",
        "train_images": plan.train,
        "test_images": plan.test,
        "environment": {name: value for name, value in describe_environment().items() if name in ENVIRONMENT},
    }
    network = {key: given[key] for key in ("backbone", "backbone_args", "input_size")}
    return {TITLE: VERSION, **network, "epochs": EPOCHS, "validation_images": plan.val, "about": about}


def read(file: Path) -> list[dict[str, Any]]:
    """The trainings that are done. A last line that a kill cut short is not."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines[1:]]


def write(file: Path, first: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in (first, *lines)), encoding="utf-8")


def train(evaluator: TrainingEvaluator, architecture: Architecture, seed: int) -> dict[str, Any]:
    """One training as a line."""
    began = time.process_time()
    found = evaluator(architecture, seed, {"epochs": EPOCHS}, "cpu", lambda *_: None)
    seconds = time.process_time() - began
    assert found.weights is not None
    scores = evaluator.score(architecture, found.weights, "cpu")
    metrics = {name: round(value, DIGITS) for name, value in found.metrics.items()}
    test = {name.removeprefix("test_"): round(value, DIGITS) for name, value in scores.items()}
    line = {"architecture": architecture.to_json(), "seed": seed, "metrics": metrics, "test": test}
    return {**line, "about": {"seconds": round(seconds, 2)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder:PATH with train/ and test/")
    parser.add_argument("--out", type=Path, required=True, help="file of the table")
    parser.add_argument("--architectures", type=int, default=300, help="how many (default: 300)")
    parser.add_argument("--seeds", type=int, default=2, help="of each (default: 2)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    space = SearchSpace.from_yaml(SPACE)
    evaluator = TrainingEvaluator(space, load(args.data, PLANS["design"]), TrainSettings(), 1)
    whole = read(args.out)
    write(args.out, header(space), whole)
    done = {(json.dumps(line["architecture"]), line["seed"]) for line in whole}
    for architecture in islice(architectures(space), args.architectures):
        for seed in range(args.seeds):
            if (json.dumps(architecture.to_json()), seed) not in done:
                line = train(evaluator, architecture, seed)
                with args.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{architecture.id} seed {seed}: {line['metrics']['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
