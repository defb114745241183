from __future__ import annotations

import pytest
import torch
from torchvision.ops import SqueezeExcitation

from se_nas.errors import InputError
from se_nas.se.block import GATES, SQUEEZES, SEBlock, register_gate, register_squeeze


def test_hand_worked_block() -> None:
    """Two channels of 1x2 pixels, hidden width 1: eq. 2 to 4 with numbers small enough to do on paper."""
    block = SEBlock(2, reduction=2, bias=True)
    with torch.no_grad():
        block.fc1.weight.copy_(torch.tensor([[1.0, -1.0]]))
        block.fc1.bias.fill_(0.5)
        block.fc2.weight.copy_(torch.tensor([[2.0], [-1.0]]))
        block.fc2.bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # means 2 and 0.5; hidden relu(2 - 0.5 + 0.5) = 2; gates of 4 and -1
    gates = torch.sigmoid(torch.tensor([4.0, -1.0])).view(1, 2, 1, 1)
    torch.testing.assert_close(block(x), x * gates)


def test_equals_torchvision() -> None:
    ours, theirs = SEBlock(16, reduction=4, bias=True), SqueezeExcitation(16, 4)
    with torch.no_grad():
        for name in ("fc1", "fc2"):
            getattr(theirs, name).weight.copy_(getattr(ours, name).weight[:, :, None, None])
            getattr(theirs, name).bias.copy_(getattr(ours, name).bias)
    x = torch.randn(3, 16, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("squeeze", "expected"),
    [
        ("avg", [[2.0, 4.0]]),
        ("max", [[4.0, 4.0]]),
        ("avg+max", [[3.0, 4.0]]),
        ("std", [[2.0 + (2.5 + 1e-5) ** 0.5, 4.0 + 1e-5**0.5]]),  # deviations of 0, 1, 3, 4 and of a constant
    ],
)
def test_squeezes_by_hand(squeeze: str, expected: list[list[float]]) -> None:
    x = torch.tensor([[[[0.0, 1.0], [3.0, 4.0]], [[4.0, 4.0], [4.0, 4.0]]]])
    torch.testing.assert_close(SQUEEZES[squeeze].function(x), torch.tensor(expected))


def test_gates_by_hand() -> None:
    x = torch.tensor([-4.0, 0.0, 1.5, 4.0])
    assert GATES["hard-sigmoid"](x).tolist() == [0.0, 0.5, 0.75, 1.0]
    assert GATES["relu"](x).tolist() == [0.0, 0.0, 1.5, 4.0]
    torch.testing.assert_close(GATES["twice-sigmoid"](x), 2 / (1 + torch.exp(-x)))
    torch.testing.assert_close(GATES["sigmoid"](x), 1 / (1 + torch.exp(-x)))
    torch.testing.assert_close(GATES["tanh"](x), torch.tanh(x))


def test_no_squeeze_gates_every_position_alone() -> None:
    block = SEBlock(8, reduction=2, squeeze="none")
    x = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(block(x)[:, :, 1:2, 2:3], block(x[:, :, 1:2, 2:3]))


@pytest.mark.parametrize("squeeze", SQUEEZES)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("bias", [False, True])
def test_identity_init_is_exact_and_learns(squeeze: str, gate: str, bias: bool) -> None:
    block = SEBlock(16, 4, squeeze, gate, bias, init="identity")
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.strength is not None and block.strength.grad is not None and block.strength.grad != 0


@pytest.mark.parametrize(
    ("channels", "reduction", "divisor", "hidden"), [(64, 16, 1, 4), (8, 16, 1, 1), (24, 16, 1, 1), (64, 16, 8, 8), (96, 4, 8, 24)]
)
def test_hidden_width(channels: int, reduction: int, divisor: int, hidden: int) -> None:
    assert SEBlock(channels, reduction, divisor=divisor).fc1.out_features == hidden


def test_one_call_adds_an_operator() -> None:
    register_squeeze("first-pixel", lambda x: x[:, :, 0, 0])
    register_gate("square", torch.square)
    try:
        x = torch.randn(2, 8, 3, 3)
        assert SEBlock(8, 2, "first-pixel", "square")(x).shape == x.shape
        with pytest.raises(InputError, match="exists already"):
            register_gate("square", torch.square)
    finally:
        del SQUEEZES["first-pixel"], GATES["square"]


def test_unknown_names_are_said() -> None:
    with pytest.raises(InputError, match=r"unknown squeeze 'mean'; take one of avg, max"):
        SEBlock(8, squeeze="mean")
    with pytest.raises(InputError, match="unknown gate 'softmax'"):
        SEBlock(8, gate="softmax")
    with pytest.raises(InputError, match="unknown init 'zero'"):
        SEBlock(8, init="zero")
