"""Feeds damaged and hostile input to the command line, and counts what does not end in one line and exit code 2.

    python benchmarks/fuzz.py --n 10000 --seed 0

Inputs are of all kinds, in turn: spaces (YAML, damaged and hostile), flags, ledgers, ``run.yaml``, ``test.json``, weights,
``architecture.json``, names and paths, folders of images. Each goes to a command that reads it. It holds if the exit code is 0 or
2, 2 comes with one printable line of at most 3,000 characters on standard error, and no command that only reads has changed the
run. A search whose flags are sound trains one trial of one epoch. The exit code is 1 if something did not hold; the input is
then printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml

from se_nas.cli import main as command_line
from se_nas.run.ledger import checksum

ROOT = Path(__file__).parents[1]
LONGEST, SECONDS, MEMORY = 3000, 120, 8 * 2**30

SPACE: dict[str, Any] = {
    "backbone": "resnet8",
    "backbone_args": {"in_channels": 1, "width": 0.25},
    "input_size": [1, 8, 8],
    "reduction": [2, 4],
    "squeeze": ["avg", "max"],
    "gate": ["sigmoid"],
    "placement": ["standard"],
    "share": "site",
    "budgets": {"params": "<= +20%"},
    "search": {
        "data": "digits",
        "epochs": 1,
        "trials": 4,
        "strategy": "random",
        "objectives": ["accuracy", "params"],
    },
}

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    10**30,
    1.5,
    -0.0,
    float("inf"),
    float("-inf"),
    float("nan"),
    1e308,
    "",
    " ",
    "0",
    "1e999",
    "<=1e999",
    "+1e999%",
    "<= +5%",
    "-5",
    "nan",
    "inf",
    "\x00",
    "a\nb",
    "\u202e",
    "\ud800",
    "x" * 300,
    "x" * 100_000,
    "../../x",
    "/",
    "~",
    ".",
    "sys:exit",
    ".x:y",
    "os:_exit_",
    "json:loads",
    "no.module:f",
    ":",
    "a:",
    ":b",
    "torchvision:",
    "torchvision:nothing",
    "timm:nothing",
    "folder:",
    "folder:/",
    "folder:\x00",
    "<script>",
    "{}",
    "$x",
    "%s",
    [],
    {},
    [[]],
    [None],
    [1, [2]],
    {"a": {"b": 1}},
    {"reduction": 0},
    [0],
    [-1],
    [1.5],
    ["avg", "avg"],
    [True],
    {"avg": 1},
    [2**40],
    ["none"],
    "null",
    "all",
    {"only": []},
)

TEXTS = (
    "",
    "\x00",
    "a: [1",
    "- 1",
    "42",
    "null",
    "'text'",
    "a: &a [*a]",
    "!!python/object:os.system {}",
    "a: 2020-99-99",
    "? [1]\n: 2",
    "a: " + "9" * 5000,
    "a: .inf",
    "a: 0x" + "f" * 2000,
    "[" * 5000,
    "a: " + "[" * 3000 + "]" * 3000,
    "{" * 3000,
    "a: |\n" + "  x\n" * 100_000,
    "x: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)),
    "%YAML 9.9\n---\na: 1",
    "\ufeffa: 1",
    "a: !!binary x",
    "<<: 1",
    "a: 1\na: 2",
    "--- 1\n--- 2",
    "\t",
    "backbone: resnet8\nbackbone: sys:exit",
)

JSONS = (
    "",
    "null",
    "[]",
    "{",
    "NaN",
    "1e999",
    "-Infinity",
    '{"a": 1',
    "9" * 5000,
    "[" * 100_000,
    '{"a":' * 50_000,
    '{"a": 1, "a": 2}',
    '"\\ud800"',
    '{"0": {"test_accuracy": 1e999}}',
    '{"x": {}}',
    '{"0": []}',
    '{"-1": {}}',
    '{"' + "9" * 5000 + '": {}}',
    "\x00",
    "\ufeff{}",
    "x" * 1_000_000,
)

VALUES = (
    "0",
    "-1",
    "1e999",
    "nan",
    "inf",
    "9" * 30,
    "9" * 5000,
    "",
    " ",
    "x",
    "\n",
    "\u202e",
    "1.5",
    "True",
    "--",
    "-",
    "a=b",
    "=",
    "lr=inf",
    "lr=",
    "params<=1e999",
    "params<=",
    "<=",
    "params<=+1e400%",
    "macs<=-5",
    "x<=1",
    "params<=1",
    "a" * 5000,
    "/",
    "../..",
    "auto",
    "cuda:99",
    "sys:exit",
    ".x:y",
    "weight=1",
    "params=0",
    "params=1e999",
    "x:y",
    "digits",
    "folder:/nowhere",
    "folder:.",
    "imagenet",
    "pbt",
    "nni",
    "ray://x",
)

FLAGS = (
    "--seed",
    "--trials",
    "--epochs",
    "--repeats",
    "--threads",
    "--budget",
    "--objective",
    "--target",
    "--weight",
    "--trade",
    "--strategy",
    "--device",
    "--data",
    "--data-root",
    "--train",
    "--workers",
    "--cpus-per-trial",
    "--gpus-per-trial",
    "--scheduler",
    "--warm-start",
    "--prior",
    "--front-seeds",
    "--trial-timeout",
    "--keep-weights",
    "--engine",
    "--cost-weight",
    "--cost-metric",
    "--evaluator",
    "--unknown",
    "--storage",
    "--address",
    "--nni-machines",
    "--nni-service",
    "--supernet-epochs",
    "--cost-target",
)


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: of input.
        arguments: of the command.
        told: what was fed, for a person.
        reads: whether the command may change nothing of the run.
    """

    kind: str
    arguments: list[str]
    told: str
    reads: bool = True


class Fuzz:
    """Makes cases in a folder with a run in it."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.whole, self.run = folder / "whole", folder / "run"
        self.space = folder / "space.yaml"
        self.space.write_text(yaml.safe_dump(SPACE))
        self.kinds: dict[str, Callable[[], Case]] = {
            "space": self.of_space,
            "text": self.of_text,
            "flag": self.of_flag,
            "ledger": self.of_ledger,
            "run.yaml": self.of_config,
            "test.json": self.of_scores,
            "weights": self.of_weights,
            "architecture.json": self.of_architecture,
            "path": self.of_path,
            "images": self.of_images,
        }

    def begin(self) -> None:
        """A run of six trials, with test scores as earlier versions wrote them."""
        from se_nas.run.run import Run

        assert command_line(["search", str(self.space), "--trials", "6", "--out", str(self.whole), "--quiet"]) == 0
        (self.whole / "test.json").write_text(json.dumps({str(number): {"test_accuracy": 0.5} for number in range(6)}))
        (self.folder / "architecture.json").write_text(json.dumps(Run.open(self.whole).trials[1].architecture.to_json()))

    def renew(self) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.whole, self.run)

    # Damage.

    def changed(self, data: Any) -> Any:
        """Plain data with one value, key or item of it changed."""
        rng = self.rng
        if isinstance(data, dict) and data and rng.random() < 0.85:
            key, kind = rng.choice(list(data)), rng.random()
            if kind < 0.1:
                return {name: value for name, value in data.items() if name != key}
            if kind < 0.2:
                return {**data, rng.choice([value for value in HOSTILE if not isinstance(value, (list, dict))]): data[key]}
            return {**data, key: self.changed(data[key])}
        if isinstance(data, list) and data and rng.random() < 0.6:
            place = rng.randrange(len(data))
            return [*data[:place], self.changed(data[place]), *data[place + rng.choice((0, 1)) :]]
        return rng.choice(HOSTILE)

    def damaged(self, data: bytes) -> bytes:
        """Bytes that are cut, flipped, doubled, swapped or set in."""
        rng = self.rng
        if not data:
            return b"\x00"
        a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
        kind = rng.randrange(6)
        if kind == 0:
            return data[:a]
        if kind == 1:
            damaged = bytearray(data)
            for _ in range(rng.choice((1, 1, 1, 3, 20))):
                damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(damaged)
        if kind == 2:
            return data[:a] + data[b:]
        if kind == 3:
            return data[:b] + data[a:]
        if kind == 4:
            return data[:a] + bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 100)))) + data[a:]
        return data[:a] + b"\x00" * (b - a) + data[b:]

    def reader(self) -> list[str]:
        run, out = str(self.run), str(self.folder / "out.html")
        return self.rng.choice(
            [
                ["show", run],
                ["show", run, "--json"],
                ["report", run, "-o", out],
                ["check", run],
                ["export", run, "-o", str(self.folder / "net"), "--no-proof", "--trial", self.rng.choice(("best", "0", "1", "x"))],
            ]
        )

    # Kinds.

    def of_space(self) -> Case:
        data = self.changed(SPACE)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            data = self.changed(data)
        try:
            text = yaml.dump(data, allow_unicode=True)
        except (yaml.YAMLError, UnicodeError, RecursionError):
            text = repr(data)
        self.space_file(text.encode("utf-8", "surrogatepass"))
        return Case("space", [self.rng.choice(("check", "check", "cost", "sites")), str(self.folder / "fed.yaml")], text)

    def space_file(self, data: bytes) -> None:
        (self.folder / "fed.yaml").write_bytes(data)

    def of_text(self) -> Case:
        if self.rng.random() < 0.5:
            text = self.rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        else:
            text = self.damaged(yaml.safe_dump(SPACE).encode())
        self.space_file(text)
        return Case("text", [self.rng.choice(("check", "cost", "sites")), str(self.folder / "fed.yaml")], repr(text[:300]))

    def of_flag(self) -> Case:
        out = self.folder / "new"
        shutil.rmtree(out, ignore_errors=True)
        arguments = ["search", str(self.space), "--out", str(out), "--quiet", "--trials", "1"]
        for _ in range(self.rng.choice((1, 1, 2))):
            flag, value = self.rng.choice(FLAGS), self.rng.choice(VALUES)
            if (flag, value) == ("--engine", "nni"):
                continue  # which takes half a minute to start
            arguments += [f"{flag}={value}"] if self.rng.random() < 0.5 else [flag, value]
        return Case("flag", arguments, repr(arguments[5:]))

    def of_ledger(self) -> Case:
        path, rng = self.run / "trials.jsonl", self.rng
        lines = path.read_bytes().splitlines(keepends=True)
        place, kind = rng.randrange(len(lines)), rng.randrange(4)
        if kind == 0:
            lines = [self.damaged(b"".join(lines))]
        elif kind == 1:
            lines.insert(place, rng.choice(lines))
        elif kind == 2:
            lines[place] = rng.choice(JSONS).encode("utf-8", "surrogatepass") + b"\n"
        else:  # a line that somebody wrote so: its checksum fits
            data = json.loads(lines[place])
            data.pop("sum")
            text = json.dumps(self.changed(data), separators=(",", ":"), default=str).encode()[:-1]
            lines[place] = text + b',"sum":"' + checksum(text) + b'"}\n'
        path.write_bytes(b"".join(lines))
        return Case("ledger", self.reader(), repr(lines[min(place, len(lines) - 1)][:400]))

    def of_config(self) -> Case:
        path = self.run / "run.yaml"
        if self.rng.random() < 0.4:
            text = self.damaged(path.read_bytes())
        elif self.rng.random() < 0.2:
            text = self.rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        else:
            data = self.changed(yaml.safe_load(path.read_text()))
            text = yaml.dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")
        path.write_bytes(text)
        return Case("run.yaml", self.reader(), repr(text[:2000]))

    def of_scores(self) -> Case:
        path = self.run / "test.json"
        text = self.damaged(path.read_bytes()) if self.rng.random() < 0.5 else self.rng.choice(JSONS).encode("utf-8", "surrogatepass")
        path.write_bytes(text)
        return Case("test.json", self.reader(), repr(text[:400]))

    def of_weights(self) -> Case:
        path = self.run / "weights/00001.safetensors"
        path.write_bytes(self.damaged(path.read_bytes()))
        arguments = ["export", str(self.run), "--trial", "1", "-o", str(self.folder / "net"), "--no-proof", "--force"]
        return Case("weights", self.rng.choice([arguments, ["check", str(self.run)]]), "damaged weights")

    def of_architecture(self) -> Case:
        whole = (self.folder / "architecture.json").read_bytes()
        kind = self.rng.random()
        if kind < 0.3:
            text = self.damaged(whole)
        elif kind < 0.5:
            text = self.rng.choice(JSONS).encode("utf-8", "surrogatepass")
        else:
            text = json.dumps(self.changed(json.loads(whole)), default=str).encode()
        fed = self.folder / "fed.json"
        fed.write_bytes(text)
        arguments = ["export", str(self.space), "--architecture", str(fed), "-o", str(self.folder / "net"), "--no-proof", "--force"]
        return Case("architecture.json", arguments, repr(text[:400]))

    def of_path(self) -> Case:
        rng = self.rng
        odd = [
            "a\x00b",
            "x" * 300,
            "/".join(["y" * 200] * 30),
            "",
            "/",
            ".",
            "\ud800",
            "a\nb",
            "\u202e",
            "/dev/null",
            "/dev/zero",
            "/proc/self/mem",
            str(self.space / "below"),
            "~",
            "-x",
            str(self.folder),
            "no/where",
            "*",
            " ",
        ]
        path = rng.choice(odd)
        run = str(self.run)
        arguments = rng.choice(
            [
                ["show", path],
                ["check", path],
                ["cost", path],
                ["sites", path],
                ["resume", path],
                ["report", path],
                ["report", run, "-o", path],
                ["export", run, "-o", path, "--no-proof"],
                ["export", path, "-o", str(self.folder / "net")],
                ["export", str(self.space), "--architecture", path, "-o", str(self.folder / "net"), "--no-proof"],
                ["search", path, "--out", str(self.folder / "new"), "--quiet"],
                ["search", str(self.space), "--out", path or "x\x00", "--quiet", "--trials", "0"],
                ["search", str(self.space), "--out", str(self.folder / "new"), "--quiet", "--warm-start", path],
                [
                    "search",
                    str(self.space),
                    "--out",
                    str(self.folder / "new"),
                    "--quiet",
                    "--evaluator",
                    "training",
                    "--data",
                    f"folder:{path}",
                ],
            ]
        )
        return Case("path", arguments, repr(arguments))

    def of_images(self) -> Case:
        import numpy as np
        from PIL import Image

        folder, rng = self.folder / "images", self.rng
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("a", "b"):
            (folder / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(folder / name / f"{number}.png")
        victim = folder / "a" / "1.png"
        kind = rng.choice(("damage", "damage", "pipe", "text", "folder", "link", "empty"))
        whole = victim.read_bytes()
        victim.unlink()
        if kind == "pipe":
            os.mkfifo(victim)
        elif kind == "folder":
            victim.mkdir()
        elif kind == "link":
            victim.symlink_to("/nowhere")
        else:
            victim.write_bytes({"damage": self.damaged(whole), "text": b"hello", "empty": b""}[kind])
        return Case("images", ["IMAGES", str(folder)], kind)


def too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def play(case: Case) -> tuple[int, str]:
    """Exit code and standard error of a command; the traceback stands there if it raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.alarm(SECONDS)
        try:
            code = load_images(case.arguments[1]) if case.arguments[0] == "IMAGES" else command_line(case.arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            return 1, traceback.format_exc()
        finally:
            signal.alarm(0)
    return code, err.getvalue()


def load_images(folder: str) -> int:
    from se_nas.errors import InputError
    from se_nas.evaluate.data import load_data

    try:
        load_data(f"folder:{folder}", (1, 8, 8))
    except InputError as error:
        print(f"se-nas: {error}", file=sys.stderr)
        return 2
    return 0


def verdict(code: int, err: str) -> str:
    """What did not hold; "" if all did."""
    if "Traceback" in err:
        return "traceback"
    if code not in (0, 2):
        return f"exit code {code}"
    lines = err.splitlines()
    if code == 2 and len(lines) != 1:
        return f"{len(lines)} lines"
    if code == 2 and (len(err) > LONGEST or not err.rstrip("\n").isprintable()):
        return "a long or unprintable line"
    return ""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def cases(fuzz: Fuzz, n: int) -> Iterator[Case]:
    kinds = list(fuzz.kinds.values())
    for number in range(n):
        fuzz.renew()
        yield kinds[number % len(kinds)]()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="failures that are shown whole")
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, too_long)
    clock, failed, tried, refused = time.monotonic(), Counter[str](), Counter[str](), Counter[str]()
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="se-nas-fuzz-") as name:
        os.chdir(name)
        try:
            fuzz = Fuzz(Path(name).resolve(), random.Random(args.seed))
            fuzz.begin()
            for case in cases(fuzz, args.n):
                for left in ("net", "new", "out.html"):
                    path = fuzz.folder / left
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                before = contents(fuzz.run)
                code, err = play(case)
                tried[case.kind] += 1
                refused[case.kind] += code == 2
                wrong = verdict(code, err) or ("changed" if contents(fuzz.run) != before and "resume" not in case.arguments else "")
                if wrong:
                    failed[f"{case.kind}: {wrong}"] += 1
                    if sum(failed.values()) <= args.show:
                        print(f"--- {case.kind}: {wrong}: {case.arguments[:8]}\n{case.told[:1500]}\n{err[-2500:]}\n")
        finally:
            os.chdir(here)
    for kind in tried:
        print(f"{kind}: {tried[kind]} tried, {refused[kind]} refused")
    print(f"{sum(tried.values())} inputs, {sum(failed.values())} failed {dict(failed)}, {time.monotonic() - clock:.0f} s")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
