"""A job or a whole tune in a line or a few."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content

from tui.groups import Group, Progress, progress_of
from tui.show.words import (
    STATES,
    bar,
    count,
    course,
    eta,
    lines_of,
    one_line,
    percent,
    rate,
    sci,
    sparkline,
    state_glyph,
    took,
    when,
)
from tui.world import Live, Thing, World, section


def stage_strip(group: Group, width: int) -> Content:
    """The stages of a pipeline with the state of each; only the glyphs where the words have no room."""
    parts = [
        (state_glyph(job.get("state")), one_line(job.get("kind"), 12), str(job.get("state"))) for job in group.jobs
    ]
    words = sum(len(kind) + 4 for _, kind, _ in parts) <= width
    pieces: list[Content] = []
    for glyph, kind, state in parts:
        colour = STATES.get(state, ("", "$quiet"))[1] if state in ("running", "failed", "paused") else "$quiet"
        pieces.append(Content.assemble(glyph, (f" {kind}", colour)) if words or state != "succeeded" else glyph)
    return Content("  ").join(pieces)


def stage_glyphs(group: Group) -> Content:
    """The states of a pipeline's jobs, a glyph each."""
    return Content("").join([state_glyph(job.get("state")) for job in group.jobs])


def running_card(group: Group, world: World, width: int, now: datetime) -> Content:
    """The card of a tune that runs: what, how far, when it is over, how well it goes."""
    job = group.current
    live = world.live_of(str(job.get("id")))
    progress = progress_of(job, live)
    phase = live.phase or str(job.get("phase") or "")
    what = " · ".join(part for part in (str(job.get("kind")), str(group.plan.get("method") or ""), phase) if part)
    head = Content.assemble(
        state_glyph(job.get("state")),
        (f" {one_line(group.name, 28)}", "bold"),
        (f"  {one_line(what, max(8, width - len(group.name[:28]) - 6))}", "$quiet"),
    )
    lines = [head, progress_line(progress, width, now)]
    if live.losses:
        lines.append(_pulse(live, width))
    if len(group.jobs) > 1:
        lines.append(stage_strip(group, width))
    return Content("\n").join(lines)


def progress_line(progress: Progress, width: int, now: datetime) -> Content:
    """Bar, share, count and the time it will be over; what does not fit is left out from the right."""
    if progress.total <= 0:
        return Content.styled("no count of steps yet", "$quiet")
    done = f"{percent(progress.share)}  {progress.unit} {count(progress.done)}/{count(progress.total)}"
    over = f"  ETA {eta(progress.eta_seconds, now)}" if progress.eta_seconds is not None else ""
    room = width - len(done) - len(over) - 2
    if room < 8:
        room, over = width - len(done) - 2, ""
    return Content.assemble(bar(progress.share, max(4, min(room, 48))), f"  {done}", (over, "$primary"))


def _pulse(live: Live, width: int) -> Content:
    speed = f"   {rate(live.tokens_per_second)} tok/s" if live.tokens_per_second is not None else ""
    speed += f"   lr {sci(live.learning_rate)}" if live.learning_rate is not None else ""
    head = f"loss {live.loss:.3f} " if live.loss is not None else "loss "
    room = max(4, min(40, width - len(head) - len(speed)))
    return Content.assemble(head, (sparkline(course(live.losses, room), room), "$primary"), (speed, "$quiet"))


def queue_line(group: Group, width: int) -> Content:
    """One waiting tune and why it waits."""
    job = group.current
    head = Content.assemble(
        state_glyph(job.get("state")), f" {one_line(group.name, 24)}", (f"  {job.get('kind')}", "$quiet")
    )
    reason = str(job.get("reason") or _default_reason(str(job.get("state"))))
    why = [Content.styled(f"  {line}", "$quiet") for line in lines_of(reason, width - 2, 2)]
    return Content("\n").join([head, *why])


def _default_reason(state: str) -> str:
    return {
        "queued": "waits for its turn",
        "blocked": "waits for the job before it",
        "paused": "paused; p resumes it",
        "interrupted": "its worker ended; it will be tried again",
    }.get(state, state)


def ended_line(group: Group, width: int, now: datetime) -> Content:
    """One tune that is over."""
    at = when(group.ended_at, now)
    word = STATES.get(group.state, ("?", ""))[0]
    duration = took(group.created_at, group.ended_at, now)
    colour = STATES.get(group.state, ("", "$quiet"))[1]
    return Content.assemble(
        (f"{at:>6} ", "$quiet"),
        (word, colour),
        f" {one_line(group.name, max(8, width - 30))}",
        (f"  {group.state}, {duration}", "$quiet"),
    )


def note_of(job: Thing, live: Live) -> str:
    """What there is to say of a job in a few words: why it waits, what it does, why it failed, what it gave."""
    state = str(job.get("state"))
    if state == "failed":
        return str(section(job, "error").get("message") or "failed")
    if state == "running":
        return str(job.get("reason") or "") or _doing(job, live)
    if state == "succeeded":
        return _gave(job)
    if state == "cancelled":
        return str(section(job, "error").get("message") or "")
    return str(job.get("reason") or _default_reason(state))


def _doing(job: Thing, live: Live) -> str:
    phase = live.phase or str(job.get("phase") or "")
    loss = f"loss {live.loss:.3f}" if live.loss is not None else ""
    return " · ".join(part for part in (phase, loss) if part)


def _gave(job: Thing) -> str:
    """A job's result in a few words."""
    result = section(job, "result")
    rows = section(section(result, "dataset"), "rows")
    if rows:
        return f"{count(rows.get('kept'))} of {count(rows.get('total'))} rows kept"
    training = section(result, "training")
    if isinstance(training.get("final_loss"), int | float):
        return f"loss {training['final_loss']:.3f} after {count(training.get('steps'))} steps"
    gate = section(section(result, "evaluation"), "gate")
    if gate:
        return "gate passed" if gate.get("passed") else "gate said no"
    artifacts = result.get("artifacts")
    if isinstance(artifacts, list):
        return ", ".join(str(item.get("format")) for item in artifacts if isinstance(item, dict))
    if plan := section(result, "plan"):
        return f"{plan.get('method')}, {count(plan.get('steps'))} steps"
    return one_line(result.get("html") or "", 60)
