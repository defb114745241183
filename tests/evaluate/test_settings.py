from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from se_nas.errors import InputError
from se_nas.evaluate.settings import SCHEDULES, TrainSettings


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("batch_size", [0, -1, 1.5, True, "64"]),
        ("lr", [0, -0.1, float("nan"), float("inf"), "1e-3", True]),
        ("momentum", [-0.1, 1, "0.9"]),
        ("weight_decay", [-1, None]),
        ("schedule", ["step", None, []]),
        ("label_smoothing", [-0.1, 1.0]),
        ("augment", [1, "yes"]),
        ("amp", [None]),
        ("channels_last", [0]),
    ],
)
def test_refuses(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"^train\.{name}: "):
            TrainSettings(**{name: value})


def test_accepts_the_edges() -> None:
    TrainSettings(batch_size=1, lr=1, momentum=0, weight_decay=0, schedule="cosine", label_smoothing=0)


def test_schedules_by_hand() -> None:
    one_cycle, cosine = SCHEDULES["one-cycle"], SCHEDULES["cosine"]
    assert [one_cycle(x) for x in (0, 0.15, 0.3, 0.65, 1)] == pytest.approx([0.04, 0.52, 1, 0.5, 0])
    assert [cosine(x) for x in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_settings_and_seam_need_no_torch() -> None:
    code = "import sys, se_nas.evaluate, se_nas.evaluate.settings; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
