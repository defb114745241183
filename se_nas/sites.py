"""Which sites of a backbone a space searches, and which of them share one choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from se_nas.errors import InputError
from se_nas.placement import Site

SHARES = ("site", "stage", "network")


def select_sites(sites: Sequence[Site], selection: str | Mapping[str, Sequence[str]]) -> tuple[Site, ...]:
    """``all``, or the sites whose stage (``{"stages": [...]}``) or name (``{"match": [...]}``) fits one of the patterns.

    Raises:
        InputError: for another form, or a pattern that fits nothing.
    """
    if selection == "all":
        return tuple(sites)
    if not (isinstance(selection, Mapping) and len(selection) == 1 and set(selection) <= {"stages", "match"}):
        raise InputError(f"{selection!r} is no choice of sites", 'write all, {stages: [layer3, layer4]} or {match: ["layer3.*"]}', "sites")
    ((key, patterns),) = selection.items()
    if isinstance(patterns, str) or not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise InputError(f"{patterns!r} is not a list of names", f"write {key}: [NAME, ...]", f"sites.{key}")

    def label(site: Site) -> str:
        return site.stage if key == "stages" else site.name

    for pattern in patterns:
        if not any(fnmatchcase(label(site), pattern) for site in sites):
            names = ", ".join(dict.fromkeys(label(site) for site in sites))
            raise InputError(f"{pattern!r} fits no site", f"there are {names}", f"sites.{key}")
    chosen = tuple(site for site in sites if any(fnmatchcase(label(site), pattern) for pattern in patterns))
    if not chosen:
        raise InputError("no site is chosen", "name at least one", f"sites.{key}")
    return chosen


def group_sites(sites: Sequence[Site], share: str) -> list[tuple[str, tuple[Site, ...]]]:
    """(group, its sites), in the order of the network: a group a ``site``, a ``stage``, or one for the ``network``."""
    if share not in SHARES:
        raise InputError(f"{share!r} is no way to share a choice", f"take one of {', '.join(SHARES)}", "share")
    groups: dict[str, tuple[Site, ...]] = {}
    for site in sites:
        name = {"site": site.name, "stage": site.stage, "network": "network"}[share]
        groups[name] = (*groups.get(name, ()), site)
    return list(groups.items())
