"""Models: where each stands, how it scores against its base, and its files."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList

from tui.commands import matches
from tui.groups import deployments_of
from tui.keys import bindings_of
from tui.screens.confirm import Confirm
from tui.screens.room import Room
from tui.show.models import artifacts, base_name, gate, retention, scores, stage_text
from tui.show.words import one_line, when
from tui.widgets.listing import Listing, Row
from tui.widgets.panel import Panel
from tui.widgets.title import entitle
from tui.world import Thing, World, items, section

_EMPTY = Content.assemble(
    ("No model yet: every tune makes one.\n\n", ""),
    ("luthier tune FILE", "bold $primary"),
    ("                 tunes your own data\n", "$quiet"),
    ("luthier model add DIR", "bold $primary"),
    ("             registers a folder", "$quiet"),
)


class ModelsScreen(Room):
    """A list of models beside the one that is selected."""

    ROOM = "models"
    BINDINGS = bindings_of("models")

    def furnish(self) -> Sequence[Widget]:
        return Listing(id="models", title="Models"), Panel(id="model", title="Model")

    def show(self, world: World) -> None:
        box = self.query_one("#models", Listing)
        newest = sorted(world.models.values(), key=lambda item: str(item.get("created_at") or ""), reverse=True)
        shown = [model for model in newest if matches(_words(model), self.query_text, state=str(model.get("stage")))]
        rows: list[Row] = [(str(model.get("id")), _line(model, world, box.room)) for model in shown]
        box.show(rows, Content.styled("Nothing matches.", "$quiet") if world.models else _EMPTY)
        self.query_one("#model", Panel).display = bool(shown)
        self._paint_selected()

    def _selected(self) -> Thing | None:
        return self.world.models.get(self.query_one("#models", Listing).selected or "")

    def _paint_selected(self) -> None:
        model = self._selected()
        if model is None:
            return
        panel = self.query_one("#model", Panel)
        evaluation = section(model, "evaluation")
        entitle(panel, one_line(model.get("name") or model.get("id"), 40))
        blocks = [
            self._facts(model),
            _titled("Scores on held-out data", scores(evaluation, panel.room)),
            _titled("What the base could do", retention(evaluation, panel.room)),
            gate(evaluation, panel.room),
            _titled("Files", artifacts(items(model, "artifacts"), panel.room)),
        ]
        panel.show(Content("\n\n").join(blocks))

    def _facts(self, model: Thing) -> Content:
        served = deployments_of(self.world, model)
        where = ", ".join(f"{item.get('alias') or item.get('model')} ({item.get('state')})" for item in served)
        made = when(model.get("created_at"), self.luthier.now())
        about = f"  {one_line(model.get('kind') or '–', 20)} on {base_name(model)}, made {made}"
        served_at = Content(one_line(where)) if where else Content.styled("no; s serves it", "$quiet")
        return Content.assemble(stage_text(model), (about, "$quiet"), "\n", ("served  ", "$quiet"), served_at)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._paint_selected()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.query_one("#model", Panel).focus()

    def action_serve(self) -> None:
        model = self._selected()
        if model is None:
            self.notify("No model is selected, so there is none to serve.", severity="warning", markup=False)
            return
        served = deployments_of(self.world, model)
        if not served:
            self.feed.serve(self, str(model.get("id")), wanted=True)
            return

        def stop(sure: bool | None) -> None:
            if sure:
                self.feed.serve(self, str(served[0].get("id")), wanted=False)

        question = f"Stop serving {model.get('name')}?"
        self.app.push_screen(Confirm(question, "Clients that use it get an error from then on.", "stop it"), stop)


def _words(model: Thing) -> str:
    return f"{model.get('name')} {model.get('id')} {model.get('stage')} {base_name(model)}"


def _line(model: Thing, world: World, width: int) -> Content:
    served = "  served" if deployments_of(world, model) else ""
    head = Content.styled(one_line(model.get("name") or model.get("id"), width), "bold")
    tail = Content.assemble(stage_text(model), (f"  on {base_name(model)}", "$quiet"), (served, "$success"))
    return Content("\n").join([head, Content("  ") + tail.truncate(width - 2, ellipsis=True)])


def _titled(title: str, *blocks: Content) -> Content:
    return Content("\n").join([Content.styled(title, "bold $accent"), *blocks])
