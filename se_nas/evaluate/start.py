"""The trained weights that every architecture of a search begins with: where they come from, and whether they fit.

SE blocks are no part of them: they begin as the identity, so that each architecture first computes what the plain network does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from se_nas.backbones import BACKBONES, build_backbone
from se_nas.errors import InputError
from se_nas.evaluate.parts import find_head
from se_nas.files import refused, write_whole
from se_nas.network.attached import LAYERS
from se_nas.space.space import SearchSpace
from se_nas.text import shown

SHOWN = 3
"""Names of tensors that do not fit, of each kind, in a message."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Origin:
    """Weights that fit the plain network of a space.

    Attributes:
        weights: a tensor for each of its state dict.
        fresh: paths of layers of another number of classes, which the weights do not fill.
        left_out: how many tensors of the backbone's own SE blocks, at searched sites, are not used.
        digest: of the weights as they were given.
    """

    weights: dict[str, Tensor]
    fresh: tuple[str, ...]
    left_out: int
    digest: str


def find_origin(space: SearchSpace, start: str) -> Origin:
    """The weights that ``start`` names: ``trained``, or a safetensors file.

    Raises:
        InputError: if there are none, or they do not fit the plain network (which tensors, which shapes).
    """
    if start == "trained":
        return fit_weights(space, brought_weights(space), "start")
    return fit_weights(space, read_weights(start)[0], f"start, {start}")


ELSEWHERE = "give a file (--start PATH.safetensors), or train the backbone first (--start train)"


def library_of(space: SearchSpace) -> str:
    """Whose trained weights the backbone brings: ``torchvision``, ``timm``, or "" for a module's or callable's own.

    Raises:
        InputError: for a backbone of ours, which brings none.
    """
    name = space.backbone if isinstance(space.backbone, str) else ""
    if name in BACKBONES:
        raise InputError(f"{name} brings no trained weights", ELSEWHERE, "start")
    library = name.partition(":")[0]
    return library if library in ("torchvision", "timm") else ""


def brought_weights(space: SearchSpace) -> Weights:
    """The weights that a backbone brings: torchvision's default ones, timm's, or a module's or callable's own.

    Raises:
        InputError: if there are none, or they cannot be downloaded.
    """
    library = library_of(space)
    if not library:
        return space.build_backbone().state_dict()
    name = str(space.backbone)
    try:
        if library == "timm":
            arguments = {key: value for key, value in space.backbone_args.items() if key != "num_classes"}
            return build_backbone(name, {**arguments, "pretrained": True}).state_dict()
        import torchvision

        weights: Weights = torchvision.models.get_model_weights(name.partition(":")[2]).DEFAULT.get_state_dict(progress=False)
        return weights
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the trained weights of {name} cannot be had ({reason})", ELSEWHERE, "start") from error


def read_weights(path: str) -> tuple[Weights, Mapping[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        InputError: if it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"there is no file {shown(path)}", "check the path", "start") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file ({error})", "write one with safetensors.torch.save_file", "start") from None


def save_weights(path: Path, weights: Weights, metadata: Mapping[str, object]) -> None:
    """Write a safetensors file, whole or not at all; ``metadata`` as JSON texts.

    Raises:
        InputError: if it cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    with refused(path, "written"):
        write_whole(path, save(tensors, {key: json.dumps(value) for key, value in metadata.items()}))


def fit_weights(space: SearchSpace, given: Weights, source: str) -> Origin:
    """Weights as the plain network of the space takes them.

    Heads of another number of classes are left as they are built, and listed. Own SE blocks at searched sites are left out.

    Raises:
        InputError: naming what is missing, what is too much, and shapes that differ.
    """
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        plain, whole = space.build(space.reference("plain")), space.build_backbone()
    own = plain.state_dict()
    removed = (whole.state_dict().keys() - own.keys()) & given.keys()
    fresh = _other_heads(plain, given, space.classes)
    skipped = {key for key in own if key.rpartition(".")[0] in fresh or key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in given and key not in skipped]
    extra = [key for key in given if key not in own and key not in removed and key.rpartition(".")[0] not in fresh]
    other = [key for key in own if key in given and given[key].shape != own[key].shape and key not in skipped]
    wrong = [
        *_listed("missing", [f"{key} {list(own[key].shape)}" for key in missing]),
        *_listed("not of the backbone", [f"{key} {list(given[key].shape)}" for key in extra]),
        *_listed("of another shape", [f"{key} {list(given[key].shape)}, the backbone's {list(own[key].shape)}" for key in other]),
    ]
    if wrong:
        name = space.backbone if isinstance(space.backbone, str) else type(space.backbone).__name__
        raise InputError(f"the weights do not fit {name}: {'; '.join(wrong)}", "give this backbone's own, or correct backbone_args", source)
    weights = {
        key: given[key].detach().to(value.dtype).clone() if key in given and given[key].shape == value.shape else value.clone()
        for key, value in own.items()
    }
    return Origin(weights, fresh, len(removed), digest(given))


def load_start(network: nn.Module, weights: Weights) -> None:
    """Give a network with SE blocks the plain network's weights; the SE blocks keep theirs."""
    network.load_state_dict(weights, strict=False)


def digest(weights: Weights) -> str:
    """SHA-256 over names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _other_heads(plain: nn.Module, given: Weights, classes: int) -> tuple[str, ...]:
    """Paths of layers with one output a class that the weights have for other classes, or, of the head, not at all."""
    head = find_head(plain, classes)
    found = []
    for name, layer in plain.named_modules():
        if isinstance(layer, LAYERS) and layer.weight.shape[0] == classes:
            theirs = given.get(f"{name}.weight")
            absent = theirs is None and head is not None and name == head[0]
            if absent or (theirs is not None and theirs.shape[0] != classes and theirs.shape[1:] == layer.weight.shape[1:]):
                found.append(name)
    return tuple(found)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{what}: {', '.join(names[:SHOWN])}{more}"] if names else []
