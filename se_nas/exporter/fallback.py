"""The last resort: a file that imports the backbone's package, builds the backbone, and attaches the SE blocks line by line."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any

from torch import nn

from se_nas.backbones import BACKBONES
from se_nas.exporter.card import arguments, backbone_name, docstring
from se_nas.exporter.contract import Unsupported, Written
from se_nas.exporter.generator.operators import refuse_clashes
from se_nas.exporter.generator.seblock import OPERATOR, SECode, dimensions
from se_nas.exporter.generator.template import WIDTH, assemble, render
from se_nas.network.attached import Attached, actual_modules, public_paths
from se_nas.network.placement import Removed
from se_nas.network.rewrite import edits_of
from se_nas.space.architecture import Architecture
from se_nas.space.extra import first_choice
from se_nas.space.group import attachment
from se_nas.space.space import SearchSpace
from se_nas.text import printable

GATE = '''
class Gate(SEBlock):
    """An SE block that works as a hook of another module; as a step of an ``nn.Sequential`` it hands on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x
                                                                                              #? output
    def on_output(self, module: nn.Module, inputs: tuple[Tensor, ...], x: Tensor) -> Tensor:  #? output
        return super().forward(x)                                                             #? output
                                                                                              #? input
    def on_input(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  #? input
        return super().forward(inputs[0]), *inputs[1:]                                        #? input
'''

HELPERS = {
    "output": '''
def gate_output(network: nn.Module, path: str, name: str, gate: Gate) -> None:
    """Let a block scale what the module at ``path`` returns; ``name`` is the block's own place in the network."""
    parent, _, child = name.rpartition(".")
    network.get_submodule(parent).add_module(child, gate)
    network.get_submodule(path).register_forward_hook(gate.on_output)
''',
    "input": '''
def gate_input(network: nn.Module, path: str, name: str, gate: Gate) -> None:
    """Let a block scale what the module at ``path`` is given; ``name`` is the block's own place in the network."""
    parent, _, child = name.rpartition(".")
    network.get_submodule(parent).add_module(child, gate)
    network.get_submodule(path).register_forward_pre_hook(gate.on_input)
''',
}

CLEAR = '''
def clear(network: nn.Module, path: str) -> None:
    """Put a module that does nothing at ``path``."""
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
'''

BUILD = '''
def build(weights: str | None = None) -> nn.Module:
    """The network, with the weights of a safetensors file if one is given."""
    network: nn.Module = $call
$lines                                              #? lines
    if weights is not None:
        from safetensors.torch import load_file

        tensors, state = load_file(weights), network.state_dict()
        if tensors.keys() != state.keys():
            raise ValueError(f"{weights} holds the weights of another network")
        state.update(tensors)  # which keeps the versions of its modules
        network.load_state_dict(state)
    return network


if __name__ == "__main__":
    network = build().eval()
    print(f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters")
    print(tuple(network($input).shape))
'''


OURS = "the backbone is of se-nas, which the file must not import"


def source(space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> Written:
    """The file of any network whose backbone a package has.

    Raises:
        Unsupported: if no file can import the backbone, or an SE block cannot be registered where its name says.
        InputError: if an operator cannot be written.
    """
    statement, builder, first = find_import(space.backbone)
    specs = {site.name: architecture[group.name] for group in space.groups for site in group.sites}
    settings = {name: replace(spec, placement="standard") if spec else None for name, spec in specs.items()}
    se = SECode(settings, space.options, dimensions(space))
    if inside := next((path for path, module in network.named_modules() if edits_of(module)), None):
        raise Unsupported(f"an SE block stands inside the forward of {inside or 'the network'}, which an imported class does not have")
    cleared, attached = _cleared(space, network), _attached(space, architecture, network, se)
    given = [*first, *(f"{name}={literal(value)}" for name, value in _arguments(space).items())]
    values = {
        "call": call("    network: nn.Module = " + builder, given).lstrip().removeprefix("network: nn.Module = "),
        "lines": "\n".join([*cleared, *attached]),
        "input": arguments(space.inputs),
    }
    sides = {side for side in ("input", "output") if any(line.startswith(f"    gate_{side}(") for line in attached)}
    rest = [se.block(), *(render(part, values, sides) for part in (GATE if sides else "", *(HELPERS[side] for side in sorted(sides))))]
    rest += [CLEAR.strip() if cleared else "", render(BUILD, values, {"lines"} if cleared or attached else set())]
    operators = se.operators()
    refuse_clashes(operators, "\n".join(rest))
    alias = OPERATOR if {"squeeze", "gate"} & set(se.fields) else ""
    title = f"{printable(backbone_name(space))}, built by its own package, with the Squeeze-and-Excitation blocks found by se-nas."
    text = assemble(docstring(title, space, architecture, network, about), [alias, *operators.values(), *rest])
    imports = "\n".join(sorted(["import torch", statement], key=lambda line: line.split()[1].lower()))
    text = text.replace("\nimport torch\n", f"\n{imports}\n", 1)
    return Written(text, package=statement.split()[1], paths=tuple(str(Path(path).resolve()) for path in sys.path))


def find_import(backbone: Any) -> tuple[str, str, list[str]]:
    """The statement that imports a backbone's package, its builder there, and what that is given first.

    Raises:
        Unsupported: if the backbone has no name that a file could import.
    """
    if not isinstance(backbone, str):
        raise Unsupported("the backbone was given as an object of Python, which no file can import: name it package.module:callable")
    library, _, rest = backbone.partition(":")
    if backbone in BACKBONES:
        library, rest = _home(backbone)
    elif library == "torchvision":
        return "import torchvision", "torchvision.models.get_model", [literal(rest)]
    elif library == "timm":
        return "import timm", "timm.create_model", [literal(rest)]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in (*library.split("."), rest)):
        raise Unsupported(f"{backbone!r} is no name that a file can import")
    if library.partition(".")[0] == "se_nas":
        raise Unsupported(OURS)
    return f"import {library} as package", f"package.{rest}", []


def _home(backbone: str) -> tuple[str, str]:
    """Module and name of a registered builder."""
    builder = BACKBONES[backbone]
    if str(getattr(getattr(builder, "func", builder), "__module__", "")).partition(".")[0] == "se_nas":
        raise Unsupported(OURS)
    module, name = getattr(builder, "__module__", None), getattr(builder, "__qualname__", "<unnamed>")
    if not module or module == "__main__" or not name.isidentifier():
        raise Unsupported(f"the builder registered as {backbone!r} is no function of a module that a file could import")
    return module, name


def _arguments(space: SearchSpace) -> dict[str, Any]:
    arguments = {**space.backbone_args, **dict(first_choice(space.extra))}
    for name in arguments:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise Unsupported(f"{name!r} is no name of an argument")
    return arguments


def _cleared(space: SearchSpace, network: nn.Module) -> list[str]:
    """Lines that take out the network's own SE blocks, and make modules of children that are ``None``."""
    paths, plain = public_paths(network), space.build_backbone()
    modules = actual_modules(network)
    found = [paths[path] for path, module in modules.items() if isinstance(module, Removed)]
    for path, module in modules.items():
        parent, _, child = paths[path].rpartition(".")
        if isinstance(module, Attached) and getattr(plain.get_submodule(parent), child, None) is None:
            found.append(paths[path])
    return [f"    clear(network, {literal(path)})" for path in found]


def _attached(space: SearchSpace, architecture: Architecture, network: nn.Module, se: SECode) -> list[str]:
    """A line for each SE block, in the order in which they work where one module has several."""
    paths = public_paths(network)
    raw = {public: path for path, public in paths.items()}
    names: dict[tuple[str, str], list[str]] = {}
    for path, module in actual_modules(network).items():  # the outermost of several first, which was attached last
        if isinstance(module, Attached):
            names.setdefault((paths[path], module.side), []).append(paths[f"{path}.se"])
    lines: dict[str, list[str]] = {"input": [], "output": []}
    for group in space.groups:
        spec = architecture[group.name]
        for site in group.sites if spec else ():
            assert spec is not None
            place = attachment(site, spec)
            name = names[place.module, place.side].pop()
            home = network.get_submodule(raw[name.rpartition(".")[0]])
            if isinstance(home, (nn.ModuleDict, nn.ModuleList)):
                raise Unsupported(f"{name} would be one more child of a {type(home).__name__}, which may run them all")
            setting = se.literal(replace(spec, placement="standard"))
            gate = f"Gate({place.channels}, {setting.removeprefix('SE(').removesuffix(')')})"
            lines[place.side].append(call(f"    gate_{place.side}", ["network", literal(place.module), literal(name), gate]))
    return lines["input"][::-1] + lines["output"]


def call(function: str, arguments: Sequence[str]) -> str:
    """A call, over several lines if one is too short."""
    line = f"{function}({', '.join(arguments)})"
    return line if len(line) <= WIDTH else "\n".join([f"{function}(", *(f"        {argument}," for argument in arguments), "    )"])


def literal(value: Any) -> str:
    """A plain value as source text: nothing but texts, numbers, lists, mappings, true, false and none.

    Raises:
        Unsupported: for any other value.
    """
    if isinstance(value, Enum):
        value = str(value)
    if isinstance(value, str):
        text = ascii(str(value))
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if value is None or type(value) in (bool, int) or (type(value) is float and isfinite(value)):
        return repr(value)
    if type(value) in (list, tuple):
        inner = ", ".join(map(literal, value))
        return f"[{inner}]" if type(value) is list else f"({inner}{',' if len(value) == 1 else ''})"
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    raise Unsupported(f"an argument of the backbone is a {type(value).__name__}, which a file cannot say")
