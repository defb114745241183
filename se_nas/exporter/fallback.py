"""The last resort: a file that imports the package of the backbone, builds it there, and attaches the SE blocks line by line."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from torch import nn

from se_nas.architecture import Architecture, SESpec
from se_nas.backbones import BACKBONES
from se_nas.exporter.check import Unsupported
from se_nas.exporter.heading import backbone_name, docstring
from se_nas.exporter.names import plain_names
from se_nas.exporter.operators import refuse_clashes
from se_nas.exporter.residual_template import OPERATOR
from se_nas.exporter.seblock import SECode
from se_nas.exporter.template import WIDTH, assemble, printable, render
from se_nas.placement import Attached, Removed
from se_nas.space import SearchSpace

GATE = '''
class Gate(SEBlock):
    """An SE block that works on what another module returns or is given: its methods are hooks of that module."""

    def on_output(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:                #? output
        return self(output)                                                                                     #? output
                                                                                                                #? output input
    def on_input(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:                     #? input
        return (self(inputs[0]), *inputs[1:])                                                                   #? input
'''

ATTACH = '''
def attach(network: nn.Module, path: str, $side_parameter: str, name: str, gate: Gate) -> None:
    """Let a block scale what the module at ``path`` returns (``output``) or is given (``input``), and register it as ``name``."""
    parent, _, child = name.rpartition(".")
    network.get_submodule(parent).add_module(child, gate)
    module = network.get_submodule(path)
'''
