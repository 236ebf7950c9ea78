"""What ``/metrics`` tells, in the text format of Prometheus and in base units."""

from __future__ import annotations

import time
from collections import Counter

from serving.shelf import Shelf


class Meter:
    """Counts requests and tokens since the start; used from the event loop only."""

    def __init__(self) -> None:
        self._started = time.time()
        self._responses: Counter[int] = Counter()
        self._prompt = 0
        self._completion = 0

    def count(self, prompt: int, completion: int) -> None:
        """Note the tokens of an answered request."""
        self._prompt += prompt
        self._completion += completion

    def respond(self, status: int) -> None:
        """Note a response."""
        self._responses[status] += 1

    def render(self, shelf: Shelf) -> str:
        """The exposition text."""
        loads = [model.loaded.engine.load() for model in shelf.models]
        lines = ["# TYPE luthier_http_responses_total counter"]
        lines += [f'luthier_http_responses_total{{status="{s}"}} {n}' for s, n in sorted(self._responses.items())]
        for name, kind, value in (
            ("luthier_prompt_tokens_total", "counter", self._prompt),
            ("luthier_completion_tokens_total", "counter", self._completion),
            ("luthier_models", "gauge", len(shelf.models)),
            ("luthier_requests_active", "gauge", sum(active for active, _ in loads)),
            ("luthier_requests_waiting", "gauge", sum(waiting for _, waiting in loads)),
            ("luthier_start_time_seconds", "gauge", round(self._started, 3)),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
