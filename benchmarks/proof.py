"""How long the proof of an export takes, in all and part by part.

    python benchmarks/proof.py [--threads 2]

Proofs as `se-nas export` makes them: the searched network is run here while an interpreter starts that runs the file.
The parts of a ResNet-50 are timed one after another in this process.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable

import torch

from se_nas.exporter import alone, source
from se_nas.exporter.proof import TOLERANCE, prove
from se_nas.exporter.proof.alone import Given
from se_nas.exporter.proof.randomise import randomise
from se_nas.space.space import SearchSpace

NETWORKS = [("resnet8", 8), ("resnet110", 32), ("torchvision:resnet50", 224)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of the proof of an export.")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    torch.set_num_threads(parser.parse_args().threads)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}")
    for name, side in NETWORKS:
        space = SearchSpace(name, (3, side, side))
        network = space.build(space.reference("paper"))
        text = source(space, space.reference("paper"), network, {}).text
        start = processor_time()
        found = prove(text, network, space.cost(space.reference("paper")), space.input_size)
        spent = f"{found.seconds:.1f} s ({processor_time() - start:.1f} s of the processor)"
        print(f"{name}, SE everywhere, {side}x{side}: {spent}, at most {max(found.apart.values()):.1g} apart")
    parts()


def parts() -> None:
    space = SearchSpace("torchvision:resnet50", (3, 224, 224))
    network = space.build(space.reference("paper"))
    one, other, few = torch.randn(1, 3, 224, 224), torch.randn(1, 3, 252, 252), torch.randn(2, 3, 224, 224)
    todo: dict[str, Callable[[], object]] = {
        "random weights and statistics": lambda: randomise(network, Given((few,)), 0),
        "one image": lambda: alone.observe(network, alone.EVAL, Given((one,)), 0, {}),
        "one larger image": lambda: alone.observe(network, "other", Given((other,)), 0, {}),
        "a training step of 2 images": lambda: alone.observe(network, alone.TRAIN, Given((few,)), 0, {}),
        "MACs": lambda: alone.macs(space.build_backbone, Given((one,))),
        **{name: lambda name=name: alone.capture(name, network, Given((one,)), TOLERANCE) for name in alone.CAPTURES},  # type: ignore[misc]
    }
    for what, run in todo.items():
        start = time.process_time()
        run()
        print(f"  ResNet-50, {what}: {time.process_time() - start:.2f} s of the processor")


def processor_time() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
