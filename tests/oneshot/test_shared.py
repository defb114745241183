from __future__ import annotations

import itertools

import pytest
import torch

from se_nas.oneshot.choice import Choice, Gumbel, Mixed, OnePath
from se_nas.oneshot.shared import SharedSE
from se_nas.se.block import GATES, SQUEEZES
from se_nas.se.spec import SEOptions, SESpec

REDUCTIONS = (2, 4, 8)


@pytest.mark.parametrize("options", [SEOptions(), SEOptions(bias=True, divisor=3), SEOptions(init="identity")], ids=str)
def test_with_one_value_each_it_is_that_block(options: SEOptions) -> None:
    shared = SharedSE(12, REDUCTIONS, options)
    if shared.strength is not None:
        shared.strength.data.fill_(0.7)
    x = torch.randn(3, 12, 5, 4)
    for reduction, squeeze, gate in itertools.product(REDUCTIONS, SQUEEZES, GATES):
        block = shared.frozen(SESpec(reduction, squeeze, gate))
        mixed = shared(x, [(r, float(r == reduction)) for r in REDUCTIONS], [(squeeze, 1.0)], [(gate, 1.0)])
        torch.testing.assert_close(mixed, block(x))


def test_hidden_units_count_as_far_as_the_reductions_that_have_them() -> None:
    shared = SharedSE(8, REDUCTIONS, SEOptions())
    x = torch.randn(2, 8, 3, 3)
    shares = torch.tensor([0.5, 0.3, 0.2])
    mixed = shared(x, list(zip(REDUCTIONS, shares, strict=True)), [("avg", 1.0)], [("sigmoid", 1.0)])
    hidden = torch.relu(shared.fc1(x.mean((2, 3)))) * torch.tensor([1.0, 0.8, 0.5, 0.5])  # widths 4, 2, 1
    torch.testing.assert_close(mixed, x * torch.sigmoid(shared.fc2(hidden))[:, :, None, None])


def test_pooled_inputs_and_gates_are_mixed_and_the_rest_is_x() -> None:
    shared = SharedSE(8, [2], SEOptions())
    x = torch.randn(2, 8, 3, 3)
    squeezes = [("avg", torch.tensor(0.25)), ("max", torch.tensor(0.75))]
    gates = [("sigmoid", torch.tensor(0.6)), ("tanh", torch.tensor(0.4))]
    mixed = shared(x, [(2, 1.0)], squeezes, gates, torch.tensor(0.3))
    logits = shared.fc2(torch.relu(shared.fc1(0.25 * x.mean((2, 3)) + 0.75 * x.amax((2, 3)))))
    scale = 0.6 * torch.sigmoid(logits) + 0.4 * torch.tanh(logits)
    torch.testing.assert_close(mixed, 0.7 * x + 0.3 * x * scale[:, :, None, None])


def test_positions_have_gates_of_their_own_as_far_as_nothing_is_pooled() -> None:
    shared = SharedSE(8, [2], SEOptions())
    x = torch.randn(2, 8, 3, 3)
    mixed = shared(x, [(2, 1.0)], [("avg", torch.tensor(1e-9)), ("none", torch.tensor(1.0))], [("sigmoid", 1.0)])
    torch.testing.assert_close(mixed, shared.frozen(SESpec(2, "none"))(x))


def test_one_path_is_one_value_with_the_gradient_of_the_weighted_sum() -> None:
    alpha = torch.nn.Parameter(torch.tensor([0.2, -0.4, 0.9]))
    choice = OnePath("a", (None, 4, 8), alpha)
    choice.draw({"a": 8})
    values = torch.tensor([3.0, 5.0, 11.0])
    assert choice.weights().tolist() == [0, 0, 1]
    ((choice.weights() * values).sum()).backward()
    found, alpha.grad = alpha.grad, None
    (alpha.softmax(0) * values).sum().backward()
    torch.testing.assert_close(found, alpha.grad)
    assert choice.given(slice(1, None)).tolist() == [0, 1]
    choice.draw({"a": None})
    torch.testing.assert_close(choice.given(slice(1, None)), alpha[1:].softmax(0))


def test_one_path_is_drawn_as_often_as_it_is_probable() -> None:
    choice = OnePath("a", (1, 2), torch.nn.Parameter(torch.tensor([0.0, 1.0986])))  # 1 : 3
    drawn = [choice.draw({})["a"] for _ in range(2000)]
    assert abs(drawn.count(2) / 2000 - 0.75) < 0.05


def test_gumbel_keeps_its_noise_for_a_step() -> None:
    softmax = torch.nn.Softmax(-1)
    softmax.tau = 0.5
    choice = Gumbel("a", (1, 2, 4), torch.nn.Parameter(torch.zeros(3)), softmax)
    choice.draw({})
    first = choice.weights()
    assert torch.equal(first, choice.weights()) and not torch.allclose(first, torch.full((3,), 1 / 3))
    choice.draw({})
    assert not torch.allclose(first, choice.weights())
    assert choice.probabilities().tolist() == pytest.approx([1 / 3] * 3)


def test_given_is_what_is_left_when_some_are_left_out() -> None:
    alpha = torch.nn.Parameter(torch.tensor([0.3, 0.1, -2.0]))
    weights, given = Mixed("a", (None, 4, 8), alpha).weights(), Mixed("a", (None, 4, 8), alpha).given(slice(1, None))
    torch.testing.assert_close(given, weights[1:] / weights[1:].sum())
    choice = Choice("a", (None, 4, 8))
    choice.draw({"a": 8})
    assert choice.weights() == [0, 0, 1] and choice.given(slice(1, None)) == [0, 1]


def test_values_are_trained_equally_often() -> None:
    torch.manual_seed(0)
    choice = Choice("a", (None, 4, 8))
    drawn = [choice.draw({})["a"] for _ in range(60)]
    rounds = [tuple(drawn[i : i + 3]) for i in range(0, 60, 3)]
    assert all(set(each) == {None, 4, 8} for each in rounds) and len(set(rounds)) > 3
    before = list(choice._deck)
    assert choice.draw({"a": 8}) == {"a": 8} and choice._deck == before  # what is set from outside is no card
