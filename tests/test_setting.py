"""A setting is said once: what is added in one place shows everywhere."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass

import pytest
from conftest import ROOT

import se_nas
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.report.settings_table import settings_page
from se_nas.run.settings import SECTIONS, SearchSettings, changeable, resolve_settings
from se_nas.setting import add_flags, flags_of, setting, settings_of, table, with_settings


@dataclass(frozen=True)
class More(SearchSettings):
    """Today's settings, and one that is new."""

    patience: int = setting(5, "epochs without a better loss", "strategy", least=2, resume=True)


def parse(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    rows = settings_of(More).values()
    add_flags({section: parser.add_argument_group(section) for section in SECTIONS}, rows)
    return flags_of(parser.parse_args(arguments), rows)


def test_a_new_setting_is_seen_everywhere() -> None:
    assert resolve_settings({}, "f", {}, More).patience == 5  # type: ignore[attr-defined]
    assert resolve_settings({"patience": 7}, "f", {}, More).to_dict()["patience"] == 7
    assert parse("--patience", "9")["patience"] == 9
    with pytest.raises(InputError, match="f, patience: 1 is below 2; take 2 or more"):
        resolve_settings({"patience": 1}, "f", {}, More)
    with pytest.raises(InputError, match="--patience: 1 is below 2"):
        resolve_settings({"patience": 7}, "f", parse("--patience", "1"), More)
    with pytest.raises(InputError, match="f, patience: 'long' is not a whole number; write a whole number"):
        resolve_settings({"patience": "long"}, "f", {}, More)
    assert "patience" in changeable(More) and "patience" not in changeable()

    @with_settings(More)
    def search(space: object, *, trials: int | None = None, **settings: object) -> None: ...

    assert inspect.signature(search).parameters["patience"].default == 5
    assert any(
        line.startswith("| `patience` | epochs without a better loss; from 2 | 5 | `--patience`, also of `resume`") for line in table(More)
    )


def test_every_setting_is_a_keyword_a_flag_and_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    shown = capsys.readouterr().out
    page = settings_page()
    for row in settings_of(SearchSettings).values():
        assert row.name in inspect.signature(se_nas.search).parameters
        assert f"{row.flag} " in shown and f"`{row.name}`" in page
    for section in SECTIONS:
        assert f"\n{section}:\n" in shown
    assert " ".join(shown.split()).count("(default: ") >= len(settings_of(SearchSettings))


def test_the_docs_page_is_as_written() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page(), (
        "python -m se_nas.report.settings_table > docs/settings.md"
    )


def test_pairs_and_training_from_flags() -> None:
    flags = parse(
        "--target", "params=300k", "--target", "macs=+5%", "--train", "lr=1e-2", "--train", "augment=false", "--train", "batch_size=8"
    )
    assert flags["targets"] == {"params": "300k", "macs": "+5%"}
    settings = resolve_settings({"train": {"lr": 1.0, "momentum": 0.5}}, "f", flags)
    assert (settings.train.lr, settings.train.momentum, settings.train.augment, settings.train.batch_size) == (0.01, 0.5, False, 8)
    with pytest.raises(InputError, match="--train: 'lr' is not NAME=VALUE; write --train lr"):
        parse("--train", "lr")
    with pytest.raises(InputError, match="unknown key 'rate'"):
        resolve_settings({}, "f", {"train": {"rate": 1}})


def test_python_is_checked_as_files_are() -> None:
    with pytest.raises(InputError, match="search: unknown key 'epoch'; did you mean 'epochs'"):
        se_nas.search(None, epoch=3)  # type: ignore[arg-type]
    for name, value in {"epochs": "three", "objectives": "accuracy", "targets": 3, "gpus_per_trial": True, "weight": float("nan")}.items():
        with pytest.raises(InputError, match=f"search, {name}: "):
            resolve_settings({}, "search", {}) and resolve_settings({name: value}, "search", {})
