"""What docs/strategies.md shows runs as it is printed."""

from __future__ import annotations

import re

import optuna
import pytest
import yaml
from conftest import ROOT

from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES

TEXT = (ROOT / "docs/strategies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), ids=["loop", "optuna"])
def test_python(code: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    exec(compile(code, "docs/strategies.md", "exec"), {"__name__": "docs"})


def test_yaml() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert len(SearchSpace.from_dict(yaml.safe_load(text), "docs").variants) == 4


def test_every_strategy_is_in_its_table() -> None:
    told = re.findall(r"^\| `([a-z0-9-]+)`.* \|$", TEXT.partition("## A loop")[0], re.MULTILINE)
    assert sorted(told) == sorted(STRATEGIES)
