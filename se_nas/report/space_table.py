"""A space in the terminal: its sites, its size and its costs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from se_nas.cost import Cost
from se_nas.space import SearchSpace


def show_space(space: SearchSpace) -> None:
    """What ``se-nas check`` prints: the sites, how many architectures there are, and what they cost."""
    console = Console()
    table = Table(title=f"{space!r}", title_justify="left")
    for heading in ("choice", "sites", "stage"):
        table.add_column(heading)
    for heading in ("channels", "height x width", "options"):
        table.add_column(heading, justify="right")
    for group in space.groups:
        shapes = [site.attachments[space.placement[0]] for site in group.sites]
        table.add_row(
            group.name,
            str(len(group.sites)),
            _joined(site.stage for site in group.sites),
            _joined(str(shape.channels) for shape in shapes),
            _joined(f"{shape.height} x {shape.width}" for shape in shapes),
            str(len(group.options)),
        )
    console.print(table)
    console.print(f"sites searched: {len(space.sites)} of {len(space.all_sites)}; tied by {space.share}")
    console.print(f"architectures: {space.size:,}" if space.size < 1e15 else f"architectures: {space.size:.3g}")
    for budget in space.budgets:
        console.print(f"budget: {budget} of the plain backbone, that is {budget.limit:,}" if "%" in budget.text else f"budget: {budget}")
    if space.budgets:
        console.print(f"within the budgets: {space.feasible_size:,} ({space.feasible_size / space.size:.3%})")
    show_costs(space)
    console.print("[green]sound[/green]")


def cost_rows(space: SearchSpace) -> dict[str, Cost]:
    """Exact costs of the backbone, the paper's default, and the space's cheapest and dearest architecture."""
    return {
        "backbone": space.plain_cost,
        "paper default": space.cost(space.reference("paper")),
        "cheapest": space.cost(space.cheapest()),
        "dearest": space.cost(space.dearest()),
    }


def show_costs(space: SearchSpace) -> None:
    """What ``se-nas cost`` prints."""
    table = Table(caption="MACs: multiply-accumulates of convolutions and linear layers, one image", caption_justify="left")
    table.add_column("architecture")
    for heading in ("parameters", "more", "MACs", "more"):
        table.add_column(heading, justify="right")
    plain = space.plain_cost
    for name, cost in cost_rows(space).items():
        table.add_row(name, f"{cost.params:,}", _more(cost.params, plain.params), f"{cost.macs:,}", _more(cost.macs, plain.macs))
    Console().print(table)


def _more(value: int, base: int) -> str:
    return "" if value == base else f"{value / base - 1:+.2%}"


def _joined(values: object) -> str:
    return ", ".join(dict.fromkeys(values))  # type: ignore[call-overload]
