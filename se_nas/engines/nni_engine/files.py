"""What a trial's process needs from the run's directory, and the command that begins one."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from se_nas.engines.nni_engine.machines import Machine
from se_nas.errors import InputError
from se_nas.evaluate import Evaluator
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings


@dataclass(frozen=True)
class Files:
    """Where things are.

    Attributes:
        folder: all that NNI writes.
        code: the directory that a trial runs in.
        weights: where trials leave weights; None if this machine would not see them.
        command: that runs one trial.
    """

    folder: Path
    code: Path
    weights: Path | None
    command: str


def check_travels(evaluator: Evaluator) -> None:
    """Raise unless a trial's process can make the evaluator again from ``run.yaml``; nothing is pickled."""
    from se_nas.evaluate.paper import PaperEvaluator
    from se_nas.evaluate.training import TrainingEvaluator

    if type(evaluator) not in (TrainingEvaluator, PaperEvaluator):
        fix = "leave the service out (--engine nni alone), or take --engine ray"
        raise InputError(f"{type(evaluator).__name__} cannot be made again in a trial's process", fix, "nni_service")
    if isinstance(evaluator, TrainingEvaluator) and not isinstance(evaluator.space.backbone, str):
        fix = "name it as package.module:callable, or leave the service out"
        raise InputError("a backbone given as an object cannot be made again in a trial's process", fix, "nni_service")


def lay_out(run: Run, settings: SearchSettings, machines: Sequence[Machine]) -> Files:
    """Make the directories; see `Files`.

    Raises:
        InputError: for a run's directory with a space in its name, which NNI's shell commands would break at.
    """
    folder = run.path.resolve() / "nni"
    if any(letter.isspace() for letter in str(folder)):
        raise InputError("NNI cannot work in a directory with spaces in its name", "take another --out", str(run.path))
    code = folder / "code"
    code.mkdir(parents=True, exist_ok=True)
    weights = _weights(run, settings, folder, bool(machines))
    told = [str(weights)] if weights else []
    module = ["-m", "se_nas.engines.nni_engine.trial"]
    if machines:
        shutil.copyfile(run.path / "run.yaml", code / "run.yaml")
        return Files(folder, code, weights, _first_python(machines, [*module, "run.yaml", *told]))
    begin = shlex.join(["cd", os.getcwd()])  # relative paths and one's own modules are seen from here
    return Files(
        folder, code, weights, f"{begin} && {shlex.join(['exec', sys.executable, *module, str(folder.parent / 'run.yaml'), *told])}"
    )


def _weights(run: Run, settings: SearchSettings, folder: Path, remote: bool) -> Path | None:
    if (remote and not settings.storage) or settings.keep_weights == "none":
        return None
    weights = Path(settings.storage).resolve() / f"{run.path.resolve().name}-weights" if settings.storage else folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    return weights


def _first_python(machines: Sequence[Machine], arguments: list[str]) -> str:
    """FAULT: NNI begins a remote trial with another python than the machine's ``python_path``: take the first that is there."""
    rest = shlex.join(arguments)
    paths = shlex.join(dict.fromkeys(machine.python_path for machine in machines if machine.python_path))
    find = f'for p in {paths}; do if [ -x "$p/python" ]; then exec "$p/python" {rest}; fi; done; ' if paths else ""
    return f"{find}exec python {rest}"
