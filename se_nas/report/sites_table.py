"""The table of a network's sites in the terminal (``se-nas sites``)."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from se_nas.network.placement import Sites
from se_nas.report.space_table import narrow_table
from se_nas.se.cost import se_cost
from se_nas.se.spec import PAPER, SEOptions


def site_rows(found: Sites) -> list[dict[str, Any]]:
    """One mapping of JSON types for each site. ``params`` are the parameters of an SE block with r=16, without biases."""
    rows = []
    for site in found.sites:
        place = site.attachments["standard"]
        cost = se_cost(place.channels, place.height, place.width, PAPER, SEOptions())
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
    console.print(_table(f"{name}: {len(usual)} sites", usual))
    if any(row["existing"] for row in usual):
        console.print('* has an SE block of its own, which a searched setting replaces and "no SE" removes', style="dim")
    if spare:
        console.print(_table("outside of the blocks: searched only with sites: {add: [NAME]}", spare))
    for left_out in found.left_out:
        console.print(str(left_out), style="yellow", markup=False, highlight=False)


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = narrow_table(title)
    table.add_column("site", no_wrap=True)
    for heading in ("stage", "kind"):
        table.add_column(heading, overflow="fold")
    for heading in ("C", "H x W"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("placements", overflow="fold")
    table.add_column("params at r=16", justify="right", overflow="fold")
    for row in rows:
        table.add_row(
            row["site"] + (" *" if row["existing"] else ""),
            row["stage"],
            row["kind"],
            str(row["channels"]),
            " x ".join(map(str, row["size"])),
            " ".join(row["placements"]),
            f"{row['params']:,}",
        )
    return table
