"""Engines by name, and what they leave alone until they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

import se_nas
from se_nas.engines import ENGINES, create_engine
from se_nas.run.settings import SearchSettings


def test_a_local_search_loads_no_ray(tmp_path) -> None:
    file = ROOT / "search_spaces/digits_resnet8.yaml"
    code = f"""import sys; from se_nas.cli import main
main(["search", {str(file)!r}, "--trials", "2", "--epochs", "1", "--out", {str(tmp_path / "run")!r}, "--quiet"])
print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"ray", "nni"} & set(done.stdout.split())


def test_making_an_engine_loads_no_ray_either() -> None:
    code = """import sys; from se_nas.engines import create_engine; from se_nas.run.settings import SearchSettings
create_engine(lambda *a: None, SearchSettings(engine="ray", workers=2)); print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "se_nas.engines.ray_tune" in done.stdout.split() and "ray" not in done.stdout.split()


def test_making_the_engine_of_nni_loads_no_nni_either() -> None:
    code = """import sys; from se_nas.engines import create_engine; from se_nas.run.settings import SearchSettings
create_engine(lambda *a: None, SearchSettings(engine="nni")); print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "se_nas.engines.nni_engine" in done.stdout.split() and "nni" not in done.stdout.split()


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(se_nas.InputError, match=f"unknown engine 'slurm'; take one of {', '.join(ENGINES)}"):
        create_engine(lambda *a: None, SearchSettings(engine="slurm"))  # type: ignore[arg-type, return-value]
