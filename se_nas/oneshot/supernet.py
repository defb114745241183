"""A search space as an NNI `ModelSpace`. NNI's one-shot strategies turn it into a supernet."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.network.placement import Attachment, Site, attach_all, remove_existing
from se_nas.oneshot import refuse_extra
from se_nas.oneshot.choice import Choice
from se_nas.oneshot.mixed import Hook, SEChoice, hooks
from se_nas.oneshot.nni_imports import ModelSpace, current_model
from se_nas.oneshot.portable import Portable
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.text import shown


class SEModelSpace(ModelSpace):
    """The space's backbone with an `SEChoice` at every placement of every site. Labels are the space's dimensions.

    It works in every strategy of NNI, multi-trial and one-shot. NNI knows no budgets; use its ``Filter`` with
    `se_nas.integrations.nni.within_budgets`.

    Args:
        space: the search space, or in a form that NNI's training service can carry. Sites that share a setting share a label.

    Raises:
        InputError: if the space has extra dimensions, or a group's name has a slash.
    """

    def __init__(self, space: SearchSpace | Portable) -> None:
        space = space.space if isinstance(space, Portable) else space
        refuse_extra(space)
        super().__init__()
        self.space = space
        self._names: dict[int, tuple[str, str]] = {}
        if (sample := current_model()) is not None:  # inside NNI's model_context: build one model, no choices
            self.network = space.build(space.from_dimensions(sample))
            return
        self.network = space.build_backbone()
        for site in space.sites:
            remove_existing(self.network, site)
        places: list[tuple[Attachment, str, str, SEChoice]] = []
        for group in space.groups:
            if "/" in group.name:
                raise InputError(f"NNI takes no slash in a name, as in {shown(group.name)}", "give the site another name", "sites.rename")
            for site in group.sites:
                for placement in group.candidates["placement"] if any(group.options) else ():
                    place = site.attachments[placement]
                    at = placement if len(group.candidates["placement"]) > 1 else None
                    choice = SEChoice(place.channels, group.candidates, group.name, space.options, at)
                    places.append((place, site.name, placement, choice))
        inner_first = sorted(places, key=lambda entry: -entry[0].module.count("."))
        attach_all(self.network, ((place, choice) for place, _, _, choice in inner_first))
        self._names = {id(choice.shared): (site, placement) for _, site, placement, choice in places}

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the backbone's output."""
        scores: Tensor = self.network(images)
        return scores

    def extra_oneshot_hooks(self, strategy: Any) -> list[Hook]:
        """NNI calls this when it makes the supernet."""
        return hooks(strategy)

    def frozen(self, architecture: Architecture) -> nn.Module:
        """The network of an architecture, as ``space.build`` makes it, with a copy of its part of the weights."""
        shared = {self._names[id(m.shared)]: m.shared for m in self.modules() if isinstance(m, SEChoice)}

        def make(site: Site, spec: SESpec) -> nn.Module:
            block: nn.Module = shared[site.name, spec.placement].frozen(spec)
            return block

        network = self.space.build(architecture, make)
        network.load_state_dict(self.network.state_dict(), strict=False)  # the backbone's weights; SE blocks have other names here
        return network

    def freeze(self, sample: dict[str, Any]) -> nn.Module:
        self.validate(sample)
        return self.frozen(self.space.from_dimensions(sample))

    # After a strategy has made it a supernet.

    @property
    def choices(self) -> dict[str, Choice]:
        """Label -> choice."""
        return {module.label: module for module in self.modules() if isinstance(module, Choice)}

    def probabilities(self) -> dict[str, Tensor]:
        """Dimension of the space -> probabilities of its values, shape (values,)."""
        return {label: choice.probabilities() for label, choice in self.choices.items()}

    def draw(self, architecture: Architecture) -> None:
        """Make a single-path supernet (RandomOneShot, ENAS) compute this architecture."""
        sample = self.space.to_dimensions(architecture)
        for choice in self.choices.values():
            choice.draw(sample)

    def drawn(self) -> Architecture:
        """The architecture that a single-path supernet computes now."""
        return self.space.from_dimensions({label: choice.values[choice.index] for label, choice in self.choices.items()})
