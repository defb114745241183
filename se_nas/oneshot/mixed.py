"""An SE block as an NNI mutable, and its replacement in NNI's one-shot strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from se_nas.oneshot.choice import Choice, Gumbel, Mixed, OnePath
from se_nas.oneshot.nni_imports import BaseSuperNetModule, Categorical, MutableModule, strategies
from se_nas.oneshot.shared import SharedSE, Weights
from se_nas.se.spec import SEOptions, SESpec

Candidates = Mapping[str, Sequence[Any]]
"""Field of `SESpec` -> its candidate values. A reduction of None means no SE block; it comes first."""

Hook = Callable[[nn.Module, str, dict[str, Any], dict[str, Any]], "MixedSE | None"]


class SEChoice(MutableModule):
    """A choice among SE blocks, or none. Each field with several values is an NNI categorical ``LABEL.FIELD``.

    Outside a strategy it computes the first value of each field. Frozen, it is a plain `SEBlock` or the identity.

    Args:
        channels: C of the gated tensor (N, C, H, W).
        candidates: see `Candidates`.
        label: modules with the same label make the same choice. It has no slash.
        options: of the SE blocks.
        place: the placement of this module, if placements are searched. If another one is chosen, it is the identity.
    """

    def __init__(
        self, channels: int, candidates: Candidates, label: str, options: SEOptions | None = None, place: str | None = None
    ) -> None:
        super().__init__()
        self.candidates, self.place = candidates, place
        self.shared = SharedSE(channels, [r for r in candidates["reduction"] if r is not None], options or SEOptions())
        searched = {field: values for field, values in candidates.items() if len(values) > 1}
        self.searched = {field: self.add_mutable(Categorical(values, label=f"{label}.{field}")) for field, values in searched.items()}

    @classmethod
    def create_fixed_module(cls, sample: dict[str, Any], *args: Any, **named: Any) -> nn.Module:
        """NNI calls this when a model is built for one sample; it returns the chosen block."""
        made: SEChoice = cls._unfixed(*args, **named)
        return made.freeze(sample)

    @classmethod
    def _unfixed(cls, *args: Any, **named: Any) -> SEChoice:
        made = nn.Module.__new__(cls)
        made.__init__(*args, **named)  # type: ignore[misc]
        return made

    def spec(self, sample: Mapping[str, Any]) -> SESpec | None:
        """The block's setting in a sample. None: no SE block, or one at another placement."""
        chosen = {field: sample[self.searched[field].label] if field in self.searched else v[0] for field, v in self.candidates.items()}
        elsewhere = self.place is not None and chosen["placement"] != self.place
        return None if chosen["reduction"] is None or elsewhere else SESpec(**chosen)

    def freeze(self, sample: dict[str, Any]) -> nn.Module:
        self.validate(sample)
        spec = self.spec(sample)
        return nn.Identity() if spec is None else self.shared.frozen(spec)

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec({mutable.label: mutable.values[0] for mutable in self.searched.values()})
        return x if spec is None else self.shared(x, [(spec.reduction, 1.0)], [(spec.squeeze, 1.0)], [(spec.gate, 1.0)])


class MixedSE(SEChoice, BaseSuperNetModule):
    """An `SEChoice` in a supernet: computes all settings together, weighted by its choices.

    Args:
        source: the module that it replaces.
        choices: searched field -> its choice.
    """

    def __init__(self, source: SEChoice, choices: Mapping[str, Choice]) -> None:
        MutableModule.__init__(self)
        self.candidates, self.place, self.shared, self.searched = source.candidates, source.place, source.shared, source.searched
        for mutable in self.searched.values():
            self.add_mutable(mutable)
        self.choices = nn.ModuleDict(choices)

    def forward(self, x: Tensor) -> Tensor:
        first = 1 if self.candidates["reduction"][0] is None else 0
        present: Tensor | float = 1.0
        reductions: Weights = [(r, 1.0) for r in self.candidates["reduction"]]
        if choice := self._choices.get("reduction"):
            present = 1 - choice.weights()[0] if first else 1.0
            some = slice(first, None)
            reductions = list(zip(self.candidates["reduction"][some], choice.given(some), strict=True))
        if self.place is not None:
            present = present * dict(self._weighted("placement"))[self.place]
        mixed: Tensor = self.shared(x, reductions, self._weighted("squeeze"), self._weighted("gate"), present)
        return mixed

    def _weighted(self, field: str) -> Weights:
        weights = self._choices[field].weights() if field in self._choices else [1.0]
        return list(zip(self.candidates[field], weights, strict=True))

    @property
    def _choices(self) -> dict[str, Choice]:
        return dict(cast(Iterable[tuple[str, Choice]], self.choices.items()))

    # NNI calls these on each module of a supernet.

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for choice in self._choices.values():
            drawn |= choice.draw(memo)
        return drawn

    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """The most probable value of each choice that is not in ``memo``; the first if several are equal."""
        new = [choice for choice in self._choices.values() if choice.label not in memo]
        return {choice.label: choice.values[int(choice.probabilities().argmax())] for choice in new}

    def export_probs(self, memo: dict[str, Any]) -> dict[str, Any]:
        new = [choice for choice in self._choices.values() if choice.label not in memo]
        return {choice.label: dict(zip(choice.values, choice.probabilities().tolist(), strict=True)) for choice in new}

    def arch_parameters(self) -> list[nn.Parameter]:
        return [choice.alpha for choice in self._choices.values() if isinstance(choice, Mixed)]


Make = Callable[[str, Sequence[Any], Mapping[str, Any], Mapping[str, Any]], Choice]

CHOICES: dict[str, Make] = {
    "Proxyless": lambda label, values, memo, extra: OnePath(label, values, memo[label]),
    "GumbelDARTS": lambda label, values, memo, extra: Gumbel(label, values, memo[label], extra["softmax"]),
    "DARTS": lambda label, values, memo, extra: Mixed(label, values, memo[label]),
    "RandomOneShot": lambda label, values, memo, extra: Choice(label, values),
}
"""Class of NNI's strategy -> makes its choices. The first class that fits counts; ENAS is a RandomOneShot."""


def hooks(strategy: Any) -> list[Hook]:
    """Mutation hooks for NNI that replace each `SEChoice` by a `MixedSE`.

    Raises:
        TypeError: if the strategy is not one of NNI's one-shot strategies.
    """
    make = next((make for name, make in CHOICES.items() if isinstance(strategy, getattr(strategies, name))), None)
    if make is None:
        raise TypeError(f"{type(strategy).__name__} is not one of NNI's one-shot strategies: {', '.join(CHOICES)}, ENAS")

    def hook(module: nn.Module, name: str, memo: dict[str, Any], extra: dict[str, Any]) -> MixedSE | None:
        if type(module) is not SEChoice:
            return None
        choices = {}
        for field, mutable in module.searched.items():
            key = f"se-nas {mutable.label}"  # beside NNI's own entries
            if key not in memo:
                memo[key] = make(mutable.label, mutable.values, memo, extra)
            choices[field] = memo[key]
        return MixedSE(module, choices)

    return [hook]
