"""Files that appear all together or not at all, and never outside of their folder; and names that try to get out of their text."""

from __future__ import annotations

import ast
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from exporting import export

from se_nas.backbones import BACKBONES, register_backbone
from se_nas.errors import InputError
from se_nas.exporter.write import Destination, staged, write_files
from se_nas.space.space import SearchSpace
from se_nas.text import markdown as text

SMALL: dict[str, Any] = {"input_size": (1, 8, 8), "backbone_args": {"in_channels": 1}}
NEW = {"a.txt": b"new a", "b.txt": b"new b"}


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# Writing.


def test_links_are_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "b.txt").symlink_to(tmp_path / "nowhere")
    write_files(folder, NEW)
    assert contents(folder) == {"a.txt": "new a", "b.txt": "new b"}
    assert not (folder / "a.txt").is_symlink() and (tmp_path / "secret.txt").read_text() == "secret"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("system", ["links of files alone", "a file system without links"])
def test_without_links_what_stood_there_comes_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    (tmp_path / "a.txt").write_text("old a")
    (tmp_path / "b.txt").symlink_to("nowhere")
    real, moved = os.replace, []

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    def full(source: Any, target: Any) -> None:
        moved.append(target)
        if len(moved) == 2:
            raise OSError(errno.ENOSPC, "no space")
        real(source, target)

    able = os.supports_follow_symlinks - {os.link}
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "supports_follow_symlinks", able if system == "links of files alone" else able | {refuse})
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="no space"):
        write_files(tmp_path, NEW)
    assert len(moved) > 2 and (tmp_path / "a.txt").read_text() == "old a" and os.readlink(tmp_path / "b.txt") == "nowhere"


def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "front"
    folder.mkdir()
    (folder / "trial-3").symlink_to(tmp_path / "elsewhere")
    (folder / "trial-1").mkdir()
    (folder / "trial-1" / "model.py").write_text("old")
    with pytest.raises(InputError, match="trial-3 is a symbolic link there"), staged(folder) as staging:
        for name in ("trial-1", "trial-3"):
            (staging / name).mkdir()
            (staging / name / "model.py").write_text("new")
    assert contents(folder) == {"trial-1/model.py": "old"} and list((tmp_path / "elsewhere").iterdir()) == []


def test_a_failure_in_the_middle_brings_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.txt").write_text("old a")
    replace = os.replace

    def fails(source: Path, target: Path) -> None:
        if Path(target) == folder / "b.txt":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(InputError, match="No space left"):
            write_files(folder, NEW)
    assert contents(folder) == {"a.txt": "old a"} and len(list(folder.iterdir())) == 1


def test_a_folder_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "out" / "b.txt").mkdir(parents=True)
    (tmp_path / "out" / "b.txt" / "mine").write_text("mine")
    with pytest.raises(InputError, match="is a folder there"):
        write_files(tmp_path / "out", NEW)
    assert contents(tmp_path / "out") == {"b.txt/mine": "mine"}


def test_errors_within_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no"), staged(tmp_path / "out") as staging:
        (staging / "a").write_text("a")
        raise InputError("no", "fix")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["x/../net", "./net", "net/", "weird name\n$(x)"])
def test_all_names_lie_in_the_folder(target: str, tmp_path: Path) -> None:
    place = Destination.of(tmp_path / target)
    for name in place.names:
        assert Path(name).name == name
        assert (place.folder / name).resolve().parent == (tmp_path / target).resolve()
    assert all(Path(name).name == name for name in Destination.of(tmp_path / f"{target.strip('/')}.py").names)


# Hostile names.

HOSTILE = [
    '"""\n__import__("os").system("touch broken")\n"""',
    "'''\nimport os\n'''",
    "\\",
    "a\nb\r\n# c",
    "{x} ${x} $x #? a",
    "[link](javascript:x) `code` <script>alert(1)</script> | cell |\n```\nimport os\n```",
    "../../escape",
    "\ud800\u202e",
]


def test_hostile_names_change_nothing_but_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    name = HOSTILE[0] + HOSTILE[5]
    register_backbone(name, BACKBONES["resnet8"])
    rename = {"layer1.0": HOSTILE[5], "layer2.0": HOSTILE[6]}
    about = dict(zip(HOSTILE, reversed(HOSTILE), strict=True))
    try:
        space = SearchSpace(name, **SMALL, reduction=[2])
        renamed = SearchSpace("resnet8", **SMALL, reduction=[2], sites={"rename": rename})
        quiet = SearchSpace("resnet8", **SMALL, reduction=[2])
        export(space, space.dearest(), "hostile", about=about, hub=True, timm=True)
        export(quiet, quiet.dearest(), "quiet", hub=True, timm=True)
    finally:
        del BACKBONES[name]
    for file in ("model.py", "hubconf.py", "timm_model.py"):
        hostile, plain = (ast.parse((Path(folder) / file).read_text()) for folder in ("hostile", "quiet"))
        called = [node.name for node in ast.walk(hostile) if isinstance(node, ast.FunctionDef)]
        assert all(part.isascii() and part.isidentifier() for part in called)
        if file == "model.py":
            assert [ast.dump(node) for node in hostile.body[1:]] == [ast.dump(node) for node in plain.body[1:]]
        assert {type(node) for node in ast.walk(hostile)} == {type(node) for node in ast.walk(plain)}
    record = json.loads((Path("hostile") / "architecture.json").read_text())
    assert record["about"] == about and record["backbone"] == name
    readme = (Path("hostile") / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in readme.replace("\\<script\\>", "") and readme.count("```") == 2
    table = [line for line in readme.splitlines() if line.startswith("| ") and "touch" in line]
    assert table and all(line.replace("\\|", "").count("|") == 3 for line in table)
    assert renamed.groups[0].name == HOSTILE[5]
    assert sorted(os.listdir(tmp_path)) == ["work"] and sorted(os.listdir()) == ["hostile", "quiet"]


def test_markdown_is_words() -> None:
    assert text("a|b `c`\n<d> [e](f) *g* _h_ \\ #i") == r"a\|b \`c\` \<d\> \[e\](f) \*g\* \_h\_ \\ \#i"
    assert text("\ud800\x00\u202ex") == "x"
