from __future__ import annotations

import io

import pytest
from rich.console import Console

from se_nas.report import live
from se_nas.report.live import LiveView, PlainView, flow, make_view
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial

from .conftest import MakeRun, make_trials


def drive(view: Observer, run: Run, trials: list[Trial], reason: str = "complete") -> None:
    """Tell a view what a search would."""
    view.search_started(run, run.config["search"]["trials"])
    before = run.trials
    for index, trial in enumerate(trials, 1):
        view.trial_started(trial.number, trial.role, trial.architecture, trial.costs)
        for epoch in (1, 2, 3):
            view.epoch_finished(trial.number, epoch, 3, {"loss": 1 / epoch})
        view.trial_finished(trial, run.front_of([*before, *trials[:index]]))
    view.search_finished(reason)


def terminal(width: int, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, _environ={})


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def picture(view: LiveView, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(view.picture(), end="")
    return written(console).splitlines()


@pytest.mark.parametrize(("width", "height"), [(60, 24), (60, 10), (80, 24), (100, 50), (140, 8), (60, 4)])
def test_the_picture_fits_the_terminal(make_run: MakeRun, width: int, height: int) -> None:
    trials = make_trials(40)
    run = make_run([], search={"trials": 40}, backbone={"name": "resnet20", "params": 269_722, "macs": 40_551_040})
    with LiveView(terminal(width, height)) as view:
        view.search_started(run, 40)
        for index, trial in enumerate(trials[:30], 1):
            view.trial_finished(trial, run.front_of(trials[:index]))
        for trial in trials[30:34]:
            view.trial_started(trial.number, trial.role, trial.architecture, trial.costs)
        view.epoch_finished(30, 2, 3, {"loss": 0.5123})
        lines = picture(view, width, height)
        view.search_finished("interrupted")
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert "30 of 40 trials" in lines[1]
    if height >= 8:
        text = "\n".join(lines)
        for part in ["3 failed", "trial 30", "epoch 2/3", "loss 0.512", "params +", "MACs +"]:
            assert part in text, part
    if height >= 24:
        assert "0 plain" in text
        assert "1 paper" in text
        assert "best" in text


def test_the_terminal_is_given_back(make_run: MakeRun) -> None:
    console = terminal(80)
    trials = make_trials(12)
    drive(LiveView(console), make_run([], search={"trials": 12}), trials, "interrupted")
    text = written(console)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again
    assert "Search interrupted: 12 of 12 trials, 1 of them failed" in text
    assert "trial 9 failed: loss is nan in epoch 2" in text


def test_the_terminal_is_given_back_after_an_exception(make_run: MakeRun) -> None:
    console = terminal(80)
    with pytest.raises(RuntimeError), LiveView(console) as view:
        view.search_started(make_run([], search={"trials": 12}), 12)
        raise RuntimeError
    assert written(console).rindex("\x1b[?25h") > written(console).rindex("\x1b[?25l")


def test_plain_lines_are_plain(make_run: MakeRun) -> None:
    file = io.StringIO()
    view = PlainView(file)
    view.note("a \x1b[31mnote")
    drive(view, make_run([], search={"trials": 12}), make_trials(12))
    lines = file.getvalue().splitlines()
    assert len(lines) == 15
    assert all(line.isprintable() for line in lines)
    assert lines[1].startswith("12 trials of resnet20 on digits in ")
    assert lines[2] == "1/12  trial 0 plain  accuracy 80.4 %  params 0 %  MACs 0 %  1 min 1 s  no SE"
    assert "2/12  trial 1 paper" in lines[3]
    assert "trial 9  failed: loss is nan in epoch 2" in lines[11]
    assert lines[-1] == "Search complete: 12 of 12 trials, 1 of them failed, 12 min 14 s of work"


def test_plain_lines_survive_a_narrow_encoding(make_run: MakeRun) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    drive(PlainView(file), make_run([], search={"trials": 10, "data": "données"}), make_trials(10))


def test_a_resumed_search_goes_on_counting(make_run: MakeRun) -> None:
    file, trials = io.StringIO(), make_trials(8)
    drive(PlainView(file), make_run(trials[:5], search={"trials": 8}), trials[5:])
    lines = file.getvalue().splitlines()
    assert "5 of them finished before" in lines[0]
    assert lines[1].startswith("6/8  trial 5 ")


def test_views_bear_an_end_without_a_beginning() -> None:
    LiveView(terminal(80)).search_finished("interrupted")
    PlainView(io.StringIO()).search_finished("interrupted")


def test_the_view_suits_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_view(quiet=True)) is Observer
    assert isinstance(make_view(quiet=False), PlainView)
    monkeypatch.setattr(live, "Console", lambda **_: terminal(80))
    assert isinstance(make_view(quiet=False), LiveView)


def test_parts_flow_onto_as_many_lines_as_they_need() -> None:
    assert flow(["aaa", "bbb", "ccc"], 8) == ["aaa  bbb", "ccc"]
    assert flow([], 8) == []
    assert flow(["longer than it"], 8) == ["longer than it"]
