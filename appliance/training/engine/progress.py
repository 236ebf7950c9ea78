"""What a run tells while it trains: one event a step, with speed and the time left."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field, replace

from appliance.errors import Diverged
from appliance.events import EventType
from appliance.training.engine.checkpoint import State
from appliance.work import Work

_WINDOW = 20
_AVERAGED = 10
_PATIENCE = 3
# However rarely the plan saves, a crash costs no more than this.
_SAVE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one optimizer step did."""

    loss: float
    """Mean over the learnt tokens of the step."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    tokens: int
    seconds: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


@dataclass
class Pace:
    """Measures this attempt only, so that a resumed job's time left is right from its first step."""

    steps: int
    """Steps of the whole job."""
    began_at: int
    """The step this attempt continued."""
    began: float = field(default_factory=time.monotonic)
    latest: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    """(tokens, seconds) of the latest steps."""

    def report(self, work: Work, state: State, step: Step) -> None:
        """Append the step's event."""
        self.latest.append((step.tokens, step.seconds))
        tokens, seconds = (sum(column) for column in zip(*self.latest, strict=True))
        per_step = (time.monotonic() - self.began) / (state.step - self.began_at)
        work.emit(
            EventType.STEP,
            step=state.step,
            steps=self.steps,
            loss=step.loss,
            learning_rate=step.learning_rate,
            gradient_norm=step.gradient_norm,
            tokens=state.tokens,
            tokens_per_second=round(tokens / seconds, 1),
            eta_seconds=round(per_step * (self.steps - state.step), 1),
        )


def advance(state: State, step: Step) -> State:
    """Where the run stands after a step. Raises ``Diverged`` when the third in a row was not finite."""
    after = replace(
        state,
        step=state.step + 1,
        tokens=state.tokens + step.tokens,
        training_seconds=state.training_seconds + step.seconds,
        bad_steps=0 if step.finite else state.bad_steps + 1,
    )
    if after.bad_steps >= _PATIENCE:
        raise Diverged(
            f"The loss or its gradient was not finite in {_PATIENCE} steps in a row, the last of them step "
            f"{after.step} (loss {step.loss}, gradient norm {step.gradient_norm}).",
            hint=f"Use a lower learning rate than {step.learning_rate:.2g}, or look for odd rows in the dataset.",
        )
    if not math.isfinite(step.loss):
        return after
    first = step.loss if state.first_loss is None else state.first_loss
    return replace(after, losses=(*state.losses, step.loss)[-_AVERAGED:], first_loss=first)


def final_loss(state: State) -> float | None:
    """The mean loss of the last ten steps: one step's alone says little."""
    return sum(state.losses) / len(state.losses) if state.losses else None


class Clock:
    """The time a run takes, over all attempts, and since its last checkpoint."""

    def __init__(self, state: State) -> None:
        self._spent = state.seconds
        self._began = self._saved = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether a checkpoint is due by time."""
        return time.monotonic() - self._saved > _SAVE_SECONDS

    def charge(self, state: State) -> State:
        """The state with the time up to now; called when it is saved."""
        self._saved = time.monotonic()
        return replace(state, seconds=self._spent + self._saved - self._began)
