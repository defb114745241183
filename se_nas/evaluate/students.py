"""What trains: one network, or several that compute as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from se_nas.evaluate.parts import scores_of


@dataclass(frozen=True)
class Key:
    """Names a batch of images: under one key it is always the same one.

    Attributes:
        block: what decides it beside its place, such as a seed; () for nothing.
        place: where it stands, such as ``("training", epoch, step)``.
    """

    block: tuple[Hashable, ...]
    place: tuple[Hashable, ...]


class Students(Protocol):
    """One network, or several that compute as one, see `se_nas.evaluate.together.Together`."""

    module: nn.Module

    def __len__(self) -> int: ...

    def split(self) -> Mapping[nn.Parameter, nn.Parameter]: ...

    def scores(self, images: Tensor, key: Key | None = None) -> Tensor: ...

    def weights(self, index: int) -> Mapping[str, Tensor]: ...


class Alone:
    """One network as `Students`."""

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    def __len__(self) -> int:
        return 1

    def split(self) -> dict[nn.Parameter, nn.Parameter]:
        return {}

    def scores(self, images: Tensor, key: Key | None = None) -> Tensor:
        return scores_of(self.module(images))[None]

    def weights(self, index: int) -> dict[str, Tensor]:
        return self.module.state_dict()
