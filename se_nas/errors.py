"""The one exception for what a person can put right."""

from __future__ import annotations

from collections.abc import Collection


class InputError(ValueError):
    """Bad input: says the value, the rule it breaks, the fix, and where it came from.

    The command line prints it as one line and exits with code 2; anything else that escapes is a bug in se-nas.

    Args:
        problem: the value and the rule that it breaks.
        fix: what to do instead.
        source: the file and key, or the flag, that the value came from.
    """

    def __init__(self, problem: str, fix: str, source: str | None = None) -> None:
        self.problem, self.fix, self.source = problem, fix, source
        super().__init__(problem, fix, source)

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        return f"{where}{self.problem}; {self.fix}"

    def at(self, source: str) -> InputError:
        """The same error, its source put in front: ``at("space.yaml")`` turns ``reduction`` into ``space.yaml, reduction``."""
        return type(self)(self.problem, self.fix, f"{source}, {self.source}" if self.source else source)


class TrialFailed(RuntimeError):
    """A trial that cannot give metrics (its loss diverged, say): recorded as failed with this reason, never retried."""


class OutOfMemory(TrialFailed):
    """A trial for which the device's memory was too small; with less beside it, it may fit."""


def known(name: object, names: Collection[str], kind: str) -> None:
    """Raise `InputError` unless ``name`` is one of ``names``; ``kind`` says what they are names of."""
    if not isinstance(name, str) or name not in names:
        raise InputError(f"unknown {kind} {name!r}", f"take one of {', '.join(names)}", kind)
