"""Backbones by name: our own, ``torchvision:NAME``, ``timm:NAME`` and ``package.module:callable``."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from se_nas.backbones import bn_inception, inception_resnet, mobilenet, preact_resnet, resnet, senet, shake_shake, shufflenet
from se_nas.errors import InputError
from se_nas.text import shown

Builder = Callable[..., nn.Module]

FAMILIES = (resnet, preact_resnet, shake_shake, bn_inception, inception_resnet, mobilenet, shufflenet, senet)
BACKBONES: dict[str, Builder] = {name: builder for family in FAMILIES for name, builder in family.BUILDERS.items()}


def register_backbone(name: str, builder: Builder) -> None:
    """Register a backbone under a name, for YAML and Python. ``builder(**backbone_args)`` returns the plain network.

    Raises:
        InputError: if the name is taken.
    """
    if name in BACKBONES:
        raise InputError(f"backbone {shown(name)} exists already", "choose another name")
    BACKBONES[name] = builder


def find_builder(name: str) -> Builder:
    """The builder of the backbone with this name.

    Raises:
        InputError: for an unknown name.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    library, _, rest = name.partition(":")
    if not rest:
        ours = ", ".join(BACKBONES)
        raise InputError(
            f"unknown backbone {shown(name)}", f"take one of {ours}, or torchvision:NAME, timm:NAME, package.module:callable", "backbone"
        )
    if library == "torchvision":
        import torchvision

        if rest not in torchvision.models.list_models(module=torchvision.models):
            raise InputError(f"torchvision has no classification model {shown(rest)}", "see torchvision.models.list_models()", "backbone")
        return torchvision.models.get_model_builder(rest)  # type: ignore[no-any-return]
    if library == "timm":
        return _timm_builder(rest)
    return import_callable(name, "backbone")


def _timm_builder(name: str) -> Builder:
    try:
        import timm
    except ImportError:
        raise InputError(f"backbone timm:{name} needs timm", "pip install 'se-nas[timm]'", "backbone") from None
    if not timm.is_model(name):
        raise InputError(f"timm has no model {shown(name)}", "see timm.list_models()", "backbone")
    return lambda **args: timm.create_model(name, **args)


_MISSING = object()


def import_callable(name: str, source: str) -> Callable[..., Any]:
    """Import ``package.module:callable``. The import runs that module's code, so pass only names that the user wrote.

    Raises:
        InputError: if it cannot be imported or called; ``source`` is the key that the name came from.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise InputError(f"{shown(name)} names no function of a module", "write package.module:callable", source)
    try:
        found = getattr(importlib.import_module(module), attribute, _MISSING)
    except ImportError as error:
        raise InputError(f"cannot import {shown(name)}: {error}", "install the package, or set PYTHONPATH to its folder", source) from None
    except (Exception, SystemExit) as error:  # whatever a person's module does when it is imported
        problem = f"importing {module} raised {type(error).__name__}: {error}"
        raise InputError(problem, "correct that module", source) from error
    if found is _MISSING:
        raise InputError(f"{module} has no {shown(attribute)}", "name a function of that module", source)
    if not callable(found):
        raise InputError(f"{shown(name)} is not callable", "name a function of that module", source)
    return found


def make_backbone(backbone: str | nn.Module | Builder, args: Mapping[str, Any], extra: Mapping[str, Any]) -> nn.Module:
    """Make a plain network.

    Args:
        backbone: a name, a function that returns a module, or a module (of which this makes a copy, with its weights).
        args: arguments of the builder.
        extra: further arguments of the builder: the values of a space's extra dimensions.

    Raises:
        InputError: for an unknown name, or arguments that the builder refuses.
    """
    if isinstance(backbone, nn.Module):
        if extra:
            raise InputError("a backbone that is built already takes no arguments", "give the function that builds it", "extra")
        try:
            return copy.deepcopy(backbone)
        except RuntimeError as error:  # torch.nn.utils.weight_norm, the old one, keeps tensors that cannot be copied
            fix = "take torch.nn.utils.parametrizations.weight_norm, or give the function that builds the backbone"
            raise InputError(f"the backbone cannot be copied ({' '.join(str(error).split())[:120]})", fix, "backbone") from error
    try:
        if isinstance(backbone, str):
            return build_backbone(backbone, {**args, **extra})
        if extra:
            return call_builder(backbone, getattr(backbone, "__name__", "the builder"), {**args, **extra})
    except InputError as error:
        if not extra or error.source != "backbone_args":
            raise
        raise InputError(error.problem, "give values that the builder accepts as keyword arguments", "extra") from error
    return backbone(**args)


def build_backbone(name: str, args: Mapping[str, Any]) -> nn.Module:
    """Make the plain network of this name.

    Raises:
        InputError: for an unknown name, or arguments that the builder refuses.
    """
    return call_builder(find_builder(name), name, args)


def call_builder(builder: Builder, name: str, args: Mapping[str, Any]) -> nn.Module:
    """Call a builder. ``name`` is the builder's name in errors.

    Raises:
        InputError: if the builder raises, or returns something else than a module.
    """
    try:
        network = builder(**args)
    except (Exception, SystemExit) as error:  # `sys:exit` is a callable too
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{name} refuses {dict(args)} ({reason[:200]})", "correct the arguments, or the builder", "backbone_args"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{name} returned a {type(network).__name__}", "it must return a torch.nn.Module", "backbone")
    return network
