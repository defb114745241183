"""What a person registered goes along with a space into other processes: to Ray's workers, or through any pickle."""

from __future__ import annotations

from typing import Any

from se_nas.backbones import BACKBONES
from se_nas.network.blocks import BLOCKS
from se_nas.se.block import GATES, SQUEEZES

REGISTRIES: dict[str, dict[str, Any]] = {"squeeze": SQUEEZES, "gate": GATES, "backbone": BACKBONES, "block": BLOCKS}

KEY = "registered"


class CarriesOwn:
    """Base class of a space: its pickle holds the operators and the builder that it names, and the known block classes.

    A process that unpickles it knows them from then on, as if they had been registered there. Entries of that process stay.
    """

    def __getstate__(self) -> dict[str, Any]:
        named = {"squeeze": getattr(self, "squeeze", ()), "gate": getattr(self, "gate", ()), "backbone": [getattr(self, "backbone", None)]}
        own = {kind: {name: REGISTRIES[kind][name] for name in names if name in REGISTRIES[kind]} for kind, names in named.items()}
        return {**vars(self), KEY: {**own, "block": dict(BLOCKS)}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for kind, entries in state[KEY].items():
            for name, entry in entries.items():
                REGISTRIES[kind].setdefault(name, entry)
        vars(self).update({name: value for name, value in state.items() if name != KEY})
