"""What a generator hands over: the text of a file, and what to know of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """The source of a network.

    Attributes:
        text: of the file.
        notes: what to say of it.
        package: that it imports besides torch, to build the backbone there.
        paths: folders that it may need for that package.
        one_size: whether it is for images of the space's size alone.
    """

    text: str
    notes: tuple[str, ...] = ()
    package: str = ""
    paths: tuple[str, ...] = ()
    one_size: bool = False
