"""The paper's printed sizes; ``pytest -s tests/test_paper.py`` shows each beside ours."""

from __future__ import annotations

import pytest
from paper_table import ROWS, Row, agrees, compute

from se_nas.errors import InputError
from se_nas.space import SearchSpace


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_papers_sizes(row: Row) -> None:
    try:
        found = compute(row)
    except InputError as error:
        pytest.skip(f"no space over {row.backbone}: {error.problem}")
    params, gmacs, pooled = found.params / 1e6, found.macs / 1e9, found.with_pooling / 1e9
    print(f"\n{row.id}: {row.params or '-'} M printed, {params:.3f} M computed; ", end="")
    print(f"{row.macs or '-'} G printed, {gmacs:.4f} G computed, {pooled:.4f} G with pooling. {row.why}")
    if row.exact:
        assert found.params == row.exact
    met = agrees(row.params, params) and agrees(row.macs, gmacs)
    assert met == (not row.why), "a reason is given if, and only if, a figure is not met"
    if row.params and not agrees(row.params, params):
        assert abs(params - float(row.params)) <= row.within[0]
    if row.macs and not agrees(row.macs, gmacs):
        assert agrees(row.macs, pooled) if row.pooled else abs(gmacs - float(row.macs)) <= row.within[1]


def test_equation_5() -> None:
    """Added parameters are 2 / r times the sum of N C^2 over the stages: 3, 4, 6 and 3 blocks of 256 to 2048 channels."""
    squares = sum(blocks * channels**2 for blocks, channels in [(3, 256), (4, 512), (6, 1024), (3, 2048)])
    for r in (2, 4, 8, 16, 32):
        space = SearchSpace("resnet50", (3, 224, 224), reduction=[r])
        assert space.cost(space.dearest()).params - space.plain_cost.params == 2 * squares // r
