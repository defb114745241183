"""Measure a profile: which networks, in rounds side by side, and what follows from them; and whether an old one still holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from se_nas.errors import InputError
from se_nas.latency.fingerprint import fingerprint
from se_nas.latency.fit import choose_networks, error
from se_nas.latency.profile import FITTED, HELD_OUT, HOW, Check, Measured, Profile, amounts, check_network, make_profile, read_profile
from se_nas.latency.terms import term_names
from se_nas.profiling.rounds import LEAST, run_rounds, undisturbed
from se_nas.profiling.runtimes import How, made_calls
from se_nas.profiling.spelling import quicker_spelling
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

CANDIDATES = 400
"""Architectures drawn at random, from which those to measure are chosen."""

Tell = Callable[[str], None]


def profile(
    space: SearchSpace,
    *,
    device: str = "cpu",
    runtime: str = "eager",
    batch: int = 1,
    threads: int = 1,
    layout: str = "contiguous",
    precision: str = "float32",
    networks: int = 0,
    held_out: int = 8,
    rounds: int = 30,
    seed: int = 0,
    tell: Tell = lambda text: None,
) -> Profile:
    """Measure how long networks of a space take on this machine, and fit a model to it.

    Args:
        space: the search space; its budgets are not asked for.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        runtime: ``eager``, ``compile``, ``deploy`` (the exported inference form), ``onnx`` or ``graph`` (CUDA graphs).
        batch: images at a time. Latency is that of the whole batch.
        threads: CPU threads.
        layout: ``contiguous`` or ``channels_last``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        networks: how many to fit the model to: the plain one, the densest, and others that tell most. 0: 12, or more where
            there are more coefficients.
        held_out: how many others to hold the model against.
        rounds: how often each is timed; the lower quarter counts.
        seed: of what is drawn.
        tell: hears what happens.

    Returns:
        The profile. ``.write(path)`` puts it into a file. After Ctrl-C it is of the rounds that were whole, and its
        ``how["stopped"]`` is true.

    Raises:
        InputError: for what does not fit together, or is not there.
        KeyboardInterrupt: before anything is known.
    """
    how = How(device, runtime, batch, threads, layout, precision)
    if networks and networks < 4:
        raise InputError(f"{networks} networks are too few", "take 12", "networks")
    for name, value, lowest in (("held_out", held_out, 0), ("rounds", rounds, LEAST)):
        if value < lowest:
            raise InputError(f"{value} is below {lowest}", f"take {lowest} or more", name)
    check_network({}, space, "profile")
    chosen = choose_architectures(space, networks, held_out, seed)
    roles = [FITTED] * (len(chosen) - held_out) + [HELD_OUT] * held_out
    start = time.perf_counter()
    how = replace(how, spelling=quicker_spelling(space, how, seed, tell))
    times, stopped = time_networks(space, chosen, how, rounds, seed, tell)
    took = time.perf_counter() - start
    whole, halves = undisturbed(times)
    measured = [
        (architecture, Measured(architecture.to_json(), role, float(seconds), tuple(map(float, two))))
        for architecture, role, seconds, two in zip(chosen, roles, whole, halves, strict=True)
    ]
    about = {**asdict(how), "rounds": len(times), "stopped": stopped}
    return make_profile(space, measured, fingerprint(device, runtime), about, took)


def choose_architectures(space: SearchSpace, networks: int, held_out: int, seed: int) -> list[Architecture]:
    """The plain network, the densest, others that tell most of the coefficients, and random ones to hold out.

    Raises:
        InputError: if the space has too few.
    """
    rng = np.random.default_rng(seed)
    first = [space.reference("plain"), space.dearest("params")]
    drawn = [space.decode(row) for row in space.codes_many(CANDIDATES, rng)]
    pool = list(dict.fromkeys([*first, *drawn]))
    names = term_names(spec for group in space.groups for spec in group.options)
    number = networks or max(12, 2 * len(names) - 2)
    own = [amounts(space, each) for each in pool]
    rows = np.array([[each.get(name, 0.0) for name in names] for each in own])
    fitted = choose_networks(rows, number, range(len(dict.fromkeys(first))))
    others = [each for index, each in enumerate(pool) if index not in set(fitted)]
    if len(fitted) < len(names) or len(others) < held_out:
        problem = f"{len(pool)} architectures are too few for {number} networks and {held_out} to hold out"
        raise InputError(problem, "take more candidates into the space; measure this one in a plain table", "space")
    return [*(pool[index] for index in fitted), *others[len(others) - held_out :]]


def time_networks(space: SearchSpace, architectures: list[Architecture], how: How, rounds: int, seed: int, tell: Tell) -> tuple[Any, bool]:
    """Seconds of each network in each round, see `se_nas.profiling.rounds.run_rounds`."""
    with made_calls(space, [(architecture, how) for architecture in architectures], tell) as calls:
        return run_rounds(calls, rounds, seed, lambda done, left: tell(f"round {done} of {rounds}, {left:.0f} s left"))


def check_profile(space: SearchSpace, path: str | Path, rounds: int = 15, networks: int = 8, tell: Tell = lambda text: None) -> Check:
    """Measure a few of a profile's networks again.

    Raises:
        InputError: for a profile of another network or device, or a plain table, which says of no device.
    """
    old = read_profile(path, space)
    check_network(old.space, space, str(path))
    if not old.machine:
        raise InputError("a plain table says of no device how to measure there", "check a profile of se-nas profile", str(path))
    how = How(**{name: old.how[name] for name in HOW if name in old.how})
    held = [each for each in old.networks if each.role == HELD_OUT] or list(old.networks[1:])
    chosen = [space.reference("plain"), *(Architecture.from_json(each.architecture) for each in held[:networks])]
    times, _ = time_networks(space, chosen, how, rounds, 0, tell)
    now, _ = undisturbed(times)
    said = np.array([sum(old.seconds[name] * amount for name, amount in amounts(space, each).items()) for each in chosen])
    scaled = said * now[0] / old.networks[0].seconds
    pairs = tuple(zip(said[1:].tolist(), now[1:].tolist(), strict=True))
    return Check(tuple(old.elsewhere()), float(now[0]), old.networks[0].seconds, error(scaled[1:], now[1:], float(now[0])), pairs)
