"""The table of a network's sites in the terminal (``se-nas sites``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from se_nas.network.placement import Sites
from se_nas.report.columns import Column
from se_nas.report.text_table import say, text_table
from se_nas.se.cost import se_cost
from se_nas.se.spec import PAPER, SEOptions


def site_rows(found: Sites) -> list[dict[str, Any]]:
    """One mapping of JSON types for each site. ``params`` are the parameters of an SE block with r=16, without biases."""
    rows = []
    for site in found.sites:
        place = site.attachments["standard"]
        cost = se_cost(place.channels, place.height, place.width, PAPER, SEOptions(), place.maps)
        rows.append(
            {
                "site": site.name,
                "stage": site.stage,
                "kind": site.kind,
                "channels": place.channels,
                "size": list(place.size),
                "placements": {name: attachment.module for name, attachment in site.attachments.items()},
                "existing": site.existing or None,
                "spare": site.spare,
                "params": cost.params,
            }
        )
    return rows


def show_sites(name: str, found: Sites) -> None:
    """Print the sites, the sites that are searched only if named, and the places that cannot take an SE block."""
    console = Console()
    rows = site_rows(found)
    usual, spare = [row for row in rows if not row["spare"]], [row for row in rows if row["spare"]]
    say(console, f"{name}: {len(usual)} sites")
    console.print("", _table(usual, console.width), "", sep="\n")
    if any(row["existing"] for row in usual):
        console.print('* has an SE block of its own, which a searched setting replaces and "no SE" removes', style="dim")
    if spare:
        console.print("outside of the blocks: searched only with sites: {add: [NAME]}", markup=False, highlight=False)
        console.print("", _table(spare, console.width), "", sep="\n")
    for left_out in found.left_out:
        say(console, str(left_out), "yellow")


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    def column(heading: str, cell: Callable[[dict[str, Any]], str], words: bool = False) -> Column:
        return Column(heading, tuple(map(cell, rows)), words)

    columns = [
        column("site", lambda row: row["site"] + (" *" if row["existing"] else "")),
        column("stage", lambda row: row["stage"], words=True),
        column("kind", lambda row: row["kind"], words=True),
        column("C", lambda row: str(row["channels"])),
        column("H x W", lambda row: " x ".join(map(str, row["size"]))),
        column("placements", lambda row: " ".join(row["placements"]), words=True),
        column("params\nat r=16", lambda row: f"{row['params']:,}"),
    ]
    return text_table(columns, width)
