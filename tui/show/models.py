"""A model: where it stands, how it scores against its base, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from textual.content import Content

from appliance.text import bytes_text
from tui.show.words import bar, lines_of, one_line, percent
from tui.world import Thing, items, number, section

_STAGES = {"live": ("●", "$success"), "canary": ("◐", "$warning"), "candidate": ("○", "$quiet")}
# Folders whose name says nothing of the model in them.
_GENERIC = {"/", "model", "merged", "artifacts"}
_VERDICTS = {"better": ("▲", "$success"), "worse": ("▼", "$error")}


def stage_text(model: Thing) -> Content:
    """The stage as a glyph and a word."""
    stage = str(model.get("stage") or "–")
    glyph, colour = _STAGES.get(stage, ("○", "$quiet"))
    return Content.styled(f"{glyph} {one_line(stage, 12)}", colour)


def base_name(model: Thing) -> str:
    """The last telling part of the base's path: a name a person knows."""
    parts = [part for part in PurePath(str(model.get("base") or "")).parts if part not in _GENERIC]
    return one_line(parts[-1] if parts else "–", 40)


def scores(evaluation: Thing, width: int) -> Content:
    """The table of tasks: this model, its base, the difference and what it is worth."""
    tasks = items(evaluation, "tasks")
    if not tasks:
        return Content.styled("not evaluated yet", "$quiet")
    first = max(10, min(26, width - 45))
    lines = [Content.styled(f"{'':{first}} {'base':>7} {'tuned':>7} {'change':>8}", "$quiet")]
    lines += [_score(task, first) for task in tasks]
    return Content("\n").join(lines)


def _score(task: Thing, width: int) -> Content:
    name = one_line(task.get("label") or f"{task.get('task')} {task.get('metric') or ''}", width)
    verdict = str(task.get("verdict") or "")
    glyph, colour = _VERDICTS.get(verdict.split(" ")[0], ("·", "$quiet"))
    p_value = number(task.get("p_adjusted")) or number(task.get("p_value"))
    note = verdict + (f", p {'<0.001' if p_value < 0.001 else format(p_value, '.3f')}" if p_value is not None else "")
    columns = f"{_three(task.get('baseline')):>7} {_three(task.get('value')):>7} {_signed(task.get('difference')):>8} "
    return Content.assemble(f"{name:{width}} ", columns, (glyph, colour), (f" {one_line(note, 18)}", "$quiet"))


def retention(evaluation: Thing, width: int) -> Content:
    """What the base could do, and how much of it is left, skill by skill."""
    kept = section(evaluation, "retention")
    skills = {name: skill for name, skill in section(kept, "skills").items() if isinstance(skill, Mapping)}
    if not skills:
        return Content.styled("no exercises of the base's own skills were given", "$quiet")
    room = max(4, min(20, width - 46))
    overall = section(kept, "overall")
    lines = [_skill(name, skill, room) for name, skill in skills.items()]
    if overall:
        lines.append(_skill("all of them", {**overall, "passed": kept.get("passed")}, room))
    return Content("\n").join(lines)


def _skill(name: str, skill: Thing, room: int) -> Content:
    kept = number(skill.get("kept"))
    glyph, colour = ("✔", "$success") if skill.get("passed") is True else ("✖", "$error")
    scores_ = f" {_three(skill.get('base')):>6} → {_three(skill.get('tuned')):>5} "
    share = Content.assemble(bar(kept, room, colour), f" {percent(kept)} kept ")
    return Content.assemble(f"{one_line(name, 12):12}", (scores_, "$quiet"), share, (glyph, colour))


def _three(value: object) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.3f}"


def _signed(value: object) -> str:
    found = number(value)
    return "–" if found is None else f"{found:+.3f}"


def gate(evaluation: Thing, width: int) -> Content:
    """What the gate said, and its verdict in words; its grounds are the tables."""
    said = section(evaluation, "gate")
    if not said:
        return Content.styled("the gate was not asked", "$quiet")
    passed = said.get("passed") is True
    head = ("✔ the gate said yes", "$success") if passed else ("✖ the gate said no; it stays a candidate", "$error")
    verdict = [str(line) for line in said.get("lines") or ()][-1:]
    lines = [Content.styled(f"  {line}", "$quiet") for words in verdict for line in lines_of(words, width - 2, 4)]
    return Content("\n").join([Content.styled(*head), *lines])


def artifacts(found: list[Thing], width: int) -> Content:
    """The files, their sizes, and whether they answer like the trained model."""
    if not found:
        return Content.styled("nothing exported yet", "$quiet")
    lines: list[Content] = []
    for artifact in found:
        parity = section(artifact, "parity")
        glyph, colour, words = _parity(parity.get("passed"))
        size = bytes_text(number(artifact.get("bytes")))
        detail = f"  KL {parity['kl']:.4f}" if number(parity.get("kl")) is not None else ""
        head = f"{one_line(artifact.get('format'), 14):14} {size:>9}  "
        lines.append(Content.assemble(head, (f"{glyph} {words}", colour), (detail, "$quiet")))
        lines.append(Content.styled(f"  {_tail(str(artifact.get('path') or ''), width - 2)}", "$quiet"))
    return Content("\n").join(lines)


def _parity(passed: object) -> tuple[str, str, str]:
    if passed is True:
        return "✔", "$success", "same answers"
    return ("✖", "$error", "answers differ") if passed is False else ("·", "$quiet", "not compared")


def _tail(path: str, width: int) -> str:
    """The end of a path, where the name is."""
    line = one_line(path)
    return line if len(line) <= width else "…" + line[-max(1, width - 1) :]
