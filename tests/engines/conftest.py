"""One Ray session for the tests of a module: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.cluster import QUIET, own_cluster


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """Four workers' room on this machine; searches in this process use it."""
    with environment(QUIET), own_cluster(cpus=4, gpus=0, threads=1):
        yield
