"""The inference form of a network: batch norms folded, dropout gone, and in-place steps where nothing is lost by them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd

from se_nas.errors import InputError
from se_nas.exporter.contract import Unsupported, Written, compare, is_ours
from se_nas.exporter.generator import network as generator
from se_nas.exporter.generator.inplace import Memory, free_modules, summed
from se_nas.exporter.generator.kinds import is_layer
from se_nas.exporter.generator.recording import Event, Recording, record
from se_nas.exporter.generator.seblock import InferenceSpec
from se_nas.exporter.generator.symbols import Frame, Own
from se_nas.network.attached import public_modules, public_paths
from se_nas.network.inputs import Inputs
from se_nas.se.block import SEBlock
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

FOLDING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers that a batch norm after them can be folded into."""


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as one matrix product: with channels last in memory a map is a matrix, and nothing is copied."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def inference_form(network: nn.Module, inputs: Inputs | Sequence[int]) -> nn.Module:
    """A network that computes the same in evaluation mode with less work. Its weights are the given network's, folded.

    - A batch norm is folded into the convolution or linear layer before it, if that is called once and nothing else reads
      what it returns. An activation that belongs to the batch norm's own module (timm's ``BatchNormAct2d``) stays.
    - Dropout and modules that are used in training alone are gone.
    - 1x1 convolutions are matrix products, where the network runs with channels last in memory.
    - Activations and SE blocks write over their input where nothing reads it afterwards; an SE block before a sum adds to the
      other operand in the same pass over memory (so the written file; this network takes two).

    Args:
        network: any network, with its weights; it is not changed.
        inputs: of one call, or (C, ...) of its only one.

    Raises:
        InputError: if what it computes cannot be written down.
    """
    plain, inputs = copy.deepcopy(network).cpu().eval(), Inputs.of(inputs)
    try:
        recording = _record(plain, inputs)
        _fold(plain, recording)
        _clear(plain, recording)
        if _takes_channels_last(plain, inputs):
            _make_pointwise(plain)
        recording = _record(plain, inputs)
        free, sums = free_modules(recording), summed(recording, _alike(plain))
    except Unsupported as reason:
        raise _refused(reason) from None
    for path, module in public_modules(plain).items():
        if isinstance(module, SEBlock):
            module.spec = InferenceSpec(**asdict(module.spec), in_place=path in free, sums=path in sums) if module.spec else None
        elif path in free and getattr(module, "inplace", None) is False:
            module.inplace = True  # type: ignore[assignment]
    return plain


def _alike(network: nn.Module) -> list[str]:
    """The SE blocks, if all stand at the same place of their block: where each may be at another, the code asks at each."""
    specs = {path: module.spec for path, module in public_modules(network).items() if isinstance(module, SEBlock) and module.spec}
    return list(specs) if len({spec.placement for spec in specs.values()}) == 1 else []


def source(space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> Written:
    """The file of a network's inference form.

    Raises:
        InputError: if it cannot be written.
    """
    form = inference_form(network, space.inputs)
    last = "network.to(memory_format=torch.channels_last).eval()" if _takes_channels_last(form, space.inputs) else "network.eval()"
    try:
        written = generator.source(space, architecture, form, about, last)
        compare(written.text, form)
    except Unsupported as reason:
        raise _refused(reason) from None
    return written


def _refused(reason: object) -> InputError:
    return InputError(f"this network cannot be written in its inference form: {reason}", "export it without --deploy", "--deploy")


def _record(network: nn.Module, inputs: Inputs) -> Recording:
    given = inputs.to("meta").times(3)
    try:
        with torch.device("meta"):  # where the network makes tensors of its own
            return record(copy.deepcopy(network).to("meta"), given, lambda module: is_layer(module) or isinstance(module, SEBlock))
    except Unsupported:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Unsupported(f"it could not be run without arithmetic ({reason[:160]})") from error


def _fold(network: nn.Module, recording: Recording) -> None:
    """Fold every batch norm that can be, in place."""
    modules, memory = public_modules(network), Memory(recording)
    for event in recording.events:
        layer = modules.get(event.step.name) if event.step.kind == "module" else None
        if not isinstance(layer, FOLDING) or isinstance(layer, _ConvTransposeNd) or not _folds(event, layer, recording):
            continue
        readers = memory.readers(event.made[0])
        if len(readers) != 1 or memory.returned(event.made[0]):
            continue
        path = _norm_path(readers[0])
        norm, rest = modules.get(path), _rest(path, recording)
        once = recording.calls[path] == 1 and readers[0].given[0] is event.made[0]
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and once and rest is not None:
            fold(layer, norm)
            _replace(network, path, *(modules[name] for name in rest))


def _folds(event: Event, layer: nn.Module, recording: Recording) -> bool:
    """Whether the layer is called once, and the channels are what a batch norm takes for channels."""
    plain = is_layer(layer) and {"weight", "bias"} <= layer._parameters.keys()
    return plain and recording.calls[event.step.name] == 1 and (not isinstance(layer, nn.Linear) or event.made[0].dim() == 2)


def _norm_path(event: Event) -> str:
    """The module that a step may be the batch norm of."""
    return event.step.name if event.step.kind == "module" else event.path if event.step.name == "F.batch_norm" else ""


def _rest(path: str, recording: Recording) -> list[str] | None:
    """The modules that a batch norm's own module calls afterwards, one after another; None if it does anything else."""
    frame: Frame | None = recording.frames.get(path)
    if frame is None:
        return []
    value, found = frame.params[0], []
    for i, step in enumerate(frame.steps):
        own = {arg.path.rpartition(".")[2] for arg in (*step.args, *step.kwargs.values()) if isinstance(arg, Own)}
        norm = i == 0 and step.name == "F.batch_norm" and "running_mean" in own
        if step.args[:1] != (value,) or not (norm or (step.kind == "module" and len(step.args) == 1)):
            return None
        value = step.out
        found += [] if norm else [step.name]
    return found if len(frame.params) == 1 and frame.steps and frame.result == value else None


def fold(layer: nn.Module, norm: _BatchNorm) -> None:
    """Make a convolution or linear layer do what a batch norm in evaluation mode does after it, in place."""
    weight, bias = layer._parameters["weight"], layer._parameters["bias"]
    mean, variance = norm.running_mean, norm.running_var
    assert weight is not None and mean is not None and variance is not None
    scale = (norm.weight.double() if norm.weight is not None else 1.0) / (variance.double() + norm.eps).sqrt()
    shift: Tensor = (bias.double() if bias is not None else 0.0) - mean.double()
    shift = shift * scale + (norm.bias.double() if norm.bias is not None else 0.0)
    folded = weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
    for name, tensor in (("weight", folded), ("bias", shift)):
        layer.register_parameter(name, nn.Parameter(tensor.detach().to(weight.dtype), requires_grad=weight.requires_grad))


def _clear(network: nn.Module, recording: Recording) -> None:
    """Take out dropout, and what has parameters and is not used in evaluation mode, in place."""
    steps = [event.step for event in recording.events]
    layers = {step.name for step in steps if step.kind == "module"}
    own = {arg.path for step in steps for arg in (*step.args, *step.kwargs.values()) if isinstance(arg, Own)}
    used = {"", *recording.calls, *(path.rpartition(".")[0] for path in own)}
    used |= {path[:i] for path in used for i, character in enumerate(path) if character == "."}
    for path, module in public_modules(network).items():
        inside = any(path.startswith(f"{layer}.") for layer in layers)
        unused = path not in used and not inside and any(True for _ in module.parameters())
        if unused or isinstance(module, _DropoutNd):
            _replace(network, path)


def _replace(network: nn.Module, public: str, *modules: nn.Module) -> None:
    """Put modules, one after another, where one is; none is an identity."""
    raw = {name: path for path, name in public_paths(network).items()}.get(public)
    if raw is not None:  # it may have gone with what it was in
        parent, _, child = raw.rpartition(".")
        kept = [module for module in modules if type(module) is not nn.Identity]
        put = kept[0] if len(kept) == 1 else nn.Sequential(*kept) if kept else nn.Identity()
        setattr(network.get_submodule(parent), child, put)


def _make_pointwise(network: nn.Module) -> None:
    """Make 1x1 convolutions matrix products, in place, but for those of SE blocks."""
    blocks = [module for module in network.modules() if isinstance(module, SEBlock)]
    inside = {id(module) for block in blocks for module in block.modules()}
    for module in network.modules():
        if type(module) is not nn.Conv2d or id(module) in inside or module.groups > 1 or module.padding not in ((0, 0), "valid"):
            continue
        if module.kernel_size == module.stride == (1, 1):
            module.__class__ = Pointwise


def _takes_channels_last(network: nn.Module, inputs: Inputs) -> bool:
    """Whether a network of images runs with its weights in that format: some look at tensors in ways that need another."""
    if len(inputs.size) != 3:
        return False
    try:
        with torch.no_grad():
            inputs.to("cpu").call(copy.deepcopy(network).to(memory_format=torch.channels_last).eval())
    except RuntimeError:
        return False
    return True
