"""Which examples are held out: decided by a hash of the question and the seed, so the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

FEWEST = 10
"""From this many examples on, something is held out when anything is asked to be."""


def assign(groups: Mapping[str, int], *, validation: float, test: float, seed: int) -> dict[str, str]:
    """Group → ``test`` or ``validation``; groups that are not named are for training.

    ``groups`` says how many examples each has. The groups with the lowest hashes are taken until the share is
    reached, so that a row more or less moves little. At least one group is left for training.
    """
    total = sum(groups.values())
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    taken: dict[str, str] = {}
    for name, share in (("test", test), ("validation", validation)):
        wanted = max(round(share * total), 1 if share > 0 and total >= FEWEST else 0)
        free = [group for group in order if group not in taken]
        for group in _fill(free, groups, wanted, len(free) - 1):
            taken[group] = name
    return taken


def _fill(free: list[str], groups: Mapping[str, int], wanted: int, most: int) -> list[str]:
    """Groups in order until ``wanted`` examples are reached; one that is too big for what is missing is passed over."""
    chosen: list[str] = []
    missing = wanted
    for group in free:
        if missing <= 0 or len(chosen) >= most:
            break
        if groups[group] <= max(missing * 1.5, 1):
            chosen.append(group)
            missing -= groups[group]
    if not chosen and wanted > 0 and most > 0:
        chosen = [min(free, key=lambda group: groups[group])]
    return chosen
