"""Networks as people write them, with SE blocks where no module computes the value, in one, two and three dimensions, are exported."""

from __future__ import annotations

from pathlib import Path

import pytest
from exporting import written
from network.cases import CASES

from se_nas.errors import InputError
from se_nas.exporter import ExportOptions, export
from se_nas.exporter.beside.programs import program_file
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace


def space_of(name: str) -> SearchSpace:
    make, size, *_ = CASES[name]
    given = {"example_inputs": size} if callable(size) else {"input_size": size}
    return SearchSpace(make(), reduction=[2, 4], squeeze=["avg", "none"], gate=["sigmoid", "hard-sigmoid"], **given)


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_written(name: str) -> None:
    space = space_of(name)
    text = written(space, space.sample(3))
    assert "se_nas" not in text and "Attached" not in text
    written(space, space.canonical({group.name: SESpec(2) for group in space.groups}))


@pytest.mark.slow
@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_every_case_is_proven(name: str, deploy: bool, tmp_path: Path) -> None:
    space = space_of(name)
    architecture = space.sample(3)
    weights = space.build(architecture).state_dict() if deploy else None
    made = export(space, architecture, tmp_path / "model.py", weights, options=ExportOptions(deploy=deploy))
    assert not made.notes and made.proof


@pytest.mark.parametrize("name", ["signals", "two inputs"])
def test_a_proof_takes_the_inputs_of_the_space(name: str, tmp_path: Path) -> None:
    space = space_of(name)
    made = export(space, space.sample(3), tmp_path / name)
    assert made.proof
    shapes = {"signals": "1x12x64", "two inputs": "1x3x16x16 and 1x2"}[name]
    assert f"eval, {shapes}" in made.proof.apart
    assert ("eval at another size" in "".join(made.proof.apart)) == (name == "signals")  # who knows which sizes go together
    scope: dict[str, object] = {"__name__": "__main__"}
    exec(compile((tmp_path / name / "model.py").read_text(), "model.py", "exec"), scope)  # its own example runs


def test_programs_take_several_inputs() -> None:
    space = space_of("two inputs")
    content, remark = program_file(space.build(space.sample(3)), space.inputs)
    assert remark == "takes any number of images" and content


@pytest.mark.parametrize(("name", "image"), [("signals", "x.unsqueeze(-1)"), ("volumes", "x.flatten(3)"), ("residual", "")])
def test_only_what_is_no_image_is_made_one(name: str, image: str) -> None:
    space = space_of(name)
    text = written(space, space.canonical({group.name: SESpec(2) for group in space.groups}))
    assert ("image =" in text) == bool(image) and image in text


def test_a_file_that_imports_the_backbone_cannot_hold_a_block_inside_a_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_nas import exporter
    from se_nas.exporter import fallback

    monkeypatch.setattr(exporter, "GENERATORS", [fallback.source])
    space = SearchSpace("network.cases:affine", (3, 16, 16), reduction=[2])
    with pytest.raises(InputError, match=r"stands inside the forward of a\.0"):
        export(space, space.dearest(), tmp_path / "model.py", options=ExportOptions(prove=False))
