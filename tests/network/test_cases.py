"""Networks of every kind that people have: the sites that an expert would choose, and what is built there."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from counting import count_by_hooks
from network.cases import BLOCKS, CASES, IMAGE, Called, ImageAndNumbers, InlineSE, Net, Residual, Signal, Volume, image_and_numbers, of
from torch import nn
from torch.nn import functional as F

from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.network.inputs import Inputs, read_inputs
from se_nas.network.placement import detach
from se_nas.se.block import GATES, SQUEEZES, SEBlock
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace


def make_space(name: str, **arguments: Any) -> SearchSpace:
    build, takes, _, _ = CASES[name]
    given = {"example_inputs": takes} if callable(takes) else {"input_size": takes}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return SearchSpace(build(), **{"reduction": [4], **given, **arguments})


def random_inputs(space: SearchSpace, batch: int = 2) -> Inputs:
    torch.manual_seed(1)
    return Inputs(
        tuple(torch.randn(batch, *tensor.shape[1:]) for tensor in space.inputs.args),
        {name: torch.randn(batch, *tensor.shape[1:]) for name, tensor in space.inputs.kwargs.items()},
    )


def output(network: nn.Module, inputs: Inputs) -> torch.Tensor:
    with torch.no_grad():
        return inputs.call(network.eval())


@pytest.mark.parametrize("name", CASES)
def test_sites_are_those_of_an_expert(name: str) -> None:
    space = make_space(name)
    assert [site.name for site in space.sites] == CASES[name][2]
    assert [site.existing for site in space.sites if site.existing] == CASES[name][3]
    values = [(place.module, place.side, place.node) for site in space.all_sites for place in [site.attachments["standard"]]]
    assert len(set(values)) == len(values) and not space.left_out and not space.narrowed


@pytest.mark.parametrize("name", CASES)
def test_what_is_built_there_is_what_is_said(name: str) -> None:
    """Costs, the plain weights' names, gradients, identity, copies, pickles, compile, export, and the way back."""
    space = make_space(name, init="identity")
    inputs, everywhere = random_inputs(space), space.dearest()
    network = space.build(everywhere)
    assert sum(isinstance(module, SEBlock) for module in network.modules()) == len(space.sites)
    bare = space.build(space.reference("plain"))
    expected = output(bare, inputs)
    torch.testing.assert_close(output(network, inputs), expected)
    cost = space.cost(everywhere)
    assert (cost.params, cost.macs) == count_by_hooks(network, *space.inputs.to("cpu").args, **space.inputs.to("cpu").kwargs)
    left = network.load_state_dict(bare.state_dict(), strict=False)
    assert not left.unexpected_keys and all("se" in key for key in left.missing_keys)
    inputs.call(network.train()).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())
    torch.testing.assert_close(output(copy.deepcopy(network), inputs), output(network, inputs))
    again = space.build(everywhere)
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(output(again, inputs), output(network, inputs))
    plain = space.build_backbone()
    detach(again)
    assert {name: p.shape for name, p in again.named_parameters()} == {name: p.shape for name, p in plain.named_parameters()}
    assert [type(module) for module in again.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.parametrize("name", ["affine", "halves", "looped", "inline SE", "in-place SE", "optional inline SE", "gate by a module"])
def test_what_is_inside_a_forward_compiles_exports_and_pickles(name: str) -> None:
    space = make_space(name)
    network, inputs = space.build(space.dearest()).eval(), random_inputs(space)
    assert all("inside" in {place.side for place in site.attachments.values()} for site in space.sites)
    expected = output(network, inputs)
    torch.testing.assert_close(output(pickle.loads(pickle.dumps(network)), inputs) if _named(network) else expected, expected)
    torch.compiler.reset()
    torch.testing.assert_close(output(torch.compile(network, backend="eager", fullgraph=True), inputs), expected)
    torch.testing.assert_close(torch.export.export(network, inputs.args).module()(*inputs.args), expected)


def _named(network: nn.Module) -> bool:
    """Whether pickle can find the class again."""
    return all("<locals>" not in type(module).__qualname__ for module in network.modules())


@pytest.mark.parametrize("name", ["inline SE", "in-place SE", "optional inline SE", "gate by a module", "expand_as", "ECA"])
def test_plain_has_no_se_of_the_networks_own(name: str) -> None:
    space = make_space(name, squeeze=["max"])
    names = [key for key in space.build(space.reference("plain")).state_dict() if "fc" in key or "attention" in key or ".se" in key]
    assert names == []
    x, bare = torch.randn(2, *IMAGE), space.build(space.reference("plain")).eval()
    without = Net(Residual).eval()  # what the block computes without its own SE
    left = without.load_state_dict(bare.state_dict(), strict=False)
    assert not left.missing_keys and not left.unexpected_keys
    torch.testing.assert_close(bare(x), without(x))
    replaced = space.build(space.dearest())
    assert sum(isinstance(module, SEBlock) for module in replaced.modules()) == len(BLOCKS)
    kept = SearchSpace(CASES[name][0](), IMAGE, reduction=[4], sites={"drop": ["a.0"]})
    own = CASES[name][0]().a[0].state_dict().keys()
    assert kept.build(kept.reference("plain")).a[0].state_dict().keys() == own


def test_se_inside_a_forward_is_where_the_sum_reads_it() -> None:
    """By hand: the block's own gate is gone, and the new one scales what it scaled."""
    space = make_space("inline SE", sites={"match": ["b.0"]})
    network, x = space.build(space.dearest()).eval(), torch.randn(2, 16, 8, 8)
    block = network.b[0]
    expected = F.relu(block.se(block.branch(x)) + block.skip(x))
    assert torch.equal(block(x), expected)
    assert type(block).__name__ == "InlineSE" and isinstance(block, InlineSE)


def test_what_cannot_take_se_is_said_with_a_reason() -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 blocks cannot take SE: no module or expression"):
        space = SearchSpace(Called(), IMAGE, reduction=[4])
    assert [site.name for site in space.sites] == ["last"] and sum(map(len, (one.names for one in space.left_out))) == 1


def test_a_block_without_source_is_said_with_the_line_that_mends_it() -> None:
    """A class made by exec has no source, so its expressions cannot be changed; naming a module of it can do."""
    from se_nas.network.blocks import BLOCKS as TABLE

    scope: dict[str, Any] = {"F": F, "torch": torch, "Residual": CASES["affine"][0]().a[0].__class__.__bases__[0], "__name__": "odd"}
    code = "class Odd(Residual):\n    def forward(self, x):\n        return F.relu(torch.tanh(self.branch(x)) + self.skip(x))\n"
    exec(code, scope)
    with pytest.warns(UserWarning, match="4 of 4 blocks cannot take SE") as caught:
        SearchSpace(Net(scope["Odd"]), IMAGE, reduction=[4])
    line = 'se_nas.register_block("odd.Odd", {"standard": ("norm2", "output")})'
    assert line in str(caught[0].message)
    try:
        exec(f"import se_nas; {line}", {})
        assert [site.name for site in SearchSpace(Net(scope["Odd"]), IMAGE, reduction=[4]).sites] == BLOCKS
    finally:
        TABLE.pop("odd.Odd", None)


@pytest.mark.parametrize("network", [Signal, Volume])
@pytest.mark.parametrize("placement", ["standard", "pre", "post", "inner"])
def test_signals_and_volumes_take_every_operator(network: type[nn.Module], placement: str) -> None:
    size = CASES["signals" if network is Signal else "volumes"][1]
    space = SearchSpace(network(), size, reduction=[2, 4], squeeze=list(SQUEEZES), gate=list(GATES), placement=[placement], bias=True)
    for squeeze in SQUEEZES:
        for gate in GATES if squeeze in ("avg", "none") else ["sigmoid"]:
            architecture = space.canonical({group.name: SESpec(2, squeeze, gate, placement) for group in space.groups})
            built, cost = space.build(architecture), space.cost(architecture)
            assert (cost.params, cost.macs) == count_by_hooks(built, torch.zeros(1, *size))
    x = torch.randn(2, *size)
    built.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in built.parameters())
    expected = built.eval()(x)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(built, backend="eager", fullgraph=True)(x), expected)


def test_example_inputs_come_from_python_and_from_yaml(tmp_path) -> None:
    given = image_and_numbers()
    for example in (given, image_and_numbers, "network.cases:image_and_numbers"):
        space = SearchSpace(ImageAndNumbers(), example_inputs=example, reduction=[4])
        assert [site.name for site in space.sites] == BLOCKS and space.input_size == IMAGE
    assert space.to_dict()["example_inputs"] == "network.cases:image_and_numbers"
    (tmp_path / "space.yaml").write_text(
        "backbone: network.cases:ImageAndNumbers\nexample_inputs: network.cases:image_and_numbers\nreduction: [4]\n"
    )
    assert SearchSpace.from_yaml(tmp_path / "space.yaml").cost(space.dearest()) == space.cost(space.dearest())
    assert SearchSpace.from_dict(space.to_dict() | {"backbone": "network.cases:ImageAndNumbers"}, "x").size == space.size
    assert read_inputs((torch.zeros(1, 3, 4, 4), 2)).size == (3, 4, 4)
    for bad in ("network.cases:nothing", "nothing", torch.zeros(3), torch.zeros(2, 3, 4, 4), {1: torch.zeros(1, 3, 4, 4)}, 3):
        with pytest.raises(InputError, match="example_inputs: "):
            read_inputs(bad)


class OnGPU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.cuda())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.trace(of(CASES["residual"][0]().a[0].__class__)().eval(), torch.zeros(1, *IMAGE)), "is a ScriptModule"),
        (lambda: CASES["residual"][0]().double(), r"parameters are torch.float64 \(stem.weight, ...\), and SE blocks are float32"),
        (lambda: CASES["residual"][0]().half(), "parameters are torch.float16"),
        (lambda: nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 8, 3))), "backbone: the backbone cannot be copied"),
        (ImageAndNumbers, "example_inputs: the backbone needs more inputs than one"),
        pytest.param(
            OnGPU, "moves tensors to a GPU by itself", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there it would work")
        ),
    ],
)
def test_what_cannot_be_traced_is_told_for_what_it_is(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchSpace(make(), IMAGE, reduction=[4])


class Attentive(nn.Module):
    """Attention by PyTorch's own functions and modules, which a CPU may fuse."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 48)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(y).chunk(3, -1)
        y = self.layer(F.scaled_dot_product_attention(q, k, v))
        return self.head(y.mean(1))


def test_macs_are_the_same_on_every_device() -> None:
    """Of convolutions and linear layers; attention's products, which a CPU hides in one operator, are none."""
    from se_nas.network.graph import trace

    network, x = Attentive().eval(), torch.zeros(1, 3, 16, 16)
    on_cpu, on_meta = trace(network, x)[0].macs, trace(copy.deepcopy(network).to("meta"), x.to("meta"))[0].macs
    tokens = 16
    by_hand = tokens * (16 * 3 * 16 + 16 * 48 + 16 * 48 + 16 * 16 + 2 * 16 * 32) + 16 * 5
    assert on_cpu == on_meta == by_hand


def test_budgets_are_of_all_parameters() -> None:
    network = CASES["residual"][0]()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    space = SearchSpace(network, IMAGE, reduction=[4], budgets={"params": "<= +5%"})
    everything = sum(p.numel() for p in network.parameters())
    assert space.plain_cost.params == everything and space.trainable == 32 * 5 + 5
    assert space.budgets[0].limit == int(everything * 1.05)


def test_candidates_are_left_out_where_they_do_not_fit() -> None:
    space = SearchSpace(of(CASES["residual"][0]().a[0].__class__)(), IMAGE, reduction=[4, 32], placement=["standard", "identity"])
    options = {group.name: {(o.reduction, o.placement) for o in group.options if o} for group in space.groups}
    assert options == {
        "a.0": {(4, "standard")},
        "a.1": {(4, "standard")},
        "b.0": {(4, "standard"), (32, "standard"), (4, "identity"), (32, "identity")},
        "b.1": {(4, "standard"), (32, "standard")},
    }
    assert [line.partition(":")[0] for line in space.narrowed] == [
        "placement identity is left out at 3 of 4 choices (a.0, a.1, b.1)",
        "reduction 32 is left out at 2 of 4 choices (a.0, a.1)",
    ]
    for seed in range(20):
        architecture = space.sample(seed)
        assert space.contains(architecture) and space.from_dimensions(space.to_dimensions(architecture)) == architecture
    assert space.dimensions["a.0.reduction"] == (None, 4) and "a.0.placement" not in space.dimensions
    with pytest.raises(InputError, match=r"reduction: 64 is larger than the 16 channels of site a\.0"):
        SearchSpace(CASES["residual"][0](), IMAGE, reduction=[4, 64])
    with pytest.raises(InputError, match=r"sites: no candidate fits a\.0: site a\.0 has no placement 'identity'"):
        SearchSpace(CASES["residual"][0](), IMAGE, reduction=[4], placement=["identity"], allow_none=False)


def test_a_combination_that_fits_nowhere_becomes_the_nearest() -> None:
    """Ratio and placement are chosen apart, but ``pre`` of the first block of a stage has fewer channels than ``standard``."""
    space = SearchSpace(CASES["residual"][0](), IMAGE, reduction=[4, 32], placement=["standard", "pre"], sites={"match": ["b.0"]})
    chosen = space.from_dimensions({"b.0.reduction": 32, "b.0.placement": "pre"})
    assert chosen["b.0"] == SESpec(4, placement="pre") and space.contains(chosen)


def test_check_and_sites_say_what_is_left_out(tmp_path, capsys) -> None:
    (tmp_path / "space.yaml").write_text(
        "backbone: network.cases:Called\ninput_size: [3, 16, 16]\nreduction: [4, 16]\nplacement: [pre, identity]\n"
    )
    assert main(["check", str(tmp_path / "space.yaml")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 blocks cannot take SE" in said and "placement identity is left out at 1 of 1 choices (last)" in said
    assert main(["sites", str(tmp_path / "space.yaml")]) == 0
    assert "1 of 2 blocks cannot take SE" in " ".join(capsys.readouterr().out.split())
    with pytest.warns(UserWarning, match="1 of 2 blocks cannot take SE"):
        assert main(["cost", str(tmp_path / "space.yaml")]) == 0
