"""`pytest --budget-minutes N`: the quick tests first, and none that would end after N minutes. Those not run are listed at the end."""

from __future__ import annotations

import time

import pytest

MINUTES: dict[str, float] = {}
"""A file -> what its longest test takes, in minutes, on one of two cores (`pytest -m slow --durations=0`)."""

UNKNOWN = 1.0
REASON = "time budget"


class Budget:
    """The hooks. Processes of pytest-xdist share one end, which travels in the options."""

    def __init__(self, config: pytest.Config, minutes: float) -> None:
        self.minutes = minutes
        if not hasattr(config.option, "budget_end"):
            config.option.budget_end = time.time() + 60 * minutes
        self.end: float = config.option.budget_end

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=longest)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if time.time() + 60 * longest(item) > self.end:
            pytest.skip(REASON)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        left = sorted(report.nodeid for report in terminalreporter.stats.get("skipped", []) if report.longrepr[2] == f"Skipped: {REASON}")
        if left:
            terminalreporter.write_sep("=", f"not run within {self.minutes:g} minutes: {len(left)} tests")
            for name in left:
                terminalreporter.write_line(name)


def longest(item: pytest.Item) -> float:
    """Minutes that a test takes at most: those of its file."""
    return MINUTES.get(item.path.relative_to(item.config.rootpath).as_posix(), UNKNOWN)
