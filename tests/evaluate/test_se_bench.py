"""The generator of SE-Bench makes a table that is read and searched."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import pytest

from se_nas.evaluate.table import Table
from se_nas.space.space import SearchSpace


def test_the_generators_table_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import se_bench
    import se_bench_search

    space = SearchSpace.from_yaml(se_bench.SPACE)
    some = list(islice(se_bench.architectures(space), 60))
    assert some[:2] == [space.reference("plain"), space.reference("paper")] and len(set(some)) == 60
    assert list(islice(se_bench.architectures(space), 60)) == some and all(map(space.contains, some))
    file = tmp_path / "table.jsonl"
    se_bench.write(file, se_bench.header(space), [])
    with file.open("a") as lines:
        for architecture in some[:12]:
            for seed in (0, 1):
                accuracy = 0.5 + 0.01 * sum(spec is not None for _, spec in architecture) + 0.001 * seed
                values = {"accuracy": accuracy, "loss": 1.0}
                line = {"architecture": architecture.to_json(), "seed": seed, "metrics": values, "test": values, "about": {"seconds": 1.0}}
                lines.write(json.dumps(line) + "\n")
        lines.write('{"architecture": {"lay')  # a kill in the middle of a line
    whole = se_bench.read(file)
    assert len(whole) == 24
    se_bench.write(file, se_bench.header(space), whole)
    table = Table.read(file, space)
    assert len(table.trainings) == 12 and (table.epochs, table.validation_images) == (1, 5000)

    monkeypatch.setattr(
        sys, "argv", ["se_bench_search.py", str(file), "--strategies", "random", "nsga2", "--seeds", "2", "--trials", "5", "12"]
    )
    se_bench_search.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("12 architectures with two seeds") and "ICC of one training 1.00" in said[0]
    assert all(row.endswith("| 0.00 ± 0.00 | 1.00 ± 0.00 |") for row in said[-2:])  # after all of them, each has found the front
