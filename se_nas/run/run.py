"""A run: the directory of one search, to resume, show, report and export it. Reading one needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from se_nas.errors import InputError
from se_nas.goals.objective import parse_objectives
from se_nas.goals.trade import resolve_trade
from se_nas.run.effects import LEAST, Effects, read_effects
from se_nas.run.front import Front, make_front
from se_nas.run.ledger import Ledger
from se_nas.run.trial import Trial
from se_nas.run.verdict import CONFIRM, Verdict, judge
from se_nas.space.spacefile import load_yaml

if TYPE_CHECKING:
    from torch import Tensor

    from se_nas.space.space import SearchSpace

SCHEMA = 1


class Run:
    """The directory of one search.

    - ``run.yaml``: space, settings, budgets, versions and hardware, with all defaults filled in.
    - ``trials.jsonl``: the ledger.
    - ``weights/``: weights of the front and the references.
    - ``effects.json``: what each choice brings, with the number of ledger lines that this was computed from.

    Attributes:
        path: the directory.
        config: the contents of ``run.yaml``.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.ledger = Ledger(path / "trials.jsonl")

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Begin a run in a directory that does not exist or is empty.

        Raises:
            InputError: if the directory is not free or cannot be written, or ``run.yaml`` cannot hold the config.
        """
        path = Path(path)
        cls.check_free(path)
        run = cls(path, {"schema": SCHEMA, **config})
        run._text()  # fail before anything is written
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.save_config()
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", "take another directory", str(path)) from None
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise `InputError` unless a run can begin in this directory."""
        if (path / "run.yaml").exists():
            raise InputError("holds a run already", f"go on with it (se-nas resume {path}) or take another directory", str(path))
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError("is in the way and holds no run", "take another directory", str(path))

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in a directory.

        Raises:
            InputError: if there is none, or another version of se-nas wrote it.
        """
        path = Path(path)
        if not (path / "run.yaml").exists():
            raise InputError("holds no run (there is no run.yaml)", "name the directory of a search", str(path))
        config = load_yaml(path / "run.yaml")
        if config.get("schema") != SCHEMA:
            raise InputError(
                f"schema {config.get('schema')!r} is not {SCHEMA}", "read it with the se-nas that wrote it", str(path / "run.yaml")
            )
        return cls(path, config)

    def save_config(self) -> None:
        """Write ``run.yaml`` atomically."""
        _write(self.path / "run.yaml", self._text())

    def _text(self) -> str:
        try:
            return yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        except yaml.YAMLError as error:
            value = " ".join(map(str, error.args))
            fix = "give numbers, texts, lists and mappings"
            raise InputError(f"run.yaml cannot hold an argument ({value})", fix, "backbone_args") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the directory against other searches. If the process dies, the lock is released.

        Raises:
            InputError: if another process holds the lock.
        """
        from filelock import FileLock, Timeout

        owner = self.path / "lock.owner"
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            holder = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
            raise InputError(
                f"in use by another search ({holder})", "wait for it, stop it, or take another directory", str(self.path)
            ) from None
        try:
            owner.write_text(f"process {os.getpid()}", encoding="utf-8")
            self.ledger.recover()
            yield
        finally:
            lock.release()

    @property
    def trials(self) -> list[Trial]:
        """The search's finished trials, in the order in which they ended."""
        return [trial for trial in self.ledger.read() if trial.role != CONFIRM]

    @property
    def confirmed(self) -> list[Trial]:
        """The finished trials of the confirmation (``se-nas confirm``)."""
        return [trial for trial in self.ledger.read() if trial.role == CONFIRM]

    def verdict(self) -> Verdict | None:
        """What the confirmation says so far; None if there is none, or nothing is measured."""
        asked, measured = self.config.get("confirm"), self.front.measured
        return judge(asked, self.confirmed, measured) if asked and measured else None

    @property
    def front(self) -> Front:
        """The front of the finished trials."""
        return self.front_of(self.trials)

    def front_of(self, trials: list[Trial]) -> Front:
        """The front of these trials, under the run's objectives, budgets and fidelity."""
        limits = {budget["metric"]: budget["limit"] for budget in self.config["budgets"]}
        objectives = parse_objectives(self.config["search"]["objectives"])
        fidelity = {"epochs": self.config["search"]["epochs"]}
        trade = resolve_trade(self.config["search"], objectives, self.config.get("backbone") or {}, len(limits))
        return make_front(trials, objectives, limits, fidelity, self.config.get("validation_images"), trade)

    def effects(self) -> Effects | None:
        """What each choice brings, from all complete trials of the run's fidelity.

        Read from ``effects.json`` if that is of the ledger as it is now; otherwise computed, and kept there. None if nothing is
        measured: all objectives are exact, or estimates of the paper's tables, which say themselves what each choice brings.
        """
        trials, path = self.trials, self.path / "effects.json"
        front = self.front_of(trials)
        if front.measured is None or self.config.get("evaluator") == "paper":
            return None
        known = read_effects(path)
        if known is not None and (known.lines, known.metric) == (len(trials), front.measured.name):
            return known
        complete = [trial for entry in front.entries for trial in entry.trials]
        if len(front.entries) < LEAST:
            return Effects(front.measured.name, len(trials), len(complete), len(front.entries))
        from se_nas.run.estimate import estimate

        found = estimate(complete, front.measured, self.config, len(trials))
        with contextlib.suppress(OSError):  # a directory that cannot be written: computed again next time
            _write(path, json.dumps(found.to_json(), indent=1))
        return found

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was searched. Of a run, only this and weights need torch.

        Raises:
            InputError: if the backbone was given as a module or a function, which a file cannot hold.
        """
        from se_nas.space.space import SearchSpace

        if self.config["space"]["backbone"] is None:
            raise InputError("this run's backbone was given as an object of Python", "go on from Python and pass space=...", str(self.path))
        return SearchSpace.from_dict(self.config["space"], f"{self.path / 'run.yaml'}, space")

    # Weights: one file for each trial.

    def weights_path(self, number: int) -> Path:
        return self.path / "weights" / f"{number:05d}.safetensors"

    def save_weights(self, number: int, weights: Mapping[str, Tensor]) -> None:
        """Write the weights of a trial atomically.

        Raises:
            OSError: if they cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self.weights_path(number)
        part = path.with_suffix(".part")
        path.parent.mkdir(exist_ok=True)
        try:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, part)
        except SafetensorError as error:
            part.unlink(missing_ok=True)
            raise OSError(str(error)) from None
        part.replace(path)

    def load_weights(self, number: int) -> dict[str, Tensor] | None:
        """The weights of a trial; None if they were not kept."""
        from safetensors.torch import load_file

        path = self.weights_path(number)
        return load_file(path) if path.exists() else None

    def keep_weights(self, numbers: set[int]) -> None:
        """Delete the weights of all trials but these."""
        keep = {self.weights_path(number) for number in numbers}
        for path in (self.path / "weights").glob("*"):
            if path not in keep:
                path.unlink()

    @property
    def test_scores(self) -> dict[int, dict[str, float]]:
        """Trial's number -> its metrics on the test split, as older versions scored the front of a search."""
        path = self.path / "test.json"
        return {int(number): scores for number, scores in json.loads(path.read_text()).items()} if path.exists() else {}


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
