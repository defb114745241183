"""Confirmations: real trainings, resumed, beside a search that goes on."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.evaluate import Evaluation, Report
from se_nas.exporter.explained import explain_trial
from se_nas.report.facts import Facts
from se_nas.report.verdict import verdict_sentences
from se_nas.run.effects import Effect, Effects
from se_nas.run.finalists import best_predicted, only_paying
from se_nas.run.run import Run
from se_nas.run.trial import CONFIRM
from se_nas.run.verdict import Confirmed, Difference, Verdict
from se_nas.se.spec import SESpec
from se_nas.space.architecture import REFERENCES, Architecture
from se_nas.space.space import SearchSpace


class Truth:
    """Accuracy grows with each SE block, most with ratio 4; seeds differ far more. Ends with Ctrl-C after so many calls."""

    def __init__(self, calls: int = 10**6) -> None:
        self.calls = calls

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        if self.calls == 0:
            raise KeyboardInterrupt
        self.calls -= 1
        gain = sum(0.01 + 0.02 * (spec.reduction == 4) for _, spec in architecture if spec)
        wiggle = int(architecture.id, 16) * (seed + 1) % 97 / 97
        return Evaluation({"accuracy": 0.5 + gain + 0.1 * (seed % 3) + 0.004 * wiggle})


def searched(tmp_path: Path, **arguments: object) -> Run:
    return se_nas.search(digits_space(), evaluator=Truth(), trials=20, out=tmp_path / "run", **arguments)  # type: ignore[arg-type]


def test_finalists_are_found_better_and_the_search_is_as_before(tmp_path: Path) -> None:
    run = searched(tmp_path)
    before, front = run.trials, [entry.number for entry in run.front.front]
    run = se_nas.confirm(run.path, top=2, seeds=3, epochs=7, evaluator=Truth())
    verdict = run.verdict()
    assert verdict.complete and not verdict.test and verdict.seeds == (1, 2, 3) and verdict.epochs == 7
    assert all(row.over_plain.low > 0 for row in verdict.finalists) and len(verdict.finalists) == 2
    assert run.trials == before and [entry.number for entry in run.front.front] == front
    assert [t.number for t in run.confirmed] == list(range(20, 32)) and {t.role for t in run.confirmed} == {CONFIRM}
    assert [t.seed for t in run.confirmed[:5]] == [1, 1, 1, 1, 2] and run.confirmed[0].architecture == before[0].architecture
    more = se_nas.resume(run.path, trials=24, evaluator=Truth())
    assert [t.number for t in more.trials] == [*range(20), 32, 33, 34, 35] and len(more.confirmed) == 12
    undisturbed = se_nas.search(digits_space(), evaluator=Truth(), trials=24, out=tmp_path / "other")
    assert [t.architecture for t in more.trials] == [t.architecture for t in undisturbed.trials]


def test_costs_stand_beside_the_reference_that_is_compared(tmp_path: Path) -> None:
    facts = Facts.of(searched(tmp_path))
    plain, paper = (facts.front.references[role] for role in REFERENCES)
    lean = {"params": plain.values["params"] + 1, "macs": plain.values["macs"] + 1}
    rows = (
        Confirmed("plain", plain.architecture, plain.values),
        Confirmed("paper", paper.architecture, paper.values, (), Difference(0.01, 0.002, 0.018)),
        Confirmed("trial 5", paper.architecture, lean, (), Difference(0.012, 0.004, 0.02), Difference(0.002, -0.004, 0.008)),
        Confirmed("trial 6", paper.architecture, paper.values, (), Difference(0, -0.01, 0.01), Difference(-0.01, -0.02, -0.001)),
    )
    verdict = Verdict("accuracy", True, 3, (1, 2), 2, rows, ())
    said = [text.replace("\N{NO-BREAK SPACE}", " ") for text in verdict_sentences(facts, verdict)]
    dearer, saved = (100 * (lean["params"] / each.values["params"] - 1) for each in (plain, paper))
    assert said[1].startswith("Better than plain: paper (+1.00 ± 0.80 points; params +")
    assert f"trial 5 (+1.20 ± 0.80 points; params +{dearer:.3f} %" in said[1] and "trial 6" not in said[1]
    assert said[2].startswith("Not told apart from plain: trial 6 (0.00 ± 1.00 points; params +")
    assert said[3] == "None is better than paper by more than noise." and said[4].startswith("Worse than paper: trial 6 (-1.00")
    assert said[5].startswith(f"Not told apart from paper: trial 5 (+0.20 ± 0.60 points; params {saved:.1f} %")
    assert said[6] == "At no more params and MACs than paper, trial 5 is at most 0.40 points worse." and len(said) == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", "abc", "confirm, epochs: 'abc' is not a whole number"),
        ("seeds", ["a"], "confirm, seeds: .* are no seeds"),
        ("architectures", {"plain": {}}, "confirm, architectures: is damaged: paper is missing"),
        ("architectures", {"plain": {}, "paper": {"layer1.0": 3}}, "architectures, 'paper': 3 of 'layer1.0' is not a setting"),
        ("normalisation", {"mean": ["a"]}, "confirm, normalisation: are not numbers of each channel"),
    ],
)
def test_a_damaged_confirmation_is_told(tmp_path: Path, key: str, value: object, message: str) -> None:
    run = searched(tmp_path)
    run = se_nas.confirm(run.path, top=1, seeds=2, evaluator=Truth())
    run.config["confirm"][key] = value
    run.save_config()
    with pytest.raises(se_nas.InputError, match=message):
        Run.open(run.path)


def test_goes_on_where_it_stopped_and_takes_more_seeds(tmp_path: Path) -> None:
    run = searched(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        se_nas.confirm(run.path, seeds=2, evaluator=Truth(6))
    assert len(Run.open(run.path).confirmed) == 6 and not Run.open(run.path).verdict().complete
    whole = se_nas.confirm(run.path, evaluator=Truth())
    assert len(whole.confirmed) == 10 and whole.verdict().complete
    first = whole.confirmed
    with pytest.raises(se_nas.InputError, match="begun with epochs 3: the test split has been looked at"):
        se_nas.confirm(run.path, epochs=9, evaluator=Truth())
    more = se_nas.confirm(run.path, seeds=4, evaluator=Truth())
    assert more.confirmed[:10] == first and more.verdict().seeds == (1, 2, 3, 4)
    with pytest.raises(se_nas.InputError, match="4 seeds were begun"):
        se_nas.confirm(run.path, seeds=3, evaluator=Truth())


def test_real_trainings_are_scored_on_the_test_split_here_alone(finished_run: Run, tmp_path: Path, capsys) -> None:
    path = shutil.copytree(finished_run.path, tmp_path / "run")
    assert main(["confirm", str(path), "--top", "1", "--seeds", "2"]) == 0
    said = capsys.readouterr()
    assert "6/6" in said.err and "Confirmed on the test split: 2 fresh seeds" in " ".join(said.out.split())
    run = Run.open(path)
    assert all({"accuracy", "test_accuracy", "test_loss"} <= set(t.metrics) for t in run.confirmed) and len(run.confirmed) == 6
    assert main(["show", str(path), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert verdict["test"] and verdict["complete"] and len(verdict["rows"]) == 3
    number = run.confirmed[-1].number
    assert main(["export", str(path), "--trial", str(number), "-o", str(tmp_path / "net"), "--no-proof"]) == 0
    assert f"| test accuracy | {run.confirmed[-1].metrics['test_accuracy']:.4f} |" in (tmp_path / "net/README.md").read_text()
    assert main(["resume", str(path), "--trials", "7"]) == 0  # which keeps the confirmed weights
    assert all(run.weights_path(t.number).exists() for t in run.confirmed)
    assert main(["report", str(path)]) == 0 and "<h2>Verdict</h2>" in (path / "report.html").read_text()


def test_another_start_than_the_searchs(finished_run: Run, tmp_path: Path, capsys) -> None:
    """A search from scratch is confirmed from trained weights: the blocks begin as the identity, and the start stays with the run."""
    path = shutil.copytree(finished_run.path, tmp_path / "run")
    start = tmp_path / "plain.safetensors"
    shutil.copyfile(finished_run.weights_path(0), start)  # those of trial 0: the plain network
    assert main(["confirm", str(path), "--top", "1", "--seeds", "2", "--start", str(start), "--normalise", "0.31/0.38"]) == 0
    assert f"begun with {start.name}" in " ".join(capsys.readouterr().out.split())
    run = Run.open(path)
    assert (
        run.config["search"]["start"] == "scratch"
        and run.config["confirm_start"]["digest"]
        and (path / "confirm_start.safetensors").exists()
    )
    plain = [t.metrics["accuracy"] for t in run.confirmed if not any(spec for _, spec in t.architecture)]
    assert min(plain) > finished_run.trials[0].metrics["accuracy"]  # it trained on
    assert main(["export", str(path), "--trial", str(run.confirmed[-1].number), "-o", str(tmp_path / "net"), "--no-proof"]) == 0
    assert any("strength" in line for line in (tmp_path / "net/model.py").read_text().splitlines())
    said = (tmp_path / "net/README.md").read_text()
    assert f"SHA-256 {run.config['confirm_start']['digest'][:12]}" in said and "| normalisation | mean 0.3100; std 0.3800 " in said
    with_se = next(t for t in run.confirmed if any(spec for _, spec in t.architecture))
    images = run.config["validation_images"]
    assert explain_trial(run, with_se, images).accuracy == pytest.approx(with_se.metrics["accuracy"], abs=1e-6)  # of its own images
    start.unlink()
    again = se_nas.confirm(path, seeds=3)  # begins where it began, though the file is gone
    assert len(again.confirmed) == 9
    with pytest.raises(se_nas.InputError, match=r"begun with start .*: the test split has been looked at"):
        se_nas.confirm(path, start="scratch")
    with pytest.raises(se_nas.InputError, match="resnet8 brings no trained weights"):
        se_nas.confirm(shutil.copytree(finished_run.path, tmp_path / "other"), start="trained")


def test_what_a_search_without_training_found_is_trained(tmp_path: Path, capsys) -> None:
    space = digits_space()
    network = {key: space.to_dict()[key] for key in ("backbone", "backbone_args", "input_size")}
    some = dict.fromkeys([space.reference("plain"), space.reference("paper"), *map(space.sample, range(4))])
    lines = [{"architecture": each.to_json(), "seed": 0, "metrics": {"accuracy": 0.5 + 0.1 * i}} for i, each in enumerate(some)]
    table = tmp_path / "table.jsonl"
    header = {"se-nas table": 1, **network, "epochs": 1}
    table.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    path = tmp_path / "run"
    se_nas.search(space, evaluator=f"table:{table}", trials=5, out=path)
    assert main(["confirm", str(path)]) == 2
    assert capsys.readouterr().err.strip().endswith("trains nothing; say on what to train: --data DATA")
    assert main(["confirm", str(path), "--data", "digits", "--top", "1", "--seeds", "2"]) == 0
    assert "Confirmed on the test split: 2 fresh seeds of 1 epoch on digits" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(se_nas.InputError, match="the service's trials have the search's start and data"):
        se_nas.confirm(path, engine="nni", nni_service="local")
    table.unlink()
    run = se_nas.confirm(path, seeds=3)  # goes on without the table, on the same data
    assert run.verdict().complete and len(run.confirmed) == 9 and all({"loss", "test_accuracy"} <= set(t.metrics) for t in run.confirmed)
    assert main(["export", str(path), "--trial", str(run.confirmed[-1].number), "-o", str(tmp_path / "net"), "--no-proof"]) == 0
    with_se = next(t for t in run.confirmed if any(spec for _, spec in t.architecture))
    assert explain_trial(run, with_se).blocks
    said = (tmp_path / "net/README.md").read_text()
    assert "| data | digits |" in said and f"| normalisation | mean {run.config['confirm']['normalisation']['mean'][0]:.4f}" in said
    assert main(["export", str(path), "--trial", "1", "-o", str(tmp_path / "looked_up"), "--untrained", "--no-proof"]) == 0
    said = (tmp_path / "looked_up/README.md").read_text()
    assert "| evaluator | table table.jsonl |" in said and "| data |" not in said
    with pytest.raises(se_nas.InputError, match="begun with data digits"):
        se_nas.confirm(path, data="mnist")
    table.write_text(json.dumps(header) + "\n" + "".join(json.dumps({**line, "metrics": {"top5": 0.9}}) + "\n" for line in lines))
    se_nas.search(space, evaluator=f"table:{table}", objectives=["max:top5", "params"], trials=3, out=tmp_path / "other")
    with pytest.raises(se_nas.InputError, match="the search compared top5, and training measures accuracy and loss"):
        se_nas.confirm(tmp_path / "other", data="digits")


def test_an_estimated_accuracy_is_held_against_a_measured_one(tmp_path: Path) -> None:
    space = SearchSpace("resnet50", (3, 32, 32), share="stage", reduction=[16])
    run = se_nas.search(space, evaluator="paper", trials=4, out=tmp_path / "run")
    assert run.front.measured.name == "estimated_accuracy" and run.compared.name == "accuracy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "digits"}, "the data is the search's"),
        ({"seeds": 1}, "1 is not a whole number from 2"),
        ({"top": 0}, "0 is not a whole number from 1"),
        ({"epochs": True}, "True is not a whole number"),
        ({"paying": True}, "effects say of no site"),
        ({"colour": 1}, "unknown argument 'colour'"),
    ],
)
def test_what_cannot_be_confirmed(tmp_path: Path, arguments: dict, message: str) -> None:
    run = se_nas.search(digits_space(), evaluator=Truth(), trials=4, out=tmp_path / "run")
    with pytest.raises(se_nas.InputError, match=message):
        se_nas.confirm(run.path, evaluator=Truth(), **arguments)
    assert not Run.open(run.path).confirmed and "confirm" not in Run.open(run.path).config


def test_nothing_to_confirm(tmp_path: Path) -> None:
    run = se_nas.search(digits_space(), evaluator=Truth(), trials=2, out=tmp_path / "two")
    with pytest.raises(se_nas.InputError, match="nothing but the references was tried"):
        se_nas.confirm(run.path, evaluator=Truth())
    run = se_nas.search(digits_space(), evaluator=Truth(), trials=1, out=tmp_path / "run")
    with pytest.raises(se_nas.InputError, match="has not trained both references yet"):
        se_nas.confirm(run.path, evaluator=Truth())
    with pytest.raises(se_nas.InputError, match="an evaluator of its own"):
        se_nas.confirm(run.path)


def effect(group: str | None, field: str | None, value: object, estimate: float, half: float = 0.001) -> Effect:
    return Effect(group, field, value, estimate, estimate - half, estimate + half, 5, 5)


def test_the_best_predicted_and_the_lean_one() -> None:
    space = digits_space(squeeze=["avg"], budgets={"params": "<= +1.5%"})
    names = [group.name for group in space.groups]
    gains = dict(zip(names, (0.02, -0.01, 0.01), strict=True))
    sites = tuple(effect(name, None, None, gain) for name, gain in gains.items())
    values = tuple(effect(name, "reduction", ratio, gain) for name in names for ratio, gain in ((4, 0.004), (8, -0.004)))
    effects = Effects("accuracy", 30, 30, 30, 0.5, 0.001, False, sites, values)

    def worth(architecture: Architecture) -> float:
        return sum(gains[name] + {4: 0.002, 8: -0.002}[spec.reduction] for name, spec in architecture if spec)

    assert best_predicted(space, effects) == max(space.enumerate(), key=worth)
    whole = Architecture.of(dict.fromkeys(names, SESpec(8)))
    assert [spec is not None for _, spec in only_paying(whole, effects)] == [True, False, True]
    assert only_paying(Architecture.of(dict.fromkeys(names)), effects) is None and only_paying(whole, None) is None


def test_a_race_trains_less_and_ends_with_the_best(tmp_path: Path) -> None:
    run = searched(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        se_nas.confirm(run.path, top=1, seeds=6, race=True, evaluator=Truth(5))
    stopped = se_nas.confirm(run.path, evaluator=Truth())
    shutil.rmtree(run.path)
    whole = se_nas.confirm(searched(tmp_path).path, top=1, seeds=6, race=True, evaluator=Truth())
    verdict = whole.verdict()
    assert verdict.complete and verdict.race.over and len(whole.confirmed) < 3 * 6
    best = max(verdict.rows, key=lambda row: sum(0.01 + 0.02 * (spec.reduction == 4) for _, spec in row.architecture if spec))
    assert verdict.race.left == (best.name,) and all(row.over_plain.low > 0 for row in verdict.finalists)
    assert sum(len(row.scores) for row in verdict.rows) == len(whole.confirmed)  # one worker begins nothing in vain
    assert [(t.number, t.seed) for t in stopped.confirmed] == [(t.number, t.seed) for t in whole.confirmed]
    with pytest.raises(se_nas.InputError, match="begun with 6 seeds at most"):
        se_nas.confirm(whole.path, seeds=8, evaluator=Truth())
    with pytest.raises(se_nas.InputError, match="begun with race True"):
        se_nas.confirm(whole.path, race=False, evaluator=Truth())
    text = " ".join(shown(whole.path).split())
    assert f"The race is decided after {len(whole.confirmed)} of 18 trainings: {best.name} is the best" in text


def shown(path: Path) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["show", str(path)]) == 0
    return out.getvalue()


def test_a_race_of_equals_ends_in_a_tie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = se_nas.confirm(searched(tmp_path).path, top=2, seeds=4, race=True, evaluator=Truth())  # two finalists are as good
    verdict = run.verdict()
    assert verdict.complete and not verdict.race.over and len(verdict.race.left) == 2
    assert main(["show", str(run.path)]) == 0
    assert f"{' and '.join(verdict.race.left)} are not told apart" in " ".join(capsys.readouterr().out.split())
