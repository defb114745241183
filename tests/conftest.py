from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are small: one thread is quicker, and the same on every machine

import pytest
import torch

from se_nas.run.run import Run
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "benchmarks")]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget-minutes", type=float, metavar="N", help="quick tests first; skip those that would end after N minutes")


def pytest_configure(config: pytest.Config) -> None:
    from budget import Budget

    minutes = config.getoption("--budget-minutes")
    if minutes is not None:
        config.pluginmanager.register(Budget(config, minutes))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def digits_space(**changes: object) -> SearchSpace:
    """A small space over ResNet-8 for the digit images."""
    arguments = {"reduction": [4, 8], "squeeze": ["avg", "max"], "backbone_args": {"in_channels": 1}, **changes}
    return SearchSpace("resnet8", (1, 8, 8), **arguments)  # type: ignore[arg-type]


def energy(architecture: Architecture) -> float:
    """A sum over sites, of numbers that no common step divides."""
    return 1.23 + sum(0.0137 * (3 if spec.squeeze == "max" else 1) + 0.1 / spec.reduction / 7 for _, spec in architecture if spec)


def needs_onnx() -> None:
    """Skip a test where networks cannot be converted to ONNX."""
    from se_nas.exporter.contract import onnx_too_old

    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    if too_old := onnx_too_old():
        pytest.skip(too_old)


def costed_space() -> SearchSpace:
    """The small space with a cost of its own, ``energy``."""
    return digits_space(reduction=[4, 8, 16]).with_cost("energy", energy)


@pytest.fixture
def space() -> SearchSpace:
    return digits_space()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real search on the digit images, made once: 6 trials of 1 epoch. Tests must leave it as it is."""
    from se_nas.api import start
    from se_nas.evaluate.settings import TrainSettings
    from se_nas.run.settings import SearchSettings

    settings = SearchSettings(trials=6, epochs=1, repeats=2, strategy="random", train=TrainSettings(batch_size=256))
    return start(digits_space(), settings, tmp_path_factory.mktemp("finished") / "run")
