"""A setting, said in one place: a dataclass field that carries its type, limits, help, section and flag.

What follows from it: the check of a value (from Python, YAML or the command line), the flag with its help, the signature
of the Python function, and the row of the table in the docs. Needs neither torch nor YAML.

    @dataclass(frozen=True)
    class Settings:
        epochs: int = setting(3, "epochs of each trial", "data and training", least=1)
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import math
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import UnionType
from typing import Any, TypeVar

from se_nas.errors import InputError, known
from se_nas.reading import LARGEST, read_real, read_whole
from se_nas.text import cut, shown

Made = TypeVar("Made", bound=Callable[..., Any])

WORDS: dict[type, str] = {
    str: "text",
    dict: "a mapping",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "nothing",
}


@dataclass(frozen=True)
class Setting:
    """What a field says of itself.

    Attributes:
        help: one line, for ``--help`` and the docs.
        section: heading under which it stands there.
        least: the smallest number allowed.
        above: numbers must be larger than this.
        below: numbers must be smaller than this.
        choices: the only values allowed; none if empty.
        otherwise: what the default stands for, where the value itself does not say it.
        example: a value, for messages.
        metavar: what the flag's value is called.
        flag: the flag without its dashes; "" for none, None for the field's name.
        resume: whether ``resume`` may change it.
    """

    help: str
    section: str
    least: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    otherwise: str = ""
    example: str = ""
    metavar: str = ""
    flag: str | None = None
    resume: bool = False

    @property
    def limits(self) -> str:
        """The limits in words, ``above 0 and below 1``; "" without any."""
        parts = [f"from {self.least:g}" if self.least is not None else "", f"above {self.above:g}" if self.above is not None else ""]
        parts += [f"below {self.below:g}" if self.below is not None else ""]
        return " and ".join(filter(None, parts))


def setting(default: Any, help: str, section: str, **more: Any) -> Any:
    """A dataclass field that is a setting; ``more`` are fields of `Setting`. A callable default is called for each object."""
    about = {"setting": Setting(help, section, **more)}
    return field(default_factory=default, metadata=about) if callable(default) else field(default=default, metadata=about)


@dataclass(frozen=True)
class Row:
    """One setting of a settings class.

    Attributes:
        name: of the field.
        types: of the values allowed, as YAML has them (a tuple is a list there).
        default: its value.
        about: what the field says of itself.
    """

    name: str
    types: tuple[type, ...]
    default: Any
    about: Setting

    @property
    def flag(self) -> str:
        """``--data-root``; "" if it has none."""
        name = self.name if self.about.flag is None else self.about.flag
        return f"--{name}".replace("_", "-") if name else ""

    @property
    def shown(self) -> str:
        """The default, as a person reads it."""
        if self.about.otherwise:
            return self.about.otherwise
        if isinstance(self.default, tuple):
            return ", ".join(map(str, self.default))
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def settings_of(cls: type[Any]) -> dict[str, Row]:
    """Name -> row, of each setting of a dataclass, in its order."""
    hints = typing.get_type_hints(cls)
    return {f.name: Row(f.name, _types(hints[f.name]), _default(f), f.metadata["setting"]) for f in fields(cls) if "setting" in f.metadata}


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _types(hint: Any) -> tuple[type, ...]:
    """``float | None`` -> (float, NoneType); ``tuple[str, ...]`` -> (list,); any other class that is no scalar is a mapping in YAML."""
    if isinstance(hint, UnionType):
        return tuple(kind for part in typing.get_args(hint) for kind in _types(part))
    kind = typing.get_origin(hint) or hint
    if kind in WORDS:
        return (kind,)
    return (list,) if kind is tuple else (dict,)


# Values.


def check_settings(settings: Any) -> None:
    """Check the values of a settings object; call it in ``__post_init__``.

    Raises:
        InputError: for a value of the wrong type or out of its limits; the error's source is the setting's name.
    """
    for row in settings_of(type(settings)).values():
        check_value(row, getattr(settings, row.name))


def check_value(row: Row, value: Any) -> None:
    """Raise unless a value is of the setting's type and within its limits."""
    about = row.about
    if row.types in ((list,), (dict,)):
        return  # tuples and mappings are made, and checked, by whoever owns them
    if about.choices and not (value is None and type(None) in row.types):
        known(value, about.choices, row.name)
    elif not _fits(value, row.types):
        example = f", such as {about.example}" if about.example else ""
        raise InputError(f"{shown(value)} is not {_said(row.types)}", f"write {_said(row.types)}{example}", row.name)
    elif isinstance(value, (int, float)):
        if abs(value) > LARGEST:
            raise InputError(f"{shown(value)} has more than 64 bits", "take a smaller number", row.name)
        if about.least is not None and not value >= about.least:
            raise InputError(f"{shown(value)} is below {about.least:g}", f"take {about.least:g} or more", row.name)
        if (about.above is not None and not value > about.above) or (about.below is not None and not value < about.below):
            raise InputError(f"{value} is not {about.limits}", f"take a number {about.limits}", row.name)


def _fits(value: object, types: tuple[type, ...]) -> bool:
    accepted = (*types, int) if float in types else types
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, accepted) and not (isinstance(value, float) and not math.isfinite(value))


def _said(types: tuple[type, ...]) -> str:
    return " or ".join(WORDS[kind] for kind in types)


def check_keys(data: Mapping[Any, Any], allowed: Mapping[str, tuple[type, ...]], source: str) -> None:
    """Raise for a key that is not allowed, naming the nearest, or for a value of the wrong type."""
    for key, value in data.items():
        if key not in allowed:
            raise unknown_key(key, allowed, source)
        check_type(str(key), value, allowed[key], source)


def unknown_key(key: object, allowed: Collection[str], source: str) -> InputError:
    """The error for a key that is not allowed, naming the nearest one that is."""
    near = difflib.get_close_matches(cut(str(key)), allowed, 1)
    return InputError(
        f"unknown key {shown(key)}", f"did you mean {shown(near[0])}?" if near else f"take one of {', '.join(allowed)}", source
    )


def check_type(key: str, value: object, types: tuple[type, ...], source: str) -> None:
    """Raise unless the value is of one of the types (a bool is no number, a whole number is one)."""
    if not _fits(value, types):
        raise InputError(f"{shown(value)} is not {_said(types)}", "correct the value", f"{source}, {key}")


def types_of(cls: type) -> dict[str, tuple[type, ...]]:
    """Name -> types, of each setting: the keys that a YAML section may have."""
    return {row.name: row.types for row in settings_of(cls).values()}


# The command line.


def _reader(read: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    def reader(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{shown(text)} is not {what}") from None

    return reader


_READ: dict[type, Callable[[str], Any]] = {
    int: _reader(read_whole, "a whole number of at most 64 bits"),
    float: _reader(read_real, "a finite number"),
    str: str,
}
"""Type of a setting -> what reads it from the command line."""


def add_flags(groups: Mapping[str, Any], rows: Iterable[Row], default: str | None = None) -> None:
    """Add a flag for each setting; what is not given is None.

    Args:
        groups: section -> the group of flags (``ArgumentParser.add_argument_group``) that its settings go into.
        rows: the settings; those without a flag are left out.
        default: what to call all defaults; None for each setting's own.
    """
    for row in rows:
        if row.flag:
            kind: dict[str, Any] = {"action": "append"} if row.types[0] in (list, dict) else {"type": _READ[row.types[0]]}
            metavar = row.about.metavar or {int: "N", float: "X"}.get(row.types[0], "NAME")
            groups[row.about.section].add_argument(row.flag, dest=row.name, help=_flag_help(row, default), metavar=metavar, **kind)


def flags_of(args: argparse.Namespace, rows: Iterable[Row]) -> dict[str, Any]:
    """Setting -> what its flag was given; None without. ``NAME=VALUE`` pairs of a mapping are one dict.

    Raises:
        InputError: for a pair without ``=``.
    """
    given = {row.name: getattr(args, row.name) for row in rows if row.flag}
    return {row.name: _pairs(row, given[row.name]) if row.types == (dict,) else given[row.name] for row in rows if row.flag}


def _pairs(row: Row, texts: list[str] | None) -> dict[str, Any] | None:
    if texts is None:
        return None
    pairs = {}
    for text in texts:
        name, relation, value = text.partition("=")
        if not relation:
            raise InputError(f"{shown(text)} is not NAME=VALUE", f"write {row.flag} {row.about.example}", row.flag)
        pairs[name.strip()] = _scalar(value.strip())
    return pairs


def _scalar(text: str) -> Any:
    """``true`` -> True, ``64`` -> 64, ``1e-3`` -> 0.001; other text stays as it is, ``300k``."""
    if text in ("true", "false"):
        return text == "true"
    for read in (read_whole, read_real):
        with contextlib.suppress(ValueError):
            return read(text)
    return text


def _flag_help(row: Row, default: str | None) -> str:
    choices = f"; one of {', '.join(row.about.choices)}" if row.about.choices else ""
    again = "; may be given again" if row.types[0] in (list, dict) else ""
    return f"{row.about.help}{choices}{again} (default: {default or row.shown or 'none'})".replace("%", "%%")


# Python.


def with_settings(cls: type) -> Callable[[Made], Made]:
    """Give a function that takes ``**settings`` the signature that it has: one keyword for each setting, with its default."""

    def decorate(function: Made) -> Made:
        own = inspect.signature(function)
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        hints = {f.name: f.type for f in fields(cls)}
        more = [
            inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=row.default, annotation=hints[row.name])
            for row in settings_of(cls).values()
            if row.name not in own.parameters
        ]
        function.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
        return function

    return decorate


# Docs.


def table(cls: type, prefix: str = "") -> Iterator[str]:
    """Lines of Markdown: the settings by section, each with its default, limits, flag and whether ``resume`` may change it."""
    section = None
    for row in settings_of(cls).values():
        if row.about.section != section:
            section = row.about.section
            yield from ("", f"## {section[0].upper()}{section[1:]}", "", "| setting | what it is | default | flag |", "|---|---|---|---|")
        rule = f"; {row.about.limits}" if row.about.limits else ""
        rule += f": {', '.join(f'`{c}`' for c in row.about.choices)}" if row.about.choices else ""
        flag = f"`{row.flag}`" if row.flag and not prefix else ""
        flag += ", also of `resume`" if row.about.resume else ""
        yield f"| `{prefix}{row.name}` | {row.about.help}{rule} | {row.shown} | {flag} |".replace("|  |", "| |")
