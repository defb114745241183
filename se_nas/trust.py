"""How far results can be trusted: `reliability` before a search, `confirm` after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from se_nas.api import normalisation, resume, scoring_device, start
from se_nas.engines import create_engine
from se_nas.engines.confirmation import Confirmation, Score
from se_nas.errors import InputError, known
from se_nas.evaluate import Evaluator
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.evaluator import make_evaluator
from se_nas.run.finalists import begin_confirmation
from se_nas.run.observer import Observer
from se_nas.run.run import START, Run
from se_nas.run.settings import SearchSettings, changeable, resolve_settings
from se_nas.run.start import CONFIRMATION, as_started, begin, check_start, with_identity
from se_nas.space.space import SearchSpace

MEASURED = ("accuracy", "loss")
"""Metrics of se-nas's own training."""


def confirm(
    path: str | Path,
    *,
    top: int | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    paying: bool | None = None,
    race: bool | None = None,
    start: str | None = None,
    normalise: str | None = None,
    data: str | None = None,
    space: SearchSpace | None = None,
    evaluator: Evaluator | None = None,
    observer: Observer | None = None,
    **changes: Any,
) -> Run:
    """Train a search's finalists and both references anew, and say which are better: ``run.verdict()``.

    Every seed is fresh, and all architectures have it: what is compared is the difference within a seed. From a start all
    weights train, unless the search's ``train.freeze`` says otherwise. The test split is scored here and nowhere else. A
    confirmation that was stopped goes on; one that is done takes more seeds, but no others.

    Args:
        path: the run's directory.
        top: most finalists (3): the architecture that all trials together predict to be best, and the front's best.
        seeds: number of fresh seeds (5), at least 2.
        epochs: of each training (those of the search).
        paying: also confirm the best without SE at sites where it is not known to pay.
        race: who is told to be worse than the leader is not trained again; ``seeds`` (10) are the most that are trained.
        start: with what they begin, if not as the search's trials did: ``scratch``, ``trained``, a file, or ``train``.
        normalise: how images are for that start, as in `search`.
        data: what to train on, as in `search`, if the search trained nothing (evaluators ``paper`` and ``table:PATH``).
        space: as in `resume`.
        evaluator: as in `resume`.
        observer: hears what happens.
        changes: to where trials run, as in `resume`.

    Raises:
        InputError: if there is nothing to confirm, or what is asked differs from what was begun.
    """
    run = Run.open(path)
    for name in changes:
        known(name, changeable(), "argument")
    asked = {"top": top, "seeds": seeds, "epochs": epochs, "paying": paying, "race": race, "data": data}
    asked |= {"start": start, "normalise": normalise}
    section = {**run.config["search"], "strategy": "random", "scheduler": "none", "warm_start": "", "prior": "", "front_seeds": 1}
    begun = run.config.get("confirm") or {}
    if begun:
        begin_confirmation(run, space or run.space, asked)  # what differs is refused before anything is loaded
    other = begun.get("start", "") if start is None else start
    images = begun.get("data", "") if data is None else data
    if normalise and not other:
        raise InputError("the start is the search's, and so is its normalisation", "leave it out, or give a start", "normalise")
    if section["evaluator"] == "training" and images:
        raise InputError("the data is the search's", "leave it out", "data")
    if section["evaluator"] != "training":
        if not images:
            raise InputError(f"evaluator {section['evaluator']} trains nothing", "say on what to train: --data DATA", "data")
        if run.compared and run.compared.name not in MEASURED:
            problem = f"the search compared {run.compared.name}, and training measures {' and '.join(MEASURED)}"
            raise InputError(problem, "search for one of these", "data")
        section |= {"evaluator": "training", "data": images}
    kept = run.path / f"{CONFIRMATION}.safetensors"
    if other:
        pixels = normalise or begun.get("normalise") or "auto"
        section |= {"start": str(kept) if kept.exists() else other, "start_epochs": 0, "normalise": pixels}
    settings = resolve_settings(section, f"{run.path / 'run.yaml'}, search", changes).whole
    if changes.get("cache") and settings.cache is None:
        raise InputError("a confirmation trains all weights: nothing can be kept", "leave it out", "cache")
    searched = space or run.space
    space = as_started(searched, settings.start) if other else with_identity(searched, settings)
    run.use(searched if other else space)
    if run.config.get("evaluator") == "own" and evaluator is None:
        raise InputError("this run had an evaluator of its own", "go on from Python: se_nas.confirm(path, evaluator=...)", str(path))
    if (other or images) and settings.nni_service != "none":
        raise InputError("the service's trials have the search's start and data", "leave the service out", "nni_service")
    evaluator = evaluator or make_evaluator(space, settings, None if other else run)
    origin = check_start(evaluator, settings) if other and not kept.exists() else None
    with run.lock():
        run.config = Run.open(path).config  # as it is now
        run.config["confirm"] = confirmation = begin_confirmation(run, space, asked)
        confirmation["normalisation"] = normalisation(evaluator)
        observer = observer or Observer()
        if other:
            begin(run, evaluator, settings, origin, scoring_device(settings.to_dict()), observer, CONFIRMATION)
        engine = create_engine(evaluator, replace(settings, epochs=confirmation["epochs"]))
        plan = Confirmation(space, confirmation, run.confirmed, run.front.trade, run.compared, _scorer(evaluator, settings))
        run.save_config()
        observer.confirmation_started(run)
        engine(run, plan, observer)
        observer.confirmation_finished(run)
    return run


def reliability(
    space: SearchSpace,
    settings: SearchSettings,
    out: str | Path,
    architectures: int = 8,
    seeds: int = 2,
    truth: int = 0,
    observer: Observer | None = None,
) -> tuple[Run, Run | None]:
    """Try a handful of architectures with several seeds each, and perhaps as long as they will be trained in the end.

    The architectures are both references and others drawn at random. They are runs like any other, which go on where they were
    stopped: ``out``, and below it ``truth``. From a start the truth trains all weights, unless ``train.freeze`` says otherwise.

    Args:
        space: of the search that is to come.
        settings: of it; its strategy and number of trials are not used.
        out: a directory, new or with an earlier call's runs.
        architectures: how many.
        seeds: of each.
        truth: epochs of the trainings that count in the end; 0 for none.
        observer: hears what happens.

    Raises:
        InputError: for too few architectures or seeds, and as `start` does.
    """
    for name, value, least in (("architectures", architectures, 4), ("seeds", seeds, 2)):
        if value < least:
            raise InputError(f"{value} is below {least}", f"take {least} or more", name)
    asked = replace(
        settings,
        strategy="random",
        repeats=seeds,
        front_seeds=seeds,
        trials=seeds * architectures,
        scheduler="none",
        keep_weights="none",
        prior="",
        warm_start="",
    )
    out = Path(out)

    def one(path: Path, wanted: SearchSettings) -> Run:
        if (path / "run.yaml").exists():
            return resume(path, observer=observer, space=space, trials=wanted.trials)
        return start(space, wanted, path, observer=observer)

    quick = one(out, asked)
    if not truth:
        return quick, None
    begun = settings.start if settings.start == "scratch" else str(quick.path / START)
    return quick, one(out / "truth", replace(asked.whole, epochs=truth, start=begun, start_epochs=0))


def _scorer(evaluator: Evaluator, settings: SearchSettings) -> Score | None:
    """Scores on the test split, in this process."""
    if not isinstance(evaluator, TrainingEvaluator) or evaluator.data.test is None:
        return None
    device = scoring_device(settings.to_dict())
    return lambda architecture, weights: evaluator.score(architecture, weights, device)
