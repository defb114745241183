"""What each choice brings, as sentences, as JSON and as a figure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from se_nas.report.effects import effect_sentences, effects_chart
from se_nas.report.facts import Facts
from se_nas.report.html import write_report
from se_nas.report.table import as_json
from se_nas.report.untried import untried_sentences
from se_nas.run.effects import Effect, Effects
from se_nas.text import flat

from .conftest import MakeRun, make_trials

PLAN = ((48, 0.004), (96, 0.003), (192, 0.0019), (384, 0.001))


def effect(
    group: str | None, middle: float, half: float, field: str | None = None, value: Any = None, params: float | None = None
) -> Effect:
    return Effect(group, field, value, middle, middle - half, middle + half, 30, 18, params, params)


def test_what_is_predicted_stands_beside_what_was_measured(make_run: MakeRun) -> None:
    run = make_run(make_trials(24))
    effects = run.effects()
    assert effects is not None and effects.conclusive and len(effects.predictions) == effects.architectures
    page, facts = write_report(run).read_text(), Facts.of(run)
    for entry in facts.rows:
        middle, low, high = effects.predictions[entry.architecture.id]
        assert low < middle < high and abs(middle - entry.values["accuracy"]) < 0.05
        assert f"{100 * middle:.1f} ±{50 * (high - low):.1f} %" in page


def test_what_was_not_tried_is_said(make_run: MakeRun) -> None:
    trials = make_trials(12, ("a", "b"))
    settings = {"number": 4, "reduction": {4: {"number": 2}, 99: {"number": 2}}}
    groups = {name: {"settings": settings} for name in ("a", "b")}
    facts = Facts.of(make_run(trials, backbone={"params": 1, "groups": groups}))
    assert untried_sentences(facts) == [
        f"Tried were {len(facts.front.entries)} of 25 architectures (budgets not counted).",
        "Never tried: r = 99 anywhere.",
    ]


@pytest.fixture
def facts(make_run: MakeRun) -> Facts:
    return Facts.of(make_run(make_trials(4)))


def said(facts: Facts, effects: Effects | None) -> list[str]:
    return [flat(text) for text in effect_sentences(facts, effects, "+-")]


def found(sites: list[Effect], values: list[Effect] = [], r2: float = 0.4, plan=PLAN) -> Effects:  # noqa: B006
    return Effects("accuracy", 48, 48, 44, r2, 0.005, False, tuple(sites), tuple(values), plan)


def test_where_it_pays_and_where_nothing_was_found(facts: Facts) -> None:
    sites = [
        effect("layer1.0", 0.0002, 0.001),
        effect("layer1.1", -0.0003, 0.0005),
        effect("layer2.0", -0.002, 0.001),
        effect("layer2.1", 0.0001, 0.0005),
        effect("layer3.1", 0.0042, 0.0015, params=809.2),
        effect(None, 0.006, 0.003, params=8092.0),
    ]
    assert said(facts, found(sites)) == [
        "What each choice brings, from 48 trials of 44 architectures together (95 % intervals; R2 of architectures left out 0.40):",
        "SE pays at layer3.1 (+0.42 +- 0.15 points for +0.3 % params).",
        "SE hurts at layer2.0 (-0.20 +- 0.10 points).",
        "At layer1.* and layer2.1 no effect of SE was found (within +-0.12 points).",
        "SE at all sites brings +0.60 +- 0.30 points for +3.0 % params.",
        "At a typical site the interval is now +-0.40 points; about 130 more such trials would make it +-0.20.",
    ]


def test_a_skewed_interval_is_said_by_its_ends(facts: Facts) -> None:
    skewed = [
        Effect("layer1.0", None, None, 0.0010, 0.0001, 0.0023, 30, 18),
        Effect("layer2.0", None, None, -0.0010, -0.0023, -0.0001, 30, 18),
        Effect("layer3.0", None, None, 0.0010, -0.0001, 0.0023, 30, 18),
    ]
    values = [replace(skewed[1], group=None, field="squeeze", value=name) for name in ("max", "std", "avg")]
    assert said(facts, found(skewed, values, plan=()))[1:] == [
        "SE pays at layer1.0 (+0.10 (0.01 to 0.23) points).",
        "SE hurts at layer2.0 (-0.10 (-0.23 to -0.01) points).",
        "At layer3.0 no effect of SE was found (within +-0.23 points).",
        "Max squeeze costs 0.10 (0.01 to 0.23) points, std squeeze costs 0.10 (0.01 to 0.23) points and avg squeeze costs 0.10 (0.01 to "
        "0.23) points, against the mean of the others at all sites.",
    ]


def test_values_of_fields(facts: Facts) -> None:
    values = [
        effect(None, 0.001, 0.002, "reduction", 4),
        effect(None, -0.001, 0.002, "reduction", 16),
        effect(None, -0.002, 0.001, "squeeze", "max"),
        effect(None, 0.001, 0.0015, "squeeze", "avg"),
        effect(None, 0.001, 0.0015, "squeeze", "std"),
        effect(None, -0.003, 0.002, "gate", "sigmoid"),
        effect(None, 0.003, 0.002, "gate", "hard-sigmoid"),
        effect(None, 0.0, 0.002, "placement", "pre"),
        effect(None, 0.0, 0.002, "placement", "post"),
        effect("layer1.0", -0.004, 0.002, "placement", "post"),
        effect(None, -0.02, 0.01, "width", 1.0),
        effect(None, 0.02, 0.01, "width", 1.5),
    ]
    assert said(facts, found([effect("layer1.0", 0.004, 0.001)], values, plan=()))[2:] == [
        "r = 4 and r = 16 cannot be told apart at all sites (within +-0.30 points).",
        "Max squeeze costs 0.20 +- 0.10 points, against the mean of the others at all sites.",
        "Hard-sigmoid gate brings +0.30 +- 0.20 points over sigmoid gate at all sites.",
        "Pre placement and post placement cannot be told apart at all sites (within +-0.20 points).",
        "But post placement costs 0.40 +- 0.20 points at layer1.0, against the mean of the others there.",
        "Width = 1.5 brings +2.00 +- 1.00 points over width = 1.0.",
    ]


def test_when_the_data_cannot_say(facts: Facts) -> None:
    wide = [effect("layer1.0", 0.001, 0.004)]
    assert said(facts, found(wide, r2=-0.1)) == [
        "What each choice brings cannot be told from 48 trials of 44 architectures: together they do not predict an architecture "
        "left out (R2 -0.10).",
        "At a typical site the interval is now +-0.40 points; about 130 more such trials would make it +-0.20.",
    ]
    (first, _) = said(facts, found(wide))
    assert first.endswith("every interval includes 0 (R2 of architectures left out 0.40).")
    assert said(facts, found([effect("layer1.0", 0.01, 0.004)], r2=-0.1))[0].startswith("What each choice brings cannot be told")
    assert said(facts, Effects("accuracy", 5, 5, 4)) == [
        "What each choice brings cannot be told from 4 architectures: it takes 6 at least."
    ]
    assert said(facts, Effects("accuracy", 20, 20, 18)) == ["What each choice brings cannot be told: no two trials differ."]
    assert said(facts, None) == said(facts, Effects("accuracy", 0, 0, 0)) == []


def test_other_metrics_have_no_points(make_run: MakeRun) -> None:
    run = make_run(make_trials(4, metric="snr"), objectives=("max:snr",))
    texts = effect_sentences(Facts.of(run), Effects("snr", 48, 48, 44, 0.4, 0.005, sites=(effect("layer1.0", 3.14159, 0.51),)))
    assert flat(texts[1]) == "SE pays at layer1.0 (+3.1 ± 0.51)."


def test_the_figure_has_a_row_for_every_site(facts: Facts) -> None:
    sites = [effect("layer1.0", 0.001, 0.004, params=100.0), effect("layer3.1", 0.004, 0.001, params=400.0), effect(None, 0.005, 0.004)]
    chart = effects_chart(facts, found(sites))
    assert re.findall(r'<circle class="(\w+)"', chart) == ["unsure", "found"]  # from the input on; all of them together are no site
    widths = [float(width) for width in re.findall(r'class="cost"[^>]* width="([\d.]+)"', chart)]
    assert widths[1] == pytest.approx(4 * widths[0])
    zero = float(re.findall(r'class="zero" x1="([\d.]+)"', chart)[0])
    lines = [(float(a), float(b)) for a, b in re.findall(r'class="interval \w+" x1="([\d.]+)"[^>]* x2="([\d.]+)"', chart)]
    assert lines[0][0] < zero < lines[0][1] and zero < lines[1][0] < lines[1][1]
    assert effects_chart(facts, None) == effects_chart(facts, found([effect(None, 0.1, 0.2)])) == ""


def test_run_report_and_json_have_them(make_run: MakeRun) -> None:
    run = make_run(make_trials(40))
    data = as_json(run)["effects"]
    assert data["trials"] == 36 and len(data["sites"]) == 10  # nine sites, and all of them
    assert {e["field"] for e in data["values"]} == {"reduction"}  # what the space leaves a choice of
    page = write_report(run).read_text(encoding="utf-8")
    assert "What each choice brings" in page and page.count('<circle class="found"') + page.count('<circle class="unsure"') == 9
