"""Real networks, really timed. What is asserted is never how long something took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.latency.profile import FITTED, HELD_OUT, read_profile
from se_nas.profiling.profile import check_profile, choose_architectures
from se_nas.profiling.rounds import run_rounds, undisturbed
from se_nas.profiling.runtimes import How, Renewed, make_once
from se_nas.run.latency import Latencies
from se_nas.space.space import SearchSpace

QUICK: dict[str, Any] = {"networks": 8, "held_out": 4, "rounds": 4}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of the small space, measured once."""
    path = tmp_path_factory.mktemp("profile") / "cpu.yaml"
    se_nas.profile(digits_space(), **QUICK).write(path)
    return path


def test_what_is_measured_is_in_the_file(file: Path, space: SearchSpace) -> None:
    found = read_profile(file, space)
    assert [each.role for each in found.networks] == [FITTED] * 8 + [HELD_OUT] * 4
    assert found.networks[0].architecture == space.reference("plain").to_json()
    assert found.networks[1].architecture == space.dearest().to_json()
    assert len({json.dumps(each.architecture) for each in found.networks}) == 12
    assert found.how == {"device": "cpu", "runtime": "eager", "batch": 1, "threads": 1, "layout": "contiguous", "precision": "float32"} | {
        "spelling": {},
        "rounds": 4,
        "stopped": False,
    }
    assert all(each.seconds > 0 and len(each.halves) == 2 for each in found.networks) and found.model and found.floor
    assert found.elsewhere() == [] and space.with_profile(file).plain_cost.latency > 0  # type: ignore[attr-defined]


def test_rounds_take_the_quicker_visit_and_keep_what_was_whole() -> None:
    calls: list[int] = []

    def one(index: int, unit: float = 1e-6) -> float:
        calls.append(index)
        return unit * len(calls)

    times, stopped = run_rounds([lambda: one(0), lambda: one(1)], 5)
    assert times.shape == (5, 2) and not stopped and len(calls) == 2 * 3 + 5 * 2 * 2
    calls.clear()
    run_rounds([lambda: one(0, 0.1), lambda: one(1, 0.1)], 5)
    assert len(calls) == 2 * 3 + 5 * 2  # long runs are not repeated in a round

    def stop(at: int) -> Any:
        def tell(done: int, left: float) -> None:
            if done == at:
                raise KeyboardInterrupt

        return tell

    kept, stopped = run_rounds([lambda: one(0)], 9, tell=stop(6))
    assert stopped and kept.shape == (6, 1)
    with pytest.raises(KeyboardInterrupt):
        run_rounds([lambda: one(0)], 9, tell=stop(2))


def test_what_disturbs_whole_rounds_or_single_networks_does_not_count() -> None:
    rng = np.random.default_rng(0)
    true, rounds = np.array([1.0, 1.02, 1.05, 1.1]), 30
    slow = 1 + 3 * rng.random(rounds) * (rng.random(rounds) < 0.3)  # a third of the rounds is slower
    spikes = 1 + 5 * rng.random((rounds, 4)) * (rng.random((rounds, 4)) < 0.1)
    whole, halves = undisturbed(0.01 * true * slow[:, None] * spikes)
    assert whole == pytest.approx(0.01 * true, rel=0.01) and halves == pytest.approx(np.stack([whole, whole], 1), rel=0.02)


def test_networks_share_what_is_equal_and_nothing_else(space: SearchSpace) -> None:
    shared: dict[Any, torch.Tensor] = {}
    alone = sum(1 for _ in space.build_backbone().state_dict())
    for architecture in (space.reference("plain"), space.dearest(), space.dearest()):
        make_once(space, architecture, How(), shared)
    assert len(shared) == alone + 2 * 3  # two weights of each of three SE blocks; the third network has nothing of its own


def test_a_profile_that_was_stopped_says_so(space: SearchSpace) -> None:
    def stop(text: str) -> None:
        if text.startswith("round 5"):
            raise KeyboardInterrupt

    found = se_nas.profile(space, **{**QUICK, "rounds": 9}, tell=stop)
    assert found.how["stopped"] and found.how["rounds"] == 5
    assert torch.get_num_threads() >= 1


def test_a_space_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="architectures are too few"):
        choose_architectures(digits_space(share="network", reduction=[4], squeeze=["avg"]), 0, 8, 0)


RUNTIMES = ["eager", pytest.param("deploy", marks=pytest.mark.slow), pytest.param("onnx", marks=pytest.mark.slow)]
RUNTIMES += [pytest.param("compile", marks=pytest.mark.slow)]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_runtime_runs_each_network(runtime: str, space: SearchSpace) -> None:
    how = How(runtime=runtime, batch=2)
    for architecture in (space.reference("plain"), space.dearest()):
        once = make_once(space, architecture, how)
        with torch.inference_mode():
            assert once() > 0 and once() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["eager", "graph", "compile"])
@pytest.mark.parametrize(("layout", "precision"), [("contiguous", "float32"), ("channels_last", "bfloat16")])
def test_profiles_of_a_gpu(runtime: str, layout: str, precision: str, space: SearchSpace, tmp_path: Path) -> None:
    found = se_nas.profile(space, device="cuda", runtime=runtime, layout=layout, precision=precision, batch=8, **QUICK)
    assert found.machine["gpu"] == torch.cuda.get_device_name() and torch.cuda.get_device_name() in found.title
    found.write(tmp_path / "gpu.yaml")
    assert space.with_profile(tmp_path / "gpu.yaml").costs["latency"].adds.plain > 0
    assert check_profile(space, tmp_path / "gpu.yaml", rounds=4, networks=3).elsewhere == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:7"}, "is not here"),
        ({"device": "tpu"}, "'tpu' is not a device"),
        ({"runtime": "tensorrt"}, "unknown runtime 'tensorrt'"),
        ({"runtime": "graph"}, "CUDA graphs need a CUDA device"),
        ({"runtime": "onnx", "precision": "float16"}, "onnx chooses its own layout"),
        ({"layout": "nhwc"}, "unknown layout 'nhwc'"),
        ({"batch": 0}, "batch: 0 is not from 1"),
        ({"threads": 10_000}, "threads: 10000 is not from 1"),
        ({"rounds": 1}, "rounds: 1 is below 4"),
        ({"networks": 3}, "3 networks are too few"),
        ({"networks": 5}, "are too few for 5 networks"),
    ],
)
def test_what_cannot_be_measured_is_said(space: SearchSpace, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        se_nas.profile(space, **{**QUICK, **arguments})


def test_a_runtime_that_is_not_installed(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("se_nas.profiling.runtimes._installed", lambda name: name != "onnxruntime")
    with pytest.raises(InputError, match=r"runtime onnx needs onnxruntime; pip install 'se-nas\[onnx\]'"):
        se_nas.profile(space, runtime="onnx")


def test_a_profile_is_checked(file: Path, space: SearchSpace, tmp_path: Path) -> None:
    found = check_profile(space, file, rounds=4, networks=3)
    assert found.elsewhere == () and len(found.times) == 3 and found.plain > 0 < found.before
    with pytest.raises(InputError, match="measured on another network"):
        check_profile(digits_space(backbone_args={"in_channels": 1, "width": 2.0}), file)


SPACE = {
    "backbone": "resnet8",
    "backbone_args": {"in_channels": 1},
    "input_size": [1, 8, 8],
    "reduction": [4, 8],
    "squeeze": ["avg", "max"],
}


def test_the_command_line(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(yaml.safe_dump({**SPACE, "budgets": {"latency": "<= +900%"}}))
    assert main(["profile", "space.yaml", "--networks", "8", "--held-out", "3", "--rounds", "4", "-o", "own.yaml"]) == 0
    out = capsys.readouterr().out
    assert "eager on" in out and "On 3 networks that the model was not fitted to" in out and out.endswith("own.yaml\n")
    assert main(["cost", "space.yaml", "--profile", str(file), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["latency"] > 0 for row in rows.values()} == {True} and "most latency allowed" in rows
    assert main(["cost", "space.yaml", "--profile", str(file)]) == 0
    assert "latency: predicted from eager on" in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_with_a_profile_measures_its_front(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(yaml.safe_dump({**SPACE, "budgets": {"latency": "<= +900%"}}))
    command = ["search", "space.yaml", "--profile", str(file), "--evaluator", "training", "--trials", "3", "--epochs", "1", "--out", "run"]
    command += ["--objective", "accuracy", "--objective", "latency", "--budget", "latency<=+800%", "--train", "batch_size=256", "--quiet"]
    assert main(command) == 0
    run = se_nas.Run.open("run")
    space = digits_space().with_profile(file)
    assert [trial.costs["latency"] for trial in run.trials] == [space.cost(t.architecture).latency for t in run.trials]  # type: ignore[attr-defined]
    assert main(["show", "run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Latency: predicted from eager on" in out and "Measured after the search, plain takes" in out
    assert run.latencies and {entry.architecture.id for entry in run.front.front} <= run.latencies.seconds.keys()
    assert main(["show", "run", "--json"]) == 0
    assert all(row["latency_measured"] > 0 for row in json.loads(capsys.readouterr().out)["front"])
    assert main(["export", "run", "--no-proof", "-o", "best"]) == 0
    assert "latency measured" in Path("best/README.md").read_text() and "predicted from eager" in Path("best/README.md").read_text()
    Path("run/latency.json").write_text("{")
    assert se_nas.Run.open("run").latencies is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("profile space.yaml", "neither or both of a file to write and one to check"),
        ("profile space.yaml -o space.yaml", "space.yaml: exists, and is no profile"),
        ("profile space.yaml -o none/cpu.yaml", "is no place for a file"),
        ("cost space.yaml --foreign", "--foreign without a profile"),
        ("cost space.yaml --profile space.yaml", "space.yaml: is no latency profile"),
        ("cost space.yaml --profile none.yaml", "none.yaml: no such file"),
        ("search space.yaml --objective latency", "nothing is known of the latency; give a profile of your device: --profile"),
        ("search space.yaml --budget latency<=+3%", "--budget: nothing is known of the latency"),
        ("search space.yaml --profile {file} --budget latency<=1ns", "--budget: no architecture meets latency <= 1ns"),
    ],
)
def test_bad_commands_are_one_line(
    command: str, message: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(yaml.safe_dump(SPACE))
    assert main(command.format(file=file).split()) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_budget_that_a_measured_network_breaks_is_said(
    file: Path, space: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = space.with_profile(file).with_budgets({"latency": "<= +500%"})
    asked: dict[str, Any] = {"evaluator": lambda *_: Evaluation({"accuracy": 0.5}), "trials": 3, "objectives": ["accuracy", "latency"]}
    run = se_nas.search(known, out=tmp_path / "run", **asked)
    (entry,) = run.front.front
    plain = run.front.references["plain"].values["latency"]
    Latencies(1.0, {entry.architecture.id: 7.0}, 0.1, plain).write(run.path)
    assert main(["show", str(run.path)]) == 0
    assert f"over the budget: trial {entry.number} (+600 %)" in " ".join(capsys.readouterr().out.split())


def test_networks_that_cannot_share_memory_are_set_up_anew_and_halves_are_of_different_ones() -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(len(made))
        bad = len(made) % 2 == 0  # every other one lies badly
        return lambda: 2.0 if bad else 1.0

    times, _ = run_rounds([Renewed(make), lambda: 1.0, lambda: 1.0], 20)
    assert made == [0, 1, 2, 3] and times[:, 0].tolist() == [1.0] * 5 + [2.0] * 5 + [1.0] * 5 + [2.0] * 5
    whole, halves = undisturbed(times)
    assert halves[0].tolist() == [1.0, 2.0] and whole[0] == 1.0
