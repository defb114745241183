"""Exceptions: `InputError` for bad input, `TrialFailed` for a trial without a result."""

from __future__ import annotations

from collections.abc import Collection

from se_nas.text import cut, flat, shown

LONGEST = 1000
"""Characters of each part of a message."""


class InputError(ValueError):
    """Bad input. The message names the value, the rule that it breaks, the fix, and the source of the value.

    The command line prints it as one line and exits with code 2. Any other exception that escapes is a bug in se-nas.

    Args:
        problem: the value, and the rule that it breaks.
        fix: what to do instead.
        source: where the value came from: file and key, or flag.
    """

    def __init__(self, problem: str, fix: str, source: str | None = None) -> None:
        self.problem, self.fix, self.source = problem, fix, source
        super().__init__(problem, fix, source)

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        return flat(f"{cut(where, LONGEST)}{cut(self.problem, LONGEST)}; {cut(self.fix, LONGEST)}")

    def at(self, source: str) -> InputError:
        """The same error with a longer source: ``at("space.yaml")`` turns ``reduction`` into ``space.yaml, reduction``."""
        return type(self)(self.problem, self.fix, f"{source}, {self.source}" if self.source else source)


class TrialFailed(RuntimeError):
    """A trial has no metrics, for example because its loss diverged. It is recorded as failed, with this reason, and not retried."""


class OutOfMemory(TrialFailed):
    """A trial did not fit into the device's memory. It may fit when fewer trials run beside it."""


def known(name: object, names: Collection[str], kind: str) -> None:
    """Raise `InputError` unless ``name`` is one of ``names``. The message calls it a ``kind``: "unknown gate 'softmax'"."""
    if not isinstance(name, str) or name not in names:
        raise InputError(f"unknown {kind} {shown(name)}", f"take one of {', '.join(names)}", kind)
