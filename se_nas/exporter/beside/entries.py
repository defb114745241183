"""Files by which torch.hub and timm find an exported network; nothing but names made of letters and digits goes into them."""

from __future__ import annotations

from se_nas.exporter.card import hub_name, timm_name
from se_nas.exporter.generator.template import render
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

LOAD = '''
MODULE = "$module"
HERE = pathlib.Path(__file__).resolve().parent


def _build(weights: bool) -> torch.nn.Module:
    """The network of the ``model.py`` in this folder, a module of its own whatever else is called so."""
    if MODULE not in sys.modules:
        spec = importlib.util.spec_from_file_location(MODULE, HERE / "model.py")
        assert spec is not None and spec.loader is not None
        sys.modules[MODULE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[MODULE])
    network: torch.nn.Module = sys.modules[MODULE].build(str(HERE / "weights.safetensors") if weights else None)
    return network
'''

HUB = '''
"""For torch.hub: ``torch.hub.load("path of this folder", "$name", source="local")``."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import torch

dependencies = ["torch", "safetensors"]
$load


def $name(pretrained: bool = True) -> torch.nn.Module:  #? weights
    """The network that was searched, trained or not."""  #? weights
    return _build(pretrained)                             #? weights
def $name() -> torch.nn.Module:                         #? !weights
    """The network that was searched, untrained."""       #? !weights
    return _build(False)                                  #? !weights
'''

TIMM = '''
"""For timm: import this file, then ``timm.create_model("$name")``."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from typing import Any

import torch
from timm.models import register_model

CONFIG = {"architecture": "$name", "input_size": ($input), "num_classes": $classes}
IGNORED = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
$load


@register_model
def $name(pretrained: bool = False, **arguments: Any) -> torch.nn.Module:
    """The network that was searched, trained if ``pretrained``."""  #? weights
    """The network that was searched, untrained."""                  #? !weights
    if unknown := sorted(name for name, value in arguments.items() if value is not None and name not in IGNORED):
        raise TypeError(f"this network is as it was searched: it takes no {', '.join(unknown)}")
    if pretrained:                                                   #? !weights
        raise ValueError("it was exported without weights") #? !weights
    network = _build(pretrained)
    network.num_classes = CONFIG["num_classes"]  # type: ignore[assignment]
    network.pretrained_cfg = network.default_cfg = CONFIG  # type: ignore[assignment]
    return network
'''


def hubconf(space: SearchSpace, architecture: Architecture, weights: bool) -> str:
    """The source of ``hubconf.py``."""
    return _render(HUB, hub_name(space), space, architecture, weights)


def timm_model(space: SearchSpace, architecture: Architecture, weights: bool) -> str:
    """The source of ``timm_model.py``."""
    return _render(TIMM, timm_name(space, architecture), space, architecture, weights)


def _render(template: str, name: str, space: SearchSpace, architecture: Architecture, weights: bool) -> str:
    module = {"module": timm_name(space, architecture) + "_model"}
    values = {"name": name, "load": render(LOAD, module, ()), "classes": str(space.classes), "input": ", ".join(map(str, space.input_size))}
    return render(template, values, {"weights"} if weights else ()) + "\n"
