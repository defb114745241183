"""The SE block of an exported file, and its settings as data. Both contain only what the architecture uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from se_nas.exporter.generator.operators import operators_source
from se_nas.exporter.generator.template import WIDTH, render
from se_nas.se.block import GATES, SQUEEZES, Operator
from se_nas.se.spec import SEOptions, SESpec
from se_nas.space.space import SearchSpace

OPERATOR = "Operator = Callable[[Tensor], Tensor]"
FIELDS = ("reduction", "squeeze", "gate", "placement", "in_place")


@dataclass(frozen=True)
class InferenceSpec(SESpec):
    """The settings of a block of an inference form.

    Attributes:
        in_place: whether it may overwrite its input.
        sums: whether it adds its product to a second argument, in place.
    """

    in_place: bool = False
    sums: bool = False


SETTINGS = '''
class SE(NamedTuple):
    """The settings of one SE block."""                               #? !placement
    """The settings of one SE block. Its places in a block:            #? placement
                                                                      #? placement
$places                                                               #? placement
    """                                                               #? placement

    reduction: int
    squeeze: Operator                                                 #? squeeze
    gate: Operator                                                    #? gate
    placement: str                                                    #? placement
    in_place: bool                                                    #? in_place
'''

BLOCK = '''
class SEBlock(nn.Module):
    """Squeeze-and-Excitation (arXiv 1709.01507): scales each channel by a gate computed from all of them."""

    def __init__(self, $parameters) -> None:
        super().__init__()
        hidden = $hidden
        self.squeeze = squeeze                                                                #? squeeze
        self.gate = gate                                                                      #? gate
        self.in_place = in_place  # nothing else reads x                                      #? in_place
        self.spatial = $is_spatial  # a gate for every position, not one for the whole image  #? mixed
        self.fc1 = linear(channels, hidden, self.spatial)                                     #? mixed
        self.fc2 = linear(hidden, channels, self.spatial)                                     #? mixed
        self.fc1 = $linear(channels, hidden$kernel$bias)                                      #? !mixed
        self.fc2 = $linear(hidden, channels$kernel$bias)                                      #? !mixed
        self.strength = nn.Parameter(torch.zeros(()))  # at 0 the block returns x             #? strength

    def forward(self, x: Tensor) -> Tensor:                                                   #? !sums
    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:                                 #? sums !scales
    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:                   #? sums scales
        image = $image  # the operators take images                                           #? odd
        scale = $gate(self.fc2(torch.relu(self.fc1($squeeze(image)))))                        #? odd
        scale = $gate(self.fc2(torch.relu(self.fc1($squeeze(x)))))                            #? !odd
        scale = 1 + self.strength * (scale - 1)                                               #? strength
        scale = $mixed                            #? mixed twice
        if shortcut is not None:                                                              #? sums scales
            return shortcut.addcmul_(x, $scale)  # the sum, in the same pass over memory      #? sums scales
        return shortcut.addcmul_(x, $scale)  # the sum, in the same pass over memory          #? sums !scales
        return x.mul_($scale) if self.in_place else x * $scale                                #? scales in_place
        return x.mul_($scale)                                                                 #? scales always !in_place
        return x * $factor                                                                    #? scales !always !in_place
'''

LINEAR = '''
def linear(inputs: int, outputs: int, spatial: bool) -> nn.Module:
    """A linear layer over channels: of a vector, or at each position of a map."""
    return nn.Conv2d(inputs, outputs, 1$bias) if spatial else nn.Linear(inputs, outputs$bias)
'''


SHAPES = {
    1: ("x.unsqueeze(-1)", "scale.squeeze(-1)", "scale[:, :, None]"),
    2: ("x", "scale", "scale[:, :, None, None]"),
    3: ("x.flatten(3)", "scale.reshape(x.shape)", "scale[:, :, None, None, None]"),
}
"""By the dimensions of a map: x as an image, and the shape of x for a gate of every position and for a gate of the whole map."""


def dimensions(space: SearchSpace) -> int:
    """Dimensions of the maps that a space's SE blocks scale: 1 for signals, 2 for images, 3 for volumes."""
    return len(space.sites[0].attachments["standard"].size)


@dataclass(frozen=True)
class SECode:
    """The SE part of one exported file.

    Attributes:
        settings: name of a block -> its setting.
        options: options that all blocks share.
        dimensions: dimensions of the maps, see `dimensions`.
        squeezes: name of a squeeze -> the function that computes it, where it is not the registered one.
    """

    settings: Mapping[str, SESpec | None]
    options: SEOptions
    dimensions: int = 2
    squeezes: Mapping[str, Operator] = field(default_factory=dict)

    def squeeze(self, name: str) -> Operator:
        """The function that computes a squeeze."""
        return self.squeezes.get(name, SQUEEZES[name].function)

    @cached_property
    def used(self) -> dict[str, list[str]]:
        """The squeezes, gates and placements that are used, in the order of their first use."""
        specs = [spec for spec in self.settings.values() if spec]
        return {field: list(dict.fromkeys(str(getattr(spec, field, False)) for spec in specs)) for field in FIELDS[1:]}

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields that are data in the file: the reduction, and fields that differ between blocks."""
        return ("reduction", *(field for field, values in self.used.items() if len(values) > 1))

    @property
    def flags(self) -> set[str]:
        """Flags for the templates: which fields are data, and how the block computes."""
        kinds = {SQUEEZES[name].spatial for name in self.used["squeeze"]}
        facts = {"se": bool(kinds), "spatial": True in kinds, "mixed": len(kinds) > 1, "strength": self.options.init == "identity"}
        facts["odd"] = self.dimensions != 2
        facts["always"] = self.used["in_place"] == ["True"]
        sums = {getattr(spec, "sums", False) for spec in self.settings.values() if spec}
        facts |= {"sums": True in sums, "scales": False in sums, "twice": True in sums or "in_place" in self.fields}
        return {flag for flag, true in facts.items() if true} | set(self.fields[1:])

    @property
    def structured(self) -> bool:
        """Whether a setting is an ``SE`` tuple; otherwise it is the reduction alone."""
        return len(self.fields) > 1

    @property
    def names(self) -> dict[str, str]:
        """How a setting is named, annotated, and passed to an SE block."""
        arguments = [f"se.{field}" for field in self.fields if field != "placement"] if self.structured else ["reduction"]
        name, kind = ("se", "SE") if self.structured else ("reduction", "int")
        return {"setting": name, "kind": kind, "arguments": ", ".join(arguments)}

    def literal(self, spec: SESpec | None) -> str:
        """A setting as source text."""
        if spec is None:
            return "None"
        arguments = ", ".join(self.values(spec, self.fields))
        return f"SE({arguments})" if self.structured else arguments

    def values(self, spec: SESpec, fields: Collection[str]) -> list[str]:
        """Fields of a setting as source text."""
        values = {
            "reduction": str(spec.reduction),
            "squeeze": self.squeeze(spec.squeeze).__name__,
            "gate": GATES[spec.gate].__name__,
            "placement": f'"{spec.placement}"',
            "in_place": f"in_place={getattr(spec, 'in_place', False)}",
        }
        return [values[field] for field in fields]

    def data(self, name: str, specs: Collection[SESpec | None]) -> str:
        """``name = [...]``, one item for each setting."""
        literals = [self.literal(spec) for spec in specs]
        if len(set(literals)) == 1:
            return f"{name} = [{literals[0]}]" + (f" * {len(literals)}" if len(literals) > 1 else "")
        line = f"{name} = [{', '.join(literals)}]"
        if not self.structured and len(line) <= WIDTH:
            return line
        return "\n".join([f"{name} = [", *(f"    {literal}," for literal in literals), "]"])

    def operators(self) -> dict[str, str]:
        """Function name -> source of the operators that are used."""
        squeezes = [(name, self.squeeze(name)) for name in self.used["squeeze"]]
        return operators_source([*squeezes, *((name, GATES[name]) for name in self.used["gate"])])

    def settings_class(self, places: Mapping[str, str]) -> str:
        """The class ``SE`` if it is needed; ``places`` describes each placement."""
        words = "\n".join(f'    "{name}": {places[name]}' for name in places if name in self.used["placement"])
        return render(SETTINGS, {"places": words}, self.flags) if self.structured else ""

    def block(self) -> str:
        """The class ``SEBlock``, and what it needs."""
        if not self.used["squeeze"]:
            return ""
        flags = self.flags
        squeezes = {self.squeeze(name).__name__: SQUEEZES[name].spatial for name in self.used["squeeze"]}
        spatial = [name for name, keeps in squeezes.items() if keeps]
        operators = [f"{field}: Operator" for field in ("squeeze", "gate") if field in flags]
        operators += ["in_place: bool"] if "in_place" in flags else []
        image, everywhere, once = SHAPES[self.dimensions]
        mixed = f"{everywhere} if self.spatial else {once}"
        scale = mixed if "mixed" in flags else everywhere if spatial else once
        scale = "scale" if {"mixed", "twice"} <= flags else scale
        width, d = "channels // reduction", self.options.divisor
        values = {
            "parameters": ", ".join(["channels: int", "reduction: int", *operators]),
            "hidden": f"max(1, {width})" if d == 1 else f"max({d}, ({width} + {d // 2}) // {d} * {d})",
            "is_spatial": f"squeeze is {spatial[0]}" if len(spatial) == 1 else f"squeeze in ({', '.join(spatial)})",
            "linear": "nn.Conv2d" if spatial else "nn.Linear",
            "kernel": ", 1" if spatial else "",
            "image": image,
            "mixed": mixed,
            "scale": scale,
            "factor": f"({scale})" if scale == mixed else scale,
            "bias": "" if self.options.bias else ", bias=False",
            "squeeze": "self.squeeze" if "squeeze" in flags else next(iter(squeezes)),
            "gate": "self.gate" if "gate" in flags else GATES[self.used["gate"][0]].__name__,
        }
        parts = [render(LINEAR, values, flags)] if "mixed" in flags else []
        return "\n\n\n".join([*parts, render(BLOCK, values, flags)])
