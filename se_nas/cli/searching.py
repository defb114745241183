"""The commands that train: search, new, reliability, resume, confirm."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

from se_nas.cli.latency import make_space
from se_nas.cli.looking import show_front
from se_nas.errors import InputError
from se_nas.run.settings import SearchSettings, changeable, resolve_settings
from se_nas.setting import flags_of, settings_of


def search_command(args: argparse.Namespace) -> None:
    """Search a space."""
    from se_nas.api import start

    space, settings, out = _asked(args)
    about = {"command": args.command_line, "space_file": args.space}
    _watch(out, args.quiet, lambda view: start(space, settings, out, observer=view, about=about))


def _asked(args: argparse.Namespace, new: bool = True, engine: str | None = None) -> tuple[Any, SearchSettings, Path]:
    """The space, the settings and the directory that the arguments name; ``new``: nothing may be in it; ``engine``: in any case."""
    from se_nas.api import default_directory
    from se_nas.run.run import Run
    from se_nas.space.budget import split_budget
    from se_nas.space.spacefile import load_space

    arguments, section = load_space(args.space)
    flags = flags_of(args, settings_of(SearchSettings).values())
    settings = resolve_settings(section, f"{args.space}, search", {**flags, "engine": engine or flags["engine"]})
    out = Path(args.out) if args.out else default_directory(Path(args.space).stem)
    if new:
        Run.check_free(out)
    space = make_space(arguments, args)
    try:
        space = space.with_budgets(dict(map(split_budget, args.budget)))
    except InputError as error:
        raise InputError(error.problem, error.fix, "--budget") from None
    return space, settings, out


def new_command(args: argparse.Namespace) -> None:
    """Begin a run whose trials are asked for from outside."""
    from se_nas.api import start
    from se_nas.engines.outside import nobody

    space, settings, out = _asked(args, engine="outside")
    about = {"command": args.command_line, "space_file": args.space}
    print(start(space, settings, out, nobody, about=about).path)


def reliability_command(args: argparse.Namespace) -> None:
    """Say how far single trials of a space can be trusted."""
    from rich.console import Console

    from se_nas.report.live import make_view
    from se_nas.report.reliability import show_reliability
    from se_nas.report.words import wrapped
    from se_nas.trust import reliability

    space, settings, out = _asked(args, new=False)
    runs = reliability(space, settings, out, args.architectures, args.seeds, args.truth, make_view(args.quiet))
    width = Console().width
    for text in show_reliability(*runs, settings.trials, {"epochs": args.truth}):
        print("\n".join(wrapped(text, width)))


def resume_command(args: argparse.Namespace) -> None:
    """Go on with a search."""
    from se_nas.run.run import Run

    Run.open(args.run)

    def go(view: Any) -> None:
        from se_nas.api import resume

        resume(args.run, observer=view, **{name: getattr(args, name) for name in changeable()})

    _watch(Path(args.run), args.quiet, go)


def confirm_command(args: argparse.Namespace) -> None:
    """Train the finalists anew."""
    from se_nas.run.run import Run

    Run.open(args.run)

    def go(view: Any) -> None:
        from se_nas.trust import confirm

        where = {name: getattr(args, name) for name in changeable() if name != "trials"}
        asked = {name: getattr(args, name) for name in ("top", "seeds", "epochs", "paying", "race", "data", "start", "normalise")}
        confirm(args.run, observer=view, **asked, **where)

    _watch(Path(args.run), args.quiet, go, "confirm")


def _watch(out: Path, quiet: bool, search: Any, again: str = "resume") -> None:
    """Run a search under a view, then show its front; Ctrl-C (or SIGTERM) ends it cleanly and says how to go on."""
    from se_nas.report.live import make_view

    try:
        search(make_view(quiet))
    except KeyboardInterrupt:
        with contextlib.suppress(OSError, InputError):  # the terminal may be gone
            if not quiet:
                show_front(out)
            print(f"se-nas: stopped; nothing finished is lost. Go on with: se-nas {again} {shlex.quote(str(out))}", file=sys.stderr)
        raise
    if not quiet:
        show_front(out)
