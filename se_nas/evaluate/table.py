"""A table of trainings that are done: a search over it takes seconds.

The file is JSON lines in UTF-8. The first line says what was trained:

    {"se-nas table": 1, "backbone": "resnet20", "backbone_args": {}, "input_size": [3, 16, 16], "epochs": 1,
     "validation_images": 5000, "about": "where it is from"}

``validation_images`` and ``about`` (any JSON) may be left out. Each other line is one training:

    {"architecture": {"layer1.0": null, "layer1.1": {"reduction": 4, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"}},
     "seed": 0, "metrics": {"accuracy": 0.61, "loss": 1.1}, "test": {"accuracy": 0.6, "loss": 1.2}}

``metrics`` are those of the validation split, which a search sees. ``test`` and ``about`` may be left out; no search looks at them.
Costs are not in it: the space knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_nas.errors import InputError, TrialFailed, known
from se_nas.evaluate import Evaluation, Report
from se_nas.files import is_refusal, read_bytes, refusal
from se_nas.network.blocks import PLACEMENTS
from se_nas.reading import parse_json
from se_nas.se.block import GATES, SQUEEZES
from se_nas.space.architecture import Architecture
from se_nas.space.listed import ListedSpace
from se_nas.space.space import SearchSpace
from se_nas.text import cut, shown

VERSION = 1

TITLE = "se-nas table"
"""The key of the first line that says which version of the format it is."""

FORM = "see docs/data.md for the format of a table"

HEADER = {TITLE: int, "backbone": str, "backbone_args": dict, "input_size": list, "epochs": int}
MAY = ("validation_images", "about")
TRAINING = {"architecture": dict, "seed": int, "metrics": dict}


@dataclass(frozen=True)
class Training:
    """One line.

    Attributes:
        metrics: on the validation split.
        test: on the test split; empty if it was not scored.
    """

    architecture: Architecture
    seed: int
    metrics: Mapping[str, float]
    test: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """Trainings of architectures of one backbone.

    Attributes:
        epochs: of each.
        validation_images: how many of them the metrics are means of; None if the table does not say.
        trainings: architecture -> its trainings by seed, smallest first.
    """

    epochs: int
    validation_images: int | None
    trainings: Mapping[Architecture, tuple[Training, ...]]

    @classmethod
    def read(cls, path: str | Path, space: SearchSpace) -> Table:
        """The table in a file.

        Args:
            path: of the file.
            space: over the table's backbone, with its groups of sites. The table may have other settings than its candidates.

        Raises:
            InputError: for a file that is none or of another network; it names the line.
        """
        lines = _lines(path)
        place, header = next(lines, ("", None))
        if not isinstance(header, dict) or TITLE not in header:
            raise InputError(f"is no table: the first line has no {shown(TITLE)}", FORM, str(path))
        _check(header, HEADER, MAY, place)
        if header[TITLE] != VERSION:
            raise InputError(f"version {header[TITLE]} of the format is unknown", f"this se-nas reads version {VERSION}", place)
        _check_network(header, space, place)
        for key in ("epochs", "validation_images"):
            if (value := header.get(key)) is not None and (type(value) is not int or value < 1):
                raise InputError(f"{key} is {shown(value)}", "write a whole number from 1", place)
        found: dict[Architecture, dict[int, Training]] = {}
        for place, line in lines:
            training = _training(line, space, place)
            seeds = found.setdefault(training.architecture, {})
            if training.seed in seeds:
                raise InputError(f"seed {training.seed} of this architecture stands twice", "leave one of them out", place)
            seeds[training.seed] = training
        if not found:
            raise InputError("holds no training", FORM, str(path))
        trainings = {architecture: tuple(seeds[seed] for seed in sorted(seeds)) for architecture, seeds in found.items()}
        return cls(header["epochs"], header.get("validation_images"), trainings)


class TableEvaluator:
    """Looks trainings up.

    The search's own seed says with which of an architecture's trainings it begins. A trial fails if the table lacks its
    architecture, or has no more seeds of it.

    Args:
        space: of the search.
        path: of the table.
        first: the search's seed.
        seeds: most seeds of one architecture that the search asks for.

    Raises:
        InputError: for a table that is none, that holds nothing of the space, or too few seeds.

    Attributes:
        space: the part of the space that the table holds: nothing else can be proposed.
        table: what was read.
    """

    def __init__(self, space: SearchSpace, path: str | Path, first: int = 0, seeds: int = 1) -> None:
        self.table, self._first = Table.read(path, space), first
        trainings = self.table.trainings
        known = [architecture for architecture in trainings if space.contains(architecture)]
        if not known:
            fix = "widen the space's candidates, or take another table"
            raise InputError(f"none of its {len(trainings)} architectures is of this space", fix, str(path))
        if (most := max(map(len, trainings.values()))) < seeds:
            raise InputError(f"{seeds} seeds are asked for, and the table has {most}", "lower repeats and front_seeds", str(path))
        self.space = ListedSpace.of(space, known)

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        trainings = self.table.trainings.get(architecture)
        if trainings is None:
            raise TrialFailed("the table has no training of this architecture")
        if not 0 <= seed - self._first < len(trainings):
            raise TrialFailed(f"the table has no more than {len(trainings)} trainings of this architecture")
        return Evaluation(dict(trainings[seed % len(trainings)].metrics))


def _lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Where each line stands, and what it says."""
    try:
        text = read_bytes(path)
    except FileNotFoundError:
        raise InputError("no such file", "check the path", str(path)) from None
    except (OSError, ValueError) as error:
        if not is_refusal(error):
            raise
        raise refusal(error, path) from None
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n"), 1):
        place = f"{path}, line {number}"
        try:
            yield place, parse_json(line.decode())
        except UnicodeDecodeError:
            raise InputError("not text in UTF-8", FORM, place) from None
        except ValueError as error:
            raise InputError(f"not JSON: {cut(str(error), 200)}", FORM, place) from None


def _check(line: Any, needed: Mapping[str, type], may: tuple[str, ...], place: str) -> None:
    """Check the keys of a line, and of what type their values are."""
    if not isinstance(line, dict):
        raise InputError(f"{shown(line)} is no mapping", FORM, place)
    for key in line:
        if key not in needed and key not in may:
            raise InputError(f"unknown key {shown(key)}", f"take {', '.join([*needed, *may])}", place)
    for key, kind in needed.items():
        if type(line.get(key)) is not kind:
            raise InputError(f"{key} is {shown(line[key])}" if key in line else f"has no {key}", FORM, place)


def _check_network(header: Mapping[str, Any], space: SearchSpace, place: str) -> None:
    given = space.to_dict()
    for key in ("backbone", "backbone_args", "input_size"):
        if header[key] != given[key]:
            told = shown(given[key]) if given[key] is not None else "a network without a name"
            raise InputError(f"the table has {key} {shown(header[key])}, the search {told}", "search the network of the table", place)


def _training(line: Any, space: SearchSpace, place: str) -> Training:
    _check(line, TRAINING, ("test", "about"), place)
    if line["seed"] < 0:
        raise InputError(f"seed is {line['seed']}", "write a whole number from 0", place)
    for key in ("metrics", "test"):
        values = line.get(key, {})
        if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
            raise InputError(f"{key} is {shown(values)}", 'write names and numbers, {"accuracy": 0.9}', place)
    if not line["metrics"]:
        raise InputError("metrics is empty", 'write names and numbers, {"accuracy": 0.9}', place)
    try:
        architecture = _architecture(line["architecture"], space)
    except InputError as error:
        raise error.at(place) from None
    return Training(architecture, line["seed"], line["metrics"], line.get("test", {}))


def _architecture(data: Mapping[str, Any], space: SearchSpace) -> Architecture:
    """An architecture of the space's groups; its settings need not be candidates."""
    given = Architecture.from_json(data)
    groups = [group.name for group in space.groups]
    for name, spec in given:
        known(name, groups, "group")
        if spec:
            for field, names in (("squeeze", SQUEEZES), ("gate", GATES), ("placement", PLACEMENTS)):
                known(getattr(spec, field), names, field)
    return space.canonical(dict(given.choices), dict(given.extra) or None)
