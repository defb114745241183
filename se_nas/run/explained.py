"""What was found of the SE blocks of a run's trials (`se-nas explain`): a file for each. Reading needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from se_nas.errors import InputError
from se_nas.evaluate.explanation import Explanation
from se_nas.files import make_directory, refused, write_whole
from se_nas.reading import load_json
from se_nas.run.run import Run

FOLDER = "explained"


def explanation_path(run: Run, number: int) -> Path:
    """Where the explanation of a trial's network is kept."""
    return run.path / FOLDER / f"{number:05d}.json"


def keep_explanation(run: Run, number: int, found: Explanation) -> Path:
    """Write an explanation into the run, whole or not at all, and return its path.

    Raises:
        InputError: if it cannot be written.
    """
    path = explanation_path(run, number)
    with refused(path, "written"):
        make_directory(path.parent)
        write_whole(path, json.dumps(found.to_json(), indent=1) + "\n")
    return path


def read_explanations(run: Run) -> dict[int, Explanation]:
    """Number of a trial -> its explanation, of those that are kept.

    Raises:
        InputError: for a damaged file.
    """
    found: dict[int, Explanation] = {}
    for path in sorted((run.path / FOLDER).glob("[0-9]*.json")):
        try:
            found[int(path.stem)] = Explanation.from_json(load_json(path, "remove the file"))
        except ValueError as error:
            raise error.at(str(path)) if isinstance(error, InputError) and not error.source else error from None
    return found
