"""`pytest --budget-minutes N`: the quick tests first, and none that would end after N minutes. Those not run are listed at the end."""

from __future__ import annotations

import time

import pytest

MINUTES: dict[str, float] = {
    "tests/backbones/test_backbones.py": 0.1,
    "tests/backbones/test_paper.py": 0.1,
    "tests/engines/test_nni_one_shot.py": 0.2,
    "tests/engines/test_nni_search.py": 0.2,
    "tests/engines/test_nni_service.py": 0.8,
    "tests/engines/test_ray_cluster.py": 30,  # a worker of pytest crashed in it once: run it apart
    "tests/engines/test_ray_fidelity.py": 1.2,
    "tests/engines/test_ray_resources.py": 0.7,
    "tests/engines/test_ray_process.py": 2,
    "tests/engines/test_ray_search.py": 0.4,
    "tests/exporter/test_deploy.py": 0.3,
    "tests/exporter/test_fallback.py": 0.3,
    "tests/exporter/test_generator.py": 0.7,
    "tests/exporter/test_proof.py": 0.4,
    "tests/integrations/test_ray.py": 0.2,
    "tests/network/test_any_network.py": 0.4,
    "tests/space/test_extra.py": 0.3,
    "tests/space/test_space.py": 3,
    "tests/test_search.py": 0.2,
}
"""A file -> what its longest slow test takes on one core, in minutes, rounded up (`pytest -m slow -n 0 --durations=0 FILE`)."""

UNKNOWN = 2.0
"""What a test of any other file may take."""
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
