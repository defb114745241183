"""The report of a run: one self-contained HTML file, without scripts and without network access."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from se_nas.errors import InputError
from se_nas.files import opened, refused, sweep, write_whole
from se_nas.report.charts import cost_chart, noise_band, outliers
from se_nas.report.columns import Column, front_columns
from se_nas.report.effects import effect_sentences, effects_chart
from se_nas.report.excitation import excitation_charts, explanation_columns, explanation_sentences
from se_nas.report.facts import Facts
from se_nas.report.grid import choices_grid
from se_nas.report.reliability import ledger_sentences, supernet_sentences
from se_nas.report.sample import sample_note, shown_trials
from se_nas.report.sentences import commands, failures, findings, noise, progress, stopped_at, volume
from se_nas.report.svg import mark
from se_nas.report.untried import untried_sentences
from se_nas.report.verdict import verdict_sentences
from se_nas.report.words import amount, duration, flatten, heading, is_share, summary
from se_nas.run.explained import read_explanations
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.text import clean, cut, html, several

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


MADE_BY = '<meta name="generator" content="se-nas">'
"""In every report: a file without it is not ours to overwrite."""


def write_report(run: Run, path: Path | None = None, force: bool = False) -> Path:
    """Write the report whole or not at all, and return its path (by default ``report.html`` in the run's directory).

    Raises:
        InputError: if it cannot be written there; or, without ``force``, if a file is there that is no report of se-nas.
    """
    path = path or run.path / "report.html"
    text = page(Facts.of(run))
    with refused(path, "written", "name another file"):
        if not force and os.path.lexists(path) and not _is_report(path):
            raise InputError("exists, and is no report of se-nas", "name another file, or overwrite it (--force)", str(path))
        sweep(path.parent)
        write_whole(path, text)
    return path


def _is_report(path: Path) -> bool:
    try:
        with opened(path) as file:
            return not path.is_symlink() and MADE_BY.encode() in file.read(1000)
    except OSError:
        return False


def page(facts: Facts) -> str:
    """The whole document as HTML."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = f"SE search: {facts.subject}"
    parts = (_verdict, _effects, _summary, _figures, _front, _choices, _excitation, _on, _made)
    body = "\n".join([_header(facts, title), *(part(facts) for part in parts)])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{MADE_BY}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{html(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(facts: Facts, title: str) -> str:
    config = facts.run.config
    images = config.get("validation_images")
    parts = [
        progress(facts),
        f"{several(config['search'].get('epochs', 0), 'epoch')} a trial",
        f"{images:,} validation images" if images else "",
        f"strategy {config['search'].get('strategy')}",
        str(config.get("created", "")).replace("T", " ").removesuffix("Z").removesuffix("+00:00"),
    ]
    state = "" if facts.finished else '<p class="warning">The search is unfinished: what follows may change.</p>'
    return f"<header><h1>{html(title)}</h1><p class='quiet'>{' &middot; '.join(map(html, filter(None, parts)))}</p>{state}</header>"


def _verdict(facts: Facts) -> str:
    lines = "".join(map(_sentence, verdict_sentences(facts, facts.run.verdict())))
    return _section("Verdict", f"<ul class='summary'>{lines}</ul>" if lines else "")


def _summary(facts: Facts) -> str:
    said = [*findings(facts), noise(facts), *ledger_sentences(facts), *supernet_sentences(facts)]
    references = (
        "Two references are trained in every search: <b>plain</b>, the backbone without SE, and <b>paper</b>, the paper's default "
        "(r = 16, average squeeze, sigmoid, before the sum, at every site)."
    )
    lines = [_sentence(text) for text in said] + [f"<li class='quiet'>{references}</li>"]
    lines += [f"<li class='failed'>{html(text)}.</li>" for text in failures(facts)]
    return _section("Summary", f"<ul class='summary'>{''.join(lines)}</ul>")


def _sentence(text: str) -> str:
    """A list item; the words before a colon are bold."""
    head, colon, rest = text.partition(": ")
    return f"<li>{f'<b>{html(head)}</b>: {html(rest)}' if colon and len(head) < 60 else html(text)}</li>"


def _figures(facts: Facts) -> str:
    shown = shown_trials(facts)
    charts = [chart for cost in facts.metrics if (chart := cost_chart(facts, cost, shown))]
    if not charts:
        return ""
    marks = [("trial", "a trial"), ("front", "on the front"), ("plain", "plain"), ("paper", "paper")]
    legend = " ".join(f"<span>{mark(kind)} {name}</span>" for kind, name in marks)
    legend += "<span><i class='swatch'></i> a single trial here ties with plain</span>" if noise_band(facts) else ""
    far = outliers(facts)
    note = f"<p class='quiet'>{several(far, 'far-off architecture')} drawn at the edge.</p>" if far else ""
    note += f"<p class='quiet'>{html(left_out)}</p>" if (left_out := sample_note(facts, shown)) else ""
    figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
    return _section("Front", f"<p class='legend'>{legend}</p><div class='figures'>{figures}</div>{note}")


def _effects(facts: Facts) -> str:
    effects = facts.effects
    lines = "".join(map(_sentence, effect_sentences(facts, effects)))
    chart = effects_chart(facts, effects)
    note = "Dots are estimates, lines 95 % intervals, from the input on; grey: not told from 0."
    figure = f"<figure>{chart}</figure><p class='quiet'>{note}</p>" if chart else ""
    unknown = "".join(map(_sentence, untried_sentences(facts)))
    unknown = f"<ul class='summary quiet'>{unknown}</ul>" if unknown else ""
    return _section("What each choice brings", f"{figure}<ul class='summary'>{lines}</ul>{unknown}" if lines else "")


def _excitation(facts: Facts) -> str:
    """What the SE blocks of explained trials do."""
    note = (
        "Each channel's gate, those with the smallest mean first: blue the mean over all images with its standard deviation between "
        "images, grey each class. At 1 (dashed) a block changes nothing."
    )
    sections = []
    for number, found in read_explanations(facts.run).items():
        lines = "".join(map(_sentence, explanation_sentences(found)))
        figures = "".join(f"<figure>{chart}</figure>" for chart in excitation_charts(found))
        table = _table(explanation_columns(found), [""] * len(found.blocks))
        body = f"<ul class='summary'>{lines}</ul><div class='small'>{figures}</div><p class='quiet'>{note}</p>{table}"
        sections.append(_section(f"What the SE blocks of trial {number} do", body))
    return "".join(sections)


def _front(facts: Facts) -> str:
    rows = facts.rows
    if not rows:
        return _section("Trials", _trials(facts)) if facts.trials else ""
    columns = front_columns(facts, rows, effects=facts.effects)
    marks = [" ".join(word for word in cell.split()[1:]) for cell in columns[0].cells]
    measured = facts.front.measured
    legend = "References first, then the front from the cheapest on."
    legend += (
        f" Gains are in {html(measured.name)}{' points' if is_share(measured.name) else ', positive when better'}." if measured else ""
    )
    legend += " &asymp; marks ties." if facts.front.noise else ""
    legend += " Predicted is what all trials together say of a row's choices, with its 95 % interval." if _predicts(columns) else ""
    listed, every = len(shown_trials(facts)), len(facts.trials)
    named = "All trials" if listed == every else f"{listed:,} of {every:,} trials"
    return _section(
        "Architectures",
        f"<p class='quiet'>{legend}</p>{_table(columns, marks)}<details><summary>{named}</summary>{_trials(facts)}</details>",
    )


def _predicts(columns: Sequence[Column]) -> bool:
    return any(column.heading == "predicted" for column in columns)


def _trials(facts: Facts) -> str:
    shown = shown_trials(facts)
    trials = sorted((trial for trial in facts.trials if trial.number in shown), key=lambda trial: trial.number)
    metrics = sorted({name for trial in trials for name in trial.metrics})

    def metric(trial: Trial, values: dict[str, float], name: str) -> str:
        return amount(name, values[name]) if name in values else ""

    columns = [
        Column("trial", tuple(str(trial.number) for trial in trials)),
        Column("role", tuple(clean(trial.role) for trial in trials), words=True),
        Column("seed", tuple(str(trial.seed) for trial in trials)),
        *(Column(heading(name), tuple(metric(trial, dict(trial.metrics), name) for trial in trials)) for name in metrics),
        *(Column(heading(name), tuple(metric(trial, dict(trial.costs), name) for trial in trials)) for name in facts.metrics),
        Column("time", tuple(duration(trial.seconds) for trial in trials)),
        Column("architecture", tuple(_told(facts, trial) for trial in trials), words=True),
    ]
    return _table(columns, ["" if trial.complete else trial.status for trial in trials])


def _told(facts: Facts, trial: Trial) -> str:
    words = summary(trial.architecture, facts.share)
    if trial.complete:
        return words
    return f"{stopped_at(trial)}; {words}" if trial.stopped else f"failed: {cut(clean(trial.error))}; {words}"


def _choices(facts: Facts) -> str:
    grid = choices_grid(facts)
    return _section("Choices along the front", grid) if grid else ""


def _on(facts: Facts) -> str:
    lines = "\n".join(map(html, commands(facts)))
    return _section("Going on", f"<pre>{lines}</pre>" if lines else "")


def _made(facts: Facts) -> str:
    config = facts.run.config
    budgets = [(f"{b['metric']} {b['text']}", f"{b['limit']:,}") for b in config["budgets"]]
    parts = [
        ("Search", flatten(config["search"])),
        ("Space", [*flatten(config.get("space") or {}), *budgets]),
        ("Environment", flatten(config.get("environment") or {})),
        (
            "Run",
            [
                ("directory", clean(facts.run.path)),
                ("ledger", clean(facts.run.ledger.path)),
                *flatten({k: config.get(k) for k in ("command", "space_file")}),
            ],
        ),
    ]
    tables = "".join(f"<div><h3>{name}</h3><table class='settings'>{_pairs(pairs)}</table></div>" for name, pairs in parts if pairs)
    size = volume(facts)
    note = f"<p class='quiet'>{html(size)}</p>" if size else ""
    return _section("How it was made", f"<div class='made'>{tables}</div>{note}")


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<tr><th scope="row">{html(key)}</th><td>{html(value)}</td></tr>' for key, value in pairs)


def _table(columns: Sequence[Column], classes: Sequence[str]) -> str:
    """Columns as an HTML table; ``classes`` are the rows' CSS classes."""
    kinds = ["words" if column.words else "number" for column in columns]
    kinds[0] = "name"
    head = "".join(
        f'<th scope="col" class="{kind}">{"<br>".join(map(html, column.heading.splitlines()))}</th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    rows = []
    for row, name in zip(zip(*(column.cells for column in columns), strict=True), classes, strict=True):
        first, *rest = map(html, row)
        cells = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds[1:], rest, strict=True))
        rows.append(f'<tr class="{html(name)}"><th scope="row" class="name">{first}</th>{cells}</tr>')
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Table">{body}</div>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""
