"""What is said of an exported network: its names, the docstring of its file, ``architecture.json`` and ``README.md``."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from se_nas import __version__
from se_nas.exporter.contract import count_parameters
from se_nas.exporter.generator.template import facts, table
from se_nas.exporter.proof import Proof
from se_nas.network.inputs import Inputs
from se_nas.se.spec import hidden_width
from se_nas.space.architecture import Architecture
from se_nas.space.extra import words
from se_nas.space.space import SearchSpace
from se_nas.text import markdown

HEADER = ("block", "channels", "r", "hidden", "squeeze", "gate", "placement")
NOT_PROVEN = "Nothing: the export was asked for without its proof."
INFERENCE = (
    "This is the network's inference form, for evaluation mode alone: batch norms are folded into the layers before them, and steps "
    "write over tensors that nothing reads any more. It takes images in PyTorch's usual format (NCHW). To train the network further, "
    "export it without `--deploy`."
)


def backbone_name(space: SearchSpace) -> str:
    """How a person calls the backbone."""
    return space.backbone if isinstance(space.backbone, str) else getattr(space.backbone, "__name__", type(space.backbone).__name__)


def hub_name(space: SearchSpace) -> str:
    """Name of the entry in ``hubconf.py``."""
    last = backbone_name(space).rpartition(":")[2]
    return "se_" + (re.sub("[^0-9a-z]+", "_", last.lower(), flags=re.ASCII).strip("_")[:40] or "network")


def timm_name(space: SearchSpace, architecture: Architecture) -> str:
    """Name of the model in timm's registry, apart from those of other architectures."""
    return f"{hub_name(space)}_{architecture.id}"


def block_rows(space: SearchSpace, architecture: Architecture) -> list[tuple[object, ...]]:
    """A row of `HEADER` for each site of the space, in the order of the network; dashes where there is no SE."""
    chosen = {site.name: architecture[group.name] for group in space.groups for site in group.sites}
    rows: list[tuple[object, ...]] = []
    for site in space.sites:
        spec = chosen[site.name]
        if spec is None:
            rows.append((site.name, *"------"))
            continue
        channels = site.attachments[spec.placement].channels
        hidden = hidden_width(channels, spec.reduction, space.options.divisor)
        rows.append((site.name, channels, spec.reduction, hidden, spec.squeeze, spec.gate, spec.placement))
    return rows


def _facts(space: SearchSpace, architecture: Architecture, network: nn.Module) -> dict[str, str]:
    """The facts of an architecture, name by name."""
    return {
        "architecture": architecture.id,
        "backbone": backbone_name(space) + (f" with {words(architecture.extra)}" if architecture.extra else ""),
        "input": "x".join(map(str, space.input_size)),
        "parameters": f"{count_parameters(network):,}",
        "MACs": f"{space.cost(architecture).macs:,} an image",
        **{name: told for name, told, _, _ in further_rows(space, architecture)},
    }


def further_rows(space: SearchSpace, architecture: Architecture) -> list[tuple[str, str, str, str]]:
    """Of each further cost that is known of an architecture: name, value, the plain backbone's, and what is added."""
    values, rows = space.cost(architecture)._asdict(), []
    for name, named in space.costs.items():
        if name in values:
            own, plain = values[name], getattr(space.plain_cost, name)
            unit, size = ("ms", 1e3) if named.unit == "s" else (named.unit, 1.0)
            told, its = (f"{value * size:.4g} {unit}".rstrip() for value in (own, plain))
            rows.append((name, told, its, f"{own / plain - 1:+.2%}" if plain else ""))
    return rows


def docstring(title: str, space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> str:
    """The docstring of a file: what it is, its facts, and which block has which SE."""
    own = _facts(space, architecture, network)
    blocks = table(HEADER, block_rows(space, architecture)) if any(spec for _, spec in architecture) else ""
    return "\n\n".join(filter(None, [title, facts({**own, **about, **own}), blocks]))


def arguments(inputs: Inputs) -> str:
    """The inputs of one call as source text: ``torch.zeros(1, 3, 32, 32)``."""

    def text_of(value: Any) -> str:
        if isinstance(value, Tensor):
            dtype = "" if value.dtype == torch.float32 else f", dtype={value.dtype}"
            numbers = not value.is_floating_point() and value.numel() <= 16 and not value.is_meta
            return f"torch.tensor({value.tolist()})" if numbers else f"torch.zeros({', '.join(map(str, value.shape))}{dtype})"
        if isinstance(value, (tuple, list)):
            inner = ", ".join(map(text_of, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
        return "{" + ", ".join(f"{k!r}: {text_of(v)}" for k, v in value.items()) + "}" if isinstance(value, Mapping) else repr(value)

    return ", ".join([*map(text_of, inputs.args), *(f"{name}={text_of(value)}" for name, value in inputs.kwargs.items())])


def record(
    space: SearchSpace,
    architecture: Architecture,
    network: nn.Module,
    about: Mapping[str, object],
    proof: Proof | None,
    inference: bool = False,
) -> dict[str, Any]:
    """``architecture.json``: the choices, their exact cost, and where they came from."""
    cost = space.cost(architecture)
    return {
        "architecture": architecture.to_json(),
        "id": architecture.id,
        "params": count_parameters(network),
        "inference_form": inference,
        "macs": cost.macs,
        "cost": cost._asdict(),
        "plain_cost": space.plain_cost._asdict(),
        "input_size": list(space.input_size),
        "backbone": space.backbone if isinstance(space.backbone, str) else None,
        "space": without_folders(space.to_dict()),
        "about": dict(about),
        "proof": {**vars(proof)} if proof else None,
        "versions": {"se-nas": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }


def without_folders(value: Any) -> Any:
    """A value without the paths of this machine in it: their last part stays, as in ``folder:images``."""
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    kind, folder, path = value.rpartition("folder:")
    if not folder and not re.match(r"[/~]|[A-Za-z]:[\\/]", path):
        return value
    return kind + folder + re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def record_file(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, default=str) + "\n").encode()


def readme(
    space: SearchSpace,
    architecture: Architecture,
    network: nn.Module,
    about: Mapping[str, object],
    proof: Proof | None,
    files: Mapping[str, str],
    notes: Sequence[str] = (),
    inference: bool = False,
) -> str:
    """``README.md``.

    Args:
        space: the search space.
        architecture: what was exported.
        network: as built.
        about: where it came from and what it scored, name by name.
        proof: what was checked; None if nothing was.
        files: name -> what there is to say of it, of the files beside this one.
        notes: what else a user of the file should know.
        inference: whether the file is the network's inference form.
    """
    cost, plain = space.cost(architecture), space.plain_cost
    rows = block_rows(space, architecture)
    taken = sum(1 for row in rows if row[1] != "-")
    size = "x".join(map(str, space.input_size))
    return (
        "\n\n".join(
            [
                f"# {markdown(backbone_name(space))} with SE blocks at {taken} of {len(rows)} sites",
                f"Architecture `{architecture.id}`, found by se-nas {__version__}; {size} images.",
                *([f"The backbone is built with {markdown(words(architecture.extra))}."] if architecture.extra else []),
                "## Use",
                *_use(space, architecture, files),
                *map(markdown, notes),
                *([INFERENCE] if inference else []),
                "## Architecture",
                _table(HEADER, rows),
                "## Cost",
                _table(
                    ("", "this network", "plain backbone", "added"),
                    [
                        ("parameters", f"{cost.params:,}", f"{plain.params:,}", f"{cost.params / plain.params - 1:+.2%}"),
                        ("MACs an image", f"{cost.macs:,}", f"{plain.macs:,}", f"{cost.macs / plain.macs - 1:+.2%}"),
                        *further_rows(space, architecture),
                    ],
                ),
                "One MAC is one multiply-accumulate of a convolution or linear layer, those of the SE blocks included."
                + "".join(f" {name.capitalize()}: {markdown(each.about)}." for name, each in space.costs.items() if each.about)
                + (f" The inference form has {count_parameters(network):,} parameters: its batch norms are folded." if inference else ""),
                "## Where it came from",
                _table(("", ""), list(about.items())) if about else "It is no trial of a run, and has no scores.",
                "## Checked at export",
                "\n".join(f"- {markdown(line)}" for line in proof.lines) if proof else NOT_PROVEN,
            ]
        )
        + "\n"
    )


def _use(space: SearchSpace, architecture: Architecture, files: Mapping[str, str]) -> list[str]:
    weights = "weights.safetensors" in files
    load = 'build(weights="weights.safetensors")' if weights else "build()"
    shapes = [f"(N, {', '.join(map(str, tensor.shape[1:]))})" for tensor in space.inputs.tensors]
    takes = f"inputs of shapes {', '.join(shapes)}" if len(shapes) > 1 else f"images of shape {shapes[0]}"
    code = ["from model import build", "", f"network = {load}.eval()  # {takes}"]
    parts = ["\n".join(["```python", *code, "```"])]
    if not weights:
        parts.append("There are no weights here: the network has yet to be trained.")
    argument = ", pretrained=True" if weights else ""
    lines = {
        "hubconf.py": f'`torch.hub.load("this folder", "{hub_name(space)}", source="local")`',
        "timm_model.py": f'`import timm_model; timm.create_model("{timm_name(space, architecture)}"{argument})`',
        "model.pt2": '`torch.export.load("model.pt2").module()`',
        "channels.json": "what each SE block does on the validation images; `importance` of its channels is a signal for pruning",
        "model.onnx": '`onnxruntime.InferenceSession("model.onnx")`',
    }
    found = [f"- `{name}`: {line}" + (f"; {markdown(files[name])}" if files[name] else "") for name, line in lines.items() if name in files]
    return [*parts, *(["\n".join(found)] if found else [])]


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[markdown(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(header), ["---"] * len(header), *cells])
