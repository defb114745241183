"""A latency profile in sentences: what was measured, and how good the model of it is."""

from __future__ import annotations

from se_nas.latency.fit import Error
from se_nas.latency.profile import FITTED, Check, Profile
from se_nas.report.words import duration, percent, time
from se_nas.text import clean

RESTLESS = 0.3
"""If two halves of the rounds are further apart, relative to what SE adds, the machine was too busy to tell."""


def profile_sentences(profile: Profile) -> list[str]:
    """What a profile says of itself.

    Example:
        eager on AMD EPYC, batch 1, 1 thread: plain 34.12 ms, the slowest of 20 networks +5.3 %.
    """
    times = [each.seconds for each in profile.networks]
    fitted = sum(each.role == FITTED for each in profile.networks)
    said = [f"{clean(profile.title)}: plain {time(times[0])}, the slowest of {len(times)} networks {percent(max(times) / times[0] - 1)}."]
    if profile.model:
        said.append(f"On {len(times) - fitted} networks that the model was not fitted to, it is off by {_told(profile.model)}.")
        said += [f"Two halves of the rounds are apart by {_told(profile.floor)}: less cannot be told."] if profile.floor else []
    if spelling := profile.how.get("spelling"):
        words = " and ".join(f"{clean(squeeze)} (as {clean(name)})" for squeeze, name in spelling.items())
        said.append(f"Another spelling of squeeze {words} is quicker here: it was measured so, and exports for this runtime write it so.")
    said.append(f"A predicted latency is off by up to {time(profile.interval)} as a rule; smaller differences are ties.")
    if profile.floor and (profile.floor.added is None or profile.floor.added > RESTLESS):
        said.append("The machine was too restless to tell what SE adds: measure when nothing else runs, or take more --rounds.")
    if profile.took:
        rounds = f"{profile.how['rounds']} rounds" + (" (it was stopped)" if profile.how["stopped"] else "")
        said.append(f"{fitted} networks fitted, {len(times) - fitted} held out, {rounds}, {duration(profile.took)}.")
    return said


def check_sentences(check: Check) -> list[str]:
    """How an old profile stands today."""
    same = "The machine is the one that was measured."
    return [
        f"The machine is another: {clean(', '.join(check.elsewhere))}." if check.elsewhere else same,
        f"Plain takes {time(check.plain)} now, {time(check.before)} then ({percent(check.plain / check.before - 1)}).",
        f"On {len(check.times)} networks, beside plain as it is now, the profile is off by {_told(check.now)}.",
    ]


def _told(error: Error) -> str:
    ranks = "" if error.spearman is None else f", rank correlation {error.spearman:.2f}"
    return f"{_share(error.whole)} of the whole, {_share(error.added)} of what SE adds{ranks}"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.2g} %" if value < 1 else f"{100 * value:.0f} %"
