"""The order of the examples and the learning rate are pure functions."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.training.order import Order, cut, split
from appliance.training.schedule import SCHEDULES, rate_factor


@given(examples=st.integers(1, 50), batch=st.integers(1, 16), seed=st.integers(0, 5))
def test_every_example_comes_once_before_any_comes_twice(examples: int, batch: int, seed: int) -> None:
    order = Order(examples=examples, batch=batch, seed=seed)
    stream = list(chain.from_iterable(order.picks(step) for step in range(1, 2 * examples // batch + 3)))
    for start in range(0, len(stream) - examples, examples):
        assert sorted(stream[start : start + examples]) == list(range(examples))


@given(replay=st.integers(1, 30), share=st.floats(0.01, 0.95), batch=st.integers(1, 16))
def test_replay_has_its_share_and_cycles_without_replacement(replay: int, share: float, batch: int) -> None:
    order = Order(examples=20, batch=batch, replay=replay, share=share)
    steps = 40
    picks = [order.picks(step) for step in range(1, steps + 1)]
    assert all(len(picked) == batch for picked in picks)
    replayed = [index - 20 for index in chain.from_iterable(picks) if index >= 20]
    assert abs(len(replayed) - steps * batch * share) <= 1
    counts = Counter(replayed)
    assert max((counts[row] for row in range(replay)), default=0) - min(counts[row] for row in range(replay)) <= 1


def test_a_step_is_the_same_whether_or_not_others_were_asked_for_before() -> None:
    def order() -> Order:
        return Order(examples=33, batch=8, replay=9, share=0.3, seed=4)

    walked = [order().picks(step) for step in range(1, 30)]
    assert order().picks(29) == walked[28]
    assert walked != [Order(examples=33, batch=8, replay=9, share=0.3, seed=5).picks(step) for step in range(1, 30)]


def test_passes_are_shuffled_differently() -> None:
    order = Order(examples=64, batch=64)
    assert order.picks(1) != order.picks(2)
    assert sorted(order.picks(1)) == sorted(order.picks(2))


@given(lengths=st.lists(st.integers(1, 99), min_size=1, max_size=40), size=st.integers(1, 9))
def test_cutting_keeps_every_example_and_never_pads_more_than_as_it_came(lengths: list[int], size: int) -> None:
    lengths = lengths * size  # a step is whole micro-batches
    picks = list(range(len(lengths)))
    micro = list(cut(picks, lengths, size))

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)

    assert sorted(chain.from_iterable(micro)) == picks
    assert padded(micro) <= padded([picks[start : start + size] for start in range(0, len(picks), size)])


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9), overhead=st.integers(0, 80))
def test_a_micro_batch_is_split_at_the_least_cost(lengths: list[int], overhead: int) -> None:
    """Against every way there is to cut the row of examples."""
    lengths = sorted(lengths, reverse=True)
    micro = list(range(len(lengths)))

    def cost(pieces: list[list[int]]) -> int:
        return sum(overhead + len(piece) * max(lengths[index] for index in piece) for piece in pieces)

    def every_way(rest: list[int]) -> list[list[list[int]]]:
        if not rest:
            return [[]]
        return [[rest[:end], *tail] for end in range(1, len(rest) + 1) for tail in every_way(rest[end:])]

    pieces = split(micro, lengths, overhead)
    assert list(chain.from_iterable(pieces)) == micro
    assert cost(pieces) == min(map(cost, every_way(micro)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(steps=st.integers(1, 300), warmup=st.integers(0, 300))
def test_the_rate_rises_to_its_height_and_never_rises_again(schedule: str, steps: int, warmup: int) -> None:
    warmup = min(warmup, steps)
    rates = [rate_factor(schedule, step, steps=steps, warmup=warmup) for step in range(1, steps + 1)]  # type: ignore[arg-type]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    after = rates[max(0, warmup - 1) :]
    assert after == sorted(after, reverse=True)
    assert max(rates) == 1
