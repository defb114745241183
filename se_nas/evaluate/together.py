"""Several architectures of one space as one network, so that they train together: the same images, one large step for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from se_nas.evaluate.parts import scores_of
from se_nas.evaluate.start import load_start
from se_nas.evaluate.students import Key
from se_nas.network.placement import Attachment, Site, attach_all, remove_existing
from se_nas.se.block import SEBlock, make_block
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.group import attachment
from se_nas.space.space import SearchSpace

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Function = Callable[[Tensor, int], tuple[Tensor, int]]
"""(what all networks have, the dimension that tells them apart; -1 if they have the same) -> both of the result."""


class _OfAll(torch.autograd.Function):
    """A function of what all K networks have at one place, inside of `torch.vmap`.

    Its second argument is the number of each network: so it is called for all even where they all have the same tensor.
    """

    @staticmethod
    def forward(x: Tensor, number: Tensor, function: Function) -> Tensor:
        raise AssertionError("it is called inside of vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing: what the function computes has gradients of its own."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, number: Tensor, function: Function) -> tuple[Tensor, int]:
        return function(x, -1 if in_dims[0] is None else in_dims[0])


class Variants(nn.Module):
    """The SE blocks of K networks at one place, each for its own network's tensor; None where a network has none.

    Args:
        blocks: one for each network.
        dim: which dimension of the result tells the networks apart: where the next layers need it.
    """

    def __init__(self, blocks: Sequence[SEBlock | None], dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity() if block is None else block for block in blocks])
        self.dim = dim
        self.register_buffer("number", torch.arange(len(blocks)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = _OfAll.apply(x, self.number, self._all)
        return gated

    def _all(self, x: Tensor, dim: int) -> tuple[Tensor, int]:
        each = [x] * len(self.blocks) if dim < 0 else x.unbind(dim)
        return torch.stack([block(own) for block, own in zip(self.blocks, each, strict=True)], self.dim), self.dim


class Norms(nn.Module):
    """The batch norms of K networks at one place, as one over K times the channels."""

    def __init__(self, norm: nn.Module, networks: int) -> None:
        super().__init__()
        assert isinstance(norm, NORMS)
        self.networks, self.channels = networks, norm.num_features
        self.joint = type(norm)(networks * self.channels, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.register_buffer("number", torch.arange(networks), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = _OfAll.apply(x, self.number, self._all)
        return normal

    def _all(self, x: Tensor, dim: int) -> tuple[Tensor, int]:
        wide = x.unsqueeze(1).expand(-1, self.networks, *x.shape[1:]) if dim < 0 else x.movedim(dim, 1)
        return self.joint(wide.flatten(1, 2)).unflatten(1, (self.networks, self.channels)), 1


class Together:
    """K networks that compute as one.

    What they have in common (a frozen backbone) is there once, and works once for all of them up to the first SE block. Of
    all else each has its own: batch norms side by side in one, SE blocks one after another, and any other tensor K times in
    one with a dimension more, the first one.

    Args:
        space: the space.
        architectures: K of it, of one backbone.
        start: weights that each begins with; None for fresh ones.
        frozen: what of them stays as it is, see `se_nas.evaluate.settings.FREEZES`.
        device: where they compute.

    Attributes:
        module: the one network; its mode is that of all.
    """

    def __init__(
        self,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        start: Mapping[str, Tensor] | None,
        frozen: str,
        device: torch.device,
    ) -> None:
        self._networks: list[nn.Module] = []
        self._frozen, self._each = frozen, dict[str, Tensor]()
        places: dict[str, list[SEBlock | None]] = {}
        random = torch.get_rng_state()
        for index, architecture in enumerate(architectures):
            torch.set_rng_state(random)  # each is built as if it were alone
            self._networks.append(_build(space, architecture, index, len(architectures), places))
            if start is not None:
                load_start(self._networks[-1], start)
        after = torch.get_rng_state()
        self.module = space.build_backbone()
        torch.set_rng_state(after)
        self._join(space, places)
        self.module.to(device)

    def __len__(self) -> int:
        return len(self._networks)

    def _join(self, space: SearchSpace, places: Mapping[str, list[SEBlock | None]]) -> None:
        """Make one network of the backbone: batch norms side by side, and `Variants` wherever a network has an SE block."""
        for site in space.sites:
            remove_existing(self.module, site)
        if self._frozen != "backbone":
            for owner in list(self.module.modules()):
                for name, child in list(owner.named_children()):
                    if type(child) in NORMS:
                        setattr(owner, name, Norms(child, len(self)))
        found: list[tuple[Attachment, Variants]] = []
        for site in space.sites:
            for placement, place in site.attachments.items():
                if blocks := places.get(f"{site.name} {placement}"):
                    found.append((place, Variants(blocks, 0 if self._frozen == "backbone" else 1)))
        attach_all(self.module, sorted(found, key=lambda each: -each[0].module.count(".")))  # inner modules first

    def split(self) -> dict[nn.Parameter, nn.Parameter]:
        """Give each network its own of what trains or changes; all else stays in `module`.

        Returns:
            Parameter of `module` that trains -> the one of all K in its place.
        """
        states, modules = [network.state_dict() for network in self._networks], dict(self.module.named_modules())
        parameters, instead = dict(self.module.named_parameters()), dict[nn.Parameter, nn.Parameter]()
        own = {name for name, module in modules.items() if isinstance(module, (Variants, Norms))}
        self._each = {f"{name}.number": modules[name].get_buffer("number") for name in own}
        for name, tensor in self.module.state_dict().items():
            home, _, last = name.rpartition(".")
            if home.removesuffix(".joint") in own:
                values = [state[f"{home.removesuffix('.joint')}.{last}"] for state in states]
                tensor.copy_(torch.cat(values) if tensor.ndim else values[0])
            elif name in states[0]:
                trains = name in parameters and parameters[name].requires_grad
                if trains or (name not in parameters and self._frozen != "backbone" and not self._is_still(modules[home])):
                    self._each[name] = torch.stack([state[name] for state in states]).to(tensor.device)
                if trains:
                    self._each[name] = instead[parameters[name]] = nn.Parameter(self._each[name])
                tensor.copy_(states[0][name])
        return instead

    def _is_still(self, module: nn.Module) -> bool:
        return self._frozen == "statistics" and isinstance(module, nn.modules.batchnorm._BatchNorm)

    def scores(self, images: Tensor, key: Key | None = None) -> Tensor:
        """(N, C, H, W) -> (K, N, classes). What `torch.vmap` cannot do, such as a branch on values, it says by an error of its own."""

        def one(tensors: dict[str, Tensor]) -> Tensor:
            return scores_of(functional_call(self.module, tensors, (images,)))

        found: Tensor = vmap(one, randomness="same")(self._each)
        return found

    def weights(self, index: int) -> dict[str, Tensor]:
        """The ``state_dict`` of one of the networks, with what it has learned."""
        network, learned = self._networks[index], dict[str, Tensor]()
        modules = dict(self.module.named_modules())
        for name, tensor in self.module.state_dict().items():
            home, _, last = name.rpartition(".")
            norms = modules[home.removesuffix(".joint")]
            if isinstance(norms, Norms):
                part = tensor[index * norms.channels : (index + 1) * norms.channels] if tensor.ndim else tensor
                learned[f"{home.removesuffix('.joint')}.{last}"] = part
            else:
                learned[name] = self._each[name][index] if name in self._each else tensor
        state = network.state_dict()  # its SE blocks are those that have learned
        state |= {name: tensor.detach().cpu() for name, tensor in learned.items() if name in state}
        network.load_state_dict(state)
        return network.state_dict()


def _build(space: SearchSpace, architecture: Architecture, index: int, number: int, places: dict[str, list[SEBlock | None]]) -> nn.Module:
    """A network. Its SE blocks go into ``places``: site and placement -> the block there of each network."""
    options = {site.name: group.block for group in space.groups for site in group.sites}

    def make(site: Site, spec: SESpec) -> nn.Module:
        block = make_block(attachment(site, spec).channels, spec, options[site.name])
        places.setdefault(f"{site.name} {spec.placement}", [None] * number)[index] = block
        return block

    return space.build(architecture, make)


def same_host(architectures: Sequence[Architecture]) -> bool:
    """Whether architectures have one backbone, so that they can compute together."""
    return len({architecture.extra for architecture in architectures}) == 1
