"""Source of any network: new classes that compute the same."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from torch import nn

from se_nas.exporter.card import arguments, docstring
from se_nas.exporter.contract import Unsupported, Written
from se_nas.exporter.generator import initialisation
from se_nas.exporter.generator.arguments import annotation
from se_nas.exporter.generator.bodies import Training
from se_nas.exporter.generator.classes import Classes
from se_nas.exporter.generator.construction import Builder
from se_nas.exporter.generator.definitions import Definition
from se_nas.exporter.generator.expressions import MISSING, STORED, Conditional, New
from se_nas.exporter.generator.formulas import Formulas
from se_nas.exporter.generator.forward import Writer, kind_of
from se_nas.exporter.generator.layout import Brackets, Joined, Text, flat, lay_out, literal
from se_nas.exporter.generator.operators import refuse_clashes
from se_nas.exporter.generator.packing import statements
from se_nas.exporter.generator.seblock import OPERATOR, SECode, dimensions
from se_nas.exporter.generator.symbols import Ref
from se_nas.exporter.generator.template import IMPORTS, WIDTH, assemble
from se_nas.network.attached import public_modules
from se_nas.se.block import SEBlock
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

PLACES = {
    "standard": "the end of the branch, before the sum",
    "pre": "the input of the branch",
    "post": "the output of the block",
    "identity": "the output of the shortcut",
    "inner": "after the 3x3 convolution",
}
RESERVED = frozenset({"torch", "nn", "F", "Tensor", "SE", "SEBlock", "Operator", "build", "linear", "self", "annotations", *dir(builtins)})
RESERVED |= {"Packed", *(name for module in IMPORTS for name in module)}

FILLED = {
    "nn.Sequential": ("*modules: nn.Module", "*modules"),
    "nn.ModuleList": ("modules: list[nn.Module]", "modules"),
    "nn.ModuleDict": ("modules: dict[str, nn.Module]", "modules"),
}
"""How a class that extends a container and needs arguments of its own is filled: the argument, and what becomes of it."""

LETTERS = {3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}

SIZE_NOTE = "the file is for images of this size alone: what the network computes depends on it"
INFERENCE = """This is its inference form, which is not for training: batch norms are folded into the layers before them where that
is exact, and steps write over tensors that nothing reads any more."""

SE_AT = '''
    def se_at(self, place: str, x: Tensor) -> Tensor:
        """x, gated if the block's SE is at that place."""
        return self.{name}(x) if place == self.place else x
'''

BUILD = '''
def build(weights: str | None = None) -> nn.Module:
    """The network{what}, with the weights of a safetensors file if one is given."""
    {made}
{begin}    if weights is not None:
        from safetensors.torch import load_file

        network.load_state_dict(load_file(weights))
    return {network}


if __name__ == "__main__":
    network = build().eval()
    print(f"{{sum(parameter.numel() for parameter in network.parameters()):,}} parameters")
    print({shape})
'''


def source(space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str], inference: str = "") -> Written:
    """The file of a network whose forward can be written as calls of torch's functions and of its modules.

    Args:
        space, architecture: what the network was built from.
        network: the searched network, or its inference form.
        about: further facts for the docstring.
        inference: for an inference form, the expression that ``build`` returns.

    Raises:
        Unsupported: if it cannot be written; the message names the module.
        InputError: if an operator cannot be written.
    """
    blocks = {path: module for path, module in public_modules(network).items() if isinstance(module, SEBlock)}
    squeezes = {block.spec.squeeze: block.squeeze for block in blocks.values() if block.spec}
    se = SECode({path: block.spec for path, block in blocks.items()}, space.options, dimensions(space), squeezes)
    operators = se.operators()
    finder = Classes(network, space.inputs, space.all_sites, RESERVED | operators.keys(), bool(inference))
    root = finder.find()
    builder = Builder(finder.definitions, se)
    classes = [_class(definition, builder, finder.modules, space) for definition in finder.definitions.values()]
    settings = [OPERATOR if {"squeeze", "gate"} & set(se.fields) else "", *operators.values(), se.settings_class(PLACES)]
    outputs = _outputs(finder.definitions)
    body = finder.definitions[root.name].body if isinstance(root, New) else None
    made = lay_out(builder.text(root), 4, before="network = " if isinstance(root, New) else "network: nn.Module = ")
    call = f"network({arguments(space.inputs)})"
    build = BUILD.format(
        made=made,
        what=" in its inference form, in evaluation mode" if inference else "",
        begin="" if inference else initialisation.text(network),
        network=inference or "network",
        shape=f"tuple({call}.shape)" if body is None or _type(body.result).startswith("Tensor") else call,
    ).strip()
    rest = [se.block(), *outputs, *classes, *statements(builder.packed), build]
    refuse_clashes(operators, "\n".join(rest))
    if finder.one_size:
        about = {**about, "images of": f"{'x'.join(map(str, space.input_size[1:]))} alone: what it computes depends on their size"}
    title = f"{type(network).__name__} {'with' if blocks else 'without'} Squeeze-and-Excitation, found by se-nas."
    title += f"\n\n{INFERENCE}" if inference else ""
    text = assemble(docstring(title, space, architecture, network, about), [*settings, *rest])
    stored = [name for definition in finder.definitions.values() for name, tensor in definition.tensors.items() if tensor.value == STORED]
    notes = [f"build() needs the weights: they hold the values of the buffer {name}" for name in dict.fromkeys(stored)]
    return Written(text, (*([SIZE_NOTE] if finder.one_size else []), *notes), one_size=finder.one_size)


def _class(definition: Definition, builder: Builder, modules: Mapping[str, nn.Module], space: SearchSpace) -> str:
    setting = "SE" if builder.se.structured else "int"
    base = definition.container or (definition.base.name if definition.base else "nn.Module")
    lines = [f"class {definition.name}({base}):", f'    """{_about(definition, space)}"""', ""]
    filled = definition.container and definition.body is not None
    if not filled or definition.parameters:
        lines += _constructor(definition, builder, setting)
        filled = ""
    if definition.body is not None:
        lines += [] if filled else [""]
        lines += _forward(definition, builder, modules)
    return "\n".join(lines)


def _about(definition: Definition, space: SearchSpace) -> str:
    paths = [path for path in definition.paths if path]
    if not paths:
        shapes = ", ".join(LETTERS.get(tensor.dim(), "its input") for tensor in space.inputs.tensors)
        return f"The network: {shapes} -> {'class scores' if space.classes else 'its outputs'}."
    shown = paths if len(paths) <= 3 else [paths[0], paths[1], f"{len(paths) - 3} more", paths[-1]]
    text = ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]
    return f"In the network: {text}." if len(text) < 90 else f"In the network: {paths[0]} and {len(paths) - 1} more."


def _constructor(definition: Definition, builder: Builder, setting: str) -> list[str]:
    parameters: list[Text] = ["self"]
    passed = FILLED[definition.container] if definition.container and definition.body is not None else ()
    parameters += passed[:1]
    for parameter in definition.parameters:
        default = "" if parameter.default is MISSING else f" = {flat(builder.text(parameter.default))}"
        parameters.append(f"{parameter.name}: {annotation(parameter, setting)}{default}")
    lines = ["    " + lay_out(Brackets("def __init__", tuple(parameters)), 4, after=" -> None:")]
    children = {name: builder.text(child) for name, child in definition.children.items()}
    if definition.container == "nn.Sequential" and definition.body is None:
        items: tuple[Text, ...] = tuple(children.values())
        if list(children) != [str(i) for i in range(len(children))]:
            pairs = tuple(Joined((f"{literal(name)}: ", text)) for name, text in children.items())
            items = (Brackets("OrderedDict", (Brackets("", pairs, "{}"),)),)
        return [*lines, "        " + lay_out(Brackets("super().__init__", items), 8)]
    inherited = builder.text(definition.base) if definition.base else Brackets("", ())
    assert isinstance(inherited, Brackets)
    inherited = Brackets("", passed[1:]) if passed else inherited
    lines.append("        " + lay_out(Brackets("super().__init__", inherited.items), 8))
    lines += [f"        self.{name} = {text}" for name, text in definition.stored.items()]
    for name, text in children.items():
        child = definition.children[name]
        line = f"self.{name} = {flat(text)}"
        if isinstance(child, Conditional) and name.isidentifier() and len(line) + 8 > WIDTH:
            lines += [f"        self.{name}: nn.Module = nn.Identity()", f"        if {child.condition}:"]
            lines.append("            " + lay_out(builder.text(child.module), 12, f"self.{name} = "))
        elif name.isidentifier():
            lines.append("        " + lay_out(text, 8, f"self.{name} = "))
        else:
            lines.append("        " + lay_out(Brackets("self.add_module", (literal(name), text)), 8))
    lines += [f"        {builder.initial(name, tensor)}" for name, tensor in definition.tensors.items()]
    return lines


def _forward(definition: Definition, builder: Builder, modules: Mapping[str, nn.Module]) -> list[str]:
    body = definition.body
    assert body is not None

    def find(child: str) -> nn.Module | None:
        """A child of one of the class's modules."""
        return next((modules[full] for at in definition.paths if (full := f"{at}.{child}".strip(".")) in modules), None)

    def small(child: str) -> bool:
        module = find(child)
        return isinstance(module, SEBlock) or (
            module is not None and type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, nn.Sequential)
        )

    def mapping(child: str) -> bool:
        return isinstance(find(child), nn.ModuleDict) if child else definition.container == "nn.ModuleDict"

    parameters, lines = Writer(body, small, Formulas(mapping)).write()
    head = lay_out(Brackets("def forward", ("self", *parameters)), 4, after=f" -> {_type(body.result)}:")
    gate = ["", *SE_AT.format(name=definition.placed).strip("\n").splitlines()] if definition.placed else []
    return [f"    {head}", *lines, *gate]


def _type(result: Any) -> str:
    if isinstance(result, Training):
        return " | ".join(dict.fromkeys(_type(item) for item in (result.train, result.evaluation)))
    return kind_of(result)


def _outputs(definitions: Mapping[str, Definition]) -> list[str]:
    """The named tuples that the network returns."""
    found: dict[str, str] = {}
    for definition in definitions.values():
        results = [definition.body.result] if definition.body else []
        for result in [part for r in results for part in ((r.train, r.evaluation) if isinstance(r, Training) else (r,))]:
            if isinstance(result, tuple) and hasattr(result, "_fields"):
                name = type(result).__name__
                fields = "\n".join(
                    f"    {key}: {'Tensor' if isinstance(item, Ref) else 'Tensor | None'}"
                    for key, item in zip(result._fields, result, strict=True)
                )
                if name in RESERVED or name in definitions or not name.isidentifier():
                    raise Unsupported(f"what it returns is called {name}")
                found[name] = f'class {name}(NamedTuple):\n    """What the network returns in training."""\n\n{fields}'
    return list(found.values())
