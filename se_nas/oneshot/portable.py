"""A space as NNI can carry it to the trials of its training service."""

from __future__ import annotations

import base64
import functools
import pickle
import zlib
from typing import Any

import cloudpickle

from se_nas.space.own import own_entries, register_entries
from se_nas.space.space import SearchSpace


class Portable:
    """A space in text.

    FAULT: NNI writes objects of Python into JSON as base64, and strips everything after ``//`` as a comment when it reads that;
    its service then waits for ever for trials that cannot begin (its issue #5684). Here the content is letters and digits of
    ASCII, whose base64 has no ``//``, and the few bytes around it are moved until theirs has none.

    A space whose backbone has a name is carried as its arguments, and made again; another one is pickled with its weights.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space: SearchSpace | None = space
        arguments = space.to_dict()
        content = (own_entries(space), arguments, None if arguments["backbone"] else space)
        self.text = base64.b64encode(zlib.compress(cloudpickle.dumps(content))).decode()
        while "//" in base64.b64encode(cloudpickle.dumps(self)).decode():
            self.text += " "

    def __getstate__(self) -> dict[str, Any]:
        return {"text": self.text}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.text, self._space = state["text"], None

    @property
    def space(self) -> SearchSpace:
        """The space; made once in each process."""
        if self._space is None:
            self._space = _open(self.text.strip())
        return self._space


@functools.lru_cache(maxsize=2)
def _open(text: str) -> SearchSpace:
    own, arguments, space = pickle.loads(zlib.decompress(base64.b64decode(text)))
    register_entries(own)
    return space or SearchSpace.from_dict(arguments, "to_model_space")
