"""Write an architecture as one Python file that needs torch only, prove that it is the searched network, and add what was asked for."""

from __future__ import annotations

import copy
import json
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.evaluate.explanation import Explanation
from se_nas.exporter import deploy, fallback
from se_nas.exporter.beside.entries import hubconf, timm_model
from se_nas.exporter.beside.programs import onnx_file, program_file
from se_nas.exporter.card import readme, record, record_file, without_folders
from se_nas.exporter.contract import ExportOptions, Unsupported, Written, compare
from se_nas.exporter.generator import network as generator
from se_nas.exporter.proof import Proof, ProofFailed, prove
from se_nas.exporter.proof.alone import load_state
from se_nas.exporter.write import Destination, check_free, write_files
from se_nas.se.block import SEBlock, respell
from se_nas.space.architecture import Architecture
from se_nas.space.budget import LATENCY
from se_nas.space.space import SearchSpace

__all__ = ["GENERATORS", "ExportOptions", "Exported", "Written", "export", "source"]

Generator = Callable[[SearchSpace, Architecture, nn.Module, Mapping[str, str]], Written]
"""(space, architecture, network built from both, further facts) -> the file. Raises `Unsupported` if it cannot write the network."""

GENERATORS: list[Generator] = [generator.source, fallback.source]
"""Asked in this order. The first that can write the network writes it."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: the Python file.
        files: all files, the Python file first.
        notes: what a user of the file should know, such as why it imports the backbone's package.
        proof: what was checked; None without a proof.
    """

    path: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    proof: Proof | None


def export(
    space: SearchSpace,
    architecture: Architecture,
    target: str | Path,
    weights: Mapping[str, Tensor] | None = None,
    about: Mapping[str, object] | None = None,
    options: ExportOptions | None = None,
    explanation: Explanation | None = None,
) -> Exported:
    """Write a network as Python source that needs torch only, and its weights as safetensors; prove that it is the searched network.

    Args:
        space: the search space.
        architecture: one of its architectures.
        target: ``X.py``, with the weights in ``X.safetensors``; or a folder for ``model.py``, ``weights.safetensors``,
            ``architecture.json`` and ``README.md``.
        weights: ``state_dict`` of the network that ``space.build(architecture)`` makes.
        about: further facts for the docstring, the JSON and the README, such as ``{"val accuracy": "97.8 %"}``.
        options: what else to write, and whether to overwrite an earlier export.
        explanation: what the SE blocks of this network do; a folder gets it as ``channels.json``.

    Raises:
        InputError: if the network cannot be written as source, the proof fails, the weights are not the network's, or the
            target exists. Then nothing is written.
    """
    target, options, about = Path(target), options or ExportOptions(), about or {}
    options.check(target, weights is not None)
    place = Destination.of(target)
    wanted = {
        place.module: True,
        place.weights: weights is not None,
        place.onnx: options.onnx,
        place.program: options.program,
        place.about: True,
        place.hub: options.hub,
        place.timm: options.timm,
        place.card: True,
        place.channels: explanation is not None and not options.deploy,
    }
    names = [name for name, written in wanted.items() if name and written]
    check_free(target, names, options.force)
    if {name for name, _ in architecture} != {group.name for group in space.groups}:
        raise InputError("the architecture is of another space: its groups differ", "export it with its own space", "architecture")
    space, whole = space.variant(architecture.extra), space  # its backbone's own, from here on
    network = space.build(architecture)
    spelling = {runtime: _spelling(whole, runtime, network) for runtime in ("deploy", "onnx")}
    if options.deploy:
        respell(network, spelling["deploy"])
    if weights is not None:
        check_weights(weights, network)
    facts = {name: str(value) for name, value in about.items()}
    fresh, cost, inputs = copy.deepcopy(network), space.cost(architecture), space.inputs
    if weights is not None:
        load_state(network, weights)
    form = deploy.inference_form(network, inputs) if options.deploy else None

    def check(written: Written) -> Proof | None:
        if not options.prove:
            return None
        return prove(written.text, network, cost, inputs, weights, written.paths, form, written.one_size)

    written, proof = _write(space, architecture, fresh, facts, options.deploy, check)
    if options.deploy:
        written = replace(written, notes=(*written.notes, *_said(spelling["deploy"])))
    network = form or network
    files, remarks = {place.module: written.text.encode()}, dict.fromkeys(names, "")
    if weights is not None:
        files[place.weights] = _safetensors(network, architecture)
    if options.onnx:
        other = respell(copy.deepcopy(network), spelling["onnx"]) if spelling["onnx"] else load_network(written.text, network)
        files[place.onnx], remarks[place.onnx] = onnx_file(other, inputs)
        remarks[place.onnx] = "; ".join([remarks[place.onnx], *_said(spelling["onnx"])])
    if options.program:
        files[place.program], remarks[place.program] = program_file(load_network(written.text, network), inputs)
    for entry, write, asked in ((place.hub, hubconf, options.hub), (place.timm, timm_model, options.timm)):
        if entry and asked:
            files[entry] = write(space, architecture, weights is not None).encode()
    if place.channels in names and explanation:
        files[place.channels] = (json.dumps(explanation.to_json(), indent=1) + "\n").encode()
    if place.about and place.card:
        files[place.about] = record_file(
            record(space, architecture, network, about, proof, options.deploy) | {"space": without_folders(whole.to_dict())}
        )
        files[place.card] = readme(space, architecture, network, about, proof, remarks, written.notes, options.deploy).encode()
    write_files(place.folder, files)
    return Exported(place.folder / place.module, tuple(place.folder / name for name in names), written.notes, proof)


def source(
    space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str], inference: bool = False
) -> Written:
    """The file of a network, by the first generator that can write it.

    Args:
        network: as ``space.build`` makes it, before training: the file initialises its layers in the same way.
        inference: write the inference form.

    Raises:
        InputError: if no generator can write it.
    """
    return _write(space, architecture, network, about, inference, lambda written: None)[0]


def _spelling(space: SearchSpace, runtime: str, network: nn.Module) -> dict[str, str]:
    """How to write the squeezes of a network, by the profile of the space if it has one of this runtime."""
    how = space.costs[LATENCY].origin.get("how", {}) if LATENCY in space.costs else {}
    used = {block.spec.squeeze for block in network.modules() if isinstance(block, SEBlock) and block.spec}
    quicker = how.get("spelling", {}) if how.get("runtime") == runtime else {}
    return {squeeze: name for squeeze, name in quicker.items() if squeeze in used}


def _said(spelling: Mapping[str, str]) -> list[str]:
    return [f"squeeze {squeeze} is written as {name}, which the profile found quicker" for squeeze, name in spelling.items()]


def _write(
    space: SearchSpace,
    architecture: Architecture,
    network: nn.Module,
    about: Mapping[str, str],
    inference: bool,
    check: Callable[[Written], Proof | None],
) -> tuple[Written, Proof | None]:
    """The file of the first generator that can write the network and whose file passes a check, and what the check found."""
    space = space.variant(architecture.extra)
    if inference:
        written = deploy.source(space, architecture, network, about)
        return written, check(written)
    reasons: list[str] = []
    failed: ProofFailed | None = None
    for generate in GENERATORS:
        try:
            written = generate(space, architecture, network, about)
            if not written.package:
                compare(written.text, network)
            proof = check(written)
        except Unsupported as reason:
            reasons.append(str(reason))
        except ProofFailed as error:
            failed = failed or error
            reasons.append(error.problem)
        except InputError:
            raise
        except Exception as error:  # the next generator may do
            reasons.append(_bug(error))
        else:
            if written.package:
                note = f"the file imports {written.package}, whose code builds the backbone: it could not be written out"
                written = replace(written, notes=(*written.notes, f"{note} ({'; '.join(reasons)})"))
            return written, proof
    if failed:
        raise ProofFailed("; ".join(reasons), failed.fix, failed.source)
    fix = "take a network of torchvision, timm or a package of yours by its name, or use space.build(architecture) as it is"
    raise InputError(f"this network cannot be written as source: {'; '.join(reasons)}", fix, "backbone")


def _bug(error: Exception) -> str:
    """An error that a generator should not have raised, in words: it is no property of the network."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {' '.join(str(error).split())[:120]}"
    return f"a bug of se-nas in writing its source, please report it ({where})"


def load_network(text: str, network: nn.Module) -> nn.Module:
    """The network of a file, with the state of the searched one."""
    module = types.ModuleType("exported")
    exec(compile(text, "<exported network>", "exec"), vars(module))
    built: nn.Module = module.build()
    load_state(built, network.state_dict())
    return built


def check_weights(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raise unless these are all tensors of the network, and no others.

    Raises:
        InputError: naming the first that differs.
    """
    fix = "give the state_dict of the network that space.build(architecture) makes"
    own = network.state_dict()
    for key, tensor in own.items():
        if key not in weights:
            raise InputError(f"{key} is missing", fix, "weights")
        if weights[key].shape != tensor.shape:
            raise InputError(f"{key} has shape {list(weights[key].shape)} instead of {list(tensor.shape)}", fix, "weights")
    for key in weights:
        if key not in own:
            raise InputError(f"{key} is no tensor of the network", fix, "weights")


def _safetensors(network: nn.Module, architecture: Architecture) -> bytes:
    from safetensors.torch import save

    tensors: dict[str, Any] = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for key, tensor in network.state_dict().items()
    }
    return save(tensors, {"format": "pt", "architecture": architecture.id})
