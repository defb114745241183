"""What README and docs say is so: code, commands, spaces, links, names and tables."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from reading_docs import PAGES, Block, anchors, blocks, concrete, prose, read, spans
from test_imports import FLOOR

pytest.importorskip("optuna")
import optuna

import se_nas
from se_nas.backbones import BACKBONES
from se_nas.cli import _parser, main
from se_nas.evaluate.data import SOURCES
from se_nas.network.blocks import BLOCKS, PLACEMENTS
from se_nas.run.settings import SearchSettings, resolve_settings
from se_nas.se.block import GATES, SQUEEZES
from se_nas.setting import flags_of, settings_of
from se_nas.space.space import SearchSpace
from se_nas.space.spacefile import SPACE_KEYS, load_space
from se_nas.strategies import STRATEGIES

SLOW = {f"docs/{name}.md" for name in ("confirm", "detection", "evaluation", "export", "nni", "nni_oneshot", "ray")}
"""Pages that train much, or start workers, supernets or proofs."""

ELSEWHERE = {"docs/ray.md": "tests/integrations/test_ray.py"}
"""Pages whose Python needs a cluster of its own, and where it runs."""

PUBLIC = ["se_nas", *(f"se_nas.integrations.{name}" for name in ("optuna", "ray", "nni", "nni_hpo", "shortlist"))]
"""Modules that users import."""

EVERY_BLOCK = [block for page in PAGES for block in blocks(page)]
PARSER = _parser()
COMMANDS: dict[str, argparse.ArgumentParser] = next(a.choices for a in PARSER._actions if isinstance(a, argparse._SubParsersAction))
FLAGS = {flag for parser in (PARSER, *COMMANDS.values()) for action in parser._actions for flag in action.option_strings}


def at(block: Block) -> str:
    return f"{block.page}:{block.line}"


# Pages as a reader follows them: in a clone of the repository, from top to bottom.


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what a page refers to. What the page imports from there or registers is forgotten afterwards."""
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").touch()  # NNI's machines name it
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    registries: list[dict[str, object]] = [SQUEEZES, GATES, BLOCKS, BACKBONES]  # type: ignore[list-item]
    before = [dict(registry) for registry in registries]
    yield tmp_path
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def follow(page: str, clone: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[list[str]], None]) -> None:
    """Run a page's blocks one after another; what one makes, the next may use."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in filter(lambda block: block.run, blocks(page)):
        monkeypatch.chdir(clone / block.folder)
        if block.folder != ".":
            sys.path.insert(0, str(clone / block.folder))
        file = re.match(r"# (\w+\.\w+)\n", block.text)  # a name on the first line: the reader saves it
        Path(file[1] if file else "block").write_text(block.text)
        if block.language == "python" and page not in ELSEWHERE:
            exec(compile(block.text, at(block), "exec"), names)
        elif block.language == "yaml":
            check_yaml(Path(file[1] if file else "block"))
        elif block.language == "sh":
            for words in block.commands:
                if words[0] == "se-nas" and concrete(words):
                    run(words)


def check_yaml(file: Path) -> None:
    """A space with its settings, or NNI's machines."""
    if file.read_text().startswith("machines:"):
        from se_nas.engines.nni_engine.machines import read_machines

        assert read_machines(str(file))
        return
    arguments, section = load_space(file)
    assert SearchSpace.from_dict(arguments, str(file)).size > 1
    resolve_settings(section, str(file), {})


def shortly(words: list[str]) -> None:
    """A command in this process, with less to do."""
    less = {
        "search": ["--trials", "3", "--epochs", "1", "--train", "batch_size=256"],
        "resume": ["--trials", "4"],
        "export": ["--no-proof"],
    }
    assert main([*words[1:], *less.get(words[1], [])]) == 0, " ".join(words)


def as_printed(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "se_nas", *words[1:]], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"


def to_follow(page: str) -> bool:
    return any(b.run and (b.language != "sh" or any(w[0] == "se-nas" and concrete(w) for w in b.commands)) for b in blocks(page))


@pytest.mark.parametrize("page", [page for page in PAGES if to_follow(page) and page not in SLOW])
def test_a_page_works_from_top_to_bottom(page: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code as it is printed, searches with fewer trials and exports without their proof."""
    follow(page, clone, monkeypatch, shortly)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_follow(page)])
def test_a_page_works_as_it_is_printed(page: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    follow(page, clone, monkeypatch, as_printed)


def test_little_is_left_out() -> None:
    left_out = [at(block) for block in EVERY_BLOCK if not block.run]
    assert len(left_out) <= 8, left_out
    assert all((ROOT / test).read_text().count(page) for page, test in ELSEWHERE.items())


# Commands, those with words for the reader to fill in too.


@pytest.mark.parametrize("block", [block for block in EVERY_BLOCK if block.language == "sh" and block.run], ids=at)
def test_commands_are_commands(block: Block) -> None:
    for words in block.commands:
        check_command(words)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_flags_in_sentences_exist(page: str) -> None:
    for span in spans(page):
        if re.match(r"(se-nas|make|pip|python|pytest) ", span):
            check_command(Block(page, 0, "sh", span).commands[0])
        elif span.startswith("--") and not page.startswith("benchmarks/"):
            unknown = {word for word in span.split() if word.startswith("--")} - FLAGS
            assert not unknown, f"{page}: {span}"


def check_command(words: list[str]) -> None:
    """Raise unless this is a command that a reader can give."""
    said = " ".join(words)
    if words[0] == "se-nas":
        check_se_nas(words[1:])
    elif words[0] == "pip":
        extras = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        assert set(re.findall(r"se-nas\[([\w-]+)\]", said)) <= set(extras), said
        assert all((ROOT / name).exists() for name in words if name.endswith(".txt")), said
    elif words[0] == "make":
        assert re.search(rf"^(\S+ )*{words[1]}( \S+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE), said
    elif words[0] == "python":
        file = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        assert (ROOT / file).exists(), said
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if "/" in word), said
    else:
        pytest.fail(f"{said}: the tests cannot check this; say why before it: <!-- not run: REASON -->")


def check_se_nas(words: list[str]) -> None:
    if words[0] == "COMMAND" or (len(words) == 1 and words[0] in COMMANDS):  # in a sentence
        return
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
            args = PARSER.parse_args(words)
    except SystemExit as end:
        if not end.code:  # --help, --version
            return
        pytest.fail(f"se-nas {' '.join(words)}: {errors.getvalue()}")
    if words[0] == "search":
        resolve_settings({"repeats": 2}, "docs", flags_of(args, settings_of(SearchSettings).values()))


# Names, links and tables.


@pytest.mark.parametrize("block", [block for block in EVERY_BLOCK if block.language == "python"], ids=at)
def test_code_imports_public_names_alone(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            if module.partition(".")[0] == "se_nas":
                assert re.fullmatch(r"se_nas(\.integrations\.(optuna|ray|nni|nni_hpo|shortlist))?", module), (
                    f"{at(block)}: {module} is not public"
                )
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("se_nas"):
            assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__), at(block)


def rows(page: str, heading: str) -> list[str]:
    """Names in the first column of the tables under a heading."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    assert section, heading
    cells = re.findall(r"^\| (`.*?) \|", section[1], re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(
    "module", ["se_nas", *(f"se_nas.integrations.{name}" for name in ("optuna", "ray", "nni", "nni_hpo", "shortlist"))]
)
def test_every_public_name_is_listed_once(module: str) -> None:
    assert sorted(rows("docs/python.md", f"`{module}`")) == sorted(importlib.import_module(module).__all__)


def test_tables_are_whole() -> None:
    assert sorted(rows("docs/search_spaces.md", "All keys")) == sorted(SPACE_KEYS)
    told = {name for page in ("docs/search_spaces.md", "docs/data.md") for name in spans(page)}
    assert {*SQUEEZES, *GATES, *PLACEMENTS, *BACKBONES, *SOURCES} <= told
    page = read("docs/strategies.md").partition("## A loop")[0]
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)`.* \|$", page, re.MULTILINE)) == sorted(STRATEGIES)


def test_the_map_shows_every_room_from_the_lowest_floor_up() -> None:
    told = [re.sub(r"/$|\.py$", "", name) for name in rows("CONTRIBUTING.md", "The house")]
    assert set(told) == {*FLOOR} - {"__main__"}
    assert [FLOOR[name] for name in told] == sorted(FLOOR[name] for name in told)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_names_of_files_and_of_code_exist(page: str) -> None:
    for span in spans(page):
        if re.fullmatch(r"(se_nas|tests|benchmarks|docs|search_spaces)/[\w./]*", span):
            assert (ROOT / span).exists(), f"{page}: {span}"
        elif named := re.match(r"se_nas((?:\.[A-Za-z_]+)+)", span):
            found: object = se_nas
            for name in named[1].split(".")[1:]:
                found = getattr(found, name, None) or importlib.import_module(f"{found.__name__}.{name}")  # type: ignore[attr-defined]


def test_the_readme_is_two_screens() -> None:
    assert len(read("README.md").splitlines()) <= 95
