"""Data: the datasets, and what became of each row of them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList

from tui.commands import matches
from tui.keys import bindings_of
from tui.screens.room import Room
from tui.show.data import findings, ledger, ledger_bar, summary
from tui.show.words import count, one_line
from tui.widgets.listing import Listing, Row
from tui.widgets.panel import Panel
from tui.widgets.title import entitle
from tui.world import Thing, World, number, section

_EMPTY = Content.assemble(
    ("No dataset yet.\n\n", ""),
    ("luthier data check FILE", "bold $primary"),
    ("  looks at a file and keeps nothing\n", "$quiet"),
    ("luthier data add FILE", "bold $primary"),
    ("    takes it in\n", "$quiet"),
    ("luthier quickstart", "bold $primary"),
    ("       brings one of its own", "$quiet"),
)


class DataScreen(Room):
    """A list of datasets beside the one that is selected."""

    ROOM = "data"
    BINDINGS = bindings_of("data")

    def furnish(self) -> Sequence[Widget]:
        return Listing(id="datasets", title="Datasets"), Panel(id="dataset", title="Dataset")

    def show(self, world: World) -> None:
        box = self.query_one("#datasets", Listing)
        newest = sorted(world.datasets.values(), key=lambda item: str(item.get("created_at") or ""), reverse=True)
        shown = [dataset for dataset in newest if matches(_words(dataset), self.query_text)]
        rows: list[Row] = [(str(dataset.get("id")), _line(dataset, box.room)) for dataset in shown]
        none = Content.styled("Nothing matches.", "$quiet") if world.datasets else _EMPTY
        box.show(rows, none)
        self.query_one("#dataset", Panel).display = bool(shown)
        self._paint_selected()

    def _paint_selected(self) -> None:
        key = self.query_one("#datasets", Listing).selected
        dataset = self.world.datasets.get(key or "")
        panel = self.query_one("#dataset", Panel)
        if dataset is None:
            return
        rows = section(dataset, "rows")
        head = Content.styled("What became of each row", "bold $accent")
        blocks = [
            summary(dataset),
            Content("\n").join([head, ledger(rows, min(panel.room, 76))]),
            Content("\n").join([Content.styled("Found", "bold $accent"), findings(dataset, panel.room)]),
        ]
        panel.show(Content("\n\n").join(blocks))
        entitle(panel, f"{one_line(dataset.get('name') or key, 40)}")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._paint_selected()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.query_one("#dataset", Panel).focus()


def _words(dataset: Thing) -> str:
    return f"{dataset.get('name')} {dataset.get('id')} {dataset.get('format')}"


def _line(dataset: Thing, width: int) -> Content:
    rows = section(dataset, "rows")
    kept, total = number(rows.get("kept")), number(rows.get("total"))
    tail = f"{count(kept)}/{count(total)} rows"
    room = max(8, width - len(tail) - 1)
    head = Content.assemble(
        (f"{one_line(dataset.get('name') or dataset.get('id'), room):{room}} ", "bold"), (tail, "$quiet")
    )
    return Content("\n").join([head, ledger_bar(rows, width)])
