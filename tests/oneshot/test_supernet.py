from __future__ import annotations

import pytest
import torch
from conftest import digits_space

pytest.importorskip("nni")

from torchvision.models.resnet import Bottleneck, ResNet

from se_nas.errors import InputError
from se_nas.oneshot.mixed import MixedSE
from se_nas.oneshot.nni_imports import model_context, strategies
from se_nas.oneshot.supernet import SEModelSpace
from se_nas.space.space import SearchSpace

SPACES = {
    "placements": lambda: digits_space(placement=["standard", "pre", "post", "identity"], share="stage"),
    "spatial": lambda: digits_space(squeeze=["avg", "none"], bias=True, divisor=2),
    "identity": lambda: digits_space(init="identity", gate=["sigmoid", "tanh"], allow_none=False),
    "one-thing": lambda: digits_space(reduction=[4], squeeze=["avg"]),
    "own-se": lambda: SearchSpace("torchvision:mobilenet_v3_small", (3, 32, 32), reduction=[2, 4], share="network"),
    "bottleneck": lambda: SearchSpace(ResNet(Bottleneck, [1, 1, 1, 1]), (3, 32, 32), reduction=[4, 8], placement=["standard", "inner"]),
}


def settle(network: torch.nn.Module) -> torch.nn.Module:
    """Random statistics and strengths, so that nothing is the identity by chance."""
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.is_floating_point() and ("strength" in name or "running" in name):
            tensor.data.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", SPACES)
def test_a_path_computes_what_the_frozen_network_does_whose_weights_load_strictly(name: str) -> None:
    space = SPACES[name]()
    supernet = settle(strategies.RandomOneShot().mutate_model(SEModelSpace(space)))
    images = torch.randn(2, *space.input_size)
    for seed in range(4):
        architecture = space.sample(seed)
        supernet.draw(architecture)
        assert supernet.drawn() == architecture
        frozen = supernet.freeze(space.to_dimensions(architecture))
        fresh = space.build(architecture)
        fresh.load_state_dict(frozen.state_dict())
        torch.testing.assert_close(supernet(images), fresh.eval()(images))


def test_certain_choices_compute_what_the_frozen_network_does() -> None:
    space = SPACES["placements"]()
    for strategy in (strategies.DARTS(), strategies.GumbelDARTS(), strategies.Proxyless()):
        supernet = settle(strategy.mutate_model(SEModelSpace(space)))
        architecture = space.sample(3)
        for label, value in space.to_dimensions(architecture).items():
            choice = supernet.choices[label]
            choice.alpha.data.fill_(-200.0)[choice.values.index(value)] = 200.0
            choice.draw({})
        images = torch.randn(2, *space.input_size)
        torch.testing.assert_close(supernet(images), supernet.frozen(architecture).eval()(images))


def test_sites_that_share_a_setting_share_the_choice() -> None:
    space = digits_space(share="network", placement=["standard", "pre"])
    supernet = strategies.DARTS().mutate_model(SEModelSpace(space))
    blocks = [module for module in supernet.modules() if isinstance(module, MixedSE)]
    assert len(blocks) == 2 * len(space.sites)
    assert len({id(p) for block in blocks for p in block.arch_parameters()}) == len(space.dimensions) == len(supernet.choices)
    supernet(torch.randn(2, *space.input_size)).sum().backward()
    assert all(choice.alpha.grad.abs().sum() > 0 for choice in supernet.choices.values())


def test_before_a_strategy_it_is_a_space_of_nni_with_the_spaces_own_dimensions() -> None:
    space = digits_space(share="stage")
    model = SEModelSpace(space)
    assert {label: tuple(mutable.values) for label, mutable in model.simplify().items()} == space.dimensions
    assert space.contains(space.from_dimensions(model.random() and {k: m.values[-1] for k, m in model.simplify().items()}))
    plain = space.build(space.reference("plain"))
    plain.load_state_dict(model.frozen(space.reference("plain")).state_dict())
    images = torch.randn(2, *space.input_size)
    torch.testing.assert_close(model.eval()(images), plain.eval()(images))


def test_in_a_model_context_it_is_the_one_network() -> None:
    space = digits_space(share="stage", placement=["standard", "pre"])
    architecture = space.sample(1)
    with model_context(space.to_dimensions(architecture)):
        one = SEModelSpace(space)
    one.network.load_state_dict(space.build(architecture).state_dict())


def test_a_strategy_that_is_none_of_nnis_and_a_slash_are_refused() -> None:
    with pytest.raises(TypeError, match="not one of NNI's one-shot strategies"):
        SEModelSpace(digits_space()).extra_oneshot_hooks(object())
    renamed = digits_space(sites={"rename": {"layer1.0": "a/b"}})
    with pytest.raises(InputError, match="no slash"):
        SEModelSpace(renamed)
