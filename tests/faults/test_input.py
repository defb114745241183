"""Every bad input is one line and exit code 2, and nothing is written: each kind with its brothers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from se_nas.cli import main
from se_nas.errors import InputError, known
from se_nas.reading import load_json, load_yaml, parse_json, read_real, read_whole
from se_nas.run.run import Run
from se_nas.text import SHOWN, clean, html, markdown, shown

SPACE = {"backbone": "resnet8", "backbone_args": {"in_channels": 1, "width": 0.25}, "input_size": [1, 8, 8], "reduction": [2, 4]}


def line(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as ended:
        code = int(str(ended.code))
    err = capsys.readouterr().err
    assert code == 2 and len(err.splitlines()) == 1 and err.rstrip("\n").isprintable() and len(err) < 3000, (code, err[:500])
    return err


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return tmp_path / "space.yaml"


def change(tmp_path: Path, **changes: object) -> Path:
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump({**SPACE, **changes}))
    return tmp_path / "changed.yaml"


# Numbers.

NUMBERS = ["nan", "inf", "-inf", "1e999", "9" * 30, "9" * 5000, "0x10", "", " ", "1,5", "\N{SUPERSCRIPT TWO}"]


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize(
    "flag", ["--seed", "--epochs", "--trials", "--threads", "--workers", "--trial-timeout", "--cost-weight", "--weight"]
)
def test_numbers_on_the_command_line(space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    assert flag in line(capsys, "search", space, "--out", tmp_path / "run", flag, value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value", ["params<=1e999", "params<=+1e999%", "params<=nan", "macs<=-5", "params<=" + "9" * 5000, "params<=", "<=1", "x"]
)
def test_budgets(space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    line(capsys, "search", space, "--out", tmp_path / "run", f"--budget={value}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), 1e300, -1, [1], [], {"a": 1}, True, None, 10**30, "1e999", "x" * 100_000])
def test_budgets_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], budget: object) -> None:
    line(capsys, "check", change(tmp_path, budgets={"params": budget}))


@pytest.mark.parametrize(
    "key", ["reduction", "divisor", "input_size", "backbone_args", "allow_none", "share", "sites", "extra", "budgets", "init"]
)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "x" * 100_000, [[]], {"x": {"y": 1}}, [float("inf")], 2**70, None])
def test_values_of_no_sense_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: object) -> None:
    said = line(capsys, "check", change(tmp_path, **{key: value}))
    assert key.removesuffix("s") in said or "has more than 64 bits" in said


def test_images_of_any_size_are_not_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has more than 268,435,456 values" in line(capsys, "check", change(tmp_path, input_size=[1, 2**31, 2**31]))


def test_one_place_reads_numbers() -> None:
    assert read_whole("-5") == -5 and read_real("1e-3") == 1e-3
    for text in ("1e999", "nan", "inf", "x", ""):
        with pytest.raises(ValueError):
            read_real(text)
    for text in ("9" * 19 + "9", "1.5", "9" * 5000, ""):
        with pytest.raises(ValueError):
            read_whole(text)


# Files.

YAMLS = {
    "empty": "",
    "blank": " \n",
    "null": "null",
    "a list": "- 1",
    "a number": "42",
    "no YAML": "a: [1",
    "a tab": "\t",
    "an object": "a: !!python/object/apply:os.system [ls]",
    "a date of none": "a: 2020-99-99",
    "a key of a list": "? [1]\n: 2",
    "a long number": "a: " + "9" * 5000,
    "a number beyond 64 bits": "a: " + "9" * 30,
    "deep": "a: " + "[" * 5000,
    "deep and whole": "a: " + "[" * 900 + "]" * 900,
    "itself": "a: &a [*a]",
    "anchors that multiply": "a: &a [1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)),
    "two documents": "--- 1\n--- 2",
    "no text": "\x00",
    "merged with a number": "<<: 1",
    "a long text": "x" * 1_000_000,
    "a long line": "backbone: " + "x" * 5_000_000,
}


@pytest.mark.parametrize("kind", YAMLS)
def test_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    (tmp_path / "a.yaml").write_text(YAMLS[kind])
    said = line(capsys, "check", tmp_path / "a.yaml")
    assert "a.yaml" in said or kind == "a long line"


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_bytes(b"backbone: \xff")
    assert "not text in UTF-8: byte 10 is 0xff" in line(capsys, "check", tmp_path / "a.yaml")
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not text in UTF-8"):
        load_json(tmp_path / "a.json")


JSONS = ["", "{", "NaN", "Infinity", "1e999", "9" * 5000, "9" * 30, "[" * 100_000, '{"a":' * 50_000, '{"a": 1, "a": 2}', "\x00", "[1] 2"]


@pytest.mark.parametrize("text", JSONS, ids=range(len(JSONS)))
def test_json(tmp_path: Path, space: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    line(capsys, "export", space, "--architecture", tmp_path / "a.json", "-o", tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_device_that_never_ends_is_not_read_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="it holds more than"):
        load_yaml("/dev/zero")


@pytest.mark.parametrize("flag", ["--budget", "--trials", "--data", "--objective"])
def test_a_value_that_is_two_dashes(space: Path, flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["search", str(space), f"{flag}=--"])
    assert ended.value.code == 2


# Names and paths.

PATHS = ["a\0b", "x" * 300, "/".join(["y" * 200] * 30), "\ud800", "a\nb", "\u202ex", "", "/", "nowhere/x"]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_paths(finished_run: Run, space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    run, at = finished_run.path, path if path in ("", "/") else f"{tmp_path}/{path}"
    for arguments in (
        ("show", at),
        ("check", f"{at}.yaml"),
        ("resume", at),
        ("report", at),
        ("export", at, "-o", tmp_path / "net"),
        ("export", space, "--architecture", f"{at}.json", "-o", tmp_path / "net"),
        ("search", space, "--out", tmp_path / "run", "--warm-start", at or "x"),
        ("search", space, "--out", tmp_path / "run", "--data", f"folder:{at}"),
    ):
        line(capsys, *arguments)
    if path in ("a\0b", "x" * 300, PATHS[2], "/"):
        line(capsys, "report", run, "-o", at)
        line(capsys, "export", run, "-o", at, "--no-proof")
        line(capsys, "search", space, "--out", at, "--trials", 1)
    assert sorted(os.listdir(tmp_path)) == ["space.yaml"]


@pytest.mark.parametrize(
    "name", [".x:y", "sys:exit", "os:abort_", ":", "a:", ":b", "no.module:f", "json:__name__", "json:loads", "a b:c", "x\n:y"]
)
def test_names_of_functions(tmp_path: Path, space: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "backbone" in line(capsys, "check", change(tmp_path, backbone=name))
    line(capsys, "search", space, "--out", tmp_path / "run", "--data", name)


def test_a_module_that_raises_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"broken": "1 +", "leaves": "raise SystemExit(0)", "fails": "1 / 0"}.items():
        (tmp_path / f"{name}_module.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        assert f"importing {name}_module raised" in line(capsys, "check", change(tmp_path, backbone=f"{name}_module:f"))


# Permissions, as a user who is not root.

MAIN = """
import sys
from se_nas.cli import main
for arguments in sys.argv[1:]:
    print("code", main(arguments.split("|")), file=sys.stderr)
"""


def give_up_rights() -> None:
    """As an ordinary user: nothing is read, entered or written against its permissions. Runs before the command begins."""
    for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def opened_again(tmp_path: Path) -> Iterator[None]:
    yield
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)


@pytest.mark.usefixtures("opened_again")
@pytest.mark.skipif(sys.platform != "linux", reason="gives up the rights of a superuser as Linux has them")
def test_permissions(finished_run: Run, space: Path, tmp_path: Path) -> None:
    run, closed, locked, images = (tmp_path / name for name in ("run", "closed", "locked", "images"))
    for copy in (run, closed, locked):
        shutil.copytree(finished_run.path, copy)
    for name in ("a", "b"):
        (images / name).mkdir(parents=True)
        (images / name / "1.png").write_text("")
    secret = tmp_path / "secret.yaml"
    shutil.copy(space, secret)
    for path in (closed, secret, images / "b", locked / "trials.jsonl"):
        path.chmod(0)
    for path in (*run.rglob("*"), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    arguments = [
        f"resume|{run}|--trials|9",
        f"report|{run}",
        f"show|{closed}",
        f"check|{closed}",
        f"resume|{closed}",
        f"show|{locked}",
        f"report|{locked}",
        f"check|{secret}",
        f"search|{space}|--out|{run / 'below'}|--trials|1",
        f"search|{space}|--out|{closed / 'below'}|--trials|1",
        f"search|{space}|--out|{tmp_path / 'new'}|--data|folder:{images}",
        f"export|{run}|-o|{closed / 'net'}|--no-proof",
        f"export|{run}|-o|{run / 'net'}|--no-proof",
    ]
    command = [sys.executable, "-c", MAIN, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=give_up_rights)
    assert "Traceback" not in done.stderr and done.returncode == 0, done.stderr[-3000:]
    lines = [each for each in done.stderr.splitlines() if each.startswith(("se-nas: ", "code "))]
    assert lines[1::2] == ["code 2"] * len(arguments), done.stderr
    assert all("ermission denied" in each for each in lines[::2]), done.stderr
    assert not (tmp_path / "new").exists() and stat.S_IMODE(closed.stat().st_mode) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], capture_output=True).returncode:
        pytest.skip("only a superuser can mount a file system")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("left", [0, 1, 2, 5])
def test_a_full_disk(finished_run: Run, space: Path, small_disk: Path, left: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With so many blocks of 4 KB left: the lock, run.yaml and the report fit or not, and nothing half stays."""
    (small_disk / "mine").write_bytes(b"x" * (256 - 4 * left - 4) * 1024)
    with contextlib.suppress(OSError), (small_disk / "more").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with (small_disk / "more").open("r+b") as file:
        file.truncate(max(0, file.seek(0, 2) - 4096 * left))
    said = line(capsys, "search", space, "--out", small_disk / "run", "--trials", 9, "--epochs", 1, "--keep-weights", "all", "--quiet")
    assert "o space left on device" in said or "cannot be written" in said
    assert not [name for _, _, names in os.walk(small_disk) for name in names if name.startswith(".se-nas-")]
    assert "o space left" in line(capsys, "report", finished_run.path, "-o", small_disk / "report.html")
    assert not (small_disk / "report.html").exists() and len(os.listdir(small_disk)) <= 3


# What is shown.

ODD = "a\nb\x1b[31m\u202e\u2066\x07\ud800<b>|`*"


def test_a_message_is_one_printable_line_and_shows_the_first_hundred_characters() -> None:
    for value in (ODD, ODD * 1000, "x" * 5000, ["y" * 5000] * 9, {"k": [1] * 10**5}, 10**5000, b"z" * 9999):
        assert shown(value).isprintable() and len(shown(value)) <= SHOWN + 3
    with pytest.raises(InputError) as raised:
        known(ODD * 1000, ("a", "b"), ODD)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 3200
    assert shown("short") == "'short'" and shown(1.5) == "1.5" and shown({"b": 1, "a": None}) == "{'b': 1, 'a': None}"


def test_one_place_escapes_for_each_kind_of_text() -> None:
    assert clean(ODD).isprintable() and "\u202e" not in clean(ODD)
    assert "<b>" not in html(ODD) and "\\<b\\>" in markdown(ODD) and "\\|" in markdown(ODD) and "\n" not in markdown(ODD)
