"""Files are written whole or not at all, under names of our own that never stay; and what the system refuses is one line."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from se_nas import files
from se_nas.errors import InputError
from se_nas.files import OWN, held, make_directory, opened, own_name, refused, replacing, sweep, write_whole


def own(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if OWN.fullmatch(name)]


@pytest.mark.parametrize("name", ["p", "~", "a b.html", "x" * 255, "weights.part", "new\nline"])
def test_odd_names_are_written_and_their_neighbours_stay(tmp_path: Path, name: str) -> None:
    beside = {f"{name[:240]}.part": "mine", "p.part": "mine", "~.part": "mine"}
    for other, text in beside.items():
        if other != name:
            (tmp_path / other).write_text(text)
    write_whole(tmp_path / name, "new")
    write_whole(tmp_path / name, "newer")
    assert (tmp_path / name).read_text() == "newer" and not own(tmp_path)
    assert all((tmp_path / other).read_text() == text for other, text in beside.items() if other != name)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a", "x")
        make_directory(tmp_path / "d/e")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "d/e").stat().st_mode) == 0o777 & ~umask


def test_a_link_is_replaced_and_what_is_behind_it_stays(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "secret").read_text() == "secret" and not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, OSError(errno.ENOSPC, "full"), MemoryError])
def test_whatever_ends_it_the_old_file_is_there(tmp_path: Path, raised: BaseException) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(BaseException), replacing(tmp_path / "a") as file:  # noqa: B017
        file.write(b"half")
        raise raised
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_new_file_and_its_name_are_synced_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source: object, target: object) -> None:
        done.append("replace")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_whole(tmp_path / "a", "x")
    assert done == ["file", "replace", "directory"]


def test_directories_that_were_made_go_again_when_one_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError):
        make_directory(tmp_path / "file/x")
    with pytest.raises(OSError):
        make_directory(tmp_path / "a/b" / ("x" * 300))
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_swept_and_what_one_writes_is_not(tmp_path: Path) -> None:
    code = f"import os, pathlib, time; from se_nas.files import replacing\nwith replacing(pathlib.Path({str(tmp_path)!r}, 'a')) as f:\n"
    code += "    f.write(b'half'); print('writing', flush=True); time.sleep(60)"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        (tmp_path / own_name()).mkdir()
        (tmp_path / ".se-nas-mine.tmp").write_text("mine")
        sweep(tmp_path)
        assert len(own(tmp_path)) == 1
    finally:
        writer.kill()
        writer.wait()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == [".se-nas-mine.tmp"]


def test_a_directory_is_held_though_all_in_it_is_removed(tmp_path: Path) -> None:
    with held(tmp_path, "ledger") as first:
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
        with held(tmp_path, "ledger") as second:
            assert first and not second
    with held(tmp_path, "ledger") as third:
        assert third


def test_where_directories_cannot_be_locked_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = files.hold

    def refuses(descriptor: int) -> bool:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        return hold(descriptor)

    monkeypatch.setattr(files, "hold", refuses)
    with held(tmp_path, "ledger") as first, held(tmp_path, "ledger") as second:
        assert first and not second and os.listdir(tmp_path) == ["ledger"]


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "file/below", "nowhere/below", "\ud800"])
def test_what_the_system_refuses_is_one_line(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as raised, refused(path, "written"):
        write_whole(tmp_path / path, "x")
        raise OSError(errno.EILSEQ, "refused")  # where the system takes a surrogate
    assert "cannot be written" in str(raised.value) and str(raised.value).isprintable()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), opened(tmp_path / "pipe"):
        pass
