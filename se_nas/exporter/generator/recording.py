"""Record what each module of a network computes, as the calls that a person would write.

The network runs once, and every call of a torch function is noted. So a ``forward`` may contain any Python: its ``if``, ``for``
and settings leave no trace, only calls of functions and of child modules. Sizes of tensors stay formulas (``x.shape[0]``),
because the file must work for any number of images.
"""

from __future__ import annotations

import builtins
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.kinds import is_layer, is_sequential
from se_nas.exporter.generator.symbols import Dim, Frame, Like, Number, Own, Ref, Shape, Size, Step, larger, refs_of, renumbered
from se_nas.network.attached import Attached, is_block, join, public_names, unattached
from se_nas.network.inputs import Inputs

_ONE = threading.RLock()
"""Held while functions of Python and torch are replaced."""


@dataclass(frozen=True)
class Event:
    """One step as it ran: the public path of its module, and the actual tensors, on the meta device."""

    step: Step
    path: str
    given: tuple[Tensor, ...]
    made: tuple[Tensor, ...]


@dataclass(frozen=True)
class Recording:
    """One pass through a network.

    Attributes:
        frames: public path -> frame, of each module with its own computation.
        events: the steps of all frames in the order in which they ran, without calls of these modules.
        calls: public path -> number of calls of each module.
        kept: tensors that no step may overwrite: inputs, parameters, buffers and outputs.
        noted: sizes on which the network may have based a decision, see `Dim`.
    """

    frames: dict[str, Frame]
    events: tuple[Event, ...]
    calls: Counter[str]
    kept: tuple[Tensor, ...]
    noted: tuple[int, ...] = ()


def record(
    network: nn.Module, inputs: Inputs, is_leaf: Callable[[nn.Module], bool] = is_layer, names: Mapping[nn.Module, str] | None = None
) -> Recording:
    """Run a network once, in its present mode, and record what each of its modules computes.

    Args:
        network: the network; none of its parameters is trainable afterwards.
        inputs: inputs of the call, on the network's device.
        is_leaf: which modules are leaves; their inside is not recorded.
        names: what steps call each module (default: its public path).

    Raises:
        Unsupported: if something cannot be written as calls. Errors of the network itself pass through.
    """
    recorder = _Recorder(network.requires_grad_(False), is_leaf, public_names(network) if names is None else names)
    with torch.enable_grad(), recorder, recorder.calls_of_modules():  # so that the network's own no_grad is noticed
        output = inputs.call(network)
    returned = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    kept = (*inputs.tensors, *network.parameters(), *network.buffers(), *returned)
    return Recording(recorder.frames, tuple(recorder.events), recorder.calls, kept, tuple(recorder.noted))


class _Recorder(TorchFunctionMode):
    def __init__(self, network: nn.Module, is_leaf: Callable[[nn.Module], bool], names: Mapping[nn.Module, str]) -> None:
        super().__init__()
        self.is_leaf, self.names = is_leaf, names
        self.own: dict[int, str] = {}
        for module, public in names.items():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    self.own.setdefault(id(tensor), join(public, name))
        self.refs: dict[int, Ref] = {}
        self.alive: list[Tensor] = []  # an id names a tensor only as long as it lives
        self.cut: set[int] = set()  # tensors made under no_grad
        self.noted: list[int] = []
        self.count = 0
        self.paused = False
        self.stack: list[Frame] = []
        self.frames: dict[str, Frame] = {}
        self.events: list[Event] = []
        self.calls: Counter[str] = Counter()

    # Values.

    def name(self, value: Any) -> Any:
        """Give the tensors of a value new numbers."""

        def fresh(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return self.symbol(leaf)
            self.count += 1
            self.alive.append(leaf)
            self.refs[id(leaf)] = Ref(self.count)
            if not torch.is_grad_enabled():
                self.cut.add(id(leaf))
            return self.refs[id(leaf)]

        return tree_map(fresh, value)

    def read(self, tensor: Tensor) -> Ref:
        """The number of a tensor. A tensor made under the network's own ``no_grad`` is detached when it is read outside of it."""
        if id(tensor) in self.cut and torch.is_grad_enabled():
            self.cut.remove(id(tensor))
            self.count += 1
            made, self.refs[id(tensor)] = self.refs[id(tensor)], Ref(self.count)
            self.add(Step("method", "detach", (made,), {}, self.refs[id(tensor)]), tensor, tensor)
        return self.refs[id(tensor)]

    def symbol(self, value: Any) -> Any:
        """The symbolic form of an argument."""
        if isinstance(value, Tensor):
            if id(value) in self.refs:
                return self.read(value)
            if id(value) in self.own:
                return Own(self.own[id(value)])
            raise Unsupported("it computes with a tensor that is neither its input nor a parameter or buffer")
        if isinstance(value, Dim):
            return value.formula
        if isinstance(value, slice):
            return slice(*map(self.symbol, (value.start, value.stop, value.step)))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.symbol, value))
        if isinstance(value, (list, tuple)):
            return (list if isinstance(value, list) else tuple)(map(self.symbol, value))
        if isinstance(value, dict):
            return {key: self.symbol(item) for key, item in value.items()}
        if isinstance(value, torch.device) and (near := self.at_hand()):
            return Like(near, "device")
        if value is None or value is Ellipsis or isinstance(value, (bool, int, float, str, torch.dtype, torch.memory_format)):
            return value
        raise Unsupported(f"it computes with a {type(value).__name__}")

    def at_hand(self) -> Ref | Own | None:
        """A tensor that the innermost module is given, or else one of its own."""
        frame = self.stack[-1]
        given = (ref for ref in refs_of(frame.params) if not isinstance(ref, Number))
        own = (Own(self.own[id(tensor)]) for tensor in (*frame.module.parameters(), *frame.module.buffers()) if self._is_own(tensor))
        return next(given, None) or next(own, None)

    def handed_over(self, value: Any) -> Any:
        """What a module is given or returns: sizes, and parameters of another module, get a number in place of where they are from."""

        def renew(leaf: Any) -> Any:
            if isinstance(leaf, Shape):
                return Shape(map(renew, leaf))
            if isinstance(leaf, Dim):
                self.count += 1
                return leaf.renamed(Number(self.count))
            if self._is_own(leaf):
                leaf = _alias(leaf)
                self.name(leaf)
            return leaf

        old = any(isinstance(leaf, (Dim, Shape)) or self._is_own(leaf) for leaf in tree_leaves(value))
        return tree_map(renew, value) if old else value

    def _is_own(self, value: Any) -> bool:
        return isinstance(value, Tensor) and id(value) in self.own and id(value) not in self.refs

    # Functions.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused or not self.stack:
            return func(*args, **kwargs)
        getter = getattr(func, "__name__", "") == "__get__"
        name = func.__self__.__name__ if getter else func.__name__
        if name in ("shape", "size", "__len__", "numel", "nelement") and isinstance(args[0], Tensor) and id(args[0]) in self.refs:
            return self._sizes(name, *args, **kwargs)
        if name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__"):
            raise Unsupported("what it computes depends on the values of tensors")
        if name == "__setitem__" and id(args[0]) not in self.refs:
            raise Unsupported("it writes into parts of its parameters or buffers")
        given, named = self.symbol(tuple(args)), self.symbol(kwargs)
        with self.unnoted():
            result = func(*args, **kwargs)
        if name == "__setitem__":  # which returns nothing
            result = args[0]
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            kind, name = ("attribute", name) if getter else _name_in_code(func)
            self.add(Step(kind, name, given, _without_defaults(func, named), self.name(result)), (args, kwargs), result)
        return result

    def add(self, step: Step, given: Any, made: Any) -> None:
        """Note a step of the innermost module, with its input and output tensors."""
        frame = self.stack[-1]
        frame.steps.append(step)
        self.calls[step.name] += step.kind == "module"
        tensors = [tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)) for value in (given, made)]
        self.events.append(Event(step, frame.path, *tensors))

    def _sizes(self, name: str, tensor: Tensor, dim: int | None = None) -> Any:
        ref = self.refs[id(tensor)]
        with torch._C.DisableTorchFunction():
            shape = Shape(Dim.of(size, Size("shape", (ref, axis, tensor.dim()))) for axis, size in enumerate(tuple(tensor.shape)))
        if name in ("numel", "nelement"):
            return shape.numel()
        return shape[0] if name == "__len__" else shape if dim is None else shape[dim]

    @contextmanager
    def unnoted(self) -> Iterator[None]:
        """Do not note sizes: inside a function or a layer of torch they cannot matter to the file."""
        Dim.noted = None
        try:
            yield
        finally:
            Dim.noted = self.noted

    # Modules.

    @contextmanager
    def calls_of_modules(self) -> Iterator[None]:
        """Note calls of modules, ``max`` and ``len`` in this thread. One thread at a time; for others all is as ever."""
        with _ONE:
            yield from self._calls_of_modules(threading.get_ident())

    def _calls_of_modules(self, owner: int) -> Iterator[None]:
        original = nn.Module.__call__

        def ours() -> bool:
            return threading.get_ident() == owner

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            noted = ours() and not self.paused
            return self.module_called(module, original, args, kwargs) if noted else original(module, *args, **kwargs)

        def maximum(*values: Any, **options: Any) -> Any:
            return larger(*values) if ours() and length_of(values) == 2 and not options else largest(*values, **options)

        def length(value: Any) -> Any:
            return value.shape[0] if ours() and isinstance(value, Tensor) and not self.paused else length_of(value)

        largest, length_of = builtins.max, builtins.len
        nn.Module.__call__ = call  # type: ignore[method-assign]
        builtins.max = maximum  # padding by an image's size often says max(..., 0)
        builtins.len = length  # it makes a plain number of a size
        Dim.noted = self.noted
        try:
            yield
        finally:
            builtins.len = length_of
            nn.Module.__call__ = original  # type: ignore[method-assign]
            builtins.max = largest
            Dim.noted = None

    def module_called(self, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        path = self.names.get(module)
        if path is None:
            raise Unsupported(f"it calls a {type(module).__name__} that is none of its modules")
        other = vars(module).get("forward")
        strange = other is not None and (self.is_leaf(module) or getattr(other, "__self__", None) is not module)  # not a method of its own
        if strange or module._forward_hooks or module._forward_pre_hooks:
            raise Unsupported(f"{path or 'the network'} has hooks or a forward of its own")
        if isinstance(module, Attached):
            block = unattached(module)
            return self.composite(block, path, _excited(module), args, kwargs) if is_block(block) else module.forward(*args, **kwargs)
        if self.is_leaf(module):
            given, named = self.symbol(tuple(args)), self.symbol(kwargs)
            versions = {id(leaf): leaf._version for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            self.paused = True
            try:
                with self.unnoted():
                    result = _unaliased(original(module, *args, **kwargs), versions)
            finally:
                self.paused = False
            self.add(Step("module", path, given, named, self.name(result)), (args, kwargs), result)
            return result
        return self.composite(module, path, lambda *a, **k: original(module, *a, **k), args, kwargs)

    def composite(self, module: nn.Module, path: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not self.stack:  # the network itself
            self.name((args, kwargs))
        bound = inspect.signature(getattr(module.forward, "__func__", type(module).forward)).bind(module, *args, **kwargs)
        passed = self.symbol(tuple(_arguments(bound.arguments).values()))
        bound.arguments |= {name: self.handed_over(value) for name, value in bound.arguments.items()}
        given = _arguments(bound.arguments)
        frame = Frame(module, path, tuple(given), self.symbol(tuple(given.values())))
        self.calls[path] += 1
        versions = {id(leaf): leaf._version for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        self.stack.append(frame)
        try:
            result = forward(*bound.args[1:], **bound.kwargs)
            frame.result = self.symbol(result)
        finally:
            self.stack.pop()
        if not is_sequential(module):
            if path in self.frames and form(self.frames[path]) != form(frame):
                raise Unsupported(f"{path} is called more than once, and does not do the same each time")
            self.frames.setdefault(path, frame)
        if self.stack:
            result = self.handed_over(_unaliased(result, versions))
            self.stack[-1].steps.append(Step("module", path, passed, {}, self.name(result)))
        return result


def _excited(module: nn.Module) -> Callable[..., Any]:
    """The forward of a block with what is attached to it."""
    if not isinstance(module, Attached):
        return module.forward
    inner = _excited(module.module)

    def forward(first: Any, *rest: Any, **named: Any) -> Any:
        return inner(module.se(first), *rest, **named) if module.side == "input" else module.se(inner(first, *rest, **named))

    return forward


def _arguments(bound: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> argument, of the arguments of a ``forward`` that contain tensors or sizes."""
    given: dict[str, Any] = {}
    for name, value in list(bound.items())[1:]:
        if any(isinstance(leaf, (Tensor, Dim, Shape)) for leaf in tree_leaves(value)):
            items = (
                enumerate(value)
                if isinstance(value, tuple) and name in ("args", "input", "inputs") and not hasattr(value, "_fields")
                else None
            )
            given |= {name: value} if items is None else {f"{name}{i}": item for i, item in items}
    return given


def _unaliased(result: Any, versions: dict[int, int]) -> Any:
    """A result with a new tensor object in place of each input that is returned as it is."""

    def renew(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and versions.get(id(leaf)) == leaf._version:
            return _alias(leaf)
        return leaf

    return tree_map(renew, result)


def _alias(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        alias: Tensor = torch.ops.aten.alias(tensor)
        return alias


def _name_in_code(func: Any) -> tuple[str, str]:
    """Kind and name of a torch function, as written in code."""
    name = func.__name__
    if getattr(nn.functional, name, None) is func:
        return "function", f"F.{name}"
    if getattr(torch, name, None) is func:
        return "function", f"torch.{name}"
    own = getattr(Tensor, name, None)
    if own is func or own == func or (own and inspect.unwrap(func) == own):
        return "method", name
    if name == "fn":  # functions like F.max_pool2d choose between two functions
        for known in ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"):
            if getattr(nn.functional, known) is func:
                return "function", f"F.{known}"
    for space in ("special", "linalg", "fft"):
        if getattr(getattr(torch, space), name, None) is func:
            return "function", f"torch.{space}.{name}"
    raise Unsupported(f"it calls {getattr(func, '__qualname__', name)}, which has no name in torch")


def _without_defaults(func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(func).parameters
    except (TypeError, ValueError):
        return kwargs
    default = {key for key, value in kwargs.items() if key in parameters and parameters[key].default is value}
    return {key: value for key, value in kwargs.items() if key not in default - {"training"}}  # which depends on the mode


def form(frame: Frame) -> Any:
    """A frame with its tensors numbered from 0."""
    return renumbered((frame.params, frame.steps, frame.result))
