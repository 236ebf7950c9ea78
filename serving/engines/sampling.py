"""Choosing the next token from logits, in numpy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from serving.engine import Sampling, TokenScore

Array = np.ndarray[Any, Any]


def pick(logits: Array, sampling: Sampling, random: np.random.Generator, seen: Counter[int]) -> int:
    """The next token. ``seen`` counts the tokens of the answer so far, for the penalties (OpenAI's definition)."""
    scores = logits
    if sampling.logit_bias or ((sampling.presence_penalty or sampling.frequency_penalty) and seen):
        scores = _adjusted(logits, sampling, seen)
    if sampling.temperature == 0:
        return int(np.argmax(scores))
    scores = scores.astype(np.float64) / max(sampling.temperature, 1e-4)
    tokens = np.arange(len(scores))
    if 0 < sampling.top_k < len(scores):
        tokens = np.argpartition(scores, -sampling.top_k)[-sampling.top_k :]
    weights = np.exp(scores[tokens] - scores[tokens].max())
    weights /= weights.sum()
    if sampling.top_p < 1:
        tokens, weights = _nucleus(tokens, weights, sampling.top_p)
    return int(random.choice(tokens, p=weights / weights.sum()))


def score(logits: Array, token: int, top: int) -> TokenScore:
    """The probability of ``token`` and of the ``top`` likeliest ones."""
    wide = logits.astype(np.float64)
    peak = wide.max()
    total = peak + np.log(np.exp(wide - peak).sum())
    best: Array = np.empty(0, dtype=np.int64)
    if top > 0:
        count = min(top, len(wide))
        best = np.argpartition(wide, -count)[-count:]
        best = best[np.argsort(-wide[best], kind="stable")]
    alternatives = tuple((int(other), float(wide[other] - total)) for other in best)
    return TokenScore(token, float(wide[token] - total), alternatives)


def _adjusted(logits: Array, sampling: Sampling, seen: Counter[int]) -> Array:
    scores = logits.copy()
    for token, count in seen.items():
        scores[token] -= sampling.presence_penalty + sampling.frequency_penalty * count
    for token, bias in sampling.logit_bias.items():
        scores[token] += bias
    return scores


def _nucleus(tokens: Array, weights: Array, share: float) -> tuple[Array, Array]:
    """The likeliest tokens that together reach ``share``; at least one."""
    order = np.argsort(-weights, kind="stable")
    kept = int(np.searchsorted(np.cumsum(weights[order]), share)) + 1
    chosen = order[:kept]
    return tokens[chosen], weights[chosen]
