"""The template language, and what is read out of source text."""

from __future__ import annotations

from se_nas.exporter.generator.template import assemble, bound_names, facts, free_names, render, table


def test_render_keeps_lines_by_flag() -> None:
    template = "\nalways $x\nwith a  #? a\nwithout a  #? !a\nboth  #? a !b\n"
    assert render(template, {"x": "1"}, {"a"}) == "always 1\nwith a\nboth"
    assert render(template, {"x": "1"}, {"a", "b"}) == "always 1\nwith a"
    assert render(template, {"x": "1"}, set()) == "always 1\nwithout a"


def test_free_names() -> None:
    source = """
def f(x: Tensor, y=DEFAULT):
    import math
    from torch import relu as r
    z = [w for w in x if math.pi]
    try:
        z = other.attribute(helper(z), key=r(len(z)))
    except ValueError as error:
        print(error, z)
    def inner(u): return u + z + f(u)
    global COUNT
    COUNT += 1
    return inner
"""
    assert free_names(source) == {"Tensor", "DEFAULT", "other", "helper", "COUNT"}


def test_bound_names() -> None:
    names = bound_names("def f(a):\n    b = a\nclass C:\n    pass\n")
    assert names >= {"f", "a", "b", "C", "torch", "Callable", "max"} and "g" not in names


def test_assemble_imports_what_is_used() -> None:
    text = assemble("About.", ["x: Callable[[Tensor], Sequence[int]]", "", "def f() -> float:\n    return F.relu(math.pi)"])
    assert text == (
        '"""About.\n"""\n\nfrom __future__ import annotations\n\nimport math\nfrom collections.abc import Callable, Sequence\n\n'
        "import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F\n\n"
        "x: Callable[[Tensor], Sequence[int]]\n\n\ndef f() -> float:\n    return F.relu(math.pi)\n"
    )


def test_facts_wrap_and_align() -> None:
    text = facts({"a": 1, "longer": "word " * 30})
    assert text.splitlines()[0] == "a       1"
    assert len(text.splitlines()) == 3 and all(len(line) <= 100 for line in text.splitlines())
    assert text.splitlines()[2].startswith("        word")


def test_table_aligns_numbers_right() -> None:
    assert table(("name", "n"), [("a", 1), ("bc", 100), ("d", "-")]) == "name    n\na       1\nbc    100\nd       -"
