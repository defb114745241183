"""The Python face: search a space, go on with a run, export an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from se_nas.engines import Engine, create_engine
from se_nas.engines.nni_names import full_name
from se_nas.engines.outside import nobody
from se_nas.engines.plan import Plan
from se_nas.errors import InputError, known
from se_nas.evaluate import Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.goals.objective import parse_objectives
from se_nas.profiling.front import measure_front
from se_nas.report.logs import with_logs
from se_nas.run.environment import describe_environment
from se_nas.run.evaluator import as_evaluated, make_evaluator, validation_images
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings, changeable, resolve_settings
from se_nas.run.start import begin, check_start, with_identity
from se_nas.run.warmstart import read_earlier
from se_nas.setting import with_settings
from se_nas.space.architecture import Architecture
from se_nas.space.group import mean_costs
from se_nas.space.space import SearchSpace

if TYPE_CHECKING:
    from se_nas.exporter import Exported


@with_settings(SearchSettings)
def search(
    space: SearchSpace,
    *,
    out: str | Path | None = None,
    evaluator: Evaluator | str | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Search a space; the run's ``front`` is what was found.

    Args:
        space: what to search, its budgets included.
        out: the run's directory, new or empty; by default a new one below ``runs/``.
        evaluator: what gives an architecture its metrics, in place of training on ``data``: a function, ``"paper"`` for
            estimates from the SENet paper's tables, or ``"table:PATH"`` for a file of trainings that are done.
        observer: hears what happens; silent by default.
        settings: ``data``, ``epochs``, ``trials`` and all others of docs/settings.md; None stands for the default.

    Returns:
        The run. After Ctrl-C it holds what was finished, and KeyboardInterrupt is raised again.

    Raises:
        InputError: for anything that does not fit, before anything is trained or written.
    """
    if isinstance(evaluator, str):
        evaluator, settings = None, {**settings, "evaluator": evaluator}
    if evaluator is not None and not isinstance(evaluator, TrainingEvaluator):
        settings = {"objectives": ("accuracy", "params"), **settings}  # whether it tells a loss, nobody knows
    return start(space, resolve_settings({}, "search", settings), out or default_directory("search"), evaluator, observer)


@with_settings(SearchSettings)
def new(space: SearchSpace, *, out: str | Path, **settings: Any) -> Run:
    """Begin a run whose trials are run from outside: take them with `ask`, and `tell` their results.

    Args:
        space: what to search, its budgets included.
        out: the run's directory, new or empty, on a file system that all who ask share.
        settings: as of `search`.

    Raises:
        InputError: for anything that does not fit, before anything is written.
    """
    return start(space, resolve_settings({}, "new", {**settings, "engine": "outside"}), out, nobody)


def start(
    space: SearchSpace,
    settings: SearchSettings,
    out: str | Path,
    evaluator: Evaluator | None = None,
    observer: Observer | None = None,
    about: Mapping[str, Any] | None = None,
) -> Run:
    """`search` with its settings resolved; ``about`` is added to ``run.yaml``."""
    settings = replace(settings, strategy=full_name(settings.strategy, settings.engine))
    objectives = parse_objectives(settings.objectives, space.units)
    space, kind = with_identity(space, settings), settings.evaluator if evaluator is None else "own"
    evaluator = evaluator or make_evaluator(space, settings)
    space, settings = as_evaluated(space, settings, evaluator)
    origin = check_start(evaluator, settings)
    engine = create_engine(evaluator, settings)
    observer = with_logs(observer or Observer(), settings.log)
    earlier = read_earlier(settings, objectives)
    plan = Plan(space, settings, objectives, [], earlier)
    config = {
        **(about or {}),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "space": space.to_dict(),
        "search": _resolved(settings, evaluator),
        "budgets": [vars(budget) for budget in space.budgets],
        "evaluator": kind,
        "validation_images": validation_images(evaluator),
        "normalisation": normalisation(evaluator),
        "backbone": _describe_backbone(space),
        "environment": describe_environment(),
    }
    run = Run.create(out, config, earlier)
    run.use(space)
    with run.lock():
        begin(run, evaluator, settings, origin, scoring_device(settings.to_dict()), observer)
        return _go(run, plan, evaluator, engine, observer)


def resume(
    path: str | Path,
    *,
    trials: int | None = None,
    device: str | None = None,
    space: SearchSpace | None = None,
    evaluator: Evaluator | None = None,
    observer: Observer | None = None,
    **changes: Any,
) -> Run:
    """Go on with a run: no finished trial is lost or repeated, and the proposals are those of an uninterrupted search.

    Args:
        path: the run's directory.
        trials: a new total, to add to a finished search.
        device: another device than before.
        space: needed if the run's backbone was given as a module or a function, which has no name.
        evaluator: needed if the run had one of its own.
        observer: hears what happens.
        changes: to where trials run: ``engine``, ``workers`` and all others that docs/settings.md says `resume` may change;
            None changes nothing.

    Raises:
        InputError: if there is no such run, it is in use, its ledger is damaged, or one of the arguments is missing.
    """
    run = Run.open(path)
    observer = observer or Observer()
    for name in changes:
        known(name, changeable(), "argument")
    settings = resolve_settings(run.config["search"], f"{run.path / 'run.yaml'}, search", {"trials": trials, "device": device, **changes})
    space = with_identity(space or run.space, settings)
    run.use(space)
    if evaluator is None and run.config.get("evaluator") == "own":
        fix = "go on from Python: se_nas.resume(path, evaluator=...)"
        if settings.engine == "outside":
            fix = f"its trials run outside of se-nas: take the next one with se-nas ask {path}"
        raise InputError("this run had an evaluator of its own", fix, str(path))
    evaluator = evaluator or make_evaluator(space, settings, run)
    space, settings = as_evaluated(space, settings, evaluator)
    engine = create_engine(evaluator, settings)
    observer = with_logs(observer, settings.log)
    with run.lock():
        run.config = Run.open(path).config  # as it is now: another search may have gone on with it meanwhile
        begin(run, evaluator, settings, None, scoring_device(settings.to_dict()), observer)
        finished = run.trials
        objectives, taken = parse_objectives(settings.objectives, space.units), {trial.number for trial in run.confirmed}
        plan = Plan(space, settings, objectives, finished, run.earlier.read(), taken=taken)
        if not plan.replayed:
            observer.note("the strategy no longer proposes what the ledger holds (another version of a library?); going on from here")
        run.config["search"] = settings.to_dict()
        run.save_config()
        return _go(run, plan, evaluator, engine, observer)


def export(
    space: SearchSpace,
    architecture: Architecture,
    directory: str | Path,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    about: Mapping[str, object] | None = None,
    **options: bool,
) -> Exported:
    """Write an architecture as PyTorch code that runs without se-nas, see `se_nas.exporter.export`.

    Args:
        options: fields of `se_nas.exporter.ExportOptions`: ``force``, ``onnx``, ``program``, ``hub``, ``timm``, ``deploy``, ``prove``.
    """
    from se_nas import exporter

    return exporter.export(space, architecture, directory, weights, about, exporter.ExportOptions.of(options))


def export_trial(
    run: Run, trial: str, target: str | Path, untrained: bool = False, space: SearchSpace | None = None, **options: bool
) -> list[Exported]:
    """Export one trial of a run with its weights, or every trial on its front.

    Args:
        run: the run.
        trial: its number, ``best`` (the front's best in the first objective), or ``all-front``: each into a folder
            ``trial-N`` of the target.
        target: ``NAME.py`` or a directory.
        untrained: leave the weights out.
        space: needed if the run's backbone was given as a module or a function, and the run is not fresh from `search`.
        options: fields of `se_nas.exporter.ExportOptions`.

    Raises:
        InputError: if there is no such trial, it failed, or its weights were not kept.
    """
    from se_nas.exporter import ExportOptions
    from se_nas.exporter.trial import export_front, export_one, find_trial

    chosen = ExportOptions.of(options)
    if space is not None:
        run.use(space)
    if trial == "all-front":
        return export_front(run, run.space, Path(target), untrained, chosen)
    return [export_one(run, run.space, find_trial(run, trial), Path(target), untrained, chosen)]


def _go(run: Run, plan: Plan, evaluator: Evaluator, engine: Engine, observer: Observer) -> Run:
    """Run the plan, and keep what its trials say of each choice."""
    reason = "interrupted"
    observer.search_started(run, run.config["search"]["trials"])
    try:
        reason = engine(run, plan, observer)
        run.config["ended"] = reason
        run.save_config()
        run.effects()  # kept in a file, so that views need not compute them
        try:
            measure_front(run, plan.space)
        except InputError as refused:
            observer.note(f"the front's latency was not measured: {refused}")
    finally:
        observer.search_finished(reason)
    return run


def _resolved(settings: SearchSettings, evaluator: Evaluator) -> dict[str, Any]:
    """The settings with the number of threads in place of 0: a resumed search must not choose another one."""
    chosen = {"threads": evaluator.threads} if isinstance(evaluator, TrainingEvaluator) else {}
    return {**settings.to_dict(), **chosen}


def normalisation(evaluator: Evaluator) -> dict[str, list[float]] | None:
    """What training does to pixels in 0..1, of each channel: whoever uses the weights must do it too."""
    if not isinstance(evaluator, TrainingEvaluator):
        return None
    return {"mean": list(evaluator.data.mean), "std": list(evaluator.data.std)}


def scoring_device(section: Mapping[str, Any]) -> str:
    """This process's own: trials may have run where it has no GPU, or not seen the one that it has."""
    return choose_device(section["device"] if section["engine"] == "local" else "auto")


def default_directory(name: str) -> Path:
    """A new directory below ``runs/``, named after the time."""
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _describe_backbone(space: SearchSpace) -> dict[str, Any]:
    """What views need to know of the backbone without building it."""
    return {
        "name": space.backbone if isinstance(space.backbone, str) else type(space.backbone).__name__,
        "params": space.plain_cost.params,
        "trainable_params": space.trainable,
        "macs": space.plain_cost.macs,
        **({"costs": {name: getattr(space.plain_cost, name) for name in space.costs}} if space.costs else {}),
        "left_out": list(map(str, space.left_out)),
        "narrowed": list(space.narrowed),
        "groups": {
            group.name: {
                "stage": group.sites[0].stage,
                "sites": len(group.sites),
                "channels": group.sites[-1].attachments["standard"].channels,
                "settings": mean_costs(group),
            }
            for group in space.groups
        },
    }
