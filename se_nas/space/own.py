"""What a person registered goes along with a space into other processes: to Ray's workers, NNI's trials, or through a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from se_nas.backbones import BACKBONES
from se_nas.network.blocks import BLOCKS
from se_nas.se.block import GATES, SQUEEZES

REGISTRIES: dict[str, dict[str, Any]] = {"squeeze": SQUEEZES, "gate": GATES, "backbone": BACKBONES, "block": BLOCKS}

KEY = "registered"


def own_entries(space: Any) -> dict[str, dict[str, Any]]:
    """The operators and the builder that a space names, and the known block classes: registry -> name -> entry."""
    named = {"squeeze": getattr(space, "squeeze", ()), "gate": getattr(space, "gate", ()), "backbone": [getattr(space, "backbone", None)]}
    texts = {kind: [name for name in names if isinstance(name, str)] for kind, names in named.items()}
    own = {kind: {name: REGISTRIES[kind][name] for name in names if name in REGISTRIES[kind]} for kind, names in texts.items()}
    return {**own, "block": dict(BLOCKS)}


def register_entries(own: Mapping[str, Mapping[str, Any]]) -> None:
    """Register what this process does not know yet."""
    for kind, entries in own.items():
        for name, entry in entries.items():
            REGISTRIES[kind].setdefault(name, entry)


class CarriesOwn:
    """Base class of a space: a process that unpickles it knows what was registered for it, as if it had been registered there."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), KEY: own_entries(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        register_entries(state[KEY])
        vars(self).update({name: value for name, value in state.items() if name != KEY})
