"""The command profile, and ``--profile`` of other commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from se_nas.errors import InputError

if TYPE_CHECKING:
    from se_nas.space.space import SearchSpace

NUMBERS = {
    "batch": (1, "images at a time"),
    "threads": (1, "CPU threads"),
    "networks": (0, "how many to fit the model to (default: 12, or more where there are more coefficients)"),
    "held-out": (8, "how many others to hold it against"),
    "rounds": (30, "how often each is timed"),
    "seed": (0, "of what is drawn"),
}


def add_profile_flags(sub: argparse.ArgumentParser) -> None:
    """The flags of ``profile``."""
    sub.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda or cuda:N (default: cpu)")
    sub.add_argument("--runtime", default="eager", metavar="NAME", help="eager, compile, deploy, onnx, or graph on a GPU (default: eager)")
    sub.add_argument("--layout", default="contiguous", metavar="NAME", help="contiguous or channels_last (default: contiguous)")
    sub.add_argument("--precision", default="float32", metavar="NAME", help="float32, bfloat16 or float16 (default: float32)")
    for name, (value, text) in NUMBERS.items():
        more = "" if "default" in text else f" (default: {value})"
        sub.add_argument(f"--{name}", type=int, default=value, metavar="N", help=text + more)
    sub.add_argument("-o", "--output", metavar="FILE", help="the profile to write")
    sub.add_argument("--check", metavar="FILE", help="measure a few networks of this profile again: does it still hold?")


def profile_command(args: argparse.Namespace) -> None:
    """Measure a profile, or whether an old one still holds."""
    if bool(args.output) == bool(args.check):
        raise InputError("neither or both of a file to write and one to check", "take -o FILE, or --check FILE", "profile")
    if args.output:
        _check_place(Path(args.output))

    from se_nas.profiling.profile import check_profile, profile
    from se_nas.report.latency import check_sentences, profile_sentences
    from se_nas.space.space import SearchSpace
    from se_nas.space.spacefile import load_space
    from se_nas.text import flat

    arguments, _ = load_space(args.space)
    space = SearchSpace.from_dict({name: value for name, value in arguments.items() if name != "budgets"}, args.space)
    if args.check:
        said = check_sentences(check_profile(space, args.check, tell=_tell))
        _tell("")
        print(*map(flat, said), sep="\n")
        return
    numbers = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in NUMBERS}
    words = {name: getattr(args, name) for name in ("device", "runtime", "layout", "precision")}
    found = profile(space, **words, **numbers, tell=_tell)
    found.write(args.output)
    _tell("")
    print(*map(flat, profile_sentences(found)), args.output, sep="\n")
    if found.how["stopped"]:
        raise KeyboardInterrupt


def _check_place(path: Path) -> None:
    """Raise `InputError` now if the profile cannot be written there in the end."""
    from se_nas.latency.profile import FIRST

    if path.is_dir() or not path.parent.is_dir():
        raise InputError("is no place for a file", "name a file in a directory that is there", str(path))
    if os.path.lexists(path):
        with path.open("rb") as file:
            ours = file.read(len(FIRST)) == FIRST.encode()
        if not ours:
            raise InputError("exists, and is no profile", "name another file", str(path))


def _tell(text: str) -> None:
    """Show how far it is, on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def add_profile(sub: Any) -> None:
    """``--profile`` and ``--foreign`` of a command that takes a space."""
    sub.add_argument("--profile", metavar="FILE", help="latency from a profile of your device (se-nas profile), or a table .csv or .jsonl")
    sub.add_argument("--foreign", action="store_true", help="take the profile although it was measured on another machine")


def make_space(arguments: Mapping[str, Any], args: argparse.Namespace) -> SearchSpace:
    """The space of a file, with the profile that the flags name: budgets of the file may limit the latency, too."""
    from se_nas.space.space import SearchSpace

    if not args.profile:
        if args.foreign:
            raise InputError("--foreign without a profile", "name it: --profile FILE", "--foreign")
        return SearchSpace.from_dict(arguments, args.space)
    limits = arguments.get("budgets") or {}
    space = SearchSpace.from_dict({name: value for name, value in arguments.items() if name != "budgets"}, args.space)
    space = space.with_profile(args.profile, args.foreign)
    try:
        return space.with_budgets(limits)
    except InputError as error:
        raise error.at(args.space) from None
