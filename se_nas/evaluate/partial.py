"""A training that was stopped after an epoch, kept in a file, so that it can go on with the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from se_nas.files import replacing


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


class Partial:
    """Everything that the rest of a training depends on. It is tensors and numbers only, so that reading it unpickles no objects.

    Args:
        path: the file; None for a training that is not kept.
        parts: network, optimizer and all else with a state.
        generators: random number generators, None for one that is not used. torch's global ones are kept too.
        device: that the training runs on.
    """

    def __init__(
        self, path: Path | None, parts: Mapping[str, Stateful], generators: Sequence[torch.Generator | None], device: torch.device
    ) -> None:
        self._path, self._parts, self._device = path, parts, device
        self._generators = [generator for generator in generators if generator is not None]

    def save(self, epochs: int) -> None:
        """Write the state after this many epochs, whole or not at all."""
        if self._path is None:
            return
        state = {
            "epochs": epochs,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "generators": [generator.get_state() for generator in self._generators],
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }
        with replacing(self._path) as file:
            torch.save(state, file)

    def load(self) -> int:
        """Load the state from the file. Returns the number of epochs done, 0 if there is no file."""
        if self._path is None or not self._path.exists():
            return 0
        state = torch.load(self._path, map_location="cpu", weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state["parts"][name])
        for generator, numbers in zip(self._generators, state["generators"], strict=True):
            generator.set_state(numbers)
        torch.set_rng_state(state["random"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        return int(state["epochs"])
