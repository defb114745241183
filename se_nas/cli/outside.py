"""The commands for trials that run outside of se-nas: ask and tell."""

from __future__ import annotations

import argparse
import json
import sys

from se_nas.errors import InputError


def add_ask_flags(sub: argparse.ArgumentParser) -> None:
    """The flags of ``ask``."""
    sub.add_argument("--lease", type=float, metavar="SECONDS", help="ask it again if nobody has told it by then (default: 86400)")
    sub.add_argument("--trials", type=int, metavar="N", help="a new total for the run (default: as it was)")


def ask_command(args: argparse.Namespace) -> None:
    """Print a trial as JSON; end with exit code 3 if there is none now, 4 if none is left."""
    from se_nas.engines.outside import LEASE, ask

    asked = ask(args.run, lease=LEASE if args.lease is None else args.lease, trials=args.trials)
    print(json.dumps(asked))
    if asked["state"] != "trial":
        sys.exit(3 if asked["state"] == "wait" else 4)


def add_tell_flags(sub: argparse.ArgumentParser) -> None:
    """The operands and flags of ``tell``."""
    sub.add_argument("number", metavar="NUMBER", help="of the trial")
    sub.add_argument("metrics", metavar="NAME=VALUE", nargs="*", help="every measured objective, such as accuracy=0.91")
    sub.add_argument("--failed", metavar="REASON", help="it has no result")
    sub.add_argument("--weights", metavar="FILE", help="its trained weights, as safetensors, for exports")


def tell_command(args: argparse.Namespace) -> None:
    """Record a trial's result, and print its line of the ledger."""
    from se_nas.engines.outside import tell

    if not args.number.isdecimal():
        raise InputError(f"{args.number!r} is not the number of a trial", "take the one that se-nas ask printed", "tell")
    if bool(args.metrics) == (args.failed is not None):
        raise InputError("neither or both of a result and --failed", "tell accuracy=0.91, or --failed REASON", "tell")
    pairs = dict(text.partition("=")[::2] for text in args.metrics)
    try:
        metrics = {name: float(value) for name, value in pairs.items()}
    except ValueError:
        raise InputError(f"{' '.join(args.metrics)!r} is not NAME=VALUE with numbers", "tell accuracy=0.91", "tell") from None
    print(json.dumps(tell(args.run, int(args.number), metrics, failed=args.failed, weights=args.weights).to_json()))
