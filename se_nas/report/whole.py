"""What of a run is whole, in lines (``se-nas check RUN``). It repairs nothing."""

from __future__ import annotations

from pathlib import Path

from se_nas.errors import InputError
from se_nas.run.check import check_run
from se_nas.text import cut, flat


def show_whole(path: Path) -> None:
    """Print a line for each file of a run.

    Raises:
        InputError: if something is damaged.
    """
    found = check_run(path)
    for one in found:
        state = "" if one.whole else "DAMAGED: "
        print(flat(f"{one.file}: {state}{one.said}{f'; {one.fix}' if one.fix else ''}"))
    if damaged := [one.file for one in found if not one.whole]:
        raise InputError(f"damaged: {cut(', '.join(damaged), 300)}", "see above what to do; nothing was changed", str(path))
