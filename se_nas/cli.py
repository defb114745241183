"""The command line. Each command imports what it needs when it runs: ``--help`` and ``show`` never load torch."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from se_nas.asking import add_ask_flags, add_tell_flags, ask_command, tell_command
from se_nas.errors import InputError
from se_nas.run.settings import SECTIONS, SearchSettings, changeable, resolve_settings
from se_nas.setting import add_flags, flags_of, settings_of
from se_nas.text import cut, flat

DESCRIPTION = "Find where Squeeze-and-Excitation blocks pay in a network, and with which settings."


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as everything else does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog.partition(' ')[0]}: {cut(flat(message), 600)}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, 130 after Ctrl-C (or SIGTERM, or a terminal that closes)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write is no reason to stop
    args = _parser().parse_args(arguments)
    args.command_line = shlex.join(["se-nas", *arguments])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads sleep: spinning ruins training on a busy machine
    try:
        sys.path.insert(0, os.getcwd())  # so that package.module:callable finds the person's own code
        with _interruptible():
            args.run_command(args)
    except InputError as error:
        print(f"se-nas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # the system's word is never a bug of ours
        from se_nas.files import refusal

        print(f"se-nas: {refusal(error, str(error.filename or 'a file'))}", file=sys.stderr)
        return 2
    return 0


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP from a terminal that closes, end a command as Ctrl-C does: what is temporary goes."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores it, and so do we
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="se-nas", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, operand: str, operand_text: str, more: str = "") -> argparse.ArgumentParser:
        usage = f"se-nas {name} {operand} {more}[flags]"
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", usage=usage, allow_abbrev=False)
        sub.add_argument(operand.lower(), metavar=operand, help=operand_text)
        sub.set_defaults(run_command=run)
        return sub

    space, run = "YAML file of a search space", "directory of a search"
    text = "say whether a space is sound, how large it is, what it costs and which sites it has; or what of a run is whole"
    command("check", _check, text, "SPACE", f"{space}, or directory of a search")
    sub = command(
        "sites", _sites, "list the sites of any network, and what could not be used", "MODEL", "a backbone's name, or a space's YAML file"
    )
    sub.add_argument("--input-size", type=int, nargs=3, metavar=("C", "H", "W"), help="of an image (default: 3 224 224, or the file's)")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("cost", _cost, "show exact parameters, MACs and SE operations of a space's references and extremes", "SPACE", space)
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("search", _search, "search a space and show the front; flags override the file's search section", "SPACE", space)
    groups = _add_search_flags(sub)
    groups["output"].add_argument("--quiet", action="store_true", help="show nothing but errors")

    sub = command("reliability", _reliability, "measure how far single trials of a space can be trusted", "SPACE", space)
    sub.add_argument("--architectures", type=int, default=8, metavar="N", help="how many, both references among them (default: 8)")
    sub.add_argument("--seeds", type=int, default=2, metavar="N", help="of each (default: 2)")
    sub.add_argument("--truth", type=int, default=0, metavar="EPOCHS", help="also train them as long as in the end, and compare")
    _add_search_flags(sub)
    sub.add_argument("--quiet", action="store_true", help="show nothing but the result and errors")

    sub = command("resume", _resume, "go on with a search that was stopped, or add trials to one", "RUN", run)
    sub.add_argument("--quiet", action="store_true", help="show nothing but errors")
    groups = {section: sub for section in SECTIONS}
    add_flags(groups, (row for name, row in settings_of(SearchSettings).items() if name in changeable()), "as it was")

    sub = command("new", _new, "begin a run whose trials you run yourself: take them with ask, and tell their results", "SPACE", space)
    _add_search_flags(sub)

    text = "take one trial of a run, as JSON; exit code 3 if all that is left is out with others, 4 if nothing is left"
    add_ask_flags(command("ask", ask_command, text, "RUN", run))
    text = "put the result of a trial that was asked for into the ledger"
    add_tell_flags(command("tell", tell_command, text, "RUN", run, "NUMBER [NAME=VALUE ...] "))

    text = "train the finalists and both references anew with fresh seeds, and say which are better, on the test split"
    sub = command("confirm", _confirm, text, "RUN", run)
    sub.add_argument("--top", type=int, metavar="N", help="most finalists: the best predicted and the front's best (default: 3)")
    sub.add_argument("--seeds", type=int, metavar="N", help="fresh seeds of each, at least 2 (default: 5)")
    sub.add_argument("--epochs", type=int, metavar="N", help="of each training (default: as in the search)")
    sub.add_argument("--paying", action="store_true", default=None, help="also the best without SE at sites where it is not known to pay")
    sub.add_argument("--quiet", action="store_true", help="show nothing but errors")
    rows = (row for name, row in settings_of(SearchSettings).items() if name in changeable() and name != "trials")
    add_flags({section: sub for section in SECTIONS}, rows, "as it was")

    sub = command("show", _show, "show a run's front, with both references and their gains and costs", "RUN", run)
    sub.add_argument("--json", action="store_true", help="print JSON")

    text = "write architectures as PyTorch code that runs without se-nas, proven to be the searched ones, and their weights"
    sub = command("export", _export, text, "RUN", "directory of a search, or a space's YAML file", "-o PATH ")
    sub.add_argument("--trial", metavar="N", help="of a run: number of a trial, best (default) or all-front, each into a folder of its own")
    sub.add_argument(
        "--architecture", metavar="FILE", help="of a space: plain, paper, or a JSON file such as architecture.json of an export"
    )
    sub.add_argument("-o", "--output", required=True, metavar="PATH", help="NAME.py, or a directory")
    sub.add_argument("--force", action="store_true", help="overwrite")
    sub.add_argument("--untrained", action="store_true", help="leave the weights out")
    sub.add_argument("--deploy", action="store_true", help="write the fast inference form (batch norms folded), not for training")
    sub.add_argument("--onnx", action="store_true", help="also write model.onnx")
    sub.add_argument("--program", action="store_true", help="also write model.pt2, for torch.export.load")
    sub.add_argument("--hub", action="store_true", help="also write hubconf.py, for torch.hub.load")
    sub.add_argument("--timm", action="store_true", help="also write timm_model.py, which registers the network with timm")
    sub.add_argument("--no-proof", action="store_false", dest="prove", help="do not run the written file apart to compare it")

    sub = command("report", _report, "write a run's report as one HTML file", "RUN", run)
    sub.add_argument("-o", "--output", metavar="FILE", help="where to (default: report.html in the run's directory)")
    sub.add_argument("--force", action="store_true", help="overwrite a file that is no report of se-nas")
    return parser


def _add_search_flags(sub: argparse.ArgumentParser) -> dict[str, Any]:
    """Flags for all that decides a search; section -> its group of flags."""
    groups: dict[str, Any] = {section: sub.add_argument_group(section) for section in SECTIONS}
    groups["goals"].add_argument(
        "--budget",
        action="append",
        metavar="LIMIT",
        default=[],
        help="a hard limit: 'params<=+5%%' of the plain backbone, or 'macs<=42M'; may be given again (default: the file's)",
    )
    add_flags(groups, settings_of(SearchSettings).values())
    groups["output"].add_argument("--out", metavar="DIR", help="directory of the run, new or empty (default: a new one below runs/)")
    return groups


def _check(args: argparse.Namespace) -> None:
    if os.path.isdir(args.space):
        from se_nas.report.whole import show_whole

        return show_whole(Path(args.space))
    from se_nas.report.space_table import show_space
    from se_nas.space.space import SearchSpace
    from se_nas.space.spacefile import load_space

    arguments, section = load_space(args.space)
    resolve_settings(section, f"{args.space}, search", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what it says of blocks left out is shown below
        space = SearchSpace.from_dict(arguments, args.space)
    show_space(space)


def _sites(args: argparse.Namespace) -> None:
    from se_nas.backbones import build_backbone
    from se_nas.network.inputs import read_inputs
    from se_nas.network.survey import survey
    from se_nas.report.sites_table import show_sites, site_rows
    from se_nas.space.spacefile import load_space

    from_file = load_space(args.model)[0] if args.model.endswith((".yaml", ".yml")) else {"backbone": args.model}
    size = args.input_size or from_file.get("input_size", [3, 224, 224])
    inputs = read_inputs(from_file["example_inputs"]) if "example_inputs" in from_file else size
    found = survey(build_backbone(from_file["backbone"], from_file.get("backbone_args", {})), inputs)
    if args.json:
        print(json.dumps({"sites": site_rows(found), "left_out": list(map(str, found.left_out))}, indent=1))
    else:
        show_sites(args.model, found)


def _cost(args: argparse.Namespace) -> None:
    from se_nas.report.space_table import cost_rows, show_costs
    from se_nas.space.space import SearchSpace

    space = SearchSpace.from_yaml(args.space)
    if args.json:
        print(json.dumps({name: cost._asdict() for name, cost in cost_rows(space).items()}, indent=1))
    else:
        show_costs(space)


def _search(args: argparse.Namespace) -> None:
    from se_nas.api import start

    space, settings, out = _asked_search(args)
    about = {"command": args.command_line, "space_file": args.space}
    _watch(out, args.quiet, lambda view: start(space, settings, out, observer=view, about=about))


def _asked_search(args: argparse.Namespace, new: bool = True) -> tuple[Any, SearchSettings, Path]:
    """The space, the settings and the directory that the arguments name; ``new``: nothing may be in it."""
    from se_nas.api import default_directory
    from se_nas.run.run import Run
    from se_nas.space.budget import split_budget
    from se_nas.space.space import SearchSpace
    from se_nas.space.spacefile import load_space

    arguments, section = load_space(args.space)
    flags = flags_of(args, settings_of(SearchSettings).values())
    settings = resolve_settings(section, f"{args.space}, search", flags)
    out = Path(args.out) if args.out else default_directory(Path(args.space).stem)
    if new:
        Run.check_free(out)
    space = SearchSpace.from_dict(arguments, args.space)
    try:
        space = space.with_budgets(dict(map(split_budget, args.budget)))
    except InputError as error:
        raise InputError(error.problem, error.fix, "--budget") from None
    return space, settings, out


def _new(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from se_nas.api import start
    from se_nas.engines.outside import nobody

    space, settings, out = _asked_search(args)
    about = {"command": args.command_line, "space_file": args.space}
    print(start(space, replace(settings, engine="outside"), out, nobody, about=about).path)


def _reliability(args: argparse.Namespace) -> None:
    from se_nas.api import reliability
    from se_nas.report.live import make_view
    from se_nas.report.reliability import show_reliability
    from se_nas.report.words import wrapped

    space, settings, out = _asked_search(args, new=False)
    runs = reliability(space, settings, out, args.architectures, args.seeds, args.truth, make_view(args.quiet))
    for text in show_reliability(*runs, settings.trials, {"epochs": args.truth}):
        print("\n".join(wrapped(text, 100)))


def _resume(args: argparse.Namespace) -> None:
    from se_nas.run.run import Run

    Run.open(args.run)

    def go(view: Any) -> None:
        from se_nas.api import resume

        resume(args.run, observer=view, **{name: getattr(args, name) for name in changeable()})

    _watch(Path(args.run), args.quiet, go)


def _confirm(args: argparse.Namespace) -> None:
    from se_nas.run.run import Run

    Run.open(args.run)

    def go(view: Any) -> None:
        from se_nas.api import confirm

        where = {name: getattr(args, name) for name in changeable() if name != "trials"}
        confirm(args.run, top=args.top, seeds=args.seeds, epochs=args.epochs, paying=args.paying, observer=view, **where)

    _watch(Path(args.run), args.quiet, go, "confirm")


def _watch(out: Path, quiet: bool, search: Any, again: str = "resume") -> None:
    """Run a search under a view, then show its front; Ctrl-C (or SIGTERM) ends it cleanly and says how to go on."""
    from se_nas.report.live import make_view

    try:
        search(make_view(quiet))
    except KeyboardInterrupt:
        with contextlib.suppress(OSError, InputError):  # the terminal may be gone
            if not quiet:
                _show_front(out)
            print(f"se-nas: stopped; nothing finished is lost. Go on with: se-nas {again} {shlex.quote(str(out))}", file=sys.stderr)
        raise
    if not quiet:
        _show_front(out)


def _show_front(path: Path) -> None:
    from rich.console import Console

    from se_nas.report.table import show
    from se_nas.run.run import Run

    if (path / "run.yaml").exists():
        show(Run.open(path), Console())


def _show(args: argparse.Namespace) -> None:
    from se_nas.report.table import as_json
    from se_nas.run.run import Run

    run = Run.open(args.run)
    if args.json:
        print(json.dumps(as_json(run), indent=1))
    else:
        _show_front(run.path)


def _export(args: argparse.Namespace) -> None:
    space_file = args.run.endswith((".yaml", ".yml")) and not os.path.isdir(args.run)
    if space_file and (args.trial or not args.architecture):
        raise InputError(f"{args.run} is a space, and has no trials", "name one of its architectures: --architecture plain", "export")
    if args.architecture and not space_file:
        raise InputError(f"{args.run} is no YAML file of a space", "of a run, take a trial: --trial best", "--architecture")
    options = {name: getattr(args, name) for name in ("force", "onnx", "program", "hub", "timm", "deploy", "prove")}
    if space_file:
        from se_nas.api import export
        from se_nas.space.archfile import find_architecture
        from se_nas.space.space import SearchSpace

        space = SearchSpace.from_yaml(args.run)
        made = [export(space, find_architecture(space, args.architecture), args.output, about={"space": Path(args.run).name}, **options)]
    else:
        from se_nas.run.run import Run

        run = Run.open(args.run)

        from se_nas.api import export_trial

        made = export_trial(run, args.trial or "best", args.output, args.untrained, **options)
    for one in made:
        print(*one.files, *one.notes, sep="\n")
        if one.proof:
            print(f"proven in {one.proof.seconds:.0f} s: run apart, it is the searched network")


def _report(args: argparse.Namespace) -> None:
    from se_nas.report.html import write_report
    from se_nas.run.run import Run

    print(write_report(Run.open(args.run), Path(args.output) if args.output else None, args.force))


def _version() -> str:
    from se_nas import __version__

    return f"se-nas {__version__}"


if __name__ == "__main__":
    sys.exit(main())
