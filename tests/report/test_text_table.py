"""Tables of spaces and sites at 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from se_nas.report.columns import Column
from se_nas.report.text_table import text_table

LONG = Column("site", ("features.denseblock1.denselayer2", "features.denseblock12.denselayer17.part", "short"))
WORDS = Column("placements", ("standard pre post identity inner",) * 3, words=True)
NUMBERS = Column("params\nat r=16", ("1,152", "123,456,789", "2"))


def lines(columns: list[Column], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(text_table(columns, width))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [200, 80, 60, 45])
def test_no_word_is_broken(width: int) -> None:
    shown = lines([LONG, WORDS, NUMBERS], width)
    words = [word for line in shown for word in line.split()]
    for name in LONG.cells:
        assert set(name.split(".")) <= {part for word in words for part in word.split(".")}
    assert words.count("identity") == words.count("standard") == 3
    assert {"1,152", "123,456,789", "2"} <= set(words)
    assert max(map(len, map(str.rstrip, shown))) <= width


def test_what_fits_is_left_alone() -> None:
    shown = lines([LONG, WORDS, NUMBERS], 200)
    assert len(shown) == 2 + 1 + 3
    assert "features.denseblock12.denselayer17.part  standard pre post identity inner  123,456,789" in shown[-2]
