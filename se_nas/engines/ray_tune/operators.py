"""What a person registered of their own, for processes that have not run their registrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from se_nas.backbones import BACKBONES
from se_nas.network.blocks import BLOCKS
from se_nas.se.block import GATES, SQUEEZES

_REGISTRIES: dict[str, dict[Any, Any]] = {"squeeze": SQUEEZES, "gate": GATES, "block": BLOCKS, "backbone": BACKBONES}


@dataclass(frozen=True)
class Operators:
    """Squeezes, gates, block classes and backbones."""

    entries: Mapping[str, Mapping[Any, Any]]

    @classmethod
    def of_this_process(cls) -> Operators:
        return cls({name: dict(registry) for name, registry in _REGISTRIES.items()})

    def install(self) -> None:
        """Enter them in this process's registries."""
        for name, known in self.entries.items():
            _REGISTRIES[name].update(known)
