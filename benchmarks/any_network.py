"""Any network: sites, costs and proven export of every network of torchvision and one of every module of timm, as a Markdown table.

    python benchmarks/any_network.py --out any_network.jsonl > docs/any_network.md

Of each module of timm the smallest model is taken. Networks above `LARGEST` parameters are left out, and so is a module
whose smallest one is larger. A network is exported with a random architecture (seed 0, reductions 4 and 16, squeezes avg and
none). The proof of the export counts parameters and MACs of the file's network by itself and compares outputs, gradients and
buffers. The smallest of `SIZES` that the network takes is used. Needs the extra `[timm]`; takes about two hours.

Each result is a line of the file, which is read at the start: an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

from se_nas.errors import InputError
from se_nas.exporter import export
from se_nas.space.space import SearchSpace

LARGEST = 100_000_000
"""Parameters."""

SIZES = (64, 96, 224, 256, 299)
LIMIT = 1200
"""Seconds for one network."""


def networks() -> Iterator[str]:
    """Names of the networks, as a space takes them."""
    for name in torchvision.models.list_models(module=torchvision.models):
        yield f"torchvision:{name}"
    for module in timm.list_modules():
        if name := smallest(module):
            yield f"timm:{name}"


def smallest(module: str) -> str:
    """The model of a timm module with the fewest parameters; "" if it has none that can be made."""
    sizes = {}
    for name in timm.list_models(module=module, exclude_filters=["test_*"]):
        try:
            with torch.device("meta"):
                sizes[name] = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        except Exception:  # it wants a real device or another package
            continue
    return min(sizes, key=lambda name: (sizes[name], name)) if sizes else ""


def space_of(name: str) -> SearchSpace:
    """The space over a network, at the smallest size that it takes.

    Raises:
        InputError: if it takes none, or has no site.
    """
    arguments = {"init_weights": False} if name in ("torchvision:googlenet", "torchvision:inception_v3") else {}
    refused: list[InputError] = []
    found: list[SearchSpace] = []
    for size in SIZES:
        try:
            space = SearchSpace(name, (3, size, size), reduction=[4, 16], squeeze=["avg", "none"], backbone_args=arguments)
            found.append(space)
            if trains(space):
                return space
        except InputError as error:
            if error.source != "input_size":
                raise
            refused.append(error)
    if found:
        return found[0]
    raise refused[-1]


def trains(space: SearchSpace) -> bool:
    """Whether the network runs in training mode at the space's size: heads for training alone may want larger images."""
    network = space.build_backbone().to("meta").train()  # built on the CPU: some compute their widths with tensors
    with torch.no_grad(), torch.device("meta"):
        try:
            space.inputs.to("meta").times(2).call(network)
        except (RuntimeError, NotImplementedError):
            return False
    return True


def look(name: str) -> dict[str, Any]:
    """What became of one network."""
    row: dict[str, Any] = {"network": name, "sites": 0, "left_out": [], "written": "", "reason": ""}
    started = time.perf_counter()
    try:
        space = space_of(name)
        row["size"], row["params"] = space.input_size[-1], space.plain_cost.params
        row["sites"], row["spare"] = sum(not site.spare for site in space.all_sites), sum(site.spare for site in space.all_sites)
        row["kinds"] = dict(Counter(site.kind for site in space.sites))
        row["left_out"] = [str(one) for one in space.left_out]
        if space.plain_cost.params > LARGEST:
            row["reason"] = f"not tried: it has more than {LARGEST:,} parameters"
            return row
        with tempfile.TemporaryDirectory() as folder:
            made = export(space, space.sample(0), Path(folder) / "model.py")
            row["lines"] = len(made.path.read_text().splitlines())
        row["written"] = "by its package" if any("imports" in note for note in made.notes) else "as source"
        row["reason"] = "; ".join(made.notes)
    except InputError as error:
        row["reason"] = error.problem
    except TimeoutError:
        row["reason"] = f"not done in {LIMIT} s"
    except Exception as error:
        row["reason"] = f"bug: {type(error).__name__}: {error}"
    finally:
        row["seconds"] = round(time.perf_counter() - started, 1)
    return row


def expire(*_: object) -> None:
    raise TimeoutError


def run(path: Path) -> list[dict[str, Any]]:
    """The rows of all networks; those in the file are not made again."""
    done = {row["network"]: row for row in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    for name in networks():
        if name in done:
            continue
        signal.signal(signal.SIGALRM, expire)
        signal.alarm(LIMIT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done[name] = look(name)
        signal.alarm(0)
        with path.open("a") as file:
            file.write(json.dumps(done[name]) + "\n")
        print(f"{name}: {done[name]['written'] or done[name]['reason'][:100]} ({done[name]['seconds']} s)", file=sys.stderr, flush=True)
        torch.compiler.reset()
        gc.collect()
    return list(done.values())


def cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("any_network.jsonl"), help="file of the results (default: %(default)s)")
    rows = run(parser.parse_args().out)
    tried = [row for row in rows if row["sites"] and not row["reason"].startswith("not tried")]
    ways = Counter(row["written"] for row in tried)
    print("# Any network\n")
    print("Made by `python benchmarks/any_network.py`: every classification network of torchvision, and the smallest of every module of")
    print(f"timm. torchvision {torchvision.__version__}, timm {timm.__version__}, torch {torch.__version__}.\n")
    print(f"- {len(rows)} networks; {sum(not row['sites'] for row in rows)} have no site (no convolutional block).")
    large = sum(row["reason"].startswith("not tried") for row in rows)
    source, package, none = (ways[way] for way in ("as source", "by its package", ""))
    print(f"- {len(tried)} were tried ({large} are too large): {source} are exported as source, {package} as a file that imports the")
    print(f"  backbone's package, {none} not. Parameters and MACs of every exported network were counted apart and equal the")
    print("  space's to the integer.")
    blocks = Counter(row["written"] for row in tried if set(row["kinds"]) != {"convolution"})
    print(f"- Of the {blocks.total()} whose sites are blocks (others, such as vision transformers, have single convolutions alone)")
    print(f"  {blocks['as source']} are written as source.\n")
    print("| network | sites | spare | size | written | lines | left out, or why not |")
    print("|---|--:|--:|--:|---|--:|---|")
    for row in rows:
        why = cell("; ".join(filter(None, [row["reason"], *row["left_out"]])))
        numbers = f"{row['sites']} | {row.get('spare', '')} | {row.get('size', '')} | {row['written'] or '-'} | {row.get('lines', '')}"
        print(f"| {row['network']} | {numbers} | {why[:300]} |")


if __name__ == "__main__":
    main()
