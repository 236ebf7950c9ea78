"""Jobs: all of them, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static

from tui.commands import matches
from tui.groups import Group, groups_of, progress_of
from tui.keys import bindings_of
from tui.screens.jobroom import JobRoom
from tui.show.jobs import note_of, stage_glyphs
from tui.show.words import bar, one_line, percent, state_text, took
from tui.widgets.listing import Listing, Row
from tui.widgets.title import entitle
from tui.world import Live, Thing, World

_EMPTY = Content.assemble(
    ("No job yet. ", "$quiet"),
    ("luthier quickstart", "bold $primary"),
    (" shows the whole way; ", "$quiet"),
    ("luthier tune FILE", "bold $primary"),
    (" tunes your own data.", "$quiet"),
)


class JobsScreen(JobRoom):
    """The queue and its past, newest first; a tune that is over takes one line, unless a filter asks for its jobs."""

    ROOM = "jobs"
    BINDINGS = bindings_of("jobs")

    def furnish(self) -> Sequence[Widget]:
        return Static("", id="head", markup=False), Listing(id="all")

    def show(self, world: World) -> None:
        box = self.query_one("#all", Listing)
        width = box.room
        rows: list[Row] = []
        for group in groups_of(world):
            folded = group.ended and len(group.jobs) > 1 and not self.query_text
            rows += [self._tune(group, world, width)] if folded else self._jobs(group, world, width)
        self.query_one("#head", Static).update(Content.styled(f" {_HEAD}", "$quiet"))
        filtered = Content.styled(f"No job matches “{one_line(self.query_text, 40)}”; esc in / takes it off.", "$quiet")
        box.show(rows, filtered if self.query_text and world.jobs else _EMPTY)
        entitle(box, "Jobs" + (f"  / {one_line(self.query_text, 30)}" if self.query_text else ""))

    def _tune(self, group: Group, world: World, width: int) -> Row:
        """A tune that is over, in one line; enter opens the job that mattered."""
        job = group.current
        note = note_of(job, world.live_of(str(job.get("id"))))
        evaluated = group.of_kind("evaluate")
        if group.state == "succeeded" and evaluated is not None:
            note = f"{note}; {note_of(evaluated, Live())}"
        lasted = took(group.created_at, group.ended_at, self.luthier.now())
        what = Content.assemble(stage_glyphs(group), ("  " + one_line(note, max(0, width - 62)), "$quiet"))
        return str(job.get("id")), _line(group.state, (group.name, "bold"), "tune", lasted) + what

    def _jobs(self, group: Group, world: World, width: int) -> list[Row]:
        """The jobs of a tune that is not over, or those that a filter asks for."""
        rows: list[Row] = []
        blocked = [job for job in group.jobs if job.get("state") == "blocked"]
        folded = blocked[1:] if len(blocked) > 1 and not self.query_text else []
        for job in group.jobs:
            if job in folded:
                continue
            live, state = world.live_of(str(job.get("id"))), str(job.get("state"))
            note = note_of(job, live)
            words = f"{group.name} {job.get('kind')} {state} {job.get('id')} {note}"
            if not matches(words, self.query_text, state=state):
                continue
            name = (str(job.get("name")), "bold") if not rows or self.query_text else ("│", "$faint")
            began = job.get("started_at")
            lasted = took(began, job.get("ended_at"), self.luthier.now()) if began else ""
            room = max(0, width - 53)
            progress = progress_of(job, live)
            what = Content.styled(one_line(note, room), "$quiet")
            if state == "running" and progress.share is not None:
                share = Content.assemble(bar(progress.share, 8), f" {percent(progress.share)}  ")
                what = share + Content.styled(one_line(note, max(0, room - share.cell_length)), "$quiet")
            kind = str(job.get("kind"))
            if folded and job is blocked[0]:
                kind, what = f"{len(blocked)} stages", _waiting(blocked, room)
            rows.append((str(job.get("id")), _line(state, name, kind, lasted) + what))
        return rows

    def selected_job(self) -> Thing | None:
        key = self.query_one("#all", Listing).selected
        return self.world.jobs.get(key) if key else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id:
            self.luthier.open_job(event.option_id)


def _line(state: str, name: tuple[str, str], kind: str, lasted: str) -> Content:
    """The columns that every row has."""
    word = state_text(state)
    return Content.assemble(
        word + " " * max(0, 13 - word.cell_length),
        (f" {one_line(name[0], 17):17}", name[1]),
        f" {one_line(kind, 9):9}",
        (f" {lasted:>8}  ", "$quiet"),
    )


def _waiting(jobs: list[Thing], width: int) -> Content:
    """The stages that come after what runs, in one line."""
    kinds = ", ".join(str(job.get("kind")) for job in jobs)
    return Content.styled(one_line(f"then {kinds}", width), "$quiet")


_HEAD = f"{'state':13} {'name':17} {'kind':9} {'took':>8}  what"
