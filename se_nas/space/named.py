"""Costs by name, beside parameters and MACs: tables of what each choice adds, in whole steps of a stated resolution.

A cost of this kind is a float (seconds, millijoules), and it adds up over the choices. Each entry of its table is rounded up to
whole steps. So a sum is exact in steps, never less than the sum of the floats, and counting, drawing and ranking under a budget
work on it as on parameters: what they let pass is within the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from se_nas.errors import InputError
from se_nas.se.cost import Cost
from se_nas.se.spec import PAPER, SESpec
from se_nas.space.extra import Choice, check_choice, choices, first_choice, words
from se_nas.text import shown

if TYPE_CHECKING:
    from se_nas.space.architecture import Architecture
    from se_nas.space.group import Group

Setting = SESpec | None
Table = Mapping[str, Any] | Callable[["Architecture"], float]

DIGITS = 6
"""Without a stated resolution, a step is this many decimal digits below the leading digit of the largest cost."""

CHECKS = 32
"""Architectures on which it is checked that a function adds up."""

FORM = 'give {"plain": 12.5, "adds": {group: {"none": 0, "r4 avg sigmoid standard": 0.3}}}, or a function of an architecture'

_KEYS = ("plain", "adds", "unit", "resolution", "tie", "about", "origin", "backbones", "extra")


class Space(Protocol):
    """A search space, as far as this file needs it."""

    groups: tuple[Group, ...]
    extra: dict[str, tuple[Any, ...]]

    def variant(self, chosen: Choice) -> Space: ...

    def canonical(self, choices: Mapping[str, Setting], extra: Mapping[str, Any] | None = None) -> Architecture: ...


@dataclass(frozen=True)
class Adds:
    """What the choices add, in steps, with one backbone.

    Attributes:
        plain: of the plain backbone.
        settings: group -> setting -> what it adds. Every option is there, and None and the paper's setting where they are known.
    """

    plain: int
    settings: Mapping[str, Mapping[Setting, int]]


@dataclass(frozen=True)
class NamedCost:
    """A cost that adds up over the choices.

    Attributes:
        name: ``latency``.
        resolution: size of a step, in the cost's unit.
        backbones: values of the extra dimensions -> what the choices add with that backbone.
        unit: of a value; "" for none. Times are in seconds, ``s``.
        tie: differences up to this are no differences: how far the table may be off. 0: it is exact.
        about: where the table is from, in words; "" if there is nothing to say. Every output shows it.
        origin: of a measured one: on which machine, and how.
    """

    name: str
    resolution: float
    backbones: Mapping[Choice, Adds]
    unit: str = ""
    tie: float = 0.0
    about: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adds(self) -> Adds:
        """What the choices add, of a cost for one backbone."""
        (adds,) = self.backbones.values()
        return adds

    def of(self, chosen: Choice) -> NamedCost:
        """The same for one backbone."""
        return replace(self, backbones={chosen: self.backbones[chosen]})

    def value(self, steps: Any) -> Any:
        """Steps in the cost's unit, a float; of an array, an array."""
        whole = round(1 / self.resolution)
        return steps / whole if whole > 1 else steps * self.resolution

    def within(self, limit: float) -> int:
        """The largest number of steps that does not exceed a limit."""
        steps = math.floor(limit / self.resolution + 1e-6)
        return steps if self.value(steps) <= limit * (1 + 1e-12) else steps - 1

    def to_dict(self) -> dict[str, Any]:
        """The table as YAML can hold it; `make_cost` reads it."""
        tables = [
            {
                **({"extra": dict(chosen)} if chosen else {}),
                "plain": self.value(adds.plain),
                "adds": {group: {word(s): self.value(steps) for s, steps in own.items()} for group, own in adds.settings.items()},
            }
            for chosen, adds in self.backbones.items()
        ]
        tables_ = tables[0] if len(tables) == 1 and "extra" not in tables[0] else {"backbones": tables}
        about = {"unit": self.unit, "resolution": self.resolution, "tie": self.tie, "about": self.about, "origin": dict(self.origin)}
        return {**{name: value for name, value in about.items() if value}, **tables_}


class FullCost(Cost):
    """A `Cost` with further costs by name: ``cost.latency``. A cost that is not known of an architecture is missing."""

    named: Mapping[str, float]

    @classmethod
    def of(cls, fields: Sequence[int], named: Mapping[str, float]) -> FullCost:
        cost = cls._make(fields)
        cost.named = named
        return cost

    def __getattr__(self, name: str) -> float:
        named = self.__dict__.get("named", {})
        if name not in named:
            raise AttributeError(f"no cost {name!r} is known of this architecture")
        return float(named[name])

    def _asdict(self) -> dict[str, Any]:
        return {**super()._asdict(), **self.named}

    def __add__(self, other: Cost) -> FullCost:  # type: ignore[override]
        theirs = getattr(other, "named", {})
        return FullCost.of(super().__add__(other), {name: value + theirs.get(name, 0.0) for name, value in self.named.items()})

    def __sub__(self, other: Cost) -> FullCost:
        theirs = getattr(other, "named", {})
        return FullCost.of(super().__sub__(other), {name: value - theirs.get(name, 0.0) for name, value in self.named.items()})

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and dict(self.named) == dict(getattr(other, "named", {}))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((tuple(self), *self.named.items()))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {', '.join(f'{name}={value:.6g}' for name, value in self.named.items())})"


def word(setting: Setting) -> str:
    """A setting as a table writes it: ``r4 avg sigmoid standard``, or ``none``."""
    return str(setting) if setting else "none"


def check_tables(costs: object) -> Mapping[str, Table | NamedCost]:
    """Raise `InputError` unless this maps names to tables; None maps none."""
    if costs is not None and not isinstance(costs, Mapping):
        raise InputError(f"{shown(costs)} names no costs", "map each name to its table", "costs")
    return costs or {}


def make_cost(space: Space, name: str, table: Table | NamedCost) -> NamedCost:
    """The cost of this name.

    Args:
        space: the search space.
        name: a plain name that no other cost has.
        table: a mapping of the form `FORM`, in which ``unit``, ``resolution``, ``tie`` and ``about`` may stand too, and of a space
            with several backbones ``backbones``: a list with ``extra``, ``plain`` and ``adds`` of each. A group of its ``adds``
            has an entry for each of its options; "no SE" adds nothing unless it says so. Or a function of an architecture,
            which is tried on each choice.

    Raises:
        InputError: for a name that cannot be, an entry that is missing or not a finite number, or a function that does not add up.
    """
    source = f"costs.{name}"
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name in Cost._fields or hasattr(Cost, name):
        raise InputError(f"{shown(name)} is no name for a further cost", "take a plain word, such as latency or energy", "costs")
    if isinstance(table, NamedCost):
        return replace(table, name=name)
    variants = {chosen: space.variant(chosen) for chosen in choices(space.extra)}
    if callable(table):
        return _in_steps(name, {chosen: _tried(part, chosen, table, source) for chosen, part in variants.items()}, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{shown(table)} is no table", FORM, source)
    if odd := [key for key in table if key not in _KEYS]:
        raise InputError(f"unknown key {shown(odd[0])}", f"a table has {', '.join(_KEYS[:-1])}", source)
    given: dict[Choice, Any] = {}
    for part in table.get("backbones", [table]):
        if not isinstance(part, Mapping):
            raise InputError(f"{shown(part)} is no table", FORM, source)
        given[check_choice(space.extra, part["extra"]) if "extra" in part else first_choice(space.extra)] = part
    if missing := [words(chosen) for chosen in variants if chosen not in given]:
        raise InputError(f"nothing is said of {missing[0]}", "list backbones: of each, extra, plain and adds", source)
    read = {chosen: _read(part, given[chosen], source) for chosen, part in variants.items()}
    return _in_steps(name, read, table)


_Values = tuple[float, dict[str, dict[Setting, float]]]


def _read(part: Space, table: Mapping[str, Any], source: str) -> _Values:
    """A table's numbers, of one backbone."""
    adds = table.get("adds")
    if "plain" not in table or not isinstance(adds, Mapping):
        raise InputError("the table has no plain or no adds", FORM, source)
    found: dict[str, dict[Setting, float]] = {}
    for group in part.groups:
        own = adds.get(group.name)
        if not isinstance(own, Mapping):
            raise InputError(f"nothing is said of {group.name}", FORM, f"{source}.adds")
        by_word = {word(key) if key is None or isinstance(key, SESpec) else str(key): value for key, value in own.items()}
        by_word.setdefault("none", 0)
        known = {word(setting): setting for setting in dict.fromkeys((None, *group.options, group.canonical(PAPER)))}
        if odd := [text for text in by_word if text not in known]:
            raise InputError(f"{shown(odd[0])} is no setting there", f"it has {', '.join(known)}", f"{source}.adds.{group.name}")
        if missing := [text for text in map(word, group.options) if text not in by_word]:
            raise InputError(f"{missing[0]} is missing", "give each option its number", f"{source}.adds.{group.name}")
        found[group.name] = {known[text]: _number(value, f"{source}.adds.{group.name}, {text}") for text, value in by_word.items()}
    if odd := [shown(name) for name in adds if name not in found]:
        raise InputError(f"{odd[0]} is no group of the space", f"it has {', '.join(list(found)[:20])}", f"{source}.adds")
    return _number(table["plain"], f"{source}.plain"), found


def _tried(part: Space, chosen: Choice, function: Callable[[Architecture], float], source: str) -> _Values:
    """What a function says of each choice, one by one; checked on random architectures."""

    def ask(settings: Mapping[str, Setting]) -> float:
        return _number(function(part.canonical(settings, dict(chosen))), source)

    base = {group.name: group.options[0] for group in part.groups}
    start, found = ask(base), {}
    for group in part.groups:
        own = {option: ask({**base, group.name: option}) - start for option in group.options}
        for setting in {None, group.canonical(PAPER)} - own.keys():  # of the references; the function need not know them
            try:
                own[setting] = ask({**base, group.name: setting}) - start
            except Exception:
                continue
        found[group.name] = own
    plain = start + sum(own.get(None, 0.0) for own in found.values())
    found = {group: {setting: value - own.get(None, 0.0) for setting, value in own.items()} for group, own in found.items()}
    rng = np.random.default_rng(0)
    for _ in range(CHECKS):
        drawn = {group.name: group.options[rng.integers(len(group.options))] for group in part.groups}
        said, summed = ask(drawn), plain + sum(found[group][setting] for group, setting in drawn.items())
        if abs(said - summed) > 1e-6 * max(abs(said), abs(plain)):
            fix = "give one that is a sum over the groups; what is not may be measured in each trial, as an objective min:NAME"
            raise InputError(f"the function does not add up over the choices: it says {said:g}, its parts make {summed:g}", fix, source)
    return plain, found


def _in_steps(name: str, read: Mapping[Choice, _Values], table: Mapping[str, Any]) -> NamedCost:
    """The cost in steps, each entry rounded up."""
    source = f"costs.{name}"
    every = [value for plain, adds in read.values() for value in (plain, *(v for own in adds.values() for v in own.values()))]
    largest = max(plain + sum(max(own.values()) for own in adds.values()) for plain, adds in read.values())
    resolution = table.get("resolution")
    if resolution is None:
        whole = all(value == int(value) for value in every) and largest < 2**50
        resolution = 1.0 if whole else 10.0 ** (math.floor(math.log10(max(largest, 1e-300))) - DIGITS)
    resolution, tie = _number(resolution, f"{source}.resolution"), _number(table.get("tie", 0.0), f"{source}.tie")
    if not resolution > 0 or largest / resolution >= 2**55:
        raise InputError(f"{resolution} is no resolution for costs up to {largest:g}", "take a millionth of it", f"{source}.resolution")
    if tie < 0:
        raise InputError(f"{tie} is below 0", "give the largest difference that is none", f"{source}.tie")

    def up(value: float) -> int:
        return math.ceil(value / resolution - 1e-6)

    backbones = {}
    for chosen, (plain, adds) in read.items():
        backbones[chosen] = Adds(up(plain), {group: {s: up(value) for s, value in own.items()} for group, own in adds.items()})
        if plain + sum(min(own.values()) for own in adds.values()) < 0:
            raise InputError("an architecture would cost less than 0", "correct the table", source)
    words = (str(table.get("unit", "")), tie, str(table.get("about", "")), table.get("origin", {}))
    return NamedCost(name, resolution, backbones, *words)


def _number(value: object, source: str) -> float:
    try:
        if isinstance(value, bool) or not math.isfinite(number := float(value)):  # type: ignore[arg-type]
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{shown(value)} is not a cost", "give a finite number", source) from None
    return number
