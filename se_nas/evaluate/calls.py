"""The calls of torch in a forward pass: recorded, and later answered with what they gave before, up to a cut.

A call is one of a torch function or a tensor's method that gives tensors; those inside of it are not seen. Calls that only ask
for a shape and its like do not count.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

Output = tuple[int, int]
"""A tensor that a call gave: number of the call, and which of its results."""


def _functions(*names: str) -> frozenset[Any]:
    members = [getattr(torch.Tensor, name) for name in names]
    return frozenset(member if callable(member) else member.__get__ for member in members)


PLACES = _functions("device", "is_cuda", "is_cpu", "is_meta", "get_device")
"""What a tensor on device "meta" would answer otherwise."""
QUESTIONS = PLACES | _functions(
    *("shape", "size", "dim", "ndim", "ndimension", "numel", "nelement", "stride", "storage_offset", "dtype", "layout"),
    *("is_contiguous", "is_floating_point", "is_complex", "element_size", "itemsize", "__len__", "requires_grad", "is_leaf", "grad_fn"),
    *("is_sparse", "is_quantized", "is_nested", "is_inference"),
)
"""What asks of a tensor no values."""


def random_state(device: torch.device) -> list[Tensor]:
    """The state of torch's global random numbers, of the CPU and of a GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(device: torch.device, state: Sequence[Tensor]) -> None:
    """Go back to a `random_state`."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


class Differs(Exception):
    """A forward pass calls something else than it did when it was recorded."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The part of a network's forward pass that does not depend on what trains: its first calls.

    It ends at the first SE block, tensor that trains, random number, or value that Python looks at.

    Attributes:
        functions: of each call, what was called.
        digests: SHA-256 of the first n calls with all that they read but the images, n from 0 to their number.
        reads: of each call, the outputs of earlier ones that it read.
        after: outputs that are read later.
        written: outputs that are written to -> number of the last call that does it.
    """

    functions: tuple[Any, ...]
    digests: tuple[str, ...]
    reads: tuple[frozenset[Output], ...]
    after: frozenset[Output]
    written: Mapping[Output, int]

    def __len__(self) -> int:
        return len(self.functions)

    def live(self, cut: int) -> frozenset[Output]:
        """The outputs of the first ``cut`` calls that are read after them."""
        return frozenset(one for one in self.after.union(*self.reads[cut:]) if one[0] < cut)

    def changing(self, cut: int) -> frozenset[Output]:
        """The outputs of the first ``cut`` calls that later calls write to."""
        return frozenset(one for one, last in self.written.items() if one[0] < cut <= last)


class Recording(TorchFunctionMode):
    """While it is entered, records a forward pass of a network in which gradients are enabled.

    Args:
        images: what the network is given.
        blocks: its SE blocks, at the first of which the plan ends.

    Attributes:
        results: of each call of the plan.
        seconds: that they took.
    """

    def __init__(self, images: Tensor, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self._images, self._blocks = images, list(blocks)
        self._calls: list[tuple[Any, list[Any], TreeSpec]] = []
        self.results: list[Result] = []
        self.seconds, self._began = 0.0, time.perf_counter()
        self._ended, self._number = False, 0
        self._known: dict[int, Output] = {}
        self._held: list[tuple[Output, Tensor]] = []  # so that no other tensor gets the id
        self._versions: dict[Output, int] = {}
        self._after: set[Output] = set()
        self._written: dict[Output, int] = {}

    def __enter__(self) -> Recording:
        self._hooks = [block.register_forward_pre_hook(self._end) for block in self._blocks]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def _end(self, *_: Any) -> None:
        if not self._ended:
            self._ended, self.seconds = True, _seconds(self._began, self._images.device)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in QUESTIONS:
            return function(*args, **kwargs)
        given, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
        if any(tensor.requires_grad for tensor in tensors):
            self._end()
        versions, random = [tensor._version for tensor in tensors], [] if self._ended else random_state(self._images.device)
        result = function(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        looked = result is not None and not results
        if looked or self._drew(random):
            self._end()
        if self._ended:
            self._after |= self._outputs(tensors)
        else:
            self.results.append(Result.of(result, given))
            self._calls.append((function, [self._names(leaf) for leaf in given], spec))
        if versions != [tensor._version for tensor in tensors]:
            self._write()
        if not self._ended:
            self._hold(tree_leaves(result), {id(tensor) for tensor in tensors})
        self._number += 1
        return result

    def _drew(self, before: Sequence[Tensor]) -> bool:
        return any(not one.equal(other) for one, other in zip(before, random_state(self._images.device), strict=False))

    def _outputs(self, leaves: Iterable[Any]) -> set[Output]:
        return {self._known[id(leaf)] for leaf in leaves if id(leaf) in self._known}

    def _names(self, leaf: Any) -> Any:
        """What a digest and `Plan.reads` need of an argument."""
        if not isinstance(leaf, Tensor):
            return repr(leaf)
        return self._known.get(id(leaf), "images" if leaf is self._images else leaf)

    def _write(self) -> None:
        for output, tensor in self._held:
            if tensor._version != self._versions[output]:
                self._versions[output], self._written[output] = tensor._version, self._number

    def _hold(self, results: Iterable[Any], given: Collection[int]) -> None:
        for index, leaf in enumerate(results):
            if isinstance(leaf, Tensor) and id(leaf) not in given:
                output = (self._number, index)
                self._known[id(leaf)], self._versions[output] = output, leaf._version
                self._held.append((output, leaf))

    def plan(self, scores: Tensor) -> Plan:
        """The plan of the pass that gave these scores."""
        self._end()
        self._after |= self._outputs([scores])
        reads = tuple(frozenset(name for name in names if isinstance(name, tuple)) for _, names, _ in self._calls)
        functions, digests = tuple(function for function, _, _ in self._calls), tuple(_digests(self._images, self._calls))
        return Plan(functions, digests, reads, frozenset(self._after), self._written)

    def kept(self, plan: Plan) -> dict[Output, Tensor] | None:
        """What is read after the plan's end; None if it has been written to since."""
        live = plan.live(len(plan))
        return None if live & plan.changing(len(plan)) else {output: tensor for output, tensor in self._held if output in live}


def _digests(images: Tensor, calls: Sequence[tuple[Any, list[Any], TreeSpec]]) -> Iterable[str]:
    total = hashlib.sha256(f"{images.dtype} {images.device} {images.shape[1:]}".encode())
    yield total.hexdigest()
    for function, names, spec in calls:
        total.update(f"{_named(function)} {spec}".encode())
        for name in names:
            if isinstance(name, Tensor):
                value = name.detach().cpu().contiguous()
                total.update(f"{value.dtype} {list(value.shape)} {name.stride()}".encode())
                total.update(value.reshape(-1).view(torch.uint8).numpy().data)
            else:
                total.update(repr(name).encode())
        yield total.hexdigest()


def _seconds(began: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _named(function: Any) -> str:
    found: str | None = None
    with suppress(Exception):
        found = resolve_name(function)
    return found or f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(function))}"


@dataclass(frozen=True, eq=False)
class Result:
    """The form of what a call gave: of each leaf, which argument it is (a number), a tensor on "meta" like it, or itself."""

    leaves: tuple[Any, ...]
    spec: TreeSpec

    @classmethod
    def of(cls, result: Any, given: Sequence[Any]) -> Result:
        leaves, spec = tree_flatten(result)
        return cls(tuple(_form(leaf, given) for leaf in leaves), spec)

    def again(self, number: int, given: Callable[[], Sequence[Any]], tensors: Mapping[Output, Tensor]) -> Any:
        """The same once more, of call ``number``, with these tensors in place of those on "meta"."""
        found = [given()[leaf] if isinstance(leaf, int) else tensors.get((number, i), leaf) for i, leaf in enumerate(self.leaves)]
        return tree_unflatten(found, self.spec)


def _form(leaf: Any, given: Sequence[Any]) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    same = next((index for index, other in enumerate(given) if other is leaf), None)
    return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta") if same is None else same


class Replay(TorchFunctionMode):
    """While it is entered, a forward pass begins behind a cut: the calls before it are answered, not computed.

    Args:
        plan: of the network.
        images: what the network is given.
        results: of the calls before the cut; none to compute all.
        tensors: those of their outputs that are read after the cut; the others are on device "meta".
        keep: whether to keep what is read after the plan's end.

    Attributes:
        keeps: whether it does.
        results: of all calls of the plan, after the pass, if it keeps.
        seconds: that the plan's calls took behind the cut, if it keeps.
    """

    def __init__(
        self, plan: Plan, images: Tensor, results: Sequence[Result], tensors: Mapping[Output, Tensor], keep: bool, form: bool = False
    ) -> None:
        super().__init__()
        changing = plan.changing(len(results))
        self._tensors = {output: tensor.clone() if output in changing else tensor for output, tensor in tensors.items()}
        self._plan, self._images, self._number, self._arrived = plan, images, 0, False
        self.results, self.seconds, self._start = list(results), 0.0, len(results)
        self._wanted: Collection[Output] = plan.live(len(plan)) if keep else ()
        self.keeps, self._form, self._kept = keep, form, dict[Output, Tensor]()
        self._began = time.perf_counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in QUESTIONS:
            away = function in PLACES and args and args[0].is_meta
            return function(self._images, *args[1:], **kwargs) if away else function(*args, **kwargs)
        number = self._number
        if number >= len(self._plan):
            self._arrive()
            return function(*args, **kwargs)
        self._number += 1
        if function != self._plan.functions[number]:
            raise Differs(f"call {number} is {_named(function)}")
        if number < self._start:
            result = self.results[number].again(number, lambda: tree_leaves((args, kwargs)), self._tensors)
        else:
            result = function(*args, **kwargs)
            if self._form:
                self.results.append(Result.of(result, tree_leaves((args, kwargs))))
        if self._wanted:
            self._kept |= {(number, i): leaf for i, leaf in enumerate(tree_leaves(result)) if (number, i) in self._wanted}
        return result

    def _arrive(self) -> None:
        """At the plan's end: what later calls write to is copied as it is now."""
        if self.keeps and not self._arrived:
            self.seconds = _seconds(self._began, self._images.device)
            changing = self._plan.changing(len(self._plan))
            self._kept = {output: tensor.clone() if output in changing else tensor for output, tensor in self._kept.items()}
        self._arrived = True

    def kept(self) -> dict[Output, Tensor]:
        """What is read after the plan's end, after the pass.

        Raises:
            Differs: if the pass did not come so far.
        """
        if self._number < len(self._plan):
            raise Differs(f"the pass ends after {self._number} calls")
        self._arrive()
        return self._kept
