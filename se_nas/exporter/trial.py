"""The trials of a run, exported with their weights and with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from se_nas.errors import InputError
from se_nas.exporter import Exported, export
from se_nas.exporter.card import without_folders
from se_nas.exporter.contract import ExportOptions
from se_nas.exporter.write import check_free, staged
from se_nas.run.explained import read_explanations
from se_nas.run.run import Run
from se_nas.run.start import CONFIRMATION, SEARCH, as_confirmed
from se_nas.run.trial import CONFIRM, Trial
from se_nas.space.space import SearchSpace
from se_nas.text import printable, shown


def export_one(run: Run, space: SearchSpace, trial: Trial, target: Path, untrained: bool, options: ExportOptions) -> Exported:
    """Export one trial.

    Raises:
        InputError: if its weights were not kept and are not left out.
    """
    space = as_confirmed(run, space) if trial.role == CONFIRM else space
    weights = None if untrained else weights_of(run, trial)
    explanation = read_explanations(run).get(trial.number) if weights else None
    return export(space, trial.architecture, target, weights, _about(run, trial), options, explanation)


def export_front(run: Run, space: SearchSpace, target: Path, untrained: bool, options: ExportOptions) -> list[Exported]:
    """Export every trial on the front, each into a folder ``trial-N`` of the target; all of them or none.

    Raises:
        InputError: as of each export; or if nothing is on the front.
    """
    front = [entry.trials[0] for entry in run.front.front]
    if not front:
        raise InputError("nothing is on the front", f"go on with the search: se-nas resume {run.path}", str(run.path))
    if target.suffix == ".py":
        raise InputError(f"{target} is one file, and the front has {len(front)} architectures", "name a folder", "--output")
    check_free(target, [], options.force)
    with staged(target) as staging:
        made = [export_one(run, space, trial, staging / f"trial-{trial.number}", untrained, options) for trial in front]
    return [
        Exported(
            target / one.path.relative_to(staging), tuple(target / file.relative_to(staging) for file in one.files), one.notes, one.proof
        )
        for one in made
    ]


def find_trial(run: Run, name: str) -> Trial:
    """The trial of that number, or ``best``.

    Raises:
        InputError: if there is none, or it failed.
    """
    trials = {str(trial.number): trial for trial in (*run.trials, *run.confirmed)}
    if name == "best":
        best = run.front.best()
        if best is None:
            raise InputError("no trial is complete", f"go on with the search: se-nas resume {run.path}", str(run.path))
        return best.trials[0]
    if name not in trials:
        numbers = f"it has 0 to {len(trials) - 1}" if trials else "none is finished"
        raise InputError(f"{shown(name)} is no trial of {run.path}", f"take best, all-front, or a number ({numbers})", "--trial")
    if not trials[name].complete:
        why = "was stopped early" if trials[name].stopped else f"failed: {printable(trials[name].error)}"
        raise InputError(f"trial {name} {why}", "take one that is complete", "--trial")
    return trials[name]


def weights_of(run: Run, trial: Trial) -> dict[str, Tensor]:
    path, weights = run.weights_path(trial.number), run.load_weights(trial.number)
    if weights is None:
        own = run.config.get("evaluator") == "own"
        why = "the run's evaluator gave none" if own else "a search keeps those of its front; --keep-weights all keeps every one"
        raise InputError(f"the weights of trial {trial.number} are not there: {why}", "export without them: --untrained", str(path))
    return weights


def confirmed_with(run: Run, trial: Trial) -> Mapping[str, Any]:
    """What ``run.yaml`` says of the confirmation that a trial is of; empty for a trial of the search."""
    return (run.config.get("confirm") or {}) if trial.role == CONFIRM else {}


def _about(run: Run, trial: Trial) -> dict[str, object]:
    """What a person would ask of a trial: where it is from, on what it was trained, and how well it did."""
    search, scores = run.config["search"], run.test_scores.get(trial.number, {})
    same = [
        other
        for other in (*run.trials, *run.confirmed)
        if other.role == trial.role == CONFIRM or CONFIRM not in (other.role, trial.role)
        if other.complete and (other.architecture, other.fidelity) == (trial.architecture, trial.fidelity)
    ]
    about: dict[str, object] = {"run": run.path.resolve().name, "trial": trial.number, "seed": trial.seed}
    confirmed = confirmed_with(run, trial)
    kind, _, path = str(run.config.get("evaluator", "training")).partition(":")
    if kind == "training" or confirmed.get("data"):
        about["data"] = without_folders(confirmed.get("data") or search.get("data"))
    else:
        about["evaluator"] = f"{kind} {PurePath(path).name}".strip()
    about |= {name: value for name, value in trial.fidelity.items()}
    if normalisation := confirmed.get("normalisation") or run.config.get("normalisation"):
        about["normalisation"] = "; ".join(f"{name} {', '.join(f'{v:.4f}' for v in values)}" for name, values in normalisation.items())
        about["normalisation"] = f"{about['normalisation']} (of pixels in 0..1)"
    measured = {name: value for name, value in trial.metrics.items() if not name.startswith("test_")}
    scores = {**scores, **{name: value for name, value in trial.metrics.items() if name not in measured}}
    if (latencies := run.latencies) and (seconds := latencies.seconds.get(trial.architecture.id)):
        about["latency measured"] = f"{1e3 * seconds:.4g} ms, the plain backbone beside it {1e3 * latencies.plain:.4g} ms"
    if start := run.config.get(CONFIRMATION if confirmed.get("start") else SEARCH):
        about["started from"] = f"{start['from']}, SHA-256 {start['digest'][:12]}"
    about |= {f"validation {name}": f"{value:.4f}" for name, value in measured.items()}
    about |= {f"test {name.removeprefix('test_')}": f"{value:.4f}" for name, value in scores.items()}
    for name in measured if len(same) > 1 else ():
        about[f"validation {name} by seed"] = ", ".join(f"{other.metrics[name]:.4f} ({other.seed})" for other in same)
    if run.config.get("environment"):
        about["searched with"] = f"se-nas {run.config['environment'].get('se-nas')}, torch {run.config['environment'].get('torch')}"
    return about
