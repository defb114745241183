"""How fast an exported SE-ResNet-50 is beside timm's: as it is, and in its inference form (extra `[timm]`).

    python benchmarks/export_speed.py [--batches 2 4 8] [--threads 1] [--repeats 30] [--clock processor]

All networks run in this process, in turns, so that they meet the same load; each turn begins with another one. A ratio is one
turn's: the network's time over that of timm's in the same turn; printed are the median and the quartiles of the ratios.
timm's is run in PyTorch's usual format (NCHW) and with weights and images in channels_last; ours take NCHW images. On a GPU
as well where there is one. ``--clock processor`` counts the processor's time on the CPU, which a busy machine stretches less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as se-nas's command line does

import torch
from torch import Tensor, nn

from se_nas import exporter
from se_nas.exporter import ExportOptions
from se_nas.exporter.proof.alone import Given, load_module
from se_nas.exporter.proof.randomise import randomise
from se_nas.space.space import SearchSpace

BASES = ("timm, NCHW", "timm, channels_last")
TARGETS = {("deploy", BASES[0]): 0.80, ("deploy", BASES[1]): 0.95, ("plain", BASES[0]): 1.00}


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of exported networks beside timm's seresnet50.")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbones", nargs="+", default=["torchvision:resnet50", "resnet50"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{os.cpu_count()} cores, {args.threads} threads, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}; {args.size}x{args.size}"
    )
    networks = theirs() | {f"{name}, {kind}": net for name in args.backbones for kind, net in ours(name, args.size).items()}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for batch in args.batches:
            images = torch.randn(batch, 3, args.size, args.size, device=device)
            placed = {name: network.to(device) for name, network in networks.items()}
            clock = time.process_time if args.clock == "processor" and device == "cpu" else time.perf_counter
            report(f"{device}, batch {batch}", placed, images, args.repeats, clock)


def theirs() -> dict[str, nn.Module]:
    import timm

    plain = timm.create_model("seresnet50").eval()
    randomise(plain, Given((torch.randn(2, 3, 64, 64),)), 0)
    formatted = timm.create_model("seresnet50").eval().to(memory_format=torch.channels_last)
    formatted.load_state_dict(plain.state_dict())
    return dict(zip(BASES, (plain.eval(), formatted), strict=True))


def ours(backbone: str, size: int) -> dict[str, nn.Module]:
    """SE with r = 16 at every site, exported as it is and in its inference form, and loaded from the files."""
    space = SearchSpace(backbone, (3, size, size))
    paper = space.reference("paper")
    network = space.build(paper)
    randomise(network, Given((torch.randn(2, 3, 64, 64),)), 0)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("plain", "deploy"):
            path = Path(folder) / f"exported_{kind}.py"
            options = ExportOptions(prove=False, deploy=kind == "deploy")
            exporter.export(space, paper, path, weights=network.state_dict(), options=options)
            found[kind] = load_module(path).build(str(path.with_suffix(".safetensors"))).eval()
    return found


def report(title: str, networks: dict[str, nn.Module], images: Tensor, repeats: int, clock: Callable[[], float]) -> None:
    inputs = dict.fromkeys(networks, images) | {BASES[1]: images.to(memory_format=torch.channels_last)}
    times: dict[str, list[float]] = {name: [] for name in networks}
    names = list(networks)
    with torch.inference_mode():
        for turn in range(-2, repeats):
            for i in range(len(names)):
                name = names[(i + turn) % len(names)]
                spent = run(networks[name], inputs[name], clock)
                if turn >= 0:  # the first ones warm up
                    times[name].append(spent)
    print(f"\n{title:32}{'ms':>8}   {BASES[0] + ' = 1':>24}   {BASES[1] + ' = 1':>24}")
    for name, spent in times.items():
        columns = [verdict(name, base, [a / b for a, b in zip(spent, times[base], strict=True)]) for base in BASES]
        print(f"{name:32}{1e3 * statistics.median(spent):8.1f}   {columns[0]:>24}   {columns[1]:>24}")


def run(network: nn.Module, images: Tensor, clock: Callable[[], float]) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    began = clock()
    network(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return clock() - began


def verdict(name: str, base: str, ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    target = TARGETS.get((name.rpartition(", ")[2], base))
    word = "" if target is None else " ok" if middle <= target else f" > {target}"
    return f"{middle:.2f} ({low:.2f}-{high:.2f}){word}"


if __name__ == "__main__":
    main()
