"""Names from outside are text, and nothing else, wherever they are shown: terminal, HTML, Markdown, source."""

from __future__ import annotations

import ast
import html.parser
import io
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import digits_space
from rich.console import Console
from torch import nn

from se_nas.exporter.card import docstring, readme
from se_nas.exporter.generator.template import assemble
from se_nas.report.columns import Column
from se_nas.report.html import write_report
from se_nas.report.table import show
from se_nas.report.text_table import say, text_table
from se_nas.run.run import Run
from se_nas.text import clean, flat, markdown

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg>",
    "[click](http://evil.example) ![x](http://evil.example/x.png)",
    "# head\n\n- item `code` **bold** | cell",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe\u2066\u2069",
    "a\u2028b\u2029c\rd\x85e",
    '""" + __import__("os").system("x") + """',
    "\\N{BULLET}\\x41\\",
    "[bold red]rich[/bold red] {curly} $dollar",
    "\ud800",
]
MANY = "".join(HOSTILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_each_escape_by_itself(name: str) -> None:
    assert clean(name).isprintable() and flat(name).isprintable() and markdown(name).isprintable()
    tree = ast.parse(assemble(name, ["VALUE = 1"]))
    assert [type(node) for node in tree.body] == [ast.Expr, ast.ImportFrom, ast.Import, ast.ImportFrom, ast.Assign]


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attributes)))


def named(finished_run: Run, folder: Path, name: str) -> Run:
    """A run in whose config that name stands wherever text stands."""
    shutil.copytree(finished_run.path, folder)
    config = yaml.safe_load((folder / "run.yaml").read_text())
    config["command"] = config["space_file"] = config["search"]["data"] = name
    config["backbone"]["name"] = name
    config["backbone"]["left_out"] = [name]
    config["environment"]["python"] = name
    run = Run(folder, {**config, "space": {**config["space"], "notes": name}})
    trials = run.trials
    for place, trial in enumerate(trials[2:], 2):
        trials[place] = type(trial)(**{**vars(trial), "status": "failed", "error": name, "metrics": {}, "worker": name})
    run.ledger.write(trials)
    return run


def test_a_report_and_a_terminal_show_it_as_text(finished_run: Run, tmp_path: Path) -> None:
    pages = {}
    for key, name in {"tame": "tame", "hostile": MANY.replace("\ud800", "")}.items():
        run = named(finished_run, tmp_path / key, name)
        pages[key] = write_report(run, tmp_path / f"{key}.html").read_text(encoding="utf-8")
        out = io.StringIO()
        show(run, Console(file=out, width=100, force_terminal=False))
        assert all(line.isprintable() for line in out.getvalue().split("\n")), key
    assert Tags(pages["hostile"]).found == Tags(pages["tame"]).found
    assert "\u202e" not in pages["hostile"] and "\x1b" not in pages["hostile"]


def test_tables_and_lines_of_the_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=400, force_terminal=True, color_system=None)
    say(console, MANY)
    console.print(text_table([Column(MANY, (MANY,)), Column("words", (MANY,), words=True)], 400))
    assert all(line.isprintable() for line in out.getvalue().split("\n")) and "[bold red]rich[/bold red]" in out.getvalue()


def test_what_an_export_says() -> None:
    def build(num_classes: int = 10) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

    space, hostile = digits_space(), MANY.replace("\ud800", "")
    architecture, network = space.reference("paper"), build()
    space.backbone = type(hostile, (), {})()
    text = readme(space, architecture, network, {hostile: hostile, "note": hostile}, None, {"hubconf.py": hostile}, notes=[hostile])
    escaped = markdown(hostile)
    assert text.count(escaped) == 6 and "\u202e" not in text and "\x1b" not in text  # title, both cells, note, file, notes
    assert hostile not in text and all(line.isprintable() for line in text.split("\n"))
    source = assemble(docstring(hostile, space, architecture, network, {hostile: hostile}), ["VALUE = 1"])
    assert isinstance(ast.parse(source).body[0], ast.Expr) and "\u202e" not in source and "\x1b" not in source
