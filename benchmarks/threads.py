"""When a second CPU thread pays in training: seconds a step for ResNet-8 on growing images, by number of threads.

    python benchmarks/threads.py

Steps of all thread counts take turns, so that they meet the same load; medians. Behind `SMALL_STEP` in
se_nas/evaluate/device.py.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as se-nas's command line does

import torch
from torch.nn import functional as F

from se_nas.space.space import SearchSpace

BATCH, ROUNDS = 64, 15


def main() -> None:
    counts = [n for n in (1, 2, 4, 8) if n <= (os.cpu_count() or 1)]
    print(f"{'image':>7} {'MACs a step':>14}" + "".join(f"{f'{n} threads, ms':>15}" for n in counts))
    for size in (8, 16, 24, 32, 48):
        space = SearchSpace("resnet8", (3, size, size))
        network = space.build(space.reference("paper"))
        images, labels = torch.randn(BATCH, 3, size, size), torch.randint(10, (BATCH,))
        times: dict[int, list[float]] = {n: [] for n in counts}
        for _ in range(ROUNDS):
            for threads in counts:
                torch.set_num_threads(threads)
                began = time.perf_counter()
                F.cross_entropy(network(images), labels).backward()
                times[threads].append(time.perf_counter() - began)
        medians = "".join(f"{1e3 * statistics.median(times[n]):15.1f}" for n in counts)
        print(f"{size:>3}x{size:<3} {space.plain_cost.macs * BATCH:14,}{medians}")


if __name__ == "__main__":
    main()
