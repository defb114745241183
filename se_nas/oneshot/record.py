"""The one-shot search of a run: done once, kept in the run's directory, and read from there on resume."""

from __future__ import annotations

import json
from pathlib import Path

from se_nas.errors import InputError
from se_nas.evaluate import Evaluator, Report
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.files import refused, write_whole
from se_nas.oneshot import check_one_shot
from se_nas.oneshot.search import OneShotResult, search_one_shot
from se_nas.reading import load_json
from se_nas.run.settings import SearchSettings
from se_nas.run.weights import save_weights
from se_nas.space.architecture import Architecture

FIX = "restore the file, or remove it: the supernet is trained again"


def ranking(path: Path, evaluator: Evaluator, settings: SearchSettings, device: str, report: Report) -> tuple[Architecture, ...]:
    """Architectures to train alone, most promising first: one for each trial of the run, or fewer if the space has no more.

    Writes ``one_shot.json`` (architectures, probabilities) and ``one_shot.safetensors`` (the supernet's weights) into the
    run's directory. If the run is resumed with more trials, the supernet is trained again with the same seed and result.

    Args:
        path: the run's directory.
        evaluator: gives the space, the data and how to train.
        settings: of the run.
        device: ``cpu`` or ``cuda:N``.
        report: called after each epoch of the supernet.

    Raises:
        InputError: if the evaluator does not train; and see `search_one_shot`.
    """
    check_one_shot(evaluator, settings)
    assert isinstance(evaluator, TrainingEvaluator)
    file = path / "one_shot.json"
    if file.exists():
        kept = load_json(file, FIX)
        if not isinstance(kept, dict) or not isinstance(kept.get("asked"), int) or not isinstance(kept.get("architectures"), list):
            raise InputError("is damaged: it holds no ranking", FIX, str(file))
        if kept["asked"] >= settings.trials:
            return tuple(map(Architecture.from_json, kept["architectures"]))
    found = search_one_shot(evaluator.space, settings, evaluator.data, settings.trials, device, report, evaluator.start)
    _keep(found, file, settings.trials)
    return found.architectures


def _keep(found: OneShotResult, file: Path, asked: int) -> None:
    """Write the weights first: once the JSON file exists, both are whole."""
    save_weights(file.with_suffix(".safetensors"), found.supernet.network.state_dict())
    probabilities = {label: [[value, share] for value, share in shares.items()] for label, shares in found.probabilities.items()}
    architectures = [architecture.to_json() for architecture in found.architectures]
    kept = {"asked": asked, "architectures": architectures, "probabilities": probabilities}
    with refused(file, "written"):
        write_whole(file, json.dumps(kept, indent=1))
