"""The tables of a space in the terminal (``se-nas check`` and ``cost``)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from se_nas.report.columns import Column
from se_nas.report.text_table import say, text_table
from se_nas.report.words import amount, percent
from se_nas.se.cost import Cost
from se_nas.space.budget import LATENCY, METRICS, PAPER, Budget
from se_nas.space.named import NamedCost
from se_nas.space.space import SearchSpace
from se_nas.text import flat


def show_space(space: SearchSpace) -> None:
    """Print the sites, the number of architectures, and their costs (``se-nas check``)."""
    console = Console()
    shapes = [[site.attachments[group.candidates["placement"][0]] for site in group.sites] for group in space.groups]
    columns = [
        Column("choice", tuple(group.name for group in space.groups)),
        Column("sites", tuple(str(len(group.sites)) for group in space.groups)),
        Column("stage", tuple(_joined(site.stage for site in group.sites) for group in space.groups), words=True),
        Column("channels", tuple(_span([shape.channels for shape in some]) for some in shapes), words=True),
        Column("H x W", tuple(_joined(" x ".join(map(str, shape.size)) for shape in some) for some in shapes), words=True),
        Column("options", tuple(str(len(group.options)) for group in space.groups)),
    ]
    say(console, repr(space))
    console.print("", text_table(columns, console.width), "", sep="\n")
    console.print(f"sites searched: {len(space.sites)} of {len(space.all_sites)}; tied by {space.share}")
    for line in (*map(str, space.left_out), *space.narrowed):
        say(console, line, "yellow")
    for name, values in space.extra.items():
        say(console, f"{name}: {', '.join(map(str, values))} (sites and the costs below by percent are of {values[0]})")
    console.print(f"architectures: {_amount(space.size)}")
    if space.trainable != space.plain_cost.params:
        console.print(f"parameters are all of them, frozen or not; trainable in the backbone: {space.trainable:,}")
    for budget in space.budgets:
        of = " of the plain backbone" if "%" in budget.text else ""
        say(console, f"budget: {budget}{of}" + (f", that is {_limit(budget)}" if of or PAPER in budget.text else ""))
    if space.budgets:
        least = "" if space.feasible_exact else "at least "
        console.print(f"within the budgets: {least}{_amount(space.feasible_size)} ({100 * space.feasible_size / space.size:.3g} %)")
    show_costs(space)
    console.print("[green]sound[/green]")


def cost_rows(space: SearchSpace) -> dict[str, Cost]:
    """Exact costs of the backbone, the paper's default, and the cheapest and dearest architectures: of all, and within the budgets."""
    architectures = {
        "backbone": space.reference("plain"),
        "paper default": space.reference("paper"),
        "cheapest": space.cheapest(),
        "dearest": space.dearest(),
    }
    if space.budgets:
        architectures["cheapest allowed"] = space.cheapest(within_budgets=True)
        architectures["dearest allowed"] = space.dearest(within_budgets=True)
    for name in space.costs:
        architectures |= {f"least {name}": space.cheapest(name), f"most {name}": space.dearest(name)}
        if space.budgets:
            architectures[f"most {name} allowed"] = space.dearest(name, within_budgets=True)
    return {name: space.cost(architecture) for name, architecture in architectures.items()}


def show_costs(space: SearchSpace) -> None:
    """Print parameters and MACs, and below them the operations that MACs leave out (``se-nas cost``)."""
    rows, plain = cost_rows(space), space.plain_cost
    counted, unseen = _narrow_table(), _narrow_table()
    for table, headings in [(counted, ("parameters", "more", "MACs", "more")), (unseen, ("elementwise", "reductions", "bytes"))]:
        table.add_column("", overflow="fold")
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
    for name, cost in rows.items():
        counted.add_row(
            Text(flat(name)), f"{cost.params:,}", _more(cost.params, plain.params), f"{cost.macs:,}", _more(cost.macs, plain.macs)
        )
        if name != "backbone":
            unseen.add_row(Text(flat(name)), *(f"{value:,}" for value in (cost.elementwise, cost.reductions, cost.bytes)))
    console = Console()
    console.print("MACs: multiply-accumulates of convolutions and linear layers, one image")
    console.print(counted)
    console.print("What the SE blocks do beside MACs, one image: operations, and bytes of float32 read and written")
    console.print(unseen)
    for name, further in space.costs.items():
        say(console, f"{name}: {further.about or 'a cost of the space'}")
        console.print(_further(name, further, rows))


def _further(name: str, further: NamedCost, rows: Mapping[str, Cost]) -> Table:
    """A further cost of these architectures, with how far it may be off."""
    table, plain = _narrow_table(), rows["backbone"]._asdict()[name]
    for heading in ("", f"{name} ({further.unit})" if further.unit and name != LATENCY else name, "more", *(["about"] * bool(further.tie))):
        table.add_column(Text(flat(heading)), justify="right" if heading else "left", no_wrap=bool(heading))
    for row, cost in rows.items():
        value = cost._asdict().get(name)
        off = [f"+-{flat(amount(name, further.tie))}"] if further.tie else []
        table.add_row(Text(flat(row)), *(["not known"] if value is None else [flat(amount(name, value)), flat(_more(value, plain)), *off]))
    return table


def _narrow_table() -> Table:
    """An empty table without frames."""
    return Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))


def _limit(budget: Budget) -> str:
    return f"{budget.limit:,}" if budget.metric in METRICS else flat(amount(budget.metric, budget.limit))


def _amount(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"{Decimal(number):.2e}"


def _more(value: float, base: float) -> str:
    return "" if value == base else percent(value / base - 1)


def _span(values: list[int]) -> str:
    distinct = sorted(set(values))
    return ", ".join(map(str, distinct)) if len(distinct) <= 3 else f"{distinct[0]} to {distinct[-1]}"


def _joined(values: object) -> str:
    return ", ".join(dict.fromkeys(values))  # type: ignore[call-overload]
