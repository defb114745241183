from __future__ import annotations

import pytest

from se_nas.goals.objective import STANDARD, Objective
from se_nas.report.words import amount, amount_of, count, duration, flatten, gain, heading, percent, setting, summary, wrapped
from se_nas.se.spec import PAPER, SESpec
from se_nas.space.architecture import Architecture
from se_nas.text import clean, flat


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (269_722, "269,722"),
        (40_551_040, "40.55 M"),
        (4.09e9, "4.09 G"),
        (1.5e12, "1.50 T"),
        (0.51234, "0.5123"),
        (12345.6, "12,346"),
    ],
)
def test_count(number: float, text: str) -> None:
    assert flat(count(number)) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0 %"), (0.012, "+1.2 %"), (-0.05, "-5.0 %"), (0.00005, "+0.005 %"), (1e-9, "+<0.001 %"), (-1e-9, "-<0.001 %"), (1.5, "+150 %")],
)
def test_percent(ratio: float, text: str) -> None:
    assert flat(percent(ratio)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1.31, "1.3 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (4320, "1 h 12 min"),
        (3600, "1 h"),
        (183_600, "2 d 3 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert flat(duration(seconds)) == text


def test_gains_are_points_of_accuracy_and_plain_numbers_of_anything_else() -> None:
    accuracy, latency = STANDARD["accuracy"], Objective("latency", "min")
    assert gain(accuracy, 0.004) == "+0.4"
    assert gain(accuracy, -0.004) == "-0.4"
    assert gain(accuracy, -0.0001) == "0.0"
    assert gain(accuracy, 0.026, signed=False) == "2.6"
    assert gain(latency, 0.0123) == "+0.0123"
    assert gain(latency, -1234.5) == "-1,234"
    assert gain(latency, 0) == "0"


def test_values_have_units() -> None:
    assert flat(amount("accuracy", 0.978)) == flat(amount("test_accuracy", 0.978)) == "97.8 %"
    assert amount("accuracy", float("nan")) == "nan"
    assert flat(amount_of("params", 269_722)) == "269,722 parameters"
    assert flat(amount_of("macs", 40_551_040)) == "40.55 M MACs"
    assert heading("macs") == "MACs"
    assert heading("latency", "ms") == "latency (ms)"


def test_summary_of_an_architecture() -> None:
    specs = [SESpec(4), SESpec(16, "max"), SESpec(8), None]
    mixed = Architecture(tuple((f"layer{index}", spec) for index, spec in enumerate(specs)))
    assert summary(mixed) == "3 of 4 sites, r 4-16, avg/max; standard"
    assert summary(mixed, "stage") == "3 of 4 stages, r 4-16, avg/max; standard"
    assert summary(Architecture.of({"network": SESpec(2, gate="tanh", placement="pre")}), "network") == "r 2, avg, tanh; pre"
    assert summary(Architecture.of({"a": PAPER, "b": PAPER})) == "all 2 sites, r 16, avg; standard"
    assert summary(Architecture.of({"a": None})) == "no SE"
    assert [setting(spec) for spec in specs[1:]] == ["r 16, max, sigmoid, standard", "r 8, avg, sigmoid, standard", "no SE"]


def test_text_from_files_cannot_steer_a_terminal() -> None:
    assert clean("a\x1b[2J\nb\tc\u202e\ud800") == "a\N{REPLACEMENT CHARACTER}[2J b c\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


def test_no_line_breaks_between_a_number_and_its_unit() -> None:
    text = " ".join([f"params {percent(0.012)}"] * 12)
    lines = wrapped(text, 30)
    assert max(map(len, lines)) <= 30
    assert all(line.count("+1.2 %") == line.count("+1.2") for line in lines)


def test_settings_are_flattened() -> None:
    nested = {"data": "digits", "train": {"lr": 0.1, "steps": [1, 2]}, "gpu": None}
    assert flatten(nested) == [("data", "digits"), ("train.lr", "0.1"), ("train.steps", "1, 2")]
