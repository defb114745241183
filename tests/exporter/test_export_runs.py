"""Exported files, run in a process that has no se-nas and no torchvision: same outputs, parameters and statistics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torchvision
from exporting import export
from safetensors.torch import save_file
from torch import nn

from se_nas.backbones import resnet
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

pytestmark = pytest.mark.slow  # as every export is proven: apart, in both modes

RUNNER = """
import importlib.abc, importlib.util, json, pathlib, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("se_nas", "torchvision", "timm"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
try:
    import se_nas
    raise SystemExit("se_nas can be imported")
except ImportError:
    pass

import torch
from safetensors.torch import load_file

torch.set_num_threads(1)

def distance(a, b):
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) if a.isfinite().all() else float("inf")

results = {}
for file in map(pathlib.Path, sys.argv[1:]):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.build(str(file.with_suffix(".safetensors")))
    expected = load_file(file.with_suffix(".expected"))
    with torch.no_grad():
        result = {mode: distance(network.train(mode == "train")(expected["x"]), expected[mode]) for mode in ("eval", "train")}
    tensors = network.state_dict()
    result["statistics"] = max((distance(tensors[k[5:]].float(), v.float()) for k, v in expected.items() if k.startswith("stat:")))
    result["params"] = sum(p.numel() for p in network.parameters())
    results[file.stem] = result
assert not {name for name in sys.modules if name.partition(".")[0] in ("se_nas", "torchvision")}
print(json.dumps(results))
"""


def adapted() -> nn.Module:
    """torchvision's ResNet-18 as people change it for small images."""
    network: Any = torchvision.models.resnet18(num_classes=7)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1)
    network.maxpool = nn.Identity()
    return cast(nn.Module, network)


def torchvision_blocks(**arguments: Any) -> nn.Module:
    """A short ResNet of torchvision's bottlenecks."""
    return cast(nn.Module, torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=5, **arguments))


def own_bottlenecks() -> nn.Module:
    """se-nas's bottlenecks behind a small stem, in two stages."""
    return resnet.ResNet(resnet.Bottleneck, (2, 3), (8, 24), resnet.ProjectionShortcut, False, 4)


CASES: list[tuple[Any, Any, int, dict[str, Any], tuple[int | str, ...]]] = [
    ("resnet8", {"backbone_args": {"in_channels": 1}}, 8, {}, (0, 1, 2, 3, "paper", "plain")),
    (
        "resnet8",
        {"backbone_args": {"widths": [8, 24, 40], "num_classes": 3}},
        8,
        {"bias": True, "init": "identity", "divisor": 4},
        (0, 1),
    ),
    ("resnet20", {}, 16, {"bias": True}, (0,)),
    ("resnet20", {}, 16, {"placement": ["post"], "squeeze": ["none"], "init": "identity"}, (0,)),
    ("resnet20", {}, 16, {"placement": ["inner"], "squeeze": ["std"], "gate": ["tanh"]}, (0,)),
    ("resnet20", {}, 16, {"placement": ["pre"], "gate": ["twice-sigmoid"], "share": "stage"}, (0,)),
    ("resnet20", {}, 16, {"placement": ["identity"], "sites": {"stages": ["layer2", "layer3"]}}, (0,)),
    (adapted, {}, 32, {"bias": True}, (0,)),
    (partial(torchvision_blocks, width_per_group=128), {}, 64, {"share": "stage"}, (0,)),
    (partial(torchvision_blocks, groups=4, width_per_group=24), {}, 64, {"init": "identity"}, (0, "paper")),
    (own_bottlenecks, {}, 16, {"bias": True}, (0,)),
]


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, everything: dict[str, Any], perturb: Callable[[nn.Module, int], nn.Module]
) -> Iterator[tuple[dict[str, tuple[SearchSpace, Architecture]], dict[str, Any]]]:
    """Every case exported, and what one process far from here found."""
    folder, elsewhere = tmp_path_factory.mktemp("exports"), tmp_path_factory.mktemp("elsewhere")
    made: dict[str, tuple[SearchSpace, Architecture]] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the other process, and quicker on a busy machine
    for number, (backbone, arguments, side, candidates, seeds) in enumerate(CASES):
        channels = arguments.get("backbone_args", {}).get("in_channels", 3)
        space = SearchSpace(backbone, (channels, side, side), **arguments, **{**everything, **candidates})
        for seed in seeds:
            name = f"case{number}_{seed}"
            architecture = space.reference(seed) if isinstance(seed, str) else space.sample(seed)
            write_case(space, architecture, folder / f"{name}.py", perturb)
            made[name] = space, architecture
    tamper(folder / "case2_0.py", folder / "tampered.py")
    files = sorted(map(str, folder.glob("*.py")))
    command = [sys.executable, "-I", "-c", RUNNER, *files]
    process = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    torch.set_num_threads(threads)
    yield made, json.loads(process.stdout)
    shutil.rmtree(folder)


def write_case(space: SearchSpace, architecture: Architecture, target: Path, perturb: Callable[[nn.Module, int], nn.Module]) -> None:
    """Export a perturbed network, and beside it an input with the outputs and statistics to expect."""
    network = perturb(space.build(architecture), 0)
    export(space, architecture, target, weights=network.state_dict())
    x = torch.randn(2, *space.input_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = {"x": x, "eval": network.eval()(x), "train": network.train()(x)}
    moved = {key: value for key, value in network.state_dict().items() if "running" in key or "tracked" in key}
    expected |= {f"stat:{key.replace('module.', '')}": value for key, value in moved.items()}
    assert (expected["eval"][0] - expected["eval"][1]).abs().max() > 1e-5 * expected["eval"].abs().max(), "a dead network shows nothing"
    save_file(expected, target.with_suffix(".expected"))


def tamper(source: Path, target: Path) -> None:
    """A copy whose first gate is another: the comparison must see it."""
    text = source.read_text()
    changed = text.replace("2 * torch.sigmoid(x)", "1.9 * torch.sigmoid(x)")
    assert changed != text
    target.write_text(changed)
    for suffix in (".safetensors", ".expected"):
        shutil.copy(source.with_suffix(suffix), target.with_suffix(suffix))


def test_outputs_and_statistics_are_the_searched_networks(ran: tuple[dict[str, Any], dict[str, Any]]) -> None:
    made, results = ran
    assert results.keys() == {*made, "tampered"}
    for name in made:
        for quantity in ("eval", "train", "statistics"):
            assert results[name][quantity] <= 1e-6, (name, quantity, results[name])


def test_parameters_are_the_spaces(ran: tuple[dict[str, Any], dict[str, Any]]) -> None:
    made, results = ran
    for name, (space, architecture) in made.items():
        assert results[name]["params"] == space.cost(architecture).params, name


def test_comparison_sees_a_changed_gate(ran: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert ran[1]["tampered"]["eval"] > 1e-3


def test_cases_cover_every_operator_and_placement(ran: tuple[dict[str, Any], dict[str, Any]], everything: dict[str, Any]) -> None:
    specs: list[SESpec] = [spec for _, architecture in ran[0].values() for _, spec in architecture if spec]
    for field in ("squeeze", "gate", "placement"):
        assert {getattr(spec, field) for spec in specs} == set(everything[field])


def test_file_runs_on_its_own(tmp_path: Path) -> None:
    space = SearchSpace("resnet8", (1, 8, 8), backbone_args={"in_channels": 1})
    path = export(space, space.reference("paper"), tmp_path / "network.py")
    process = subprocess.run([sys.executable, "-I", str(path)], cwd="/", capture_output=True, text=True, check=True)
    assert process.stdout == f"{space.cost(space.reference('paper')).params:,} parameters\n(1, 10)\n"
