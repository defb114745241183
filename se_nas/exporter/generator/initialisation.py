"""How a network's layers begin, told from a fresh copy of it: by a rule of the field, or as PyTorch makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from se_nas.se.block import SEBlock

ZERO = "nn.init.zeros_(module.bias)"
ENOUGH = 1000
"""Values that a weight must have for its spread to tell anything."""


@dataclass(frozen=True)
class Rule:
    """A way in which weights begin.

    Attributes:
        spread: standard deviation that it gives a module's weight.
        code: the call that does it, of ``module.weight``.
        normal: whether the values are of a normal distribution; otherwise they are uniform.
    """

    spread: Callable[[Any], float]
    code: str
    normal: bool = True


def _fan(weight: Tensor, out: bool) -> int:
    return int(weight.shape[0 if out else 1] * weight[0][0].numel())


RULES = (
    Rule(
        lambda m: math.sqrt(2 / _fan(m.weight, out=True)),
        'nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")',
    ),
    Rule(lambda m: math.sqrt(2 / _fan(m.weight, out=False)), 'nn.init.kaiming_normal_(module.weight, nonlinearity="relu")'),
    Rule(
        lambda m: math.sqrt(1 / _fan(m.weight, out=True)), 'nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="linear")'
    ),
    Rule(lambda m: 0.02, "nn.init.normal_(module.weight, std=0.02)"),
    Rule(lambda m: 0.01, "nn.init.normal_(module.weight, std=0.01)"),
    Rule(
        lambda m: math.sqrt(2 * getattr(m, "groups", 1) / _fan(m.weight, out=True)),
        "nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / module.weight[:, 0].numel()))",
    ),
    Rule(
        lambda m: math.sqrt(2 / (_fan(m.weight, out=True) + _fan(m.weight, out=False))),
        "nn.init.xavier_uniform_(module.weight)",
        normal=False,
    ),
)


def statements(network: nn.Module) -> dict[str, list[str]]:
    """Class of torch.nn -> statements that make ``module``, one of it, begin as in the network; nothing where torch's own do."""
    found: dict[str, list[str]] = {}
    gates = _gates(network)  # which begin as PyTorch makes them
    for kind in (nn.Conv2d, nn.Linear):
        modules = [module for module in network.modules() if type(module) is kind and module not in gates]
        lines = []
        telling = [module for module in modules if module.weight.numel() >= ENOUGH]
        if telling and not all(_fits(module, Rule(_default, "", normal=False)) for module in telling):
            rule = next((rule for rule in RULES if all(_fits(module, rule) for module in telling)), None)
            if rule is not None:
                lines.append(rule.code)
        biases = [module.bias for module in modules if module.bias is not None]
        if biases and all(not bias.any() for bias in biases):
            lines += ["if module.bias is not None:", "    nn.init.zeros_(module.bias)"] if len(biases) < len(modules) else [ZERO]
        if lines:
            found[f"nn.{kind.__name__}"] = lines
    return found


def _default(module: Any) -> float:
    return 1 / math.sqrt(3 * _fan(module.weight, out=False))


def _fits(module: Any, rule: Rule) -> bool:
    """Whether a weight looks as if a rule had made it: its spread, and how often it is far out."""
    weight: Tensor = module.weight.detach()
    spread = rule.spread(module)
    error = 4 / math.sqrt(weight.numel())  # several times that of a standard deviation
    if weight.is_meta or abs(weight.std().item() / spread - 1) > error:
        return False
    beyond = (weight.abs() > 1.8 * spread).float().mean().item()  # none of a uniform distribution, 7 % of a normal one
    return (beyond > 0.02) == rule.normal


def _gates(network: nn.Module) -> set[nn.Module]:
    return {layer for block in network.modules() if isinstance(block, SEBlock) for layer in block.modules()}


GATES = "gates = {layer for block in network.modules() if isinstance(block, SEBlock) for layer in block.modules()}"


def text(network: nn.Module) -> str:
    """The lines in ``build`` that do it, or nothing."""
    parts = statements(network)
    kinds = {f"nn.{type(layer).__name__}" for layer in _gates(network)}
    lines = [GATES] if kinds & parts.keys() else []
    lines += ["for module in network.modules():"] if parts else []
    for i, (kind, body) in enumerate(parts.items()):
        kept = " and module not in gates" if kind in kinds else ""
        lines.append(f"    {'elif' if i else 'if'} isinstance(module, {kind}){kept}:")
        lines += [f"        {line}" for line in body]
    return "".join(f"    {line}\n" for line in lines)
