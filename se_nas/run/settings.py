"""What a search is asked to do: defaults, then the space file's ``search:`` section, then flags. Needs no torch.

To add a setting, add one field here. Its check, flag, help, Python keyword and row in the docs follow (`se_nas.setting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from se_nas.errors import InputError, known
from se_nas.evaluate import ESTIMATED
from se_nas.evaluate.settings import TrainSettings
from se_nas.goals.trade import TRADES, WEIGHT
from se_nas.setting import check_settings, check_type, setting, settings_of, types_of, unknown_key
from se_nas.text import shown

DATA, GOALS, STRATEGY, WHERE, OUTPUT = "data and training", "goals", "strategy", "where trials run", "output"


STARTS = ("scratch", "trained", "train")

TABLE = "table:"
"""Before the path of a table, in the name of an evaluator."""


@dataclass(frozen=True)
class SearchSettings:
    """Everything that decides a search beside its space.

    Raises:
        InputError: for a value out of its limits, or two that do not fit together; the error's source is the setting's name.
    """

    data: str = setting("digits", "digits, cued-digits, cifar10, ..., folder:PATH or package.module:callable", DATA, metavar="DATA")
    data_root: str = setting("data", "where torchvision's data sets lie, or are downloaded to", DATA, metavar="DIR")
    evaluator: str = setting(
        "training",
        "what gives an architecture its metrics: training; or nothing is trained: paper estimates them from the SENet paper's tables,"
        " and table:PATH looks them up in a file of trainings that are done",
        DATA,
        metavar="EVALUATOR",
    )
    start: str = setting(
        "scratch",
        "what every trial begins with: fresh weights (scratch), those that the backbone brings (trained), a file's"
        " (PATH.safetensors), or those of the plain backbone trained first (train)",
        DATA,
        metavar="START",
    )
    start_epochs: int = setting(0, "of start train: epochs of the plain backbone", DATA, least=0, otherwise="as of a trial")
    normalise: str = setting(
        "auto",
        "how images are normalised: as the start's weights want it (auto; without such, data), by the data's own statistics (data),"
        " imagenet, half, or MEAN,.../STD,...",
        DATA,
        metavar="HOW",
    )
    epochs: int = setting(3, "epochs of each trial", DATA, least=1)
    repeats: int = setting(1, "seeds for both references; 2 or more measure the noise between seeds", DATA, least=1)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N", DATA, metavar="DEVICE", resume=True)
    threads: int = setting(0, "CPU threads in training", DATA, least=0, below=1000, otherwise="by how much work a step is")
    train: TrainSettings = setting(
        TrainSettings,
        "how networks are trained, such as lr=0.1",
        DATA,
        metavar="NAME=VALUE",
        example="lr=0.1",
        otherwise="see docs/settings.md",
    )
    objectives: tuple[str, ...] = setting(
        (),
        "what to make better: accuracy, loss, params, macs, or latency with a profile; the first decides what is best",
        GOALS,
        flag="objective",
        otherwise="loss, params; accuracy, params where se-nas does not train, the trade is weighted, or a prior is given",
    )
    trade: str = setting(
        "pareto",
        "how objectives are traded; weighted maximises accuracy x (cost/target)^weight, constrained the first alone",
        GOALS,
        choices=TRADES,
    )
    targets: Mapping[str, Any] = setting(
        dict,
        "of weighted, such as params=300k or macs=+5%",
        GOALS,
        flag="target",
        metavar="NAME=VALUE",
        example="params=300k",
        otherwise="the plain backbone's cost",
    )
    weight: float = setting(WEIGHT, "of weighted: the exponent", GOALS, below=0, example="-0.07")
    strategy: str = setting(
        "known-cost",
        "known-cost, random, grid, nsga2, evolution, local-search, tpe, effects (tells most of what each choice brings), or exact"
        " (evaluator paper); engine nni has more",
        STRATEGY,
    )
    trials: int = setting(30, "trials to have at the end, both references among them", STRATEGY, least=1, resume=True)
    seed: int = setting(0, "of the strategy and of each trial", STRATEGY, least=0)
    warm_start: str = setting("", "an earlier run on the same data, whose trials the strategy is told first", STRATEGY, metavar="RUN")
    prior: str = setting(
        "", "paper: known-cost begins with what the paper's ImageNet tables say of SE-ResNet-50", STRATEGY, otherwise="none"
    )
    front_seeds: int = setting(
        1,
        "most seeds of one architecture; with 2 or more, known-cost tries what is on the front again, random every one",
        STRATEGY,
        least=1,
    )
    scheduler: str = setting("none", "ends bad trials early", STRATEGY, choices=("none", "asha", "hyperband", "pbt"))
    supernet_epochs: int = setting(0, "epochs of a one-shot search's supernet", STRATEGY, least=0, otherwise="as of a trial")
    cost_weight: float = setting(
        0, "of the mean cost in a one-shot search's loss; 1 unit is what the dearest architecture adds", STRATEGY, least=0
    )
    cost_metric: str = setting("params", "which cost that is: params, macs, or latency with a profile", STRATEGY, metavar="COST")
    cost_target: str = setting(
        "", "mean cost that is free, such as +2%, paper or 1.2M", STRATEGY, metavar="LIMIT", otherwise="the plain backbone's cost"
    )
    engine: str = setting("local", "local (this process), ray, nni, or outside (se-nas ask and tell)", WHERE, resume=True)
    workers: int = setting(0, "trials at a time", WHERE, least=0, otherwise="as many as fit", resume=True)
    together: int = setting(
        1,
        "trials that train as one network, with one seed (engines local and ray); each as if it were alone, to rounding",
        WHERE,
        least=1,
        resume=True,
    )
    cache: float | None = setting(
        None,
        "GB of memory in which each process keeps, for later trials, what a frozen backbone (train.freeze) computes before the first"
        " SE block; the rest goes to disk; 0 keeps nothing",
        WHERE,
        least=0,
        metavar="GB",
        otherwise="a quarter of what is free; in Ray's workers 0",
        resume=True,
    )
    cpus_per_trial: float = setting(0, "CPU cores of each trial", WHERE, least=0, otherwise="its threads", resume=True)
    gpus_per_trial: float | None = setting(
        None, "GPUs of each trial, or a share of one such as 0.25", WHERE, least=0, otherwise="one, where there are any", resume=True
    )
    address: str = setting(
        "", "of a Ray cluster: auto or HOST:PORT", WHERE, metavar="ADDRESS", otherwise="workers on this machine", resume=True
    )
    storage: str = setting(
        "", "for partial trainings, seen by every machine", WHERE, metavar="DIR", otherwise="the run's directory", resume=True
    )
    trial_timeout: float = setting(
        0, "seconds after which a trial is ended as failed", WHERE, least=0, below=1e9, metavar="SECONDS", otherwise="no limit", resume=True
    )
    nni_service: str = setting(
        "none",
        "of engine nni: trials in this process (none), as processes here or on other machines",
        WHERE,
        choices=("none", "local", "remote"),
        resume=True,
    )
    nni_machines: str = setting(
        "", "YAML file of the machines of --nni-service remote", WHERE, metavar="FILE", otherwise="none", resume=True
    )
    log: tuple[str, ...] = setting(
        (), "tensorboard or mlflow: curves, choices and costs, and the front as it grows", OUTPUT, resume=True, otherwise="none"
    )
    keep_weights: str = setting("front", "of which trials; front keeps the references' too", OUTPUT, choices=("front", "all", "none"))

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.objectives:
            object.__setattr__(self, "objectives", ("loss" if self.by_loss else "accuracy", "params"))
        if self.evaluator not in ("training", "paper") and not self.table:
            raise InputError(f"unknown evaluator {shown(self.evaluator)}", "take training, paper or table:PATH", "evaluator")
        self._check_start()
        self._check_together()
        if self.cache and self.train.frozen(self.started) != "backbone":
            raise InputError(
                "only of a frozen backbone can something be kept", "leave cache out, or take a start and train.freeze: backbone", "cache"
            )
        if self.strategy == "exact" and self.evaluator != "paper":
            raise InputError(
                "the exact front is known only of the paper's estimates", "take evaluator paper, or another strategy", "strategy"
            )
        if self.front_seeds > 1:
            known(self.strategy, ("known-cost", "random"), "strategy with front_seeds")
            if self.repeats < 2:
                raise InputError("front_seeds needs to know the noise between seeds", "take repeats of 2 or more", "front_seeds")
        if self.prior:
            known(self.prior, ("paper",), "prior")
            known(self.strategy, ("known-cost",), "strategy with a prior")
            if not {"accuracy", f"max:{ESTIMATED}"} & set(self.objectives):
                raise InputError("the paper's tables say what accuracy to expect, and it is no objective", "add accuracy", "prior")

    def _check_start(self) -> None:
        if self.start not in STARTS and not self.start.endswith(".safetensors"):
            raise InputError(f"{shown(self.start)} is no start", f"take {', '.join(STARTS)} or a file PATH.safetensors", "start")
        if self.start_epochs and self.start != "train":
            raise InputError(f"start {self.start} trains nothing first", "leave start_epochs out, or take start: train", "start_epochs")
        if self.started and self.evaluator != "training":
            raise InputError(f"evaluator {self.evaluator} trains nothing", "leave start out", "start")
        if not self.started and self.train.freeze in ("statistics", "backbone"):
            raise InputError("fresh weights cannot stay as they are", "take a start (trained, PATH.safetensors or train)", "train.freeze")

    def _check_together(self) -> None:
        if self.together == 1 or self.engine == "local":
            return
        if self.engine != "ray":
            raise InputError(f"engine {self.engine} trains each trial alone", "leave together out, or take engine local or ray", "together")
        if self.scheduler != "none":
            problem = f"scheduler {self.scheduler} ends single trials, and {self.together} that train as one network end at once"
            raise InputError(problem, "leave together out, or take scheduler none", "together")

    @property
    def table(self) -> str:
        """Path of the table that gives metrics; "" if nothing is looked up."""
        return self.evaluator.removeprefix(TABLE) if self.evaluator.startswith(TABLE) else ""

    @property
    def started(self) -> bool:
        """Whether trials begin with trained weights."""
        return self.start != "scratch"

    @property
    def by_loss(self) -> bool:
        """Whether trials are ranked by loss unless said otherwise: where se-nas trains (docs/evidence.md, "Insert" and "Design").

        A weighted trade and a prior need accuracy.
        """
        trains = self.evaluator == "training" and self.engine != "outside"
        return trains and self.trade != "weighted" and not self.prior

    @property
    def whole(self) -> SearchSettings:
        """The same for trainings that count in the end: from a start all weights train (`TrainSettings.whole`)."""
        if not self.started:
            return self
        train = self.train.whole
        return replace(self, train=train, cache=self.cache if train.freeze == "backbone" else None)

    def to_dict(self) -> dict[str, Any]:
        """The settings as YAML can hold them."""
        return {**asdict(self), "objectives": list(self.objectives), "log": list(self.log)}


SECTIONS = (DATA, GOALS, STRATEGY, WHERE, OUTPUT)
"""In the order in which help and docs show them."""


def changeable(cls: type[SearchSettings] = SearchSettings) -> tuple[str, ...]:
    """The settings that ``resume`` may change: where trials run decides nothing of what is found."""
    return tuple(row.name for row in settings_of(cls).values() if row.about.resume)


def resolve_settings(
    section: Mapping[str, Any],
    source: str,
    flags: Mapping[str, Any],
    cls: type[SearchSettings] = SearchSettings,
) -> SearchSettings:
    """Settings from a ``search:`` section, overridden by flags that are not None.

    Args:
        section: as YAML holds it.
        source: of the section, for errors.
        flags: from the command line, or Python's keywords.
        cls: the settings class.

    Raises:
        InputError: for an unknown key, a value of the wrong type or out of its limits, naming the file and key or the flag.
    """
    rows = settings_of(cls)
    given = {name: value for name, value in flags.items() if value is not None}
    merged = {**section, **given}
    for name, value in merged.items():
        if name not in rows:
            raise unknown_key(name, rows, source)
        if rows[name].types in ((list,), (dict,)):
            check_type(name, _plain(value), rows[name].types, source)
    if merged.get("evaluator") == "paper":
        own = {"accuracy": f"max:{ESTIMATED}"}  # so that no estimate is taken for a measurement
        merged["objectives"] = [own.get(str(name), name) for name in merged.get("objectives", ("accuracy", "params"))]
    if "objectives" in merged:
        merged["objectives"] = tuple(map(str, merged["objectives"]))
        if not merged["objectives"]:
            raise InputError("no objective", "name at least one, accuracy for instance, or leave it out", f"{source}, objectives")
    if "log" in merged:
        merged["log"] = tuple(map(str, merged["log"]))
    train = {**section.get("train", {}), **given.get("train", {})}
    for name in train:
        if name not in types_of(TrainSettings):
            raise unknown_key(name, types_of(TrainSettings), f"{source}, train")
    try:
        return cls(**{**merged, "train": TrainSettings(**train)})
    except InputError as error:
        name, _, part = str(error.source).partition(".")
        if name not in rows or name not in given or (part and part not in given[name]):
            raise InputError(error.problem, error.fix, f"{source}, {error.source}") from None
        raise InputError(error.problem, error.fix, f"{rows[name].flag}, {error.source}" if part else rows[name].flag) from None


def _plain(value: Any) -> Any:
    """Other sequences and mappings as the list and dict that YAML would have."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
