"""How a network initialises its layers (recognised from a fresh copy: a usual rule, or PyTorch's default), and what is frozen."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from se_nas.network.attached import join, public_modules
from se_nas.se.block import SEBlock

ZERO = "nn.init.zeros_(module.bias)"
ENOUGH = 1000
"""Values that a weight must have for its spread to tell anything."""


@dataclass(frozen=True)
class Rule:
    """A usual rule for initial weights.

    Attributes:
        spread: standard deviation of a module's weight under this rule.
        code: the call that does it, of ``module.weight``.
        normal: whether values are normally distributed; otherwise they are uniform.
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
    """Class of torch.nn -> statements that initialise a ``module`` of it as in the network. PyTorch's default needs none."""
    found: dict[str, list[str]] = {}
    gates = _gates(network)  # gates keep PyTorch's default
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
    """Whether a weight looks like a result of a rule, by its spread and its share of outliers."""
    weight: Tensor = module.weight.detach()
    spread = rule.spread(module)
    error = 4 / math.sqrt(weight.numel())  # several times the standard error of a standard deviation
    if weight.is_meta or abs(weight.std().item() / spread - 1) > error:
        return False
    beyond = (weight.abs() > 1.8 * spread).float().mean().item()  # none for a uniform distribution, 7 % for a normal one
    return (beyond > 0.02) == rule.normal


def _gates(network: nn.Module) -> set[nn.Module]:
    return {layer for block in network.modules() if isinstance(block, SEBlock) for layer in block.modules()}


def frozen(network: nn.Module) -> list[str]:
    """Lines that freeze the parameters that are frozen in the network; one line for a module whose parameters are all frozen."""
    trainable: dict[str, bool] = {}
    for path, module in public_modules(network).items():
        trainable |= {join(path, name): tensor.requires_grad for name, tensor in module._parameters.items() if tensor is not None}
    return _set("", trainable, True)


def _set(path: str, trainable: Mapping[str, bool], now: bool) -> list[str]:
    """The lines for the parameters at and below a path. Before them, all are trainable or all are frozen (``now``)."""
    own = {name: wanted for name, wanted in trainable.items() if not path or name == path or name.startswith(f"{path}.")}
    if all(wanted == now for wanted in own.values()):
        return []
    depth = path.count(".") + 2 if path else 1
    inner = dict.fromkeys(".".join(name.split(".")[:depth]) for name in own if name != path)
    lines = []
    if 2 * sum(any(own[name] == now for name in own if name == part or name.startswith(f"{part}.")) for part in inner) <= len(inner):
        getter = "get_parameter" if path in own else "get_submodule"
        plain = path.isidentifier() and not keyword.iskeyword(path)
        place = f".{path}" if plain else f".{getter}({json.dumps(path)})" if path else ""
        lines, now = [f"network{place}.requires_grad_({not now})"], not now
    return [*lines, *(line for part in inner for line in _set(part, own, now))]


GATES = "gates = {layer for block in network.modules() if isinstance(block, SEBlock) for layer in block.modules()}"


def text(network: nn.Module) -> str:
    """The lines in ``build`` for all of this; may be empty."""
    parts = statements(network)
    kinds = {f"nn.{type(layer).__name__}" for layer in _gates(network)}
    lines = [GATES] if kinds & parts.keys() else []
    lines += ["for module in network.modules():"] if parts else []
    for i, (kind, body) in enumerate(parts.items()):
        kept = " and module not in gates" if kind in kinds else ""
        lines.append(f"    {'elif' if i else 'if'} isinstance(module, {kind}){kept}:")
        lines += [f"        {line}" for line in body]
    return "".join(f"    {line}\n" for line in [*lines, *frozen(network)])
