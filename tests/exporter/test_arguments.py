"""Names of arguments: what they are in the network."""

from __future__ import annotations

import pytest

from se_nas.exporter.generator.arguments import Finder, kind_of_argument, name_all

IN, WIDE, OUT = [64, 256, 128], [64, 64, 32], [256, 512, 512]


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ([("in_channels", IN), ("out_channels", OUT)], ["in_channels", "out_channels"]),
        ([("in_channels", IN), ("out_channels", WIDE), ("out_channels", [4 * w for w in WIDE])], ["in_channels", "width"]),
        ([("in_channels", IN), ("out_channels", WIDE), ("out_channels", IN)], ["channels", "width"]),
        ([("out_channels", WIDE), ("in_channels", IN), ("out_channels", OUT)], ["width", "in_channels", "out_channels"]),
        ([("num_features", IN), ("in_channels", IN), ("out_channels", WIDE), ("width", OUT)], ["in_channels", "out_channels", "width"]),
        ([("in_channels", IN), ("stride", [1, 2, 2])], ["channels", "stride"]),
    ],
)
def test_an_argument_is_named_for_what_it_is(layers: list[tuple[str, list[int]]], names: list[str]) -> None:
    finder = Finder()
    for number, (argument, values) in enumerate(layers):
        finder.place(kind_of_argument(argument), values, f"conv{number}", argument)
    name_all(finder.parameters, finder.given)
    assert [parameter.name for parameter in finder.parameters] == names
