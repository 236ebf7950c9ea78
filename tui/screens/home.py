"""Home: what runs, what waits, what needs a person, what is served, and the devices."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList

from tui.commands import matches
from tui.groups import Group, attention, endpoint_of, groups_of
from tui.keys import bindings_of
from tui.screens.jobroom import JobRoom
from tui.show import devices as show_devices
from tui.show.jobs import ended_line, queue_line, running_card
from tui.show.words import lines_of, one_line, state_glyph
from tui.widgets.listing import Listing, Row
from tui.widgets.panel import Panel
from tui.widgets.title import entitle
from tui.world import Thing, World

_FIRST = Content.assemble(
    "Nothing has been tuned here yet. Start with one of these in a shell:\n\n",
    ("  luthier quickstart", "bold $primary"),
    ("     the whole way in about two minutes, offline\n", "$quiet"),
    ("  luthier tune FILE", "bold $primary"),
    ("      your own data: chats, questions, or text", "$quiet"),
)

_UNREAD = Content.styled("Not known before the daemon answers.", "$quiet")


class HomeScreen(JobRoom):
    """At a glance."""

    ROOM = "home"
    BINDINGS = bindings_of("home")

    def furnish(self) -> Sequence[Widget]:
        return (
            Listing(id="running", title="Running"),
            Listing(id="queue", title="Queue"),
            Listing(id="attention", title="Attention"),
            Listing(id="served", title="Served"),
            Panel(id="strip", title="Devices"),
            Listing(id="recent", title="Recent", empty="Nothing has ended yet."),
        )

    def show(self, world: World) -> None:
        groups = [group for group in groups_of(world) if matches(_words(group), self.query_text, state=group.state)]
        self._paint_running([group for group in groups if group.state == "running"], world)
        self._paint_queue(
            [group for group in groups if not group.ended and group.state not in ("running", "failed")], world
        )
        self._paint_attention(world)
        self._paint_served(world)
        strip = self.query_one("#strip", Panel)
        strip.show(show_devices.strip(world, strip.room) if world.devices else Content.styled("not read yet", "$quiet"))
        recent = self.query_one("#recent", Listing)
        now = self.luthier.now()
        recent.show([(group.key, ended_line(group, recent.room, now)) for group in groups if group.ended])

    def _paint_running(self, groups: list[Group], world: World) -> None:
        box = self.query_one("#running", Listing)
        entitle(box, f"Running ({len(groups)})" if len(groups) > 1 else "Running")
        now = self.luthier.now()
        idle = Content.styled("Nothing runs. `luthier tune FILE` starts a tune.", "$quiet")
        empty = _UNREAD if not world.read else idle if world.jobs else _FIRST
        box.show([(group.key, running_card(group, world, box.room, now)) for group in groups], empty)
        self.query_one("#body").set_class(len(groups) > 1, "-several")

    def _paint_queue(self, groups: list[Group], world: World) -> None:
        box = self.query_one("#queue", Listing)
        entitle(box, f"Queue ({len(groups)})" if groups else "Queue")
        rows = [(group.key, queue_line(group, box.room)) for group in reversed(groups)]
        box.show(rows, Content.styled("Nothing waits.", "$quiet") if world.read else _UNREAD)

    def _paint_attention(self, world: World) -> None:
        box = self.query_one("#attention", Listing)
        found = [row for row in attention(world) if matches(_words(row[1]), self.query_text, state=row[1].state)]
        entitle(box, f"Attention ({len(found)})" if found else "Attention")
        box.set_class(bool(found), "-wanted")
        rows = [(group.key, _wanted(row, box.room)) for row in found for group in (row[1],)]
        well = Content.assemble(("✔", "$success"), (" Nothing needs you.", "$quiet"))
        box.show(rows, well if world.read else _UNREAD)

    def _paint_served(self, world: World) -> None:
        box = self.query_one("#served", Listing)
        url, names = endpoint_of(world)
        entitle(box, "Served", "c chat" if names else "")
        dot = Content.styled("● ", "$success")
        rows: list[Row] = [(f"model:{name}", dot + one_line(name, box.room - 2)) for name in names]
        if url and rows:
            entitle(box, f"Served  {one_line(url, max(8, box.room - 10))}")
        nothing = "Nothing is served. A tune ends with its model being served; s on Models (4) serves one."
        box.show(rows, Content.styled(nothing, "$quiet") if world.read else _UNREAD)

    def selected_job(self) -> Thing | None:
        """What is under the cursor; in an empty box, the first that runs or waits, so that p undoes p."""
        boxes = [self.focused, self.query_one("#running"), self.query_one("#queue")]
        key = next((box.selected for box in boxes if isinstance(box, Listing) and box.selected), None)
        group = next((group for group in groups_of(self.world) if group.key == key), None)
        return group.current if group else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        key = event.option_id or ""
        if key.startswith("model:"):
            self.luthier.chat_with(key.removeprefix("model:"))
        elif job := self.selected_job():
            self.luthier.open_job(str(job.get("id")))


def _wanted(row: tuple[str, Group, str, str], width: int) -> Content:
    state, group, sentence, hint = row
    glyph = state_glyph(state) if state == "failed" else Content.styled("▲", "$warning")
    lines = [Content.assemble(glyph, (f" {one_line(group.name, width - 2)}", "bold"))]
    lines += [Content(f"  {line}") for line in lines_of(sentence, width - 2, 2)]
    if hint:
        lines += [Content.styled(f"  {line}", "$quiet") for line in lines_of(f"→ {hint}", width - 2, 2)]
    return Content("\n").join(lines)


def _words(group: Group) -> str:
    return f"{group.name} {group.key} {group.state} {group.current.get('kind')}"
