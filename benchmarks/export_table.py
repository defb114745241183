"""Lines of the exported file of many networks, beside those of the code that it was made from, and one file whole, as Markdown.

    python benchmarks/export_table.py > docs/exported_files.md

The original's lines are those of the module files in which the classes of its modules are, each file once, torch.nn's own
left out; such a file often holds a whole family. Needs the extra `[timm]`.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torchvision
from torch import nn

from se_nas.exporter import source
from se_nas.network.attached import Attached
from se_nas.se.block import SEBlock
from se_nas.space.space import SearchSpace

SPACES = Path(__file__).resolve().parents[1] / "search_spaces"
TORCHVISION = (
    *("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg16_bn", "googlenet", "inception_v3", "densenet121"),
    *("mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf"),
    *("regnet_y_400mf", "mnasnet1_0", "squeezenet1_1", "convnext_tiny"),
)
TIMM = ("resnet18", "efficientnet_b0", "mobilenetv3_small_050", "convnext_atto", "regnety_002")


def original_lines(network: nn.Module) -> int:
    kinds = {type(module) for module in network.modules() if not isinstance(module, (Attached, SEBlock))}
    classes = {cls for kind in kinds for cls in kind.__mro__ if not cls.__module__.startswith(("torch.", "builtins", "se_nas.network"))}
    files = {inspect.getsourcefile(cls) for cls in classes}
    return sum(len(Path(file).read_text().splitlines()) for file in files if file)


def row(name: str, space: SearchSpace) -> str:
    architecture = space.sample(0)
    network = space.build(architecture)
    written = source(space, architecture, network, {})
    how = "imports its package" if written.notes else "torch alone"
    return f"| {name} | {len(space.sites)} | {len(written.text.splitlines())} | {original_lines(network) or '-'} | {how} |"


def main() -> None:
    import timm

    print("# Exported files\n")
    print("Made by `python benchmarks/export_table.py`. The lines of a file that `se-nas export` writes, docstring included, for one")
    print("random architecture of each network (seed 0), beside the lines of the original's source: the files in which the classes of")
    print("its modules are, each once (such a file often holds a whole family; a network made of torch's own classes has none).")
    print(f"torchvision {torchvision.__version__}, timm {timm.__version__}. Networks by name have one group of settings for each site,")
    print("reductions of 4 and 8, placement standard, those of `search_spaces/` what their file says.\n")
    print("| network | sites | lines | lines of the original | needs |")
    print("|---|--:|--:|--:|---|")
    for path in sorted(SPACES.glob("*.yaml")):
        print(row(f"`search_spaces/{path.name}`", SearchSpace.from_yaml(path)), flush=True)
    for name in TORCHVISION:
        size = 299 if name == "inception_v3" else 224
        arguments = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        space = SearchSpace(f"torchvision:{name}", (3, size, size), reduction=[4, 8], backbone_args=arguments)
        print(row(f"torchvision:{name}", space), flush=True)
    for name in TIMM:
        print(row(f"timm:{name}", SearchSpace(f"timm:{name}", (3, 224, 224), reduction=[4, 8])), flush=True)

    space = SearchSpace.from_yaml(SPACES / "imagenet_resnet50.yaml")
    space = SearchSpace.from_dict({**space.to_dict(), "backbone": "torchvision:resnet50"}, "imagenet_resnet50.yaml")
    architecture = space.sample(0)
    print("\n## An SE-ResNet-50, whole\n")
    print("`search_spaces/imagenet_resnet50.yaml` with `backbone: torchvision:resnet50`, its random architecture of seed 0.\n")
    print(f"```python\n{source(space, architecture, space.build(architecture), {}).text}```")


if __name__ == "__main__":
    main()
