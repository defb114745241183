"""Costs of SE blocks against counts of what runs, and many at once against one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import ROOT, digits_space
from counting import count_by_hooks
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_nas.errors import InputError
from se_nas.network.attached import Attached
from se_nas.network.blocks import PLACEMENTS
from se_nas.se.block import GATES, SQUEEZES, SEBlock, register_gate, register_squeeze
from se_nas.se.cost import Cost, se_cost
from se_nas.se.spec import SEOptions, SESpec
from se_nas.space.space import SearchSpace

REDUCE = {"mean": 1, "amax": 1, "var_mean": 2}
ELEMENTWISE = {"add", "sub", "mul", "sqrt", "relu", "sigmoid", "hardsigmoid", "tanh", "square"}
LINEAR = {"mm", "addmm", "convolution"}
FREE = {"slice", "t", "unsqueeze"}


class Operators(TorchDispatchMode):
    """Counts the operators that run, by a list of their names; any other fails."""

    def __init__(self) -> None:
        super().__init__()
        self.elementwise = self.reductions = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        outs = out if isinstance(out, tuple) else (out,)
        if name in FREE:
            return out
        self.bytes += sum(t.numel() * t.element_size() for t in (*args, *outs) if isinstance(t, torch.Tensor))
        if name in REDUCE:
            self.reductions += REDUCE[name] * args[0].numel()
        elif name in ELEMENTWISE:
            self.elementwise += out.numel()
        else:
            assert name in LINEAR, f"{name} is in no list"
        return out


def counted(block: nn.Module, x: torch.Tensor) -> tuple[int, int, int]:
    with torch.no_grad(), Operators() as counter:
        block(x)
    return counter.elementwise, counter.reductions, counter.bytes


@pytest.mark.parametrize("init", ["default", "identity"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("squeeze", list(SQUEEZES))
def test_se_work_equals_what_runs(squeeze: str, bias: bool, init: str) -> None:
    options = SEOptions(bias, 3, init)
    for gate in list(GATES):
        block = SEBlock(20, 4, squeeze, gate, bias, 3, init)
        for maps in (1, 3):
            cost = se_cost(20, 5, 7, SESpec(4, squeeze, gate), options, maps)
            assert (cost.elementwise, cost.reductions, cost.bytes) == counted(block, torch.randn(maps, 20, 5, 7))
            assert (cost.params, cost.macs) == count_by_hooks(block, torch.randn(maps, 20, 5, 7))


def test_se_work_in_closed_form() -> None:
    """H*W*C for the mean and for the scaling; C for the gate, C/r for ReLU."""
    cost = se_cost(64, 8, 8, SESpec(16), SEOptions())
    assert cost.reductions == 64 * 64 and cost.elementwise == 64 * 64 + 64 + 4
    assert cost.bytes == 4 * ((64 * 64 + 64) + (64 + 64 * 4 + 4) + 2 * 4 + (4 + 4 * 64 + 64) + 2 * 64 + (64 * 64 + 64 + 64 * 64))
    assert se_cost(64, 8, 8, SESpec(16, "std"), SEOptions()).reductions == 2 * 64 * 64


def test_work_of_whole_architectures_is_that_of_their_blocks() -> None:
    space = digits_space(squeeze=list(SQUEEZES), gate=list(GATES), placement=list(PLACEMENTS), bias=True, share="stage")
    for seed in range(10):
        architecture = space.sample(seed)
        network = space.build(architecture)
        found: list = []
        for attached in [m for m in network.modules() if isinstance(m, Attached)]:
            attached.get_submodule("se").register_forward_hook(
                lambda block, inputs, _, found=found: found.append((block.forward, inputs[0]))
            )
        with torch.no_grad():
            network.eval()(torch.randn(1, 1, 8, 8))
        work = np.array([counted(forward, x) for forward, x in found] or [(0, 0, 0)]).sum(0)
        cost = space.cost(architecture)
        assert [cost.elementwise, cost.reductions, cost.bytes] == work.tolist()
    assert space.plain_cost == Cost(space.plain_cost.params, space.plain_cost.macs)


class Folded(nn.Module):
    """Convolves each of two heads by itself: they stand in the first dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        heads = x.reshape(2 * x.shape[0], 8, *x.shape[2:])
        return self.head((heads + self.conv(heads)).reshape(x.shape).mean((2, 3)))


def test_an_se_block_on_several_maps_of_an_image_costs_as_often() -> None:
    space = SearchSpace(Folded(), (3, 12, 12), reduction=[2], squeeze=["avg", "none"])
    assert {site.attachments["standard"].maps for site in space.sites} == {2}
    for seed in range(4):
        architecture = space.sample(seed)
        cost = space.cost(architecture)
        assert (cost.params, cost.macs) == count_by_hooks(space.build(architecture), torch.zeros(1, 3, 12, 12))


def test_work_of_registered_operators_is_measured() -> None:
    register_squeeze("mean of squares", lambda x: x.square().mean((2, 3)))
    register_gate("looks at values", lambda x: x.sigmoid() if float(x.detach().sum()) > -1e9 else x)  # cannot run without arithmetic
    try:
        squares = se_cost(8, 4, 4, SESpec(2, "mean of squares"), SEOptions())
        plain = se_cost(8, 4, 4, SESpec(2), SEOptions())
        assert squares - plain == Cost(elementwise=8 * 16, bytes=4 * 2 * 8 * 16)
        assert se_cost(8, 4, 4, SESpec(2, gate="looks at values"), SEOptions()).elementwise >= plain.elementwise
    finally:
        del SQUEEZES["mean of squares"], GATES["looks at values"]


EVERY = {"squeeze": list(SQUEEZES), "placement": list(PLACEMENTS), "reduction": [2, 4, 8]}
SPACES = {
    "plain": lambda: digits_space(),
    "spatial": lambda: digits_space(**EVERY),
    "biased, by stage": lambda: digits_space(**EVERY, bias=True, share="stage"),
    "identity, one choice": lambda: digits_space(**EVERY, init="identity", share="network"),
    "more than 256 options": lambda: digits_space(**EVERY, gate=list(GATES)),
    "nine sites": lambda: SearchSpace("resnet20", reduction=[4, 8], squeeze=["avg", "none"], allow_none=False),
    "shipped": lambda: SearchSpace.from_yaml(ROOT / "search_spaces/imagenet_resnet50.yaml"),
}


@pytest.mark.parametrize("make", SPACES.values(), ids=SPACES)
def test_many_costs_equal_one_by_one(make) -> None:
    space = make()
    codes = space.codes_many(17_000, 0)  # more than one chunk
    assert codes.shape == (17_000, len(space.groups)) and (codes.max(0) < [len(g.options) for g in space.groups]).all()
    assert codes.dtype == (np.uint8 if len(space.groups[0].options) <= 256 else np.int64)
    for kind in (codes, codes.astype(np.int32), np.asfortranarray(codes), codes[::-1][::-1]):
        costs = space.cost_many(kind)
        for row in (0, 1, 63, 64, 16383, 16384, 16999):
            cost = space.cost(space.decode(codes[row]))
            assert (costs.params[row], costs.macs[row]) == (cost.params, cost.macs)
            assert space.cost_of(codes[row].tolist()) == space.cost_of(codes[row]) == cost
    assert space.cost_many(codes[:0]).params.shape == (0,)


def test_sums_that_one_integer_cannot_hold_are_taken_apart() -> None:
    space = digits_space()
    space.plain_cost = Cost(2**40, 2**40)
    codes = space.codes_many(100, 0)
    one = [space.cost_of(row) for row in codes.tolist()]
    costs = space.cost_many(codes)
    assert costs.params.tolist() == [c.params for c in one] and costs.macs.tolist() == [c.macs for c in one]


@pytest.mark.parametrize("bad", [[[0, 0, 97]], [[0, -1, 0]], [[0, 0]], [0, 0, 0], [[0.0, 0.0, 0.0]]])
def test_codes_out_of_range_are_said(bad) -> None:
    space = digits_space()
    with pytest.raises(InputError, match="does not hold option codes of this space"):
        space.cost_many(np.array(bad))
    if np.ndim(bad) == 2 and isinstance(bad[0][0], int):
        with pytest.raises(InputError, match="does not hold option codes"):
            space.cost_of(bad[0])
    late = np.zeros((10_000, 3), np.uint8)
    late[9_999, 1] = 255
    with pytest.raises(InputError, match="row 9999"):
        space.cost_many(late)


def test_uniform_codes() -> None:
    space = digits_space()
    options = len(space.groups[0].options)
    counts = np.stack([np.bincount(column, minlength=options) for column in space.codes_many(1000 * options, 0).T])
    assert (np.abs(counts - 1000) < 6 * 1000**0.5).all()
