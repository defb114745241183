from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from se_nas.errors import InputError
from se_nas.report.grid import short_names
from se_nas.report.html import write_report
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture

from .conftest import SITES, MakeRun, make_trials

VOID = {"meta", "br", "rect", "circle", "path", "line"}


class Page(HTMLParser):
    """Checks that tags are balanced, and keeps what was seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.tags, self.words = text, [], [], []  # type: ignore[var-annotated]
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def count(self, tag: str, kind: str = "") -> int:
        return sum(name == tag and (not kind or attrs.get("class") == kind) for name, attrs in self.tags)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(run: Run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_report_needs_nothing_else(make_run: MakeRun) -> None:
    run = make_run(make_trials(24), test=True, limit=273_500)
    page = report(run)
    assert not re.search(r"https?://|//\w+\.\w+|@import|url\(", page.text)
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on") or key in ("src", "href")]
    policy = [attrs["content"] for name, attrs in page.tags if name == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert [path.name for path in run.path.glob("report*")] == ["report.html"]


def test_a_report_says_what_the_run_says(make_run: MakeRun) -> None:
    run = make_run(make_trials(24), test=True, limit=273_500)
    page = report(run)
    best = run.front.best()
    assert best is not None
    for part in [
        "SE search: resnet20 on digits",
        f"Best accuracy : trial {best.number}",
        "points better than plain",
        "The reference plain",
        "Noise of accuracy",
        "Test split",
        "Trials 9, 19 failed: loss is nan in epoch 2.",
        "budget +1%",
        "layer3.2",
        f"se-nas export {run.path} --trial best -o net.py",
        str(run.ledger.path),
        "nsga2",
    ]:
        assert part in page.said, part
    assert "unfinished" not in page.said


def test_charts_have_a_point_for_every_architecture(make_run: MakeRun) -> None:
    run = make_run(make_trials(24))
    page, front = report(run), run.front
    proposals = [entry for entry in front.entries if entry.role == "proposal"]
    winners = [entry for entry in front.front if entry.role == "proposal"]
    charts = 2
    assert sum(name == "svg" and attrs.get("role") == "img" for name, attrs in page.tags) == charts + 1  # and one of effects
    assert page.count("circle", "front") == charts * len(winners) + 1  # and one in the legend
    assert page.count("circle", "trial") == charts * (len(proposals) - len(winners)) + 1
    assert page.count("rect", "plain") == page.count("path", "paper") == charts + 1
    assert page.count("rect", "band") == charts


def test_the_grid_has_a_cell_for_every_choice_along_the_front(make_run: MakeRun) -> None:
    run = make_run(make_trials(24))
    page = report(run)
    specs = [spec for entry in run.front.front for _, spec in entry.architecture]
    assert page.count("td", "se") == sum(spec is not None for spec in specs)
    assert page.count("td", "none") == sum(spec is None for spec in specs)
    grid = page.said.partition("Choices along the front")[2]
    assert grid.count("layer1.0") == 1


@pytest.mark.parametrize(
    ("groups", "share"), [(("layer1", "layer2"), "stage"), (("network",), "network"), (tuple(f"layer1.{i}" for i in range(60)), "site")]
)
def test_tied_and_many_groups(make_run: MakeRun, groups: tuple[str, ...], share: str) -> None:
    page = report(make_run(make_trials(20, groups), share=share))
    assert all(group in page.said for group in groups)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_unfinished_runs(make_run: MakeRun, number: int) -> None:
    page = report(make_run(make_trials(number), search={"trials": 30}))
    assert "unfinished" in page.said
    assert "se-nas resume" in page.said


def test_a_run_with_nothing_but_a_failure(make_run: MakeRun) -> None:
    page = report(make_run([replace(make_trials(10)[9], number=0, role="plain")]))
    assert "Trial 0 failed: loss is nan in epoch 2" in page.said
    assert page.count("svg") == 0


@pytest.mark.parametrize("objectives", [("accuracy",), ("params",), ("macs", "accuracy"), ("min:loss", "params")])
def test_other_objectives(make_run: MakeRun, objectives: tuple[str, ...]) -> None:
    page = report(make_run(make_trials(14), objectives=objectives))
    assert "Best" in page.said


def test_far_off_points_do_not_squeeze_the_chart(make_run: MakeRun) -> None:
    trials = make_trials(30)
    trials[20] = replace(trials[20], metrics={"accuracy": 0.1, "loss": 2.3})
    page = report(make_run(trials))
    assert "1 far-off architecture drawn at the edge." in page.said
    assert "a single trial here ties with plain" in page.said


HOSTILE = "<script>alert(1)</script>\"'&\x1b\x00\u202e"


def test_hostile_strings_stay_text(make_run: MakeRun) -> None:
    renamed = {name: f"{HOSTILE}{name}" for name in SITES}
    trials = []
    for trial in make_trials(14):
        choices = [
            (renamed[name], spec and replace(spec, squeeze=f"{HOSTILE}{spec.squeeze}", gate=HOSTILE)) for name, spec in trial.architecture
        ]
        trials.append(replace(trial, architecture=Architecture(tuple(choices)), error=trial.error and HOSTILE))
    groups = {name: {"stage": HOSTILE, "channels": HOSTILE} for name in renamed.values()}
    run = make_run(
        trials,
        limit=280_000,
        search={"data": HOSTILE, "strategy": HOSTILE, "train": {HOSTILE: [HOSTILE]}},
        backbone={"name": HOSTILE, "params": 269_722, "macs": 40_551_040, "groups": groups},
        environment={HOSTILE: HOSTILE},
        budgets=[{"metric": "params", "text": f"<= {HOSTILE}", "limit": 280_000}],
        created=HOSTILE,
        command=HOSTILE,
    )
    page = report(run)
    assert page.count("script") == 0
    assert "<script" not in page.text
    assert not [c for c in page.text if c != "\n" and not c.isprintable() and c != "\N{NO-BREAK SPACE}"]
    assert {key for _, attrs in page.tags for key in attrs} <= {
        *(
            "lang",
            "charset",
            "http-equiv",
            "content",
            "name",
            "class",
            "role",
            "tabindex",
            "aria-label",
            "aria-hidden",
            "scope",
            "style",
            "title",
        ),
        *("viewbox", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "d", "width", "height", "text-anchor", "colspan", "rowspan"),
    }


def test_it_goes_where_it_is_told_or_says_why_not(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(make_trials(5))
    assert write_report(run, tmp_path / "other.html") == tmp_path / "other.html"
    with pytest.raises(InputError, match="cannot be written"):
        write_report(run, tmp_path / "absent" / "report.html")


def test_short_names_tell_names_apart() -> None:
    assert short_names(["avg", "avg+max", "std"]) == {"avg": "avg", "avg+max": "avg+", "std": "std"}
    assert short_names(["sigmoid"]) == {"sigmoid": "sig"}
    assert short_names(["post", "posture", "pre"]) == {"post": "post", "posture": "postu", "pre": "pre"}
