"""How images are normalised: by the data's own statistics, or as trained weights want it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from se_nas.errors import InputError
from se_nas.evaluate.start import library_of, read_weights
from se_nas.space.space import SearchSpace
from se_nas.text import shown

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

NAMED: dict[str, Statistics] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Name -> mean and standard deviation of each channel, of pixels in 0..1."""

FORM = "data (the data's own), imagenet, half (0.5 and 0.5), or numbers: MEAN,MEAN,MEAN/STD,STD,STD"


def find_normalisation(given: str, space: SearchSpace, start: str) -> Statistics | None:
    """Mean and standard deviation of each channel; None for the data's own.

    Args:
        given: ``auto``, or what `FORM` says.
        space: whose backbone may say how its weights were trained.
        start: of the search; ``auto`` follows ``trained`` and a file's weights, and takes the data's own otherwise.

    Raises:
        InputError: if it is not known, or not for the network's channels.
    """
    if given == "data" or (given == "auto" and start in ("scratch", "train")):
        return None
    channels = space.input_size[0]
    if given != "auto":
        found = NAMED.get(given) or _numbers(given)
        if len(found[0]) != channels:
            raise InputError(
                f"{shown(given)} is for {len(found[0])} channels and the network takes {channels}", f"take {FORM}", "normalise"
            )
        return found
    own = _of_backbone(space) if start == "trained" else _of_file(start)
    if own is None or len(own[0]) != channels:
        whose = "these weights" if start == "trained" else start
        raise InputError(f"how images were normalised for {whose} is not known", f"say it by --normalise: {FORM}", "normalise")
    return own


def _numbers(text: str) -> Statistics:
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
    except ValueError:
        raise InputError(f"{shown(text)} is no normalisation", f"take auto, {FORM}", "normalise") from None
    if len(mean) != len(std) or min(std) <= 0:
        raise InputError(f"{shown(text)} has not one mean and one positive deviation for each channel", f"take {FORM}", "normalise")
    return mean, std


def _of_backbone(space: SearchSpace) -> Statistics | None:
    """From the library that brings the weights."""
    if library_of(space) == "torchvision":
        import torchvision

        transforms = torchvision.models.get_model_weights(str(space.backbone).partition(":")[2]).DEFAULT.transforms()
        return _pair({"mean": getattr(transforms, "mean", None), "std": getattr(transforms, "std", None)})
    network = space.build_backbone()
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)  # timm's
    return _pair(config) if isinstance(config, Mapping) else None


def _of_file(path: str) -> Statistics | None:
    """From the metadata of a file that se-nas wrote."""
    metadata = read_weights(path)[1]
    return _pair({key: json.loads(metadata[key]) for key in ("mean", "std")}) if {"mean", "std"} <= metadata.keys() else None


def _pair(config: Mapping[str, Any]) -> Statistics | None:
    mean, std = config.get("mean"), config.get("std")
    return (tuple(map(float, mean)), tuple(map(float, std))) if mean and std else None
