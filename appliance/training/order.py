"""Which examples each step learns: a pure function of the seed and the step.

Resuming at a step therefore needs no state of an iterator, and every rank computes the same answer by itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

# A wider piece computes no faster on a CPU, and looking for one takes time.
_WIDEST = 64


@dataclass(frozen=True, kw_only=True)
class Order:
    """Endless passes over the examples, each shuffled anew, with replay rows mixed in at a fixed share.

    Replay rows cycle in the same way in their own order, so none comes twice before all came once. Steps are
    counted from 1; epochs end inside a batch when they do not divide by it.
    """

    examples: int
    batch: int
    """Examples in one optimizer step, over all ranks."""
    seed: int = 0
    replay: int = 0
    """Number of replay rows."""
    share: float = 0.0
    """Share of each batch that is replay, on average exactly."""

    def picks(self, step: int) -> list[int]:
        """The examples of a step; ``examples + i`` is replay row i."""
        old_before, old_after = self._replayed(step - 1), self._replayed(step)
        before, after = (step - 1) * self.batch - old_before, step * self.batch - old_after
        fresh = [self._pick("examples", self.examples, place) for place in range(before, after)]
        replayed = [self._pick("replay", self.replay, place) for place in range(old_before, old_after)]
        return fresh + [self.examples + index for index in replayed]

    def _replayed(self, step: int) -> int:
        """How many replay rows the first ``step`` steps hold."""
        # The small number keeps a share such as 0.1 from falling just short of a whole row.
        return int(step * self.batch * self.share + 1e-9) if self.replay else 0

    def _pick(self, stream: str, count: int, place: int) -> int:
        epoch, offset = divmod(place, count)
        return _shuffled(stream, count, self.seed, epoch)[offset]


def cut(picks: Sequence[int], lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cut a step into micro-batches of ``size``, like lengths together so that little is padding.

    The longest come first: memory that does not suffice shows at once. The set of examples in the step stays as
    it is, so what is learnt does not depend on the cut.
    """
    ordered = sorted(picks, key=lambda index: -lengths[index])
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


def split(micro: Sequence[int], lengths: Sequence[int], overhead: int) -> list[list[int]]:
    """Cut a micro-batch, longest first, into pieces where that saves more padding than passes cost.

    A piece costs its rows times its longest row, and ``overhead`` tokens for one more pass; the cut with the least
    cost of all is found by dynamic programming over where the last piece begins.

    >>> split([0, 1, 2, 3], lengths=[90, 80, 10, 9], overhead=50)
    [[0, 1], [2, 3]]
    """
    cost, begins = [0], [0]
    for end in range(1, len(micro) + 1):
        options = (
            (cost[begin] + overhead + (end - begin) * lengths[micro[begin]], begin)
            for begin in range(max(0, end - _WIDEST), end)
        )
        least, begin = min(options)
        cost.append(least)
        begins.append(begin)
    pieces: list[list[int]] = []
    end = len(micro)
    while end:
        pieces.append(list(micro[begins[end] : end]))
        end = begins[end]
    return pieces[::-1]


@lru_cache(maxsize=4)
def _shuffled(stream: str, count: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"{stream}:{seed}:{epoch}").shuffle(order)
    return tuple(order)
