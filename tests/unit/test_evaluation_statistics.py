"""The statistics against SciPy, published figures, enumeration and simulation."""

from __future__ import annotations

from itertools import product
from math import comb, isclose
from random import Random

import pytest

from appliance.evaluation.intervals import bootstrap_ratio, newcombe, student_quantile, wilson
from appliance.evaluation.significance import holm, mcnemar, sign_flip, smallest_p


def test_mcnemar_is_what_counting_every_fair_coin_gives() -> None:
    for gained, lost in product(range(8), repeat=2):
        coins = list(product((0, 1), repeat=gained + lost))
        extreme = min(gained, lost)
        as_far = sum(min(sum(flips), len(flips) - sum(flips)) <= extreme for flips in coins)
        assert isclose(mcnemar(gained, lost), as_far / len(coins))


def test_mcnemar_equals_scipys_binomial_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for gained, lost in ((0, 0), (1, 9), (30, 12), (250, 200), (3, 400)):
        expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_few_differences_are_tested_by_enumeration() -> None:
    differences = [0.3, -0.1, 0.7, 0.2, 0.2, -0.4]
    signs = list(product((1, -1), repeat=6))
    reached = [abs(sum(s * d for s, d in zip(flip, differences, strict=True))) >= 0.9 - 1e-12 for flip in signs]
    assert sign_flip(differences) == sum(reached) / 64


def test_sign_flips_agree_with_scipys_permutation_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = Random(3)
    for shift in (0.0, 0.15, 0.3):
        differences = [random.gauss(shift, 1.0) for _ in range(60)]
        exact = stats.permutation_test(
            (differences,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=20_000, rng=1
        )
        assert sign_flip(differences, seed=5) == pytest.approx(exact.pvalue, abs=0.015)


def test_sign_flips_do_not_depend_on_unmoved_pairs_and_are_repeatable() -> None:
    random = Random(1)
    differences = [random.gauss(0.2, 1) for _ in range(40)]
    assert sign_flip(differences, seed=2) == sign_flip([*differences, 0.0, 0.0], seed=2)
    assert sign_flip([0.0] * 30) == 1.0


def test_binary_differences_give_the_same_answer_to_both_tests() -> None:
    differences = [1.0] * 25 + [-1.0] * 9 + [0.0] * 60
    assert sign_flip(differences, seed=1) == pytest.approx(mcnemar(25, 9), abs=0.004)


@pytest.mark.parametrize("spread", ["even", "heavy tails", "ties"])
def test_without_a_difference_the_permutation_test_errs_as_often_as_it_says(spread: str) -> None:
    random = Random(17)
    draw = {
        "even": lambda: random.gauss(0, 1),
        "heavy tails": lambda: random.gauss(0, 1) ** 3,
        "ties": lambda: random.choice((-1.0, -0.5, 0.0, 0.5, 1.0)),
    }[spread]
    trials = 1000
    p_values = [sign_flip([draw() for _ in range(30)], seed=trial, draws=199) for trial in range(trials)]
    for level in (0.05, 0.2, 0.5):
        rejected = sum(p <= level for p in p_values)
        # Four standard errors above the level: a valid test is beyond that once in 30,000 seeds.
        assert rejected <= level * trials + 4 * (level * (1 - level) * trials) ** 0.5
        if spread != "ties":
            assert rejected >= level * trials - 4 * (level * (1 - level) * trials) ** 0.5


def test_wilson_matches_published_figures_and_scipy() -> None:
    # Newcombe 1998 (Stat. Med. 17:857), table I, method 3.
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(successes, n) == pytest.approx((low, high), abs=6e-5)
    stats = pytest.importorskip("scipy.stats")
    for successes, n in ((1, 29), (29, 29), (400, 1000)):
        peer = stats.binomtest(successes, n).proportion_ci(method="wilson")
        assert wilson(successes, n) == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_newcombes_interval_covers_the_true_difference() -> None:
    """Coverage by enumerating every outcome of 20 pairs, for pairs that agree often and seldom."""
    for p_both, p_gained, p_lost in ((0.6, 0.2, 0.05), (0.3, 0.1, 0.1), (0.05, 0.7, 0.02)):
        truth, n, covered = p_gained - p_lost, 20, 0.0
        for both in range(n + 1):
            for gained in range(n + 1 - both):
                for lost in range(n + 1 - both - gained):
                    neither = n - both - gained - lost
                    ways = comb(n, both) * comb(n - both, gained) * comb(n - both - gained, lost)
                    chance = ways * p_both**both * p_gained**gained * p_lost**lost
                    chance *= (1 - p_both - p_gained - p_lost) ** neither
                    low, high = newcombe(both, gained, lost, neither)
                    covered += chance * (low <= truth <= high)
        assert 0.93 <= covered <= 0.995


def test_newcombes_interval_keeps_a_width_when_all_pairs_agree() -> None:
    low, high = newcombe(0, 50, 0, 0)
    assert low < 1.0
    assert high == pytest.approx(1.0)
    assert newcombe(25, 0, 0, 25)[0] < 0.0 < newcombe(25, 0, 0, 25)[1]


def test_bootstrap_intervals_cover_the_mean_of_clustered_items() -> None:
    """Items of one group share most of their value; intervals that ignored it would cover far less often."""
    random, trials, covered = Random(8), 150, 0
    for trial in range(trials):
        sums, sizes = [], []
        for _ in range(25):
            shared, size = random.gauss(1.0, 1.0), random.choice((1, 2, 6))
            sums.append(sum(shared + random.gauss(0, 0.3) for _ in range(size)))
            sizes.append(float(size))
        interval = bootstrap_ratio(sums, sizes, seed=trial)
        assert interval is not None
        covered += interval[0] <= 1.0 <= interval[1]
    assert covered / trials >= 0.88


def test_a_bootstrap_of_one_group_or_of_nothing_to_divide_by_is_refused() -> None:
    assert bootstrap_ratio([1.0], [1.0]) is None
    assert bootstrap_ratio([1.0, 0.0], [0.0, 0.0]) is None


def test_students_quantiles_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 5, 12, 80, 500):
        for probability in (0.025, 0.05, 0.5, 0.975):
            peer = stats.t.ppf(probability, freedom)
            assert student_quantile(probability, freedom) == pytest.approx(peer, rel=2e-3, abs=1e-9)


def test_holms_procedure_rejects_exactly_what_stepping_down_by_hand_does() -> None:
    random = Random(4)
    for _ in range(200):
        p_values = [random.random() ** 3 for _ in range(random.randint(1, 6))]
        rejected, left = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
        while left and p_values[left[0]] <= 0.05 / len(left):
            rejected.add(left.pop(0))
        assert {index for index, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


def test_the_smallest_p_value_is_what_a_clean_sweep_gives() -> None:
    for groups in range(1, 12):
        assert smallest_p(groups) == mcnemar(groups, 0) == sign_flip([1.0] * groups)
