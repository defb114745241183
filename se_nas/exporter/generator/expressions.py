"""Expressions that construct modules, as an exported file has them in ``__init__``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.kinds import base_layer
from se_nas.exporter.generator.packing import packed
from se_nas.exporter.generator.symbols import Like, Ref, Size
from se_nas.exporter.generator.symbols import Own as OwnTensor

PAIRS = {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"}
"""Arguments whose ``(3, 3)`` is written ``3``."""


@dataclass(frozen=True)
class Layer:
    """A module of torch.nn: its class, and all arguments of the class, by name."""

    name: str
    args: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class SE:
    """An SE block."""

    channels: Any
    spec: Any


@dataclass(frozen=True)
class Container:
    """``nn.Sequential``, ``nn.ModuleList`` or ``nn.ModuleDict``, and what is in it, by name."""

    name: str
    items: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class New:
    """An object of one of the file's own classes."""

    name: str
    args: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Initial:
    """A module's own parameter or buffer: its shape and its initial value (a number, or values)."""

    kind: str
    shape: tuple[Any, ...]
    value: Any
    dtype: str = "float32"


@dataclass(frozen=True)
class Name:
    """A variable: an argument of ``__init__``, or ``self.x``."""

    text: str


@dataclass(frozen=True)
class Conditional:
    """A module if a condition (source text) holds, otherwise an identity."""

    module: Any
    condition: str


NOTHING = Layer("nn.Identity", ())
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
"""Stands for a constant of a module that lacks the part which it belongs to."""

Expression = Layer | SE | Container | New | Conditional | Name


def layer(module: nn.Module) -> Layer:
    """The expression for a module of torch.nn, or for the torch.nn part of a module that extends it.

    Raises:
        Unsupported: if its arguments cannot be read from it.
    """
    base = base_layer(module)
    if base is None:
        raise Unsupported(f"a {type(module).__name__} is no layer of torch.nn")
    if torch.nn.utils.parametrize.is_parametrized(module):
        raise Unsupported(f"a {type(module).__name__} is parametrized")
    args: dict[str, Any] = {}
    for name, parameter in parameters_of(base).items():
        if name in ("device", "dtype"):
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise Unsupported(f"the arguments of a {base.__name__} cannot be told")
        args[name] = _argument(module, name, parameter.default)
    if getattr(nn, base.__name__, nn.Module) is not base:
        raise Unsupported(f"{base.__module__}.{base.__name__} is not public")
    found = Layer(f"nn.{base.__name__}", tuple(args.items()))
    _check(module, base, args)
    return found


def parameters_of(base: type[nn.Module]) -> Mapping[str, inspect.Parameter]:
    """What the class of a layer takes, by name."""
    if base.__init__ is nn.Module.__init__:  # nn.Sigmoid has no __init__ of its own
        return {}
    if issubclass(base, nn.RNNBase):  # an LSTM takes ``*args``, and hands them on
        own = dict(inspect.signature(nn.RNNBase).parameters)
        del own["mode"]
        if base is not nn.LSTM:
            del own["proj_size"]
        if base is nn.RNN:
            own["nonlinearity"] = inspect.Parameter("nonlinearity", inspect.Parameter.KEYWORD_ONLY, default="tanh")
        return own
    return inspect.signature(base).parameters


def _argument(module: nn.Module, name: str, default: Any) -> Any:
    if name == "bias" and not isinstance(module, nn.RNNBase):
        return getattr(module, "bias", None) is not None or getattr(module, "in_proj_bias", None) is not None
    value = getattr(module, name, default)
    if value is inspect.Parameter.empty or isinstance(value, (Tensor, nn.Module)):
        raise Unsupported(f"the argument {name} of a {type(module).__name__} cannot be told")
    return _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    if name in PAIRS and isinstance(value, (tuple, list)) and value and len(set(value)) == 1:
        return value[0]
    return tuple(value) if isinstance(value, (tuple, list)) else value


def _check(module: nn.Module, base: type[nn.Module], args: dict[str, Any]) -> None:
    """Raise unless a module made with these arguments is like the given one."""
    with torch.device("meta"):
        copy = base(**args)
    for name, value in vars(copy).items():
        if not name.startswith("_") and name != "training" and _plain(name, getattr(module, name, None)) != _plain(name, value):
            raise Unsupported(
                f"{name} of a {type(module).__name__} is {getattr(module, name, None)!r:.60}, and its arguments cannot say so"
            )
    for tensors, others in ((copy._parameters, module._parameters), (copy._buffers, module._buffers)):
        for name, tensor in tensors.items():
            other = others.get(name)
            if (tensor is None) != (other is None) or (tensor is not None and other is not None and tensor.shape != other.shape):
                raise Unsupported(f"{name} of a {type(module).__name__} is not as its arguments say")


def initial(module: nn.Module) -> dict[str, Initial]:
    """The parameters and buffers of a module, without those of the class of torch.nn that it extends."""
    known: set[str] = set()
    if base_layer(module) is not None:
        base = layer(module)
        with torch.device("meta"):
            copy = getattr(nn, base.name.removeprefix("nn."))(**dict(base.args))
        known = {*copy._parameters, *copy._buffers}
    found = {}
    for kind, tensors in (("parameter", module._parameters), ("buffer", module._buffers)):
        for name, tensor in tensors.items():
            if tensor is not None and name not in known:
                passing = kind == "buffer" and name in module._non_persistent_buffers_set
                begins = _begins(name, tensor, kind, passing)
                shape = () if isinstance(begins, dict) else tuple(tensor.shape)  # which is packed, too
                found[name] = Initial("constant" if passing else kind, shape, begins, str(tensor.dtype)[6:])
    return found


def _begins(name: str, tensor: Tensor, kind: str, passing: bool) -> Any:
    """The initial value of a tensor: a number, its values if there are few, ``normal`` if it is random, `STORED` or packed."""
    if tensor.is_meta:
        raise Unsupported(f"the values of {name} cannot be told")
    first = tensor.flatten()[0].item() if tensor.numel() else 0
    if bool((tensor == first).all()):
        return float(f"{first:.6g}") if isinstance(first, float) else first  # 1e-6, not its nearest float32
    if kind == "parameter":
        digits = 2 if tensor.numel() > 5000 else 1  # more are of the sample, not of the rule
        return "normal", float(f"{tensor.float().std().item():.{digits}g}")
    if tensor.numel() <= 64:
        return "values", _nested(tensor.tolist())
    if tensor[0].numel() <= 64 and tensor.equal(tensor[:1].expand_as(tensor)):  # one filter for each channel
        return "repeated", _nested(tensor[:1].tolist())
    return {"packed": packed(name, tensor)} if passing else STORED


def _nested(value: Any) -> Any:
    return tuple(_nested(item) for item in value) if isinstance(value, list) else value


STORED = ("stored",)
"""Of a large buffer: its values come with the weights."""

HOLE = "\0"


def map_constants(value: Any, change: Callable[[tuple[str, ...], Any], Any], context: tuple[str, ...] = ()) -> Any:
    """An expression, or a value in a step, with its constants changed by ``change(where, constant)``."""

    def go(item: Any, *more: str) -> Any:
        return map_constants(item, change, (*context, *more))

    if isinstance(value, Layer):
        return Layer(value.name, tuple((name, go(item, value.name, name)) for name, item in value.args))
    if isinstance(value, SE):
        return SE(go(value.channels, "se", "in_channels"), change((*context, "se", "spec"), value.spec))
    if isinstance(value, Container):
        return Container(value.name, tuple((name, go(item, name)) for name, item in value.items))
    if isinstance(value, New):
        args = []
        for name, item in value.args:
            where = (*context, value.name, name)
            args.append((name, change(where, item) if _is_stateless(item) else map_constants(item, change, where)))
        return New(value.name, tuple(args))
    if isinstance(value, Conditional):
        return Conditional(go(value.module), value.condition)
    if isinstance(value, Initial):
        return replace(value, shape=go(value.shape, "shape"), value=go(value.value, "value"))
    if isinstance(value, (Ref, OwnTensor, Like, Name)):
        return value
    if hasattr(value, "evaluation"):  # a choice by self.training
        return replace(value, train=go(value.train), evaluation=go(value.evaluation))
    if isinstance(value, Size):
        if value.operator == "shape":
            return value
        return Size(value.operator, tuple(go(item) for item in value.operands))
    if isinstance(value, slice):
        return slice(go(value.start), go(value.stop), go(value.step))
    if isinstance(value, dict):
        return {key: go(item, str(key)) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(go(item) for item in value))
    if isinstance(value, (tuple, list)) and context[:1] == ("step",) and _is_constant(value):
        return change(context, tuple(value))  # the dims of a permutation are one constant
    if isinstance(value, (tuple, list)):
        return type(value)(go(item, str(i)) for i, item in enumerate(value))
    return change(context, value)


STATELESS = {
    cls.__name__
    for room in (nn.modules.activation, nn.modules.dropout, nn.modules.pooling)
    for cls in vars(room).values()
    if isinstance(cls, type) and issubclass(cls, nn.Module) and cls not in (nn.PReLU, nn.MultiheadAttention)
} | {"Identity"}


def _is_stateless(value: Any) -> bool:
    """Whether an argument is a module without parameters, such as an activation. It counts as a constant."""
    return isinstance(value, Layer) and value.name.removeprefix("nn.") in STATELESS


def _is_constant(values: Any) -> bool:
    return len(values) > 0 and all(isinstance(value, (int, float, str)) for value in values)


def constants(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """All constants of an expression in order: (where, constant)."""
    found: list[tuple[tuple[str, ...], Any]] = []
    map_constants(value, lambda context, constant: found.append((context, constant)))
    return found


def skeleton(value: Any, context: tuple[str, ...] = ()) -> str:
    """An expression without its constants. It is equal for two expressions that differ in constants only."""
    return repr(map_constants(value, lambda _, constant: HOLE, context))
