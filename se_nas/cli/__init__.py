"""The command line: its commands and flags. Each command imports what it needs when it runs: ``--help`` and ``show`` load no torch."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from se_nas.cli.latency import add_profile, add_profile_flags, profile_command
from se_nas.cli.looking import (
    check_command,
    cost_command,
    explain_command,
    export_command,
    plan_command,
    report_command,
    show_command,
    sites_command,
)
from se_nas.cli.outside import add_ask_flags, add_tell_flags, ask_command, tell_command
from se_nas.cli.searching import confirm_command, new_command, reliability_command, resume_command, search_command
from se_nas.cli.signals import interruptible
from se_nas.errors import InputError
from se_nas.run.settings import SECTIONS, SearchSettings, changeable
from se_nas.setting import add_flags, settings_of
from se_nas.text import cut, flat

DESCRIPTION = "Find where Squeeze-and-Excitation blocks pay in a network, and with which settings."


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as everything else does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog.partition(' ')[0]}: {cut(flat(message), 600)}; see {self.prog} --help\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.nargs is None and arg_strings == ["--"]:  # of --flag=--; argparse makes an empty list of it
            raise argparse.ArgumentError(action, "expected one argument")
        return super()._get_values(action, arg_strings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, 130 after Ctrl-C (or SIGTERM, or a terminal that closes)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write is no reason to stop
    args, unknown = _parser().parse_known_args(arguments)
    if unknown:  # argparse would point to the help of all commands
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.command_line = shlex.join(["se-nas", *arguments])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads sleep: spinning ruins training on a busy machine
    try:
        sys.path.insert(0, os.getcwd())  # so that package.module:callable finds the person's own code
        with interruptible():
            args.run_command(args)
    except InputError as error:
        print(f"se-nas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        print("se-nas: the memory is too small for this; take a smaller network, smaller images or a smaller batch", file=sys.stderr)
        return 2
    except OSError as error:  # the system's word is never a bug of ours
        from se_nas.files import refusal

        print(f"se-nas: {refusal(error, str(error.filename or 'a file'))}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="se-nas", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, operand: str, operand_text: str, more: str = "") -> argparse.ArgumentParser:
        usage = f"se-nas {name} {operand} {more}[flags]"
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", usage=usage, allow_abbrev=False)
        sub.add_argument(operand.lower(), metavar=operand, help=operand_text)
        sub.set_defaults(run_command=run, parser=sub)
        return sub

    space, run = "YAML file of a search space", "directory of a search"
    text = "say whether a space is sound, how large it is, what it costs and which sites it has; or what of a run is whole"
    command("check", check_command, text, "SPACE", f"{space}, or directory of a search")
    sub = command(
        "sites",
        sites_command,
        "list the sites of any network, and what could not be used",
        "MODEL",
        "a backbone's name, or a space's YAML file",
    )
    sub.add_argument("--input-size", type=int, nargs=3, metavar=("C", "H", "W"), help="of an image (default: 3 224 224, or the file's)")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command(
        "cost", cost_command, "show exact parameters, MACs and SE operations of a space's references and extremes", "SPACE", space
    )
    sub.add_argument("--json", action="store_true", help="print JSON")
    add_profile(sub)

    text = "measure how long networks of a space take on a device, for --profile of other commands; or whether a profile still holds"
    add_profile_flags(command("profile", profile_command, text, "SPACE", space, "-o FILE "))

    text = "say how many trials tell what SE brings at each site, before any is run"
    sub = command("plan", plan_command, text, "SPACE", space)
    sub.add_argument("--width", type=float, metavar="W", help="half of a 95 %% interval that would do, in the unit of --noise")
    sub.add_argument("--noise", type=float, metavar="N", help="standard deviation of a trial, as se-nas reliability measures it")
    sub.add_argument("--budget", action="append", metavar="LIMIT", default=[], help="as of se-nas search; may be given again")
    add_profile(sub)

    sub = command("search", search_command, "search a space and show the front; flags override the file's search section", "SPACE", space)
    groups = _add_search_flags(sub)
    groups["output"].add_argument("--quiet", action="store_true", help="show nothing but errors")

    sub = command("reliability", reliability_command, "measure how far single trials of a space can be trusted", "SPACE", space)
    sub.add_argument("--architectures", type=int, default=8, metavar="N", help="how many, both references among them (default: 8)")
    sub.add_argument("--seeds", type=int, default=2, metavar="N", help="of each (default: 2)")
    sub.add_argument("--truth", type=int, default=0, metavar="EPOCHS", help="also train them as long as in the end, and compare")
    _add_search_flags(sub)
    sub.add_argument("--quiet", action="store_true", help="show nothing but the result and errors")

    sub = command("resume", resume_command, "go on with a search that was stopped, or add trials to one", "RUN", run)
    sub.add_argument("--quiet", action="store_true", help="show nothing but errors")
    groups = {section: sub for section in SECTIONS}
    add_flags(groups, (row for name, row in settings_of(SearchSettings).items() if name in changeable()), "as it was")

    sub = command(
        "new", new_command, "begin a run whose trials you run yourself: take them with ask, and tell their results", "SPACE", space
    )
    _add_search_flags(sub)

    text = "take one trial of a run, as JSON; exit code 3 if all that is left is out with others, 4 if nothing is left"
    add_ask_flags(command("ask", ask_command, text, "RUN", run))
    text = "put the result of a trial that was asked for into the ledger"
    add_tell_flags(command("tell", tell_command, text, "RUN", run, "NUMBER [NAME=VALUE ...] "))

    text = "train the finalists and both references anew with fresh seeds, and say which are better, on the test split"
    sub = command("confirm", confirm_command, text, "RUN", run)
    sub.add_argument("--top", type=int, metavar="N", help="most finalists: the best predicted and the front's best (default: 3)")
    sub.add_argument("--seeds", type=int, metavar="N", help="fresh seeds of each, at least 2 (default: 5; of a race, at most: 10)")
    sub.add_argument("--epochs", type=int, metavar="N", help="of each training (default: as in the search)")
    sub.add_argument("--paying", action="store_true", default=None, help="also the best without SE at sites where it is not known to pay")
    sub.add_argument("--start", metavar="START", help="scratch, trained, PATH.safetensors or train (default: as in the search)")
    sub.add_argument("--normalise", metavar="HOW", help="of another start: how its images are normalised, as of se-nas search")
    sub.add_argument("--data", metavar="DATA", help="what to train on, if the search trained nothing (evaluators paper and table:PATH)")
    sub.add_argument("--race", action="store_true", default=None, help="stop training whoever is told to be worse than the leader")
    sub.add_argument("--quiet", action="store_true", help="show nothing but errors")
    rows = (row for name, row in settings_of(SearchSettings).items() if name in changeable() and name != "trials")
    add_flags({section: sub for section in SECTIONS}, rows, "as it was")

    sub = command("show", show_command, "show a run's front, with both references and their gains and costs", "RUN", run)
    sub.add_argument("--json", action="store_true", help="print JSON")

    text = "say what the SE blocks of a trial's network do: gates by class and depth, blocks that can go, channels that matter"
    sub = command("explain", explain_command, text, "RUN", run)
    sub.add_argument("--trial", default="best", metavar="N", help="number of a trial with weights (default: best)")
    sub.add_argument("--images", type=int, default=2000, metavar="N", help="most validation images (default: 2000)")
    sub.add_argument("--json", action="store_true", help="print JSON")

    text = "write architectures as PyTorch code that runs without se-nas, proven to be the searched ones, and their weights"
    sub = command("export", export_command, text, "RUN", "directory of a search, or a space's YAML file", "-o PATH ")
    sub.add_argument("--trial", metavar="N", help="of a run: number of a trial, best (default) or all-front, each into a folder of its own")
    sub.add_argument(
        "--architecture", metavar="FILE", help="of a space: plain, paper, or a JSON file such as architecture.json of an export"
    )
    sub.add_argument("-o", "--output", required=True, metavar="PATH", help="NAME.py, or a directory")
    sub.add_argument("--force", action="store_true", help="overwrite an earlier export")
    sub.add_argument("--untrained", action="store_true", help="leave the weights out")
    sub.add_argument("--deploy", action="store_true", help="write the fast inference form (batch norms folded), not for training")
    sub.add_argument("--onnx", action="store_true", help="also write model.onnx")
    sub.add_argument("--program", action="store_true", help="also write model.pt2, for torch.export.load")
    sub.add_argument("--hub", action="store_true", help="also write hubconf.py, for torch.hub.load")
    sub.add_argument("--timm", action="store_true", help="also write timm_model.py, which registers the network with timm")
    sub.add_argument("--no-proof", action="store_false", dest="prove", help="do not run the written file apart to compare it")

    sub = command("report", report_command, "write a run's report as one HTML file", "RUN", run)
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
        help="a hard limit: 'params<=+5%%' of the plain backbone, 'params<=paper', 'macs<=42M', or, with a profile, 'latency<=+3%%'; "
        "may be given again (default: the file's)",
    )
    add_profile(groups["goals"])
    add_flags(groups, settings_of(SearchSettings).values())
    groups["output"].add_argument("--out", metavar="DIR", help="directory of the run, new or empty (default: a new one below runs/)")
    return groups


def _version() -> str:
    from se_nas import __version__

    return f"se-nas {__version__}"


if __name__ == "__main__":
    sys.exit(main())
