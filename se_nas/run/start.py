"""The start of a run: made once, kept in its directory, and the same for every trial on every worker."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from se_nas.errors import InputError
from se_nas.evaluate import Evaluator
from se_nas.evaluate.device import find_device, reproducible
from se_nas.evaluate.head import fit_head
from se_nas.evaluate.start import Origin, digest, find_origin, load_start, read_weights, save_weights
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.observer import Observer
from se_nas.run.run import START, Run
from se_nas.run.settings import SearchSettings
from se_nas.space.space import SearchSpace
from se_nas.text import several

if TYPE_CHECKING:
    from torch import Tensor

SEARCH, CONFIRMATION = START.removesuffix(".safetensors"), "confirm_start"
"""Names of a run's starts, in ``run.yaml`` and of their files."""

PARTS = {"se": "SE blocks", "head": "the last layer", "backbone": "the backbone"}
"""Parts of a network in words."""

NOTES = 10
"""Times that the user is told how far the training of the plain backbone is."""


def with_identity(space: SearchSpace, settings: SearchSettings) -> SearchSpace:
    """The space as a search from ``settings.start`` takes it: SE blocks that begin as the identity, if it starts from weights.

    Raises:
        InputError: if the space asks for other blocks, or has more than one backbone.
    """
    if not settings.started:
        return space
    if space.init == "default":
        fix = "leave init out, or write init: identity; or take start: scratch"
        raise InputError("SE blocks that begin at random would spoil the start's features", fix, "init")
    if space.extra:
        fix = "give each one value in backbone_args, or take start: scratch"
        raise InputError(f"{', '.join(space.extra)} makes several backbones, and a start has the weights of one", fix, "extra")
    return space if space.init == "identity" else _with_init(space, "identity")


def as_confirmed(run: Run, space: SearchSpace) -> SearchSpace:
    """The space as a run's confirmation takes it: its SE blocks begin as its own start wants them, if it has one."""
    start = (run.config.get("confirm") or {}).get("start")
    return space if not start else as_started(space, start)


def as_started(space: SearchSpace, start: str) -> SearchSpace:
    """The space with SE blocks as that start wants them: at random from fresh weights, the identity from others.

    Raises:
        InputError: if the space has more than one backbone, and a start the weights of one.
    """
    if start != "scratch" and space.extra:
        fix = "confirm from scratch"
        raise InputError(f"{', '.join(space.extra)} makes several backbones, and a start has the weights of one", fix, "extra")
    init = "default" if start == "scratch" else "identity"
    return space if space.options.init == init else _with_init(space, init)


def _with_init(space: SearchSpace, init: str) -> SearchSpace:
    arguments = {**space.to_dict(), "backbone": space.backbone, "backbone_args": space.backbone_args, "init": init}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the space was made
        return SearchSpace(**{**arguments, "example_inputs": space.example_inputs})


def check_start(evaluator: Evaluator, settings: SearchSettings) -> Origin | None:
    """What a search will start from, before anything is written; None for `scratch` and `train`.

    Raises:
        InputError: if the weights are not there or do not fit, or the evaluator does not train.
    """
    if not settings.started:
        return None
    if not isinstance(evaluator, TrainingEvaluator):
        raise InputError(f"start {settings.start} is of se-nas's own training", "leave it out: your evaluator decides", "start")
    origin = None if settings.start == "train" else find_origin(evaluator.space, settings.start)
    if settings.warm_start and origin:
        theirs = Run.open(settings.warm_start).config.get("start")
        if theirs and theirs["source"] != origin.digest:
            raise InputError("the earlier run started from other weights: results cannot be compared", "take its own", "warm_start")
    return origin


def begin(
    run: Run,
    evaluator: Evaluator,
    settings: SearchSettings,
    origin: Origin | None,
    device: str,
    observer: Observer,
    kind: str = SEARCH,
) -> None:
    """Give the evaluator the run's start: read from the run's directory, or made and kept there.

    ``kind`` is `SEARCH`, or `CONFIRMATION` for that of a confirmation which begins elsewhere.

    Raises:
        InputError: if what lies there is not what ``run.yaml`` says.
    """
    if not settings.started:
        return
    assert isinstance(evaluator, TrainingEvaluator)
    if (run.path / f"{kind}.safetensors").exists() and kind in run.config:
        evaluator.start = read_start(run, kind)
        return
    about: dict[str, Any]
    if settings.warm_start:  # its trials began there, and so must these
        earlier = Run.open(settings.warm_start)
        evaluator.start, about = read_start(earlier), dict(earlier.config["start"])
    else:
        evaluator.start, about = _make(run, evaluator, settings, origin or _origin(evaluator, settings), device, observer)
        measured = evaluator.measure(evaluator.start, device)
        about |= {"digest": digest(evaluator.start), **measured}
        observer.note(
            f"every trial starts from these weights (validation accuracy {100 * measured['accuracy']:.1f} %, loss {measured['loss']:.3f}),"
            f" SE blocks from the identity (init: identity); trained, at shares of train.lr: {_trained_parts(settings)}"
        )
    # with the normalisation, so that another search can start from this file
    save_weights(run.path / f"{kind}.safetensors", evaluator.start, {"mean": evaluator.data.mean, "std": evaluator.data.std})
    run.config[kind] = about
    run.save_config()


def read_start(run: Run, kind: str = SEARCH) -> Mapping[str, Tensor]:
    """The weights that a run's trials begin with.

    Raises:
        InputError: if they are not there, or not those that ``run.yaml`` names.
    """
    path = run.path / f"{kind}.safetensors"
    weights, _ = read_weights(str(path))
    if digest(weights) != run.config[kind]["digest"]:
        raise InputError("is not the start that run.yaml names", "restore the file", str(path))
    return weights


def _trained_parts(settings: SearchSettings) -> str:
    """``SE blocks 0.3, the last layer 0.01``"""
    return ", ".join(f"{PARTS[part]} {rate:g}" for part, rate in settings.train.rates(settings.started).items() if rate)


def _origin(evaluator: TrainingEvaluator, settings: SearchSettings) -> Origin | None:
    return None if settings.start == "train" else find_origin(evaluator.space, settings.start)


def _make(
    run: Run, evaluator: TrainingEvaluator, settings: SearchSettings, origin: Origin | None, device: str, observer: Observer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The plain network's weights, and where they are from."""
    if origin is None:
        return _trained(run, evaluator, settings, device, observer)
    weights: dict[str, Tensor] = origin.weights
    about: dict[str, Any] = {"from": settings.start, "source": origin.digest}
    if origin.left_out:
        observer.note(f"{origin.left_out} tensors of the backbone's own SE blocks, at searched sites, are left out of its weights")
        about["left_out"] = origin.left_out
    if origin.fresh:
        head = origin.fresh[-1]
        observer.note(f"a new head ({head}) of {evaluator.space.classes} classes is fitted on the plain network's features")
        place = find_device(device)
        with reproducible(settings.seed, place, evaluator.threads):
            network = evaluator.space.build(evaluator.space.reference("plain"))
            load_start(network, weights)
            weights = {**weights, **fit_head(network.to(place), head, evaluator.data, evaluator.settings, place)}
        about["head"] = "fitted"
    return weights, about


def _trained(
    run: Run, evaluator: TrainingEvaluator, settings: SearchSettings, device: str, observer: Observer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    epochs = settings.start_epochs or settings.epochs
    observer.note(f"the plain backbone is trained first, for {several(epochs, 'epoch')}: the start of every trial")

    def report(epoch: int, total: int, metrics: Mapping[str, float]) -> None:
        if epoch * NOTES // total > (epoch - 1) * NOTES // total:
            observer.note(f"plain backbone: epoch {epoch} of {total}, validation accuracy {100 * metrics['accuracy']:.1f} %")

    part = run.path / "start.pt"
    plain = evaluator.space.reference("plain")
    found = evaluator.from_scratch()(plain, settings.seed, {"epochs": epochs}, device, report, part)
    part.unlink(missing_ok=True)
    assert found.weights is not None
    return found.weights, {"from": "train", "epochs": epochs, "source": digest(found.weights)}
