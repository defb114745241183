"""Values of buffers that are not among the weights: of any size, exact, and short where they are regular."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exporting import written
from torch import Tensor, nn

from se_nas.exporter import load_network
from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.network import source
from se_nas.exporter.generator.packing import WHOLE, packed, statements
from se_nas.exporter.generator.template import assemble
from se_nas.space.space import SearchSpace


def positions(height: int, width: int) -> Tensor:
    """The relative position of each pair of places in a window, by its number."""
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).flatten(1)
    apart = (grid[:, :, None] - grid[:, None]) + torch.tensor([height - 1, width - 1])[:, None, None]
    return apart[0] * (2 * width - 1) + apart[1]


class Attention(nn.Module):
    def __init__(self, side: int) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(8, 8, 1), nn.Parameter(torch.rand((2 * side - 1) ** 2))
        self.register_buffer("index", positions(side, side), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.index, Tensor)
        return (self.conv(x).flatten(2) @ self.table[self.index]).view(x.shape)


class Attentive(nn.Module):
    """Two windows of one size and one of another, and noise that no rule makes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 2, 2), nn.Linear(8, 5)
        self.a, self.b, self.c = Attention(8), Attention(8), Attention(4)
        self.register_buffer("f", torch.randn(8, 16), persistent=False)

    def forward(self, x: Tensor) -> Any:
        assert isinstance(self.f, Tensor)
        x = self.b(self.a(self.stem(x)))
        return self.head(self.c(self.down(x)).flatten(2).mul(self.f).mean(2))


def test_buffers_that_are_not_among_the_weights_are_in_the_text() -> None:
    space = SearchSpace(Attentive(), (3, 16, 16), reduction=[2])
    text = written(space, space.sample(0))
    assert text.count("INDEX = Packed(") == 1 and text.count("INDEX2 = Packed(") == 1 and "F2 = Packed(" in text
    assert "index: Packed" not in text and max(map(len, text.splitlines())) <= 120
    network = space.build(space.sample(0))
    assert "f" not in network.state_dict()
    built = load_network(source(space, space.sample(0), network, {}).text, network)
    for name, buffer in network.named_buffers():
        assert torch.equal(built.get_buffer(name), buffer)
    assert built.state_dict().keys() == network.state_dict().keys()


def whole(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(WHOLE[tensor.dtype.itemsize])


VALUES = {
    "normal": torch.randn(3, 50),
    "transposed": torch.randn(10, 12).t(),
    "not finite": torch.tensor([float("nan"), float("-inf"), -0.0] * 40),
    "half": torch.randn(9, 9, 9).half(),
    "double": torch.randn(10, 10, dtype=torch.double),
    "true or false": torch.rand(100) > 0.5,
    "bytes": torch.randint(0, 255, (5, 20), dtype=torch.uint8),
    "far apart": torch.randint(-(2**62), 2**62, (10, 10)),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_values_are_exact(values: Tensor) -> None:
    namespace: dict[str, Any] = {}
    exec(assemble("", statements({packed("values", values): "VALUES"})), namespace)
    found = namespace["VALUES"].tensor()
    assert found.dtype == values.dtype and found.shape == values.shape and torch.equal(whole(found), whole(values))
    with torch.device("meta"):
        assert namespace["VALUES"].tensor().is_meta


def test_regular_values_are_short_and_others_may_be_too_long() -> None:
    assert len(packed("index", positions(14, 14)).text) < 1000
    with pytest.raises(Unsupported, match="the buffer noise is not among the weights, and its 100,000 values are too long for a text"):
        packed("noise", torch.randn(100_000))
