"""What the local engine costs outside of training: proposals, ledger, weights, front, live view.

    python benchmarks/engine_overhead.py [--trials 30]

Runs a digits search and times each evaluation from inside; the rest of the search's time is overhead. Prints its share
of a median trial, and what it would be with 500 trials in the ledger already (with an evaluator that does nothing).
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from se_nas.api import start
from se_nas.evaluate import Evaluation, Evaluator, Report
from se_nas.report.live import LiveView
from se_nas.run.evaluator import make_evaluator
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

SPACE = Path(__file__).parents[1] / "search_spaces/digits_resnet8.yaml"


class Timed:
    """An evaluator with a clock around another; notes when each evaluation began and ended."""

    def __init__(self, inner: Evaluator) -> None:
        self.inner = inner
        self.spans: list[tuple[float, float]] = []

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        began = time.perf_counter()
        evaluation = self.inner(architecture, seed, fidelity, device, report)
        self.spans.append((began, time.perf_counter()))
        return evaluation

    def between(self) -> list[float]:
        """Seconds from each evaluation's end to the next one's beginning."""
        return [later[0] - earlier[1] for earlier, later in zip(self.spans, self.spans[1:], strict=False)]


def run(space: SearchSpace, settings: SearchSettings, evaluator: Evaluator) -> Timed:
    timed = Timed(evaluator)
    view = LiveView(Console(file=io.StringIO(), force_terminal=True, width=120, height=40))
    with tempfile.TemporaryDirectory() as folder:
        start(space, settings, Path(folder) / "run", timed, view)
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    trials = parser.parse_args().trials
    space = SearchSpace.from_yaml(SPACE)
    settings = SearchSettings(trials=trials)
    timed = run(space, settings, make_evaluator(space, settings))
    training = statistics.median(end - began for began, end in timed.spans)
    outside = statistics.median(timed.between())
    print(
        f"median trial {training:.3f} s, outside of it {outside * 1e3:.1f} ms: {outside / training:.1%} ({trials} trials, 3 epochs, nsga2)"
    )

    def instant(architecture: Architecture, *_: object) -> Evaluation:
        return Evaluation({"loss": int(architecture.id, 16) % 1000 / 1000})

    late = statistics.median(run(space, SearchSettings(trials=550), instant).between()[500:])
    print(f"after 500 trials {late * 1e3:.1f} ms: {late / training:.1%} of such a trial")


if __name__ == "__main__":
    main()
