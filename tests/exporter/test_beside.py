"""What may lie beside the source: ONNX, a program, entries for torch.hub and timm; each used as a person would."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import needs_onnx
from exporting import export
from safetensors.torch import save_file
from torch import nn

from se_nas.errors import InputError
from se_nas.exporter import contract
from se_nas.exporter.beside import programs
from se_nas.exporter.card import hub_name, timm_name
from se_nas.exporter.contract import ExportOptions
from se_nas.space.space import SearchSpace

EXTRAS = {"onnx": True, "program": True, "hub": True, "timm": True}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace("resnet8", (1, 8, 8), reduction=[4], squeeze=["avg", "std"], backbone_args={"in_channels": 1, "num_classes": 3})


@pytest.fixture(scope="module")
def folder(space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with everything, and images with the outputs to expect."""
    needs_onnx()
    path = tmp_path_factory.mktemp("beside") / "net"
    torch.manual_seed(3)
    network = space.build(space.sample(0))
    export(space, space.sample(0), path, network.state_dict(), **EXTRAS)
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        save_file({"x": x, "y": network.eval()(x)}, path.parent / "expected.safetensors")
    return path


BLOCK = """
import sys
sys.modules["se_nas"] = None
import torch
from safetensors.torch import load_file
e = load_file("../expected.safetensors")
x, y = e["x"], e["y"]
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", BLOCK + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_file_is_there(folder: Path, space: SearchSpace) -> None:
    expected = [
        "README.md",
        "architecture.json",
        "hubconf.py",
        "model.onnx",
        "model.pt2",
        "model.py",
        "timm_model.py",
        "weights.safetensors",
    ]
    assert sorted(path.name for path in folder.iterdir()) == expected
    readme = (folder / "README.md").read_text()
    for part in (hub_name(space), timm_name(space, space.sample(0)), "takes any number of images", "onnxruntime's outputs are at most"):
        assert part in readme


def test_build_with_weights_in_a_fresh_interpreter(folder: Path) -> None:
    code = (
        'from model import build\nnet = build(weights="weights.safetensors").eval()\nprint(torch.equal(net(x), y), "pickle" in sys.modules)'
    )
    assert run(code, folder).startswith("True")


def test_program_and_hub_and_timm(folder: Path, space: SearchSpace) -> None:
    timm_entry = timm_name(space, space.sample(0))
    code = f"""
program = torch.export.load("model.pt2").module()
assert torch.allclose(program(x), y, atol=1e-6) and torch.allclose(program(x[:1]), y[:1], atol=1e-6)
import os, timm
here = os.getcwd()
os.chdir("/")
sys.modules["model"] = None  # another module of that name is in nobody's way
hub = torch.hub.load(here, {hub_name(space)!r}, source="local").eval()
assert torch.equal(hub(x), y)
assert not torch.equal(torch.hub.load(here, {hub_name(space)!r}, source="local", pretrained=False).eval()(x), y)
sys.path.insert(0, here)
import timm_model
net = timm.create_model({timm_entry!r}, pretrained=True).eval()
assert torch.equal(net(x), y)
assert not torch.equal(timm.create_model({timm_entry!r}).eval()(x), y)
config = timm.data.resolve_model_data_config(net)
assert config["input_size"] == (1, 8, 8) and net.num_classes == 3
try:
    timm.create_model({timm_entry!r}, num_classes=7)
except TypeError as error:
    print(error)
"""
    assert run(code, folder) == "this network is as it was searched: it takes no num_classes"


def test_onnx_gives_the_networks_outputs(folder: Path) -> None:
    import onnxruntime
    from safetensors.torch import load_file

    expected = load_file(folder.parent / "expected.safetensors")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        (found,) = session.run(None, {"images": expected["x"][:n].numpy()})
        difference = float((torch.from_numpy(found) - expected["y"][:n]).abs().max() / expected["y"].abs().max())
        assert difference < 1e-4


def test_entries_are_formatted_and_clean(folder: Path) -> None:
    files = [str(folder / name) for name in ("hubconf.py", "timm_model.py")]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "format", "--isolated", "--line-length", "120", "--check", *files], check=True)
    subprocess.run([*ruff, "check", "--isolated", "--line-length", "120", "--select", "E,F,I,UP,B,SIM,RUF", *files], check=True)


def test_without_weights_nothing_can_be_pretrained(space: SearchSpace, tmp_path: Path) -> None:
    export(space, space.sample(0), tmp_path / "net", hub=True, timm=True)
    text = (tmp_path / "net" / "hubconf.py").read_text() + (tmp_path / "net" / "timm_model.py").read_text()
    assert "pretrained: bool = True" not in text and "it was exported without weights" in text


def test_names_of_a_file_beside_each_other(space: SearchSpace, tmp_path: Path) -> None:
    export(space, space.sample(0), tmp_path / "net.py", space.build(space.sample(0)).state_dict(), program=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pt2", "net.py", "net.safetensors"]
    with pytest.raises(InputError, match=r"net.pt2 is of an earlier export and would stay"):
        export(space, space.sample(0), tmp_path / "net.py", space.build(space.sample(0)).state_dict(), force=True)


# What cannot be done.


def test_without_onnx_one_line_says_how_to_install(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(contract.importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else find(name, *rest))
    with pytest.raises(InputError, match=r"--onnx: ONNX needs onnxscript; pip install 'se-nas\[onnx\]'"):
        export(space, space.sample(0), tmp_path / "net", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match=r"unknown option 'onx'; take one of force, prove, onnx"):
        ExportOptions.of({"onx": True})
    with pytest.raises(InputError, match="onnx: 1 is not true or false"):
        ExportOptions.of({"onnx": 1})


class Moody(nn.Module):
    """Computes with the number of images, or with the values of its tensors."""

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values
        self.fc = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> Any:
        if self.values:
            x = x if float(x.sum()) > -1e30 else -x
        return self.fc(x.reshape(1, 64) if x.shape[0] == 1 else x.reshape(2, 64))


def test_one_image_at_a_time_where_the_network_wants_it_so() -> None:
    content, remark = programs.program_file(Moody(values=False), (1, 8, 8))
    assert content and remark == "takes one image at a time"


def test_what_no_program_can_hold() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=r"--program: torch.export refuses this network .*; leave it out; nothing was written"):
            programs.program_file(Moody(values=True), (1, 8, 8))


def test_onnx_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_onnx()
    monkeypatch.setattr(programs, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"onnxruntime's outputs are .* apart"):
        programs.onnx_file(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
