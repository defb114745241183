"""What the SENet paper's own tables imply for an SE-ResNet-50: an estimate, with no training and no claim beyond them.

The ablations (arXiv 1709.01507, tables 10 to 16) change one thing at a time from SE everywhere, r = 16, average squeeze,
sigmoid, standard placement. Here their gains over the plain network are put together:

- A stage's gain is table 13's (stage 5 alone was not tried: 0), in proportion to how many of its blocks have SE. Gains of
  stages add up, less a share for each two of them, so that all stages together give the table's gain for all.
- A setting multiplies a block's gain by its share of the default's gain in tables 10 (ratio; between the table's values by
  the ratio's logarithm), 11 and 16 (squeeze), 12 (gate), 14 and 15 (placement).

The paper trained with two schedules, whose figures must not be mixed: the ablations' plain ResNet-50 has 23.30 % top-1 error
and its SE gains 1.02 points; table 2's has 24.80 % and gains 1.51. Each is a single run: differences up to 0.1 are ties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError, TrialFailed
from se_nas.evaluate import ESTIMATED, Evaluation, Report
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.text import shown

SCHEDULES = {"ablations": (23.30, 1.02), "table-2": (24.80, 1.51)}
"""Top-1 error in % of the plain network, and what SE everywhere gains, by the tables that were trained alike."""

_PLAIN, _ALL = SCHEDULES["ablations"]
_STAGES = {"layer1": _PLAIN - 23.03, "layer2": _PLAIN - 23.04, "layer3": _PLAIN - 22.68, "layer4": 0.0}
_RATIOS = {2: 22.29, 4: 22.25, 8: 22.26, 16: 22.28, 32: 22.72}
_SQUEEZES = {"avg": 22.28, "max": 22.57, "none": 22.93}
_GATES = {"sigmoid": 22.28, "tanh": 23.00, "relu": 23.47}
_PLACEMENTS = {"standard": 22.28, "pre": 22.23, "post": 22.78, "identity": 22.20, "inner": 22.48}


def _overlap() -> float:
    """What each product of two stages' gains takes off, so that all stages together gain what table 13 says."""
    total = sum(_STAGES.values())
    pairs = total**2 - sum(gain**2 for gain in _STAGES.values())
    return (total - _ALL) / pairs


class PaperEvaluator:
    """Looks architectures of SE-ResNet-50 up in the paper's tables.

    Args:
        space: over ``resnet50`` or ``torchvision:resnet50``, of settings that the tables have.
        schedule: a name in `SCHEDULES`.

    Raises:
        InputError: for another backbone, or candidates that the tables lack.

    Attributes:
        gains: of each group, what each of its options adds to the gain of each stage, shape (options, stages).
    """

    def __init__(self, space: SearchSpace, schedule: str = "ablations") -> None:
        if space.backbone not in ("resnet50", "torchvision:resnet50"):
            raise InputError(f"the paper's ablations are of ResNet-50, not of {space.backbone}", "search backbone: resnet50", "evaluator")
        if space.extra:
            fix = "leave extra out, or search with training"
            raise InputError(f"the paper's tables know no {', '.join(space.extra)}", fix, "evaluator")
        self._plain, self._full = SCHEDULES[schedule]
        self._blocks = {name: sum(site.stage == name for site in space.all_sites) for name in _STAGES}
        self._members = {group.name: [site.stage for site in group.sites] for group in space.groups}
        self.gains = [np.array([self._option_gains(group.name, option) for option in group.options]) for group in space.groups]

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        try:
            return Evaluation({ESTIMATED: 1 - self.error(architecture) / 100})
        except InputError as error:  # a reference, which need not be of the space
            raise TrialFailed(str(error)) from None

    def error(self, architecture: Architecture) -> float:
        """Estimated top-1 error on ImageNet in %, single centre crop of 224."""
        gains = [self._option_gains(group, spec) for group, spec in architecture]
        return float(self.errors(np.sum(gains, 0)))

    def estimates(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Estimated accuracy of many architectures of the space, shape (n,), from their codes, shape (n, genes)."""
        groups = codes[:, codes.shape[1] - len(self.gains) :]
        gains = sum((table[place] for table, place in zip(self.gains, groups.T, strict=True)), np.zeros((len(codes), len(_STAGES))))
        return 1 - self.errors(gains) / 100

    def errors(self, gains: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Estimated top-1 errors in %, from the gains of stages in points along the last axis."""
        total = gains.sum(-1)
        pairs = total**2 - (gains**2).sum(-1)
        errors: npt.NDArray[np.float64] = self._plain - (total - _overlap() * pairs) * self._full / _ALL
        return errors

    def _option_gains(self, group: str, spec: SESpec | None) -> Sequence[float]:
        """What one choice adds to each stage's gain."""
        stages = self._members[group]
        share = 0.0 if spec is None else setting_share(spec)
        return [gain / self._blocks[stage] * stages.count(stage) * share for stage, gain in _STAGES.items()]


def setting_share(spec: SESpec) -> float:
    """A setting's gain as a share of the default's: 1 for r = 16, average squeeze, sigmoid, standard placement.

    Raises:
        InputError: for a setting that the tables lack.
    """
    share = (_PLAIN - _ratio_error(spec.reduction)) / _ALL
    for field, table in (("squeeze", _SQUEEZES), ("gate", _GATES), ("placement", _PLACEMENTS)):
        value = getattr(spec, field)
        if value not in table:
            raise InputError(f"the paper's tables have no {field} {shown(value)}", f"take of {', '.join(table)}", field)
        share *= (_PLAIN - table[value]) / _ALL
    return share


def _ratio_error(reduction: int) -> float:
    """Table 10, between its ratios by the logarithm."""
    lower = max((r for r in _RATIOS if r <= reduction), default=None)
    upper = min((r for r in _RATIOS if r >= reduction), default=None)
    if lower is None or upper is None:
        raise InputError(f"the paper's tables have no reduction {reduction}", "take from 2 to 32", "reduction")
    if lower == upper:
        return _RATIOS[lower]
    way = math.log(reduction / lower) / math.log(upper / lower)
    return _RATIOS[lower] + way * (_RATIOS[upper] - _RATIOS[lower])
