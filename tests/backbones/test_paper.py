"""The paper's printed sizes; ``pytest -s tests/test_paper.py`` shows each beside ours."""

from __future__ import annotations

import pytest
import torch
from paper_table import ROWS, Row, agrees, compute

from se_nas.errors import InputError
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

LARGE = {"SE-Inception-ResNet-v2, table 2", "SE-ResNet-152, table 2"}


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id, marks=pytest.mark.slow if row.id in LARGE else ()) for row in ROWS])
def test_the_papers_sizes(row: Row) -> None:
    try:
        found = compute(row)
    except InputError as error:
        pytest.skip(f"no space over {row.backbone}: {error.problem}")
    print(f"\n{row.id}: {row.params or '-'} M printed, {found.params / 1e6:.3f} M computed", end="; ")
    print(f"{row.macs or '-'} G printed, {found.macs / 1e9:.4f} G computed")
    if row.exact:
        assert found.params == row.exact
    figures = [(row.params, found.params / 1e6, found.params_with(row.also) / 1e6, row.within[0])]
    figures += [(row.macs, found.macs / 1e9, found.macs_with(row.also) / 1e9, row.within[1])]
    met = [agrees(printed, ours) for printed, ours, _, _ in figures]
    assert all(met) == (not row.also and not row.why), "other things count, or a reason is given, just where a figure is not met"
    for printed, ours, counting_more, within in figures:
        if row.also and not agrees(printed, ours):
            print(f"with {', '.join(row.also)}: {counting_more:.4f}")
            assert agrees(printed, counting_more)
        elif not agrees(printed, ours):
            print(f"not met: {row.why}")
            assert abs(ours - float(printed)) <= within


def test_equation_5() -> None:
    """Added parameters are 2 / r times the sum of N C^2 over the stages: 3, 4, 6 and 3 blocks of 256 to 2048 channels."""
    squares = sum(blocks * channels**2 for blocks, channels in [(3, 256), (4, 512), (6, 1024), (3, 2048)])
    ratios = (2, 4, 8, 16, 32)
    with torch.device("meta"):
        space = SearchSpace("resnet50", (3, 224, 224), reduction=ratios)
    for r in ratios:
        architecture = space.canonical({group.name: SESpec(r) for group in space.groups})
        assert space.cost(architecture).params - space.plain_cost.params == 2 * squares // r
