"""ImageNet networks where SE is a choice, as a table to search: Accel-NASBench's MnasNet space (5,138 trained networks).

A network is 28 choices: expansion, kernel, layers and SE of seven blocks; 1.04e11 networks in all. Gradient boosting
fitted on the table answers for the networks that nobody trained; parameters and MACs are exact sums over blocks of one
entry for each (expansion, kernel, layers, SE), read off the table by least squares.

The table is not in the repository: https://github.com/afzalxo/Accel-NASBench (Apache-2.0), as one CSV file with the
columns block0_e, block0_k, block0_l, block0_se, ..., val_top1 (in %), macs_m, params_m (in millions), throughput_a100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VALUES = {"e": (1, 4, 6), "k": (3, 5), "l": (1, 2, 3), "se": (0, 1)}
DIMS = {f"block{block}_{field}": values for block in range(7) for field, values in VALUES.items()} | {"block5_l": (1, 2, 3, 4)}
SETTINGS = 48
"""Most settings that a block has."""

SIZES = np.array([len(values) for values in DIMS.values()])


@dataclass(frozen=True)
class Table:
    """The trained networks.

    Attributes:
        codes: which value of each dimension, shape (networks, 28).
        columns: name -> what was measured, shape (networks,); NaN where it was not.
    """

    codes: Ints
    columns: Mapping[str, Floats]

    @classmethod
    def read(cls, path: str | Path) -> Table:
        """The table in a CSV file."""
        header = Path(path).read_text(encoding="utf-8").split("\n", 1)[0].strip().split(",")
        rows = np.genfromtxt(path, delimiter=",", skip_header=1)
        columns = {name: rows[:, i] for i, name in enumerate(header)}
        codes = np.stack([np.searchsorted(DIMS[name], columns[name]) for name in DIMS], 1)
        return cls(codes, {name: column for name, column in columns.items() if name not in DIMS})

    def additive(self, name: str) -> Additive:
        """A column that is a sum over blocks of one entry for each setting of the block."""
        keys = block_keys(self.codes)
        design = (keys[:, :, None] == np.arange(SETTINGS)).reshape(len(keys), -1).astype(float)
        entries = np.linalg.lstsq(design, self.columns[name], rcond=None)[0]
        return Additive(entries.reshape(7, SETTINGS))

    def boosted(self, name: str, log: bool, seed: int = 0) -> Boosted:
        """Gradient boosting of a column (of its logarithm), and its R2 on a tenth of the networks held out."""
        measured = np.isfinite(self.columns[name])
        x, y = self.codes[measured], self.columns[name][measured]
        y = np.log(y) if log else y
        held_out = np.random.default_rng(seed).random(len(x)) < 0.1
        check = _boosting(seed).fit(x[~held_out], y[~held_out])
        return Boosted(_boosting(seed).fit(x, y), log, float(check.score(x[held_out], y[held_out])))


def _boosting(seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=600, learning_rate=0.06, max_leaf_nodes=16, l2_regularization=1.0, random_state=seed)


def block_keys(codes: Ints) -> Ints:
    """Which of its settings each block has, shape (n, 7)."""
    e, k, layers, se = np.moveaxis(np.asarray(codes, np.int64).reshape(-1, 7, 4), 2, 0)
    keys: Ints = ((e * 2 + k) * 4 + layers) * 2 + se
    return keys


CHANNELS, SIDES = (32, 16, 24, 40, 80, 112, 192), (112, 56, 28, 14, 14, 7, 7)
"""Of each block: channels that go in, and the side of the image in it, of MnasNet at 224 px."""


@dataclass(frozen=True)
class Profile:
    """Throughput predicted from a few measured networks, as `se_nas.latency` predicts: a few physical terms, none below 0.

    Attributes:
        seconds: for each unit of a term, shape (terms,).
        exact: costs that are known: parameters and MACs.
    """

    seconds: Floats
    exact: tuple[Additive, Additive]

    @classmethod
    def of(cls, table: Table, number: int) -> Profile:
        """Fitted to so many networks of the table, chosen by D-optimality."""
        from se_nas.latency.fit import choose_networks, fit

        measured = np.flatnonzero(np.isfinite(table.columns["throughput_a100"]))
        exact = (table.additive("params_m"), table.additive("macs_m"))
        rows = cls(np.zeros(0), exact).terms(table.codes[measured])
        chosen = choose_networks(rows, number, [0])
        return cls(fit(rows[chosen], 1 / table.columns["throughput_a100"][measured][chosen]), exact)

    def terms(self, codes: Ints) -> Floats:
        """A constant, parameters, MACs, layers, elements in them, layers with SE, elements that SE reads; shape (n, 7)."""
        expansion, _, layers, se = np.moveaxis(np.asarray(codes, np.int64).reshape(-1, 7, 4), 2, 0)
        layers = layers + 1
        elements = np.array(VALUES["e"])[expansion] * layers * np.array(CHANNELS) * np.square(SIDES)
        columns = [layers.sum(1), elements.sum(1), (layers * se).sum(1), (elements * se).sum(1)]
        return np.column_stack([np.ones(len(codes)), *(cost.rows(codes) for cost in self.exact), *columns])

    def __call__(self, architecture: Mapping[str, int]) -> float:
        return float(self.rows(encode([architecture]))[0])

    def rows(self, codes: Ints) -> Floats:
        return np.asarray(1 / (self.terms(codes) @ self.seconds))


@dataclass(frozen=True)
class Additive:
    """An exact cost: of a mapping, or of an array of codes.

    Attributes:
        entries: of each block and each of its settings, shape (7, SETTINGS).
    """

    entries: Floats

    def __call__(self, architecture: Mapping[str, int]) -> float:
        return float(self.rows(encode([architecture]))[0])

    def rows(self, codes: Ints) -> Floats:
        total: Floats = self.entries[np.arange(7), block_keys(codes)].sum(1)
        return total


@dataclass(frozen=True)
class Boosted:
    """A measured quantity, for any network of the space.

    Attributes:
        model: fitted on the table.
        log: whether it was fitted on logarithms.
        held_out: R2 on networks it was not fitted on.
    """

    model: HistGradientBoostingRegressor
    log: bool
    held_out: float

    def __call__(self, architecture: Mapping[str, int]) -> float:
        return float(self.rows(encode([architecture]))[0])

    def rows(self, codes: Ints) -> Floats:
        found: Floats = self.model.predict(np.asarray(codes))
        return np.exp(found) if self.log else found


def encode(architectures: Sequence[Mapping[str, int]]) -> Ints:
    return np.array([[DIMS[name].index(a[name]) for name in DIMS] for a in architectures], np.int64).reshape(-1, len(DIMS))
