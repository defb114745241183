"""A profile of a device: what was measured there, the model of it, and the table of a space that follows. A YAML file.

A plain table is read, too, from any tool for any device: a CSV file whose columns are a space's dimensions and ``latency`` (in
seconds), or a JSON line for each architecture, ``{"architecture": {...}, "latency": 0.0123}``.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from se_nas.errors import InputError
from se_nas.files import read_bytes, refused, write_whole
from se_nas.latency.fingerprint import differences, fingerprint
from se_nas.latency.fit import Error, Floats, error, fit
from se_nas.latency.terms import CONSTANT, PER_BLOCK, term_names, terms_of
from se_nas.network.placement import Site
from se_nas.reading import load_yaml, parse_json
from se_nas.se.cost import Cost
from se_nas.se.spec import PAPER, SEOptions, SESpec
from se_nas.text import several, shown

SCHEMA = 1
FIRST = "# A latency profile of se-nas. The last line of this file is three dots; without them it was cut short.\n"
LAST = "...\n"
FIX = "measure it again: se-nas profile SPACE -o FILE"

HOW = ("device", "runtime", "batch", "threads", "layout", "precision", "spelling")
"""How networks are run: what `se_nas.profiling.runtimes.How` takes. Profiles of earlier versions lack the last one."""

FITTED, HELD_OUT = "fitted", "held out"
"""Roles of measured networks. The first of those that are fitted is the plain one."""

REACH = 1.25
"""How far beyond the largest measured amount of a term nothing is said of it: as far as a model of so few terms is straight."""

NO_MATCH = "measure its own: se-nas profile SPACE -o FILE"


class Group(Protocol):
    """Sites that share one choice, as far as this file needs them."""

    @property
    def name(self) -> str: ...

    @property
    def sites(self) -> tuple[Site, ...]: ...

    @property
    def options(self) -> tuple[SESpec | None, ...]: ...

    def canonical(self, spec: SESpec | None) -> SESpec | None: ...


class Space(Protocol):
    """A search space, as far as this file needs it."""

    groups: tuple[Any, ...]
    options: SEOptions
    extra: dict[str, tuple[Any, ...]]
    plain_cost: Cost
    input_size: Any
    backbone: Any

    def from_dimensions(self, values: Any, prefix: str | None = None) -> Any: ...

    def reference(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Measured:
    """A network that was measured.

    Attributes:
        architecture: as JSON.
        role: `FITTED` or `HELD_OUT`.
        seconds: when little disturbs it.
        halves: the same of every other block of rounds, twice. () if nobody knows.
    """

    architecture: Mapping[str, Any]
    role: str
    seconds: float
    halves: tuple[float, ...] = ()


@dataclass(frozen=True)
class Profile:
    """What was measured on a device, and the model of it.

    Attributes:
        source: the file; "" if it is not in one.
        machine: see `se_nas.latency.fingerprint`; empty for a table of somebody else.
        how: ``device``, ``runtime``, ``batch``, ``threads``, ``layout``, ``precision``, ``spelling``, ``rounds``.
        space: the plain network: ``backbone``, ``input_size``, ``params``, ``macs``.
        seconds: term -> seconds for each unit of it.
        reach: term -> the largest amount that was measured.
        networks: what was measured.
        model: error of the prediction on networks that it was not fitted to; None without any.
        floor: how far two halves of the rounds are apart on these networks: less cannot be told.
        interval: half the width of an interval about a prediction, in seconds: twice the root of the mean square of its errors.
        took: seconds that the measurement took.
    """

    machine: Mapping[str, str]
    how: Mapping[str, Any]
    space: Mapping[str, Any]
    seconds: Mapping[str, float]
    reach: Mapping[str, float]
    networks: tuple[Measured, ...]
    model: Error | None
    floor: Error | None
    interval: float
    took: float = 0.0
    source: str = ""

    @property
    def plain(self) -> float:
        """Predicted seconds of the plain network."""
        return self.seconds[CONSTANT]

    @property
    def title(self) -> str:
        """What it is a profile of: ``eager on AMD EPYC 7B13, batch 1, 1 thread``."""
        if not self.machine:
            return f"the table {Path(self.source).name}"
        threads = self.how["threads"]
        parts = [f"{self.how['runtime']} on {self.machine.get('gpu') or self.machine['processor']}", f"batch {self.how['batch']}"]
        if not self.machine.get("gpu"):
            parts.append(several(threads, "thread"))
        plain = {"layout": "contiguous", "precision": "float32"}
        return ", ".join([*parts, *(str(self.how[name]) for name, usual in plain.items() if self.how[name] != usual)])

    def to_dict(self) -> dict[str, Any]:
        fields = {key: value for key, value in vars(self).items() if key not in ("networks", "model", "floor", "source")}
        errors = {name: asdict(each) if each else None for name, each in (("model", self.model), ("floor", self.floor))}
        networks = [{**vars(each), "architecture": dict(each.architecture), "halves": list(each.halves)} for each in self.networks]
        fields = {key: dict(value) if isinstance(value, Mapping) else value for key, value in fields.items()}
        return {"schema": SCHEMA, **fields, **errors, "networks": networks}

    def write(self, path: str | Path) -> None:
        """Write it whole or not at all.

        Raises:
            InputError: if it cannot be written.
        """
        with refused(path, "written"):
            write_whole(Path(path), FIRST + yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True) + LAST)

    def elsewhere(self) -> list[str]:
        """What of the machine that it was measured on differs from this one; [] for a table, which is of no machine."""
        return differences(self.machine, fingerprint(str(self.how["device"]), str(self.how["runtime"]))) if self.machine else []

    def table(self, space: Space, foreign: bool = False) -> dict[str, Any]:
        """The cost table of a space, for `SearchSpace.with_cost`: seconds that each setting adds.

        Args:
            space: a space over the network that was measured.
            foreign: take it although it was measured on another machine.

        Raises:
            InputError: for a profile of another network or machine, or a squeeze or placement that was not measured.
        """
        check_network(self.space, space, self.source)
        elsewhere = self.elsewhere()
        if elsewhere and not foreign:
            fix = "measure it here (se-nas profile), or insist: --foreign, foreign=True"
            raise InputError(f"measured on another machine: {', '.join(elsewhere)}", fix, self.source)
        adds: dict[str, dict[str, float]] = {}
        most: dict[str, float] = {}
        for group in space.groups:
            terms = {spec: terms_of(group.sites, spec, space.options) for spec in {*group.options, group.canonical(PAPER)}}
            missing = {name for spec in group.options for name in terms[spec]} - self.seconds.keys()
            if missing:
                kind = sorted(missing)[0].rpartition(" ")[0]
                raise InputError(f"squeeze and placement {kind} were not measured", NO_MATCH, self.source)
            known = {spec: own for spec, own in terms.items() if own.keys() <= self.seconds.keys()}
            adds[group.name] = {str(s) if s else "none": sum(self.seconds[n] * v for n, v in own.items()) for s, own in known.items()}
            for name in sorted({name for own in known.values() for name in own}):
                most[name] = most.get(name, 0.0) + max(own.get(name, 0.0) for spec, own in known.items() if spec in group.options)
        beyond = [name for name, amount in most.items() if amount > REACH * self.reach[name]]
        said = [f"predicted from {self.title}"]
        said += [f"measured elsewhere: {', '.join(elsewhere)}"] if elsewhere else []
        said += [f"extrapolated beyond what was measured in {_briefly(beyond, list(most))}"] if beyond else []
        how = {name: self.how[name] for name in HOW if name in self.how} if self.machine else {}
        origin = {"machine": dict(self.machine), "how": how} if self.machine else {}
        return {"unit": "s", "plain": self.plain, "adds": adds, "tie": self.interval, "about": "; ".join(said), "origin": origin}


def _briefly(beyond: Sequence[str], every: Sequence[str]) -> str:
    """Names of terms in words: a kind of block all of whose terms are among them by its own name, and all kinds as such."""
    if len(beyond) == len(every):
        return "networks with much of one kind of SE block"
    kinds = Counter(name.rpartition(" ")[0] for name in beyond)
    whole = {kind for kind, count in kinds.items() if count == len(PER_BLOCK)}
    return ", ".join(dict.fromkeys(kind if (kind := name.rpartition(" ")[0]) in whole else name for name in beyond))


@dataclass(frozen=True)
class Check:
    """How an old profile stands today.

    Attributes:
        elsewhere: what of the machine differs.
        plain: seconds of the plain network now.
        before: the same in the profile.
        now: error of what the profile predicts, with its plain network as quick as today's.
        times: what was measured now, beside what is predicted: (predicted, measured) seconds.
    """

    elsewhere: tuple[str, ...]
    plain: float
    before: float
    now: Error
    times: tuple[tuple[float, float], ...]


def check_network(known: Mapping[str, Any], space: Space, source: str) -> None:
    """Raise `InputError` unless the plain network of a space is the known one."""
    for name, values in space.extra.items():
        if len(values) > 1:
            raise InputError(f"the space has several backbones ({name}), and a profile is of one", "give it one value", source)
    here = describe_network(space)
    for name in ("input_size", "params", "macs"):
        if known.get(name) not in (None, here[name]):
            raise InputError(
                f"measured on another network: {known.get('backbone')} has {name} {known[name]}, this one {here[name]}", NO_MATCH, source
            )


def describe_network(space: Space) -> dict[str, Any]:
    """The plain network of a space, as a profile knows it again."""
    name = space.backbone if isinstance(space.backbone, str) else type(space.backbone).__name__
    size = [int(length) for length in space.input_size]
    return {"backbone": name, "input_size": size, "params": int(space.plain_cost.params), "macs": int(space.plain_cost.macs)}


def amounts(space: Space, architecture: Any) -> dict[str, float]:
    """The terms of an architecture."""
    found = {CONSTANT: 1.0}
    for group in space.groups:
        for name, amount in terms_of(group.sites, architecture[group.name], space.options).items():
            found[name] = found.get(name, 0.0) + amount
    return found


def make_profile(
    space: Space,
    measured: Sequence[tuple[Any, Measured]],
    machine: Mapping[str, str],
    how: Mapping[str, Any],
    took: float,
    source: str = "",
) -> Profile:
    """Fit a model to the networks that are for that, and hold it against the others.

    Args:
        space: the search space.
        measured: (architecture, what was measured of it), the plain one first.
        machine, how, took, source: see `Profile`.

    Raises:
        InputError: if less was measured than the terms that there are.
    """
    names = term_names(spec for architecture, _ in measured for _, spec in architecture.choices)
    every = [amounts(space, architecture) for architecture, _ in measured]
    rows = np.array([[own.get(name, 0.0) for name in names] for own in every])
    seconds = np.array([each.seconds for _, each in measured])
    fitted = np.array([each.role == FITTED for _, each in measured])
    if len({tuple(row) for row in rows[fitted].tolist()}) < len(names):
        problem = f"{int(fitted.sum())} networks do not tell {len(names)} coefficients"
        raise InputError(problem, "measure more, and more different ones", source or "networks")
    found = fit(rows[fitted], seconds[fitted])
    said, model, floor = rows @ found, None, None
    held = ~fitted
    if held.sum() > 2:
        model = error(said[held], seconds[held], float(seconds[0]))
        left = said[held] - seconds[held]
        halves = [each.halves for _, each in measured]
        if all(len(each) == 2 for each in halves):
            one, two = np.array(halves).T
            floor = error(one[held], two[held], float(two[0]))
    else:
        left = _left_out(rows, seconds)
    reach = dict(zip(names, rows.max(0).tolist(), strict=True))
    return Profile(
        machine,
        how,
        describe_network(space),
        dict(zip(names, found.tolist(), strict=True)),
        reach,
        tuple(each for _, each in measured),
        model,
        floor,
        float(2 * np.sqrt(np.mean(left**2))),
        took,
        source,
    )


def _left_out(rows: Floats, seconds: Floats) -> Floats:
    """Errors of each network when it is left out of the fit."""
    keep = ~np.eye(len(rows), dtype=bool)
    return np.array([float(rows[i] @ fit(rows[keep[i]], seconds[keep[i]]) - seconds[i]) for i in range(len(rows))])


def read_profile(path: str | Path, space: Space) -> Profile:
    """The profile in a file, or the one that follows from a plain table.

    Raises:
        InputError: for a file that is missing, damaged, or no profile; of a table: a time that is missing, negative or no number.
    """
    if str(path).endswith((".csv", ".jsonl")):
        return _from_table(path, space)
    data = load_yaml(path, FIX)
    if data.get("schema") != SCHEMA or "networks" not in data:
        raise InputError("is no latency profile", f"{FIX}, or give a table as .csv or .jsonl", str(path))
    if not read_bytes(path).rstrip().endswith(LAST.strip().encode()):
        raise InputError("is cut short: its last line is missing", FIX, str(path))
    data.pop("schema")
    try:
        networks = tuple(Measured(**{**each, "halves": tuple(each["halves"])}) for each in data.pop("networks"))
        model, floor = (Error(**each) if each else None for each in (data.pop("model"), data.pop("floor")))
        profile = Profile(networks=networks, model=model, floor=floor, source=str(path), **data)
        numbers = [profile.interval, *profile.seconds.values(), *profile.reach.values(), *(each.seconds for each in networks)]
        if not all(type(number) in (int, float) and 0 <= number < np.inf for number in numbers) or CONSTANT not in profile.seconds:
            raise ValueError("times are missing, or below 0")
        if profile.seconds.keys() != profile.reach.keys():
            raise ValueError("its terms differ")
        assert profile.title
    except (TypeError, ValueError, KeyError, AttributeError) as damage:
        raise InputError(f"is damaged: {shown(str(damage))}", FIX, str(path)) from None
    return profile


def _from_table(path: str | Path, space: Space) -> Profile:
    """The profile of a plain table: one line an architecture and its time."""
    with refused(path):
        text = read_bytes(path).decode(errors="replace")
    rows: list[tuple[int, Mapping[str, Any]]] = []
    if str(path).endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text))
        rows = [(reader.line_num, row) for row in reader]
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    rows.append((number, parse_json(line)))
                except ValueError as damage:
                    raise InputError(f"not JSON: {shown(str(damage))}", "correct the line", f"{path}, line {number}") from None
    measured = [_row(space, row, f"{path}, line {number}") for number, row in rows]
    plain = [pair for pair in measured if not any(spec for _, spec in pair[0].choices)]
    if not plain:
        raise InputError("no line is of the plain network", "add its time", str(path))
    measured = [plain[0], *(pair for pair in measured if pair is not plain[0])]
    return make_profile(space, measured, {}, {}, 0.0, str(path))


def _row(space: Space, row: Mapping[str, Any], source: str) -> tuple[Any, Measured]:
    if not isinstance(row, Mapping) or "latency" not in row:
        raise InputError("has no latency", "give each architecture its time in seconds, under the name latency", source)
    try:
        seconds = float(row["latency"])
        if not 0 < seconds < np.inf:
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f"latency {shown(row['latency'])} is no time", "give seconds above 0", source) from None
    try:
        named = row.get("architecture", {key: value for key, value in row.items() if key != "latency"})
        architecture = space.reference(named) if named in ("plain", "paper") else space.from_dimensions(named)
    except InputError as problem:
        raise problem.at(source) from None
    return architecture, Measured(architecture.to_json(), FITTED, seconds)
