"""A run: the directory of one search, to resume, show, report and export it. Reading one needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from se_nas.errors import InputError
from se_nas.evaluate import ESTIMATED
from se_nas.files import OWN, held, make_directory, refused, remove_empty, sweep, write_whole
from se_nas.goals.objective import Objective, parse_objectives
from se_nas.goals.trade import resolve_trade
from se_nas.reading import load_json
from se_nas.run.config import FIX, SCHEMA, config_text, load_config
from se_nas.run.effects import LEAST, Effects, read_effects
from se_nas.run.front import Front
from se_nas.run.growing import GrowingFront
from se_nas.run.latency import Latencies, read_latencies
from se_nas.run.ledger import Ledger
from se_nas.run.trial import CONFIRM, Trial, is_finite
from se_nas.run.verdict import Verdict, judge

if TYPE_CHECKING:
    from torch import Tensor

    from se_nas.space.space import SearchSpace

START = "start.safetensors"

EARLIER = "warm_start.jsonl"
"""The trials of an earlier run that this one began with: a resume does not need the earlier run."""

OWNER = "lock.owner"
"""Says which process holds the run. The lock itself is on the directory, and no file to remove."""


class Run:
    """The directory of one search.

    - ``run.yaml``: space, settings, budgets, versions and hardware, with all defaults filled in.
    - ``trials.jsonl``: the ledger.
    - ``start.safetensors``: the trained weights that every trial begins with, if the search has a start.
    - ``weights/``: weights of the front and the references.
    - ``explained/``: what the SE blocks of some trials' networks do.
    - ``latency.json``: latencies of the front, if it was measured after the search.
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
    def create(cls, path: str | Path, config: Mapping[str, Any], earlier: Sequence[Trial] = ()) -> Run:
        """Begin a run in a directory that does not exist or is empty. ``run.yaml`` comes last: without it, nothing has begun.

        Args:
            path: the directory. What a beginning left there that was killed is removed.
            config: the contents of ``run.yaml``.
            earlier: trials of another run that this one begins with.

        Raises:
            InputError: if the directory is not free or cannot be written, or ``run.yaml`` cannot hold the config. Then nothing
                is there that was not before.
        """
        path = Path(path)
        run = cls(path, {"schema": SCHEMA, **config})
        config_text(run.config)  # fail before anything is written
        cls.check_free(path)
        with refused(path, "written", "take another directory, or make room"):
            made = make_directory(path)
            try:
                with run._held():
                    cls.check_free(path)
                    run._begin(earlier)
            except BaseException:
                remove_empty(made)
                raise
        return run

    def _begin(self, earlier: Sequence[Trial]) -> None:
        """Write the files of a new run, ``run.yaml`` last; all of them or none. The caller holds the run."""
        try:
            self.earlier.path.unlink(missing_ok=True)
            if earlier:
                self.earlier.write(earlier)
            self.save_config()
        except BaseException:
            for name in (EARLIER, OWNER) if not (self.path / "run.yaml").exists() else ():
                with contextlib.suppress(OSError):
                    (self.path / name).unlink()
            raise

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise `InputError` unless a run can begin in this directory."""
        with refused(path, fix="take another directory"):
            if os.path.lexists(path / "run.yaml"):
                raise InputError("holds a run already", f"go on with it (se-nas resume {path}) or take another directory", str(path))
            if path.exists() and (not path.is_dir() or not _only_a_beginning(path)):
                raise InputError("is in the way and holds no run", "take another directory", str(path))

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in a directory.

        Raises:
            InputError: if there is none, its ``run.yaml`` is damaged, or another version of se-nas wrote it.
        """
        path = Path(path)
        with refused(path):
            if not (path / "run.yaml").exists():
                raise InputError("holds no run (there is no run.yaml)", "name the directory of a search", str(path))
        return cls(path, load_config(path / "run.yaml"))

    def save_config(self) -> None:
        """Write ``run.yaml``, whole or not at all.

        Raises:
            InputError: if it cannot be written.
        """
        path = self.path / "run.yaml"
        with refused(path, "written"):
            write_whole(path, config_text(self.config))

    @property
    def earlier(self) -> Ledger:
        """The earlier trials that the run began with."""
        return Ledger(self.path / EARLIER)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run against other searches. If the process dies, it is free again.

        Raises:
            InputError: if another process holds it, or it cannot be written.
        """
        with self._held():
            with refused(self.path, "written"):
                self.ledger.recover()
            yield

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        owner = self.path / OWNER
        with contextlib.ExitStack() as stack:
            with refused(self.path, "written"):
                ours = stack.enter_context(held(self.path, self.ledger.path.name))
            if not ours:
                raise InputError(
                    f"in use by another search ({_first_line(owner)})", "wait for it, stop it, or take another directory", str(self.path)
                )
            with refused(self.path, "written"):
                try:
                    write_whole(owner, f"process {os.getpid()}")
                except BaseException:
                    owner.unlink(missing_ok=True)
                    raise
            sweep(self.path)
            sweep(self.path / "weights")
            yield

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
        asked, compared = self.config.get("confirm"), self.compared
        return judge(asked, self.confirmed, compared) if asked and compared else None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The search's objectives."""
        return parse_objectives(self.config["search"]["objectives"], {name: cost["unit"] for name, cost in self.costs.items()})

    @property
    def compared(self) -> Objective | None:
        """What a confirmation compares: the first measured objective, or accuracy where the search estimated it. None: all are known."""
        found = next((objective for objective in self.objectives if not objective.known), None)
        return Objective("accuracy", "max") if found and found.name == ESTIMATED else found

    @property
    def costs(self) -> dict[str, dict[str, Any]]:
        """What there is to know of the further costs without their tables: name -> ``unit``, ``tie`` and ``about``."""
        tables = (self.config.get("space") or {}).get("costs") or {}
        nothing = {"unit": "", "tie": 0.0, "about": ""}
        return {name: {key: table.get(key, value) for key, value in nothing.items()} for name, table in tables.items()}

    @cached_property
    def latencies(self) -> Latencies | None:
        """Latencies of the front as they were measured after the search; None if they were not."""
        return read_latencies(self.path)

    @property
    def backbone(self) -> dict[str, Any]:
        """Name, costs and groups of the plain backbone, as far as ``run.yaml`` holds them."""
        about = self.config.get("backbone") or {}
        return {**(about.get("costs") or {}), **about}

    @property
    def front(self) -> Front:
        """The front of the finished trials."""
        return self.front_of(self.trials)

    def front_of(self, trials: Iterable[Trial]) -> Front:
        """The front of these trials, under the run's objectives, budgets and fidelity."""
        return self.growing_front(trials).front

    def growing_front(self, trials: Iterable[Trial] = ()) -> GrowingFront:
        """The front of these trials, to which more can be added."""
        limits = {budget["metric"]: budget["limit"] for budget in self.config["budgets"]}
        objectives = self.objectives
        fidelity = {"epochs": self.config["search"]["epochs"]}
        trade = resolve_trade(self.config["search"], objectives, self.backbone, len(limits))
        growing = GrowingFront(objectives, limits, fidelity, self.config.get("validation_images"), trade)
        for trial in trials:
            growing.add(trial)
        return growing

    def effects(self, front: Front | None = None, lines: int = 0) -> Effects | None:
        """What each choice brings, from all complete trials of the run's fidelity.

        Args:
            front: the run's front, if the ledger was read already; it is read again by default.
            lines: number of trials that the front was made from.

        Read from ``effects.json`` if that is of the ledger as it is now; otherwise computed, and kept there. None if nothing is
        measured: all objectives are exact, or estimates of the paper's tables, which say themselves what each choice brings.
        """
        path = self.path / "effects.json"
        if front is None:
            trials = self.trials
            front, lines = self.front_of(trials), len(trials)
        if front.measured is None or self.config.get("evaluator") == "paper":
            return None
        known = read_effects(path)
        if known is not None and (known.lines, known.metric) == (lines, front.measured.name):
            return known
        complete = [trial for entry in front.entries for trial in entry.trials]
        if len(front.entries) < LEAST:
            return Effects(front.measured.name, lines, len(complete), len(front.entries))
        from se_nas.run.estimate import estimate

        found = estimate(complete, front.measured, self.config, lines)
        with contextlib.suppress(OSError):  # a directory that cannot be written: computed again next time
            write_whole(path, json.dumps(found.to_json(), indent=1))
        return found

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was searched. Of a run, only this and weights need torch.

        Raises:
            InputError: if the backbone was given as a module or a function, which a file cannot hold.
        """
        from se_nas.space.space import SearchSpace

        section = self.config.get("space") or {}
        if "backbone" not in section:
            raise InputError("space is missing", FIX, str(self.path / "run.yaml"))
        if section["backbone"] is None:
            problem = "this run's backbone was given as an object of Python, which a file cannot hold"
            raise InputError(problem, "in Python pass the space to what you call (space=...)", str(self.path))
        return SearchSpace.from_dict(section, f"{self.path / 'run.yaml'}, space")

    def use(self, space: SearchSpace) -> None:
        """Take this object for `space`, so that runs whose backbone is an object of Python have one."""
        self.__dict__["space"] = space

    # Weights: one file for each trial.

    def weights_path(self, number: int) -> Path:
        return self.path / "weights" / f"{number:05d}.safetensors"

    def save_weights(self, number: int, weights: Mapping[str, Tensor]) -> None:
        """Write the weights of a trial, whole or not at all.

        Raises:
            OSError: if they cannot be written.
        """
        from se_nas.run.weights import save_weights

        path = self.weights_path(number)
        make_directory(path.parent)
        save_weights(path, weights)

    def load_weights(self, number: int) -> dict[str, Tensor] | None:
        """The weights of a trial; None if they were not kept.

        Raises:
            InputError: for a file that is damaged or cannot be read.
        """
        from se_nas.run.weights import load_weights

        return load_weights(self.weights_path(number))

    def drop_weights(self, numbers: Iterable[int]) -> None:
        """Delete the weights of these trials, as far as there are any."""
        for number in numbers:
            self.weights_path(number).unlink(missing_ok=True)

    def keep_weights(self, numbers: set[int]) -> None:
        """Delete the weights of all trials but these. Files with other names than weights have stay."""
        keep = {self.weights_path(number) for number in numbers}
        for path in (self.path / "weights").glob("*.safetensors"):
            if path not in keep and path.stem.isdigit():
                path.unlink()

    @property
    def test_scores(self) -> dict[int, dict[str, float]]:
        """Trial's number -> its metrics on the test split, as older versions scored the front of a search.

        Raises:
            InputError: for a file that is damaged or cannot be read.
        """
        path = self.path / "test.json"
        if not os.path.lexists(path):
            return {}
        fix = "restore the file, or remove it"
        data = load_json(path, fix)
        if not isinstance(data, Mapping) or not all(map(_is_number, data)) or not all(map(_are_scores, data.values())):
            raise InputError("is damaged: it maps no trials to scores", fix, str(path))
        return {int(number): dict(scores) for number, scores in data.items()}


def _first_line(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, ValueError):
        return "another process"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _are_scores(scores: object) -> bool:
    return isinstance(scores, Mapping) and all(map(is_finite, scores.values()))


def _only_a_beginning(path: Path) -> bool:
    """Whether a directory holds nothing, or only what a beginning leaves that was killed."""
    names = os.listdir(path)
    own = [name for name in names if name == OWNER or OWN.fullmatch(name)]
    return len(own) == len([name for name in names if name != EARLIER or not own])
