"""Kinds of networks that people write, each small: what their files must be able to say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting import export, written
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from se_nas.exporter import ExportOptions, load_network, source
from se_nas.exporter import export as proven
from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.network import source as generated
from se_nas.space.space import SearchSpace


class Residual(nn.Module):
    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.bn, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), last or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.bn(self.conv(x)))


class Base(nn.Module):
    """A stem, two residual blocks and a head; ``middle`` is what comes between blocks and head."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.head = nn.Conv2d(3, 8, 3, padding=1), Residual(last), Residual(), nn.Linear(8, 5)

    def maps(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.stem(x)))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.maps(x).mean((2, 3)))


class SigmoidInEvaluation(Base):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Any:
        x = super().forward(x)
        return x if self.training else self.act(x) + 1


class Wrapped(nn.Module):
    """Calls the children of a module, never the module."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.head = Base(), nn.Linear(8, 7)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.model.b(self.model.a(self.model.stem(x))).mean((2, 3)))


class Unused(Base):
    def __init__(self) -> None:
        super().__init__()
        self.old = Residual()


class Maps(Base):
    """Returns a dictionary, a list of one or lists within each other."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        del self.head

    def forward(self, x: Tensor) -> Any:
        a = self.a(self.stem(x))
        b = self.b(a)
        return {"dict": {"aux map": a, "out": b}, "one": [b], "nested": ([a, b], b), "none": (b, None)}[self.kind]


class Reads(nn.Module):
    """Reads what `Maps` returns, as one argument of a module and by its parts."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.maps, self.join, self.head, self.kind = Maps(kind), Join(), nn.Linear(8, 5), kind

    def forward(self, x: Tensor) -> Any:
        found = self.maps(x)
        first = {"dict": lambda: found["out"], "one": lambda: found[0], "nested": lambda: found[0][1], "none": lambda: found[0]}[
            self.kind
        ]()
        return {"out": self.head((self.join(found) + first).mean((2, 3)))}


class Join(nn.Module):
    def forward(self, maps: Any) -> Tensor:
        if isinstance(maps, dict):
            return maps["aux map"] * maps["out"]
        return maps[0].relu() if isinstance(maps[0], Tensor) else maps[0][0] + maps[1]


class NoneInList(Base):
    def __init__(self) -> None:
        super().__init__()
        self.fuse = nn.ModuleList([None, nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)])  # type: ignore[list-item]

    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        for layer in self.fuse:
            x = x if layer is None else layer(x)
        return x


class Checkpointed(Base):
    def maps(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in (self.a, self.b):
            x = checkpoint(block, x, use_reentrant=False) if self.training else block(x)
        return x


class Masked(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.rand(16, 16))

    def maps(self, x: Tensor) -> Tensor:
        assert isinstance(self.mask, Tensor)
        return super().maps(x * self.mask)


class Blurred(Base):
    """One filter for each channel, which is not among the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.rand(1, 1, 3, 3).repeat(24, 1, 1, 1), persistent=False)

    def maps(self, x: Tensor) -> Tensor:
        assert isinstance(self.filter, Tensor)
        return super().maps(F.conv2d(x.repeat(1, 8, 1, 1), self.filter, padding=1, groups=24)[:, :3])


class Weighed(nn.Module):
    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(deviation * torch.randn(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights


class Random(Base):
    """Parameters of one class that begin with random numbers of two deviations."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Weighed(1.0), Weighed(0.05)

    def maps(self, x: Tensor) -> Tensor:
        return self.two(self.one(super().maps(x)))


class Chosen(Base):
    """One of its modules chooses its forward when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.last = Choosing(True)

    def maps(self, x: Tensor) -> Tensor:
        return self.last(super().maps(x)) ** 2


class Choosing(nn.Module):
    def __init__(self, doubles: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)
        if doubles:
            self.forward = self.forward_twice

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def forward_twice(self, x: Tensor) -> Tensor:
        return self.conv(2 * x)


class Pick(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, maps: list[Tensor]) -> Tensor:
        return maps[self.index]


class Picks(Base):
    """Hands a list on to a module that only takes one of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pick = Pick(1)

    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        return self.pick([x, 2 * x])


class Coordinates(Base):
    """Makes tensors on the default device, and counts its images by ``len``."""

    def maps(self, x: Tensor) -> Tensor:
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1)
        return super().maps(x + rows) + x.new_zeros(len(x), 1, 1, 1)


class Tailed(nn.Module):
    """Two of its blocks end in a sum, two do not; each has a child with the name that the file would take to tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)
        self.blocks = nn.Sequential(*(Inverted(i % 2 == 0) for i in range(4)))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, adds: bool) -> None:
        super().__init__()
        self.adds, self.residual, self.bn = adds, nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(F.relu(self.residual(x)))
        return x + y if self.adds else y


class Sequenced(Base):
    """A recurrent layer reads the rows of the map."""

    def __init__(self, rows: nn.Module) -> None:
        super().__init__()
        self.rows = rows

    def maps(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y, _ = self.rows(x.permute(0, 2, 3, 1).flatten(0, 1))
        return self.b(self.a(y.unflatten(0, (x.shape[0], x.shape[2])).permute(0, 3, 1, 2)))


ACTIVATIONS = (nn.Sigmoid, nn.Tanh, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.Softmax2d)
KINDS: dict[str, Callable[[], nn.Module]] = {
    **{kind.__name__: lambda kind=kind: Base(kind()) for kind in ACTIVATIONS},  # type: ignore[misc]
    "sigmoid in evaluation": SigmoidInEvaluation,
    "never called": Wrapped,
    "unused": Unused,
    **{f"{kind} between modules": lambda kind=kind: Reads(kind) for kind in ("dict", "one", "nested", "none")},  # type: ignore[misc]
    "None in a list": NoneInList,
    "checkpointed": Checkpointed,
    "large buffer": Masked,
    "one filter for each channel": Blurred,
    "random numbers": Random,
    "item of a list": Picks,
    "chosen forward": Chosen,
    "tensors without a device": Coordinates,
    "child named residual": Tailed,
    "LSTM": lambda: Sequenced(nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)),
    "GRU": lambda: Sequenced(nn.GRU(8, 8, bias=False, batch_first=True)),
    "RNN": lambda: Sequenced(nn.RNN(8, 8, nonlinearity="relu", batch_first=True)),
}


def space_of(network: nn.Module) -> SearchSpace:
    return SearchSpace(network, (3, 16, 16), reduction=[2, 4], allow_none=False)


@pytest.mark.parametrize("kind", KINDS)
def test_is_written(kind: str) -> None:
    if kind == "checkpointed" and tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5):
        pytest.skip("checkpointing of this torch asks for a module torch.meta")
    space = space_of(KINDS[kind]())
    for images in (2, 3):
        written(space, space.sample(0), images)


def test_values_of_a_large_buffer_come_with_the_weights(tmp_path: Path) -> None:
    space = space_of(Masked())
    network = space.build(space.sample(0))
    made = source(space, space.sample(0), network, {})
    assert any("the values of the buffer mask" in note for note in made.notes)
    assert "its values come with the weights" in made.text and made.text.count("\n") < 120
    assert torch.equal(load_network(made.text, network).mask, network.mask)  # type: ignore[arg-type]
    export(space, space.sample(0), tmp_path / "net", network.state_dict())
    assert "the values of the buffer mask" in (tmp_path / "net" / "README.md").read_text()


@pytest.mark.parametrize("part", ["last", "last.conv"])
def test_a_forward_from_elsewhere_is_told(part: str) -> None:
    network = Chosen()
    module = network.get_submodule(part)
    module.forward = (lambda x: x) if part == "last" else module.extra_repr  # type: ignore[method-assign, assignment]
    space = space_of(Chosen())
    with pytest.raises(Unsupported, match=f"{part} has hooks or a forward of its own"):
        generated(space, space.sample(0), network, {})


def test_a_recurrent_layer_has_the_arguments_that_it_was_made_with() -> None:
    space = space_of(Sequenced(nn.RNN(8, 8, 2, nonlinearity="relu", bias=False, batch_first=True)))
    text = written(space, space.sample(0))
    assert 'self.rows = nn.RNN(8, 8, num_layers=2, bias=False, batch_first=True, nonlinearity="relu")' in text


def test_lists_and_dictionaries_are_read_by_their_names() -> None:
    space = space_of(Reads("dict"))
    text = written(space, space.sample(0))
    assert 'features["aux map"]' in text and "-> dict[str, Tensor]:" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpointed", "dict between modules", "never called", "large buffer"])
def test_is_proven(kind: str, tmp_path: Path) -> None:
    space = space_of(KINDS[kind]())
    made = proven(space, space.sample(0), tmp_path / "net.py", options=ExportOptions())
    assert made.proof is not None and max(made.proof.apart.values()) <= 1e-6 and made.proof.gradients_apart <= 1e-4
