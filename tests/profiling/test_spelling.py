"""Where two spellings of a squeeze compute the same, a profile tells the quicker one, and exports take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import digits_space, needs_onnx
from torch import Tensor

import se_nas
from se_nas.errors import InputError
from se_nas.exporter import ExportOptions, export
from se_nas.latency.profile import read_profile
from se_nas.profiling.runtimes import How, make_once
from se_nas.profiling.spelling import quicker_spelling
from se_nas.se.block import SQUEEZES, SEBlock, Squeeze, respell
from se_nas.space.space import SearchSpace

KNOWN = [(squeeze, name) for squeeze, each in SQUEEZES.items() for name in each.spellings]


@pytest.mark.parametrize(("squeeze", "name"), KNOWN)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3, 9, 1)])
def test_a_spelling_computes_the_same(squeeze: str, name: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    ours, other = SQUEEZES[squeeze].function(x), SQUEEZES[squeeze].spellings[name](x)
    assert other.shape == ours.shape == shape[:2] and torch.allclose(ours, other, rtol=1e-14, atol=1e-14)


def test_blocks_with_that_squeeze_are_spelled_anew_and_no_others(space: SearchSpace) -> None:
    network = respell(space.build(space.decode([1 + (i % 2) for i in range(len(space.groups))])), {"avg": "pool"})
    blocks = [block for block in network.modules() if isinstance(block, SEBlock) and block.spec]
    assert {block.spec.squeeze for block in blocks if block.spec} == {"avg", "max"}
    for block in blocks:
        assert block.spec and (block.squeeze is SQUEEZES["avg"].spellings["pool"]) == (block.spec.squeeze == "avg")
    for wrong, message in (
        ({"avg": "loop"}, "unknown spelling of squeeze avg 'loop'; take one of pool, adaptive"),
        ({"sum": "pool"}, "squeeze 'sum'"),
    ):
        with pytest.raises(InputError, match=message):
            respell(network, wrong)


def slow_squeeze(x: Tensor) -> Tensor:
    for _ in range(300):
        mean = x.mean((2, 3))
    return mean


def quick_squeeze(x: Tensor) -> Tensor:
    return x.mean((2, 3))


@pytest.fixture
def slow() -> Iterator[SearchSpace]:
    SQUEEZES["slow"] = Squeeze(slow_squeeze, spellings={"quick": quick_squeeze})
    SQUEEZES["quick"] = Squeeze(quick_squeeze, spellings={"slow": slow_squeeze})
    yield digits_space(squeeze=["slow", "quick"])
    del SQUEEZES["slow"], SQUEEZES["quick"]


def test_the_quicker_one_is_told(slow: SearchSpace) -> None:
    assert quicker_spelling(slow, How(runtime="deploy"), 0) == {"slow": "quick"}
    assert quicker_spelling(slow, How(runtime="eager"), 0) == {}  # what is exported for it is for reading


def _profile(space: SearchSpace, runtime: str, path: Path) -> SearchSpace:
    """The space with a profile of a runtime, in which a pooling layer was quicker for the average."""
    profile = se_nas.profile(space, networks=8, held_out=3, rounds=4)
    dataclasses.replace(profile, how={**profile.how, "runtime": runtime, "spelling": {"avg": "pool"}}).write(path)
    assert read_profile(path, space).how["spelling"] == {"avg": "pool"}
    return space.with_profile(path, foreign=True)


@pytest.mark.parametrize("runtime", ["deploy", "onnx"])
def test_exports_take_it(runtime: str, tmp_path: Path, space: SearchSpace) -> None:
    needs_onnx()
    import onnx

    profiled = _profile(space, runtime, tmp_path / "here.yaml")
    architecture = next(each for each in map(profiled.sample, range(99)) if {"avg", "max"} <= {spec.squeeze for _, spec in each if spec})
    network = profiled.build(architecture)
    options = ExportOptions(deploy=True, onnx=True)
    export(profiled, architecture, tmp_path / "best", network.state_dict(), options=options)
    text, readme = (tmp_path / "best/model.py").read_text(), (tmp_path / "best/README.md").read_text()
    nodes = [node.op_type for node in onnx.load(tmp_path / "best/model.onnx").graph.node]
    assert ("def avg_pool_squeeze" in text) == (runtime == "deploy") == ("def avg_squeeze" not in text)
    assert any("AveragePool" in node for node in nodes)  # model.onnx is made from model.py, or has a spelling of its own
    assert "squeeze avg is written as pool" in readme
    assert make_once(profiled, architecture, How(spelling={"avg": "pool"}))() > 0
