"""Which sites of a backbone a space searches, and which of them share one choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from se_nas.errors import InputError, known
from se_nas.network.placement import Site
from se_nas.text import shown

SHARES = ("site", "stage", "network")
KEYS = ("stages", "match", "add", "drop", "rename")

Selection = str | Mapping[str, Any]
"""``all``, or any of: ``stages`` and ``match`` (only those), ``drop`` (not those), ``add`` (spare ones too), ``rename`` (old: new)."""


def select_sites(sites: Sequence[Site], selection: Selection) -> tuple[Site, ...]:
    """The sites of a selection, in the order of the network.

    Args:
        sites: all sites of the backbone, spare ones too.
        selection: see `Selection`; patterns are shell patterns such as ``layer3.*``.

    Raises:
        InputError: for an unknown form, or a pattern that matches no site.
    """
    if selection == "all":
        return tuple(site for site in sites if not site.spare)
    if not isinstance(selection, Mapping) or not selection or not set(selection) <= set(KEYS):
        raise InputError(
            f"{shown(selection)} is no choice of sites",
            'write all, or some of {stages: [layer3], match: ["layer3.*"], add: [conv1], drop: [layer3.0], rename: {layer3.1: last}}',
            "sites",
        )

    def matches(key: str, pool: Sequence[Site], label: Callable[[Site], str] = lambda site: site.name) -> set[str]:
        """Names of the sites that match the patterns of a key."""
        return {site.name for site in pool if any(fnmatchcase(label(site), p) for p in _patterns(selection, key, pool, label))}

    usual = [site for site in sites if not site.spare]
    chosen = {site.name for site in usual}
    if "stages" in selection:
        chosen &= matches("stages", usual, lambda site: site.stage)
    if "match" in selection:
        chosen &= matches("match", usual)
    if "add" in selection:
        chosen |= matches("add", sites)
    if "drop" in selection:
        chosen -= matches("drop", [site for site in sites if site.name in chosen])
    if not chosen:
        raise InputError("no site is chosen", "name at least one", "sites")
    return _rename([site for site in sites if site.name in chosen], selection.get("rename", {}))


def _patterns(selection: Mapping[str, Any], key: str, pool: Sequence[Site], label: Callable[[Site], str]) -> Sequence[str]:
    patterns = selection[key]
    if isinstance(patterns, str) or not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise InputError(f"{shown(patterns)} is not a list of names", f"write {key}: [NAME, ...]", f"sites.{key}")
    labels = list(dict.fromkeys(map(label, pool)))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in labels):
            raise InputError(f"{shown(pattern)} fits no site", f"there are {', '.join(labels)}", f"sites.{key}")
    return patterns


def _rename(sites: Sequence[Site], names: Any) -> tuple[Site, ...]:
    if not isinstance(names, Mapping) or not all(isinstance(name, str) and name for pair in names.items() for name in pair):
        raise InputError(f"{shown(names)} is not a mapping of names", "write rename: {OLD: NEW}", "sites.rename")
    for old in names:
        if old not in {site.name for site in sites}:
            raise InputError(
                f"{shown(old)} is none of the chosen sites", f"there are {', '.join(site.name for site in sites)}", "sites.rename"
            )
    renamed = tuple(replace(site, name=names.get(site.name, site.name)) for site in sites)
    if len({site.name for site in renamed}) < len(renamed):
        raise InputError(f"{dict(names)} gives two sites one name", "choose other names", "sites.rename")
    return renamed


def group_sites(sites: Sequence[Site], share: str) -> list[tuple[str, tuple[Site, ...]]]:
    """(group, its sites), in the order of the network: a group for each ``site``, each ``stage``, or the ``network``."""
    known(share, SHARES, "share")
    groups: dict[str, tuple[Site, ...]] = {}
    for site in sites:
        name = {"site": site.name, "stage": site.stage, "network": "network"}[share]
        groups[name] = (*groups.get(name, ()), site)
    return list(groups.items())
