"""One-shot search: one network that holds every architecture of a space, trained once, in NNI's one-shot strategies.

Importing this module needs neither torch nor NNI.
"""

from __future__ import annotations

ONE_SHOT = ("darts", "gumbel-darts", "proxyless", "enas", "random-one-shot")
"""Names of NNI's one-shot strategies, as ``--strategy`` takes them."""
