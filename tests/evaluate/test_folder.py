from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Files, Split, load_data

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.gz"
Pictures = Callable[[str, int], Path]
SIZE = (3, 8, 8)


def test_train_and_test_folders(pictures: Pictures) -> None:
    for split, count in (("train", 10), ("test", 3)):
        root = pictures(f"{split}/cat", count)
        pictures(f"{split}/dog", count)
    data = load_data(f"folder:{root}", SIZE)
    assert data.classes == ("cat", "dog") and data.augment == Augment(flip=True, pad=1)
    assert data.test is not None and (len(data.train), len(data.val), len(data.test)) == (18, 2, 6)
    assert isinstance(data.train, Split) and data.train.images.shape == (18, *SIZE) and data.train.images.dtype == torch.uint8
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_val_folder_is_the_validation_split(pictures: Pictures) -> None:
    for split, count in (("train", 4), ("val", 2)):
        root = pictures(f"{split}/a", count)
        pictures(f"{split}/b", count)
    data = load_data(f"folder:{root}", SIZE)
    assert data.test is None and (len(data.train), len(data.val)) == (8, 4)
    pictures("test/a", 1), pictures("test/b", 1)
    data = load_data(f"folder:{root}", SIZE)
    assert data.test is not None and (len(data.train), len(data.val), len(data.test)) == (8, 4, 2)


def test_class_folders_alone_are_cut(pictures: Pictures) -> None:
    root = pictures("a", 20)
    pictures("b", 10)
    (root / ".hidden").mkdir()
    data = load_data(f"folder:{root}", SIZE)
    assert data.test is not None
    assert [torch.bincount(part.labels).tolist() for part in (data.train, data.val, data.test)] == [[16, 8], [2, 1], [2, 1]]


def test_pixels_are_those_of_the_files_in_order(tmp_path: Path) -> None:
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        for split in ("train", "val"):
            (tmp_path / split / name / "deeper").mkdir(parents=True)
            Image.new("RGB", (8, 8), colour).save(tmp_path / split / name / "deeper" / "1.PNG")
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    data = load_data(f"folder:{tmp_path}", SIZE)
    assert isinstance(data.train, Split)
    assert data.train.images[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]] and data.train.labels.tolist() == [0, 1]
    grey = load_data(f"folder:{tmp_path}", (1, 8, 8)).train
    assert isinstance(grey, Split) and grey.images[:, 0, 0, 0].tolist() == [76, 29]


def test_shorter_side_is_resized_and_the_centre_cut(tmp_path: Path) -> None:
    wide = Image.new("RGB", (32, 8))
    wide.paste((255, 255, 255), (12, 0, 20, 8))
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            wide.save(tmp_path / split / name / "1.png")
    train = load_data(f"folder:{tmp_path}", SIZE).train
    assert isinstance(train, Split) and bool((train.images == 255).all())


def test_too_large_for_memory_is_left_in_files(pictures: Pictures) -> None:
    root = pictures("a", 10)
    pictures("b", 10)
    cached, streamed = load_data(f"folder:{root}", SIZE), load_data(f"folder:{root}", SIZE, memory=0)
    assert isinstance(streamed.train, Files) and isinstance(streamed.val, Files) and isinstance(streamed.test, Files)
    assert streamed.train.size == SIZE and streamed.train.labels.equal(cached.train.labels)
    assert isinstance(cached.train, Split) and streamed.train.decoded().images.equal(cached.train.images)
    assert streamed.mean == pytest.approx(cached.mean)


def test_threads_read_the_same(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures("a", 10)
    pictures("b", 10)
    alone = load_data(f"folder:{root}", SIZE).train
    monkeypatch.setattr("se_nas.evaluate.split.CHUNK", 3)
    state = torch.get_rng_state()
    helped = load_data(f"folder:{root}", SIZE).train
    assert isinstance(alone, Split) and isinstance(helped, Split) and alone.images.equal(helped.images)
    assert state.equal(torch.get_rng_state())
    (root / "a" / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cannot read the image .*3\.png"):
        load_data(f"folder:{root}", SIZE)


@pytest.mark.parametrize("path", ["", "/nowhere/at/all"])
def test_missing_folder(path: str) -> None:
    with pytest.raises(InputError, match=f"data: there is no folder '{path}'"):
        load_data(f"folder:{path}", SIZE)


def test_bad_folders(pictures: Pictures) -> None:
    root = pictures("a", 6)
    with pytest.raises(InputError, match="fewer than 2 class folders"):
        load_data(f"folder:{root}", SIZE)
    (root / "b").mkdir()
    with pytest.raises(InputError, match=r"b has no image"):
        load_data(f"folder:{root}", SIZE)
    pictures("b", 2)
    with pytest.raises(InputError, match="class 'b' has too few images"):
        load_data(f"folder:{root}", SIZE)
    with pytest.raises(InputError, match="input_size: image files cannot have 2 channels"):
        load_data(f"folder:{root}", (2, 8, 8))


def test_classes_of_the_splits_must_be_the_same(pictures: Pictures) -> None:
    for folder in ("train/a", "train/b", "test/a", "test/c"):
        root = pictures(folder, 2)
    with pytest.raises(InputError, match="test and train differ in class folders b, c"):
        load_data(f"folder:{root}", SIZE)


def test_corrupt_image(pictures: Pictures) -> None:
    root = pictures("a", 6)
    pictures("b", 6)
    whole = (root / "b" / "2.png").read_bytes()
    for broken in (b"", b"no image", whole[: len(whole) // 2]):
        (root / "b" / "2.png").write_bytes(broken)
        with pytest.raises(InputError, match=r"data: cannot read the image .*2\.png"):
            load_data(f"folder:{root}", SIZE)


@pytest.mark.skipif(not CIFAR.exists(), reason=f"{CIFAR} is not here")
def test_some_of_cifar(tmp_path: Path) -> None:
    with tarfile.open(CIFAR) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and int(Path(member.name).stem) < 20:
                member.name = os.path.normpath(member.name)
                archive.extract(member, tmp_path, filter="data")
    data = load_data(f"folder:{tmp_path}", (3, 32, 32))
    assert data.test is not None and (len(data.train), len(data.val), len(data.test)) == (180, 20, 200)
    assert data.augment == Augment(flip=True, pad=4) and all(0.3 < mean < 0.6 for mean in data.mean)
