"""Mean negative log-likelihood of an example's supervised tokens, in nats; measured by the engine."""

from __future__ import annotations

from . import Metric

METRIC = Metric(name="nll", label="loss", higher_is_better=False, binary=False, score=None, is_share=False)
