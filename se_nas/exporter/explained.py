"""The network of a trial, explained: what its SE blocks do on the validation images."""

from __future__ import annotations

from dataclasses import replace

from se_nas.errors import InputError
from se_nas.evaluate.batches import eval_batches
from se_nas.evaluate.device import find_device
from se_nas.evaluate.excitation import IMAGES, explain
from se_nas.evaluate.explanation import Explanation
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.exporter.trial import confirmed_with, weights_of
from se_nas.run.evaluator import make_evaluator
from se_nas.run.explained import keep_explanation
from se_nas.run.run import Run
from se_nas.run.settings import resolve_settings
from se_nas.run.start import as_confirmed
from se_nas.run.trial import Trial

BATCH = 128


def explain_trial(run: Run, trial: Trial, images: int = IMAGES) -> Explanation:
    """Explain the network of a trial with its weights, and keep what was found in the run's directory.

    The validation images are looked at: the test split is for `confirm` alone.

    Raises:
        InputError: if the trial has no SE, its weights were not kept, or the run trained on no data of se-nas's own.
    """
    if not any(spec for _, spec in trial.architecture):
        raise InputError(f"trial {trial.number} has no SE block", "take one that has", "--trial")
    weights = weights_of(run, trial)
    confirmed = confirmed_with(run, trial)
    space = as_confirmed(run, run.space) if confirmed else run.space
    kind, section = run.config.get("evaluator"), run.config["search"]
    if confirmed.get("data"):
        kind, section = "training", {**section, "evaluator": "training", "data": confirmed["data"]}
    settings = resolve_settings(section, f"{run.path / 'run.yaml'}, search", {})
    evaluator = make_evaluator(space, settings, run) if kind == "training" else None
    if not isinstance(evaluator, TrainingEvaluator):
        fix = "give the network and batches of it in Python: se_nas.explain(network, batches)"
        raise InputError("the run's evaluator is not se-nas's own training, so its images are not known", fix, str(run.path))
    network = space.build(trial.architecture)
    network.load_state_dict(weights)
    data = evaluator.data
    if own := confirmed.get("normalisation"):  # it may have begun elsewhere than the search
        data = replace(data, mean=tuple(own["mean"]), std=tuple(own["std"]))
    batches = eval_batches(data, data.val, BATCH, find_device("cpu"))
    found = explain(network, batches, classes=data.classes, images=images)
    keep_explanation(run, trial.number, found)
    return found
