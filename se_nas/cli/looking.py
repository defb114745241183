"""The commands that only look, and write what was found: check, sites, cost, plan, show, explain, export, report."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path

from se_nas.cli.latency import make_space
from se_nas.errors import InputError
from se_nas.run.settings import resolve_settings
from se_nas.text import flat


def check_command(args: argparse.Namespace) -> None:
    """Say whether a space is sound, or what of a run is whole."""
    if os.path.isdir(args.space):
        from se_nas.report.checked import show_check

        show_check(Path(args.space))
        return
    from se_nas.report.space_table import show_space
    from se_nas.space.space import SearchSpace
    from se_nas.space.spacefile import load_space

    arguments, section = load_space(args.space)
    resolve_settings(section, f"{args.space}, search", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what it says of blocks left out is shown below
        space = SearchSpace.from_dict(arguments, args.space)
    show_space(space)


def sites_command(args: argparse.Namespace) -> None:
    """List the sites of a network."""
    from se_nas.backbones import build_backbone
    from se_nas.network.inputs import read_inputs
    from se_nas.network.survey import survey
    from se_nas.report.sites_table import show_sites, site_rows
    from se_nas.space.candidates import check_size
    from se_nas.space.spacefile import load_space

    from_file = load_space(args.model)[0] if args.model.endswith((".yaml", ".yml")) else {"backbone": args.model}
    size = check_size(args.input_size or from_file.get("input_size", [3, 224, 224]))
    inputs = read_inputs(from_file["example_inputs"]) if "example_inputs" in from_file else size
    found = survey(build_backbone(from_file["backbone"], from_file.get("backbone_args", {})), inputs)
    if args.json:
        print(json.dumps({"sites": site_rows(found), "left_out": list(map(str, found.left_out))}, indent=1))
    else:
        show_sites(args.model, found)


def cost_command(args: argparse.Namespace) -> None:
    """Show exact costs."""
    from se_nas.report.space_table import cost_rows, show_costs
    from se_nas.space.spacefile import load_space

    space = make_space(load_space(args.space)[0], args)
    if args.json:
        print(json.dumps({name: cost._asdict() for name, cost in cost_rows(space).items()}, indent=1))
    else:
        show_costs(space)


def plan_command(args: argparse.Namespace) -> None:
    """Say how many trials tell how much of what SE brings at each site."""
    from rich.console import Console

    from se_nas.report.outlook import outlook_columns, outlook_sentence
    from se_nas.report.text_table import text_table
    from se_nas.report.words import wrapped
    from se_nas.space.budget import split_budget
    from se_nas.space.spacefile import load_space
    from se_nas.strategies.foresight import foresee

    for name in ("noise", "width"):
        if (value := getattr(args, name)) is not None and not 0 < value < float("inf"):
            raise InputError(f"{value:g} is not a width", "give a number above 0", f"--{name}")
    space = make_space(load_space(args.space)[0], args).with_budgets(dict(map(split_budget, args.budget)))
    found = foresee(space, args.noise or 1.0)
    console = Console()
    print(f"half of the 95 % interval of what SE brings at a typical one of {found.sites} sites,")
    print("in the unit of --noise:" if args.noise else "in standard deviations of a trial (say --noise):")
    console.print("", text_table(outlook_columns(found), console.width), "", sep="\n")
    if args.width:
        print("\n".join(wrapped(outlook_sentence(found, args.width), console.width)))


def show_front(path: Path) -> None:
    from rich.console import Console

    from se_nas.report.table import show
    from se_nas.run.run import Run

    if (path / "run.yaml").exists():
        show(Run.open(path), Console())


def show_command(args: argparse.Namespace) -> None:
    """Show a run's front."""
    from se_nas.report.table import as_json
    from se_nas.run.run import Run

    run = Run.open(args.run)
    if args.json:
        print(json.dumps(as_json(run), indent=1))
    else:
        show_front(run.path)


def export_command(args: argparse.Namespace) -> None:
    """Write architectures as PyTorch code."""
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
        print(*map(flat, (*one.files, *one.notes)), sep="\n")
        if one.proof:
            print(f"proven in {one.proof.seconds:.0f} s: run apart, it is the searched network")


def explain_command(args: argparse.Namespace) -> None:
    """Say what the SE blocks of a trial's network do."""
    from rich.console import Console

    from se_nas.exporter.explained import explain_trial
    from se_nas.exporter.trial import find_trial
    from se_nas.report.excitation import explanation_columns, explanation_sentences
    from se_nas.report.text_table import text_table
    from se_nas.report.words import wrapped
    from se_nas.run.explained import explanation_path
    from se_nas.run.run import Run

    run = Run.open(args.run)
    trial = find_trial(run, args.trial)
    found = explain_trial(run, trial, args.images)
    if args.json:
        print(json.dumps(found.to_json(), indent=1))
        return
    console = Console()
    console.print("", text_table(explanation_columns(found), console.width), "", sep="\n")
    for text in explanation_sentences(found):
        print("\n".join(wrapped(text, console.width)))
    print(f"\nimportance of each channel: {flat(explanation_path(run, trial.number))}")


def report_command(args: argparse.Namespace) -> None:
    """Write a run's report."""
    from se_nas.report.html import write_report
    from se_nas.run.run import Run

    print(write_report(Run.open(args.run), None if args.output is None else Path(args.output), args.force))
