"""One job, live: its loss as it falls, when it is over, what it said, why it failed, its plan, result and log."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from appliance.events import EventType
from tui.commands import matches
from tui.groups import group_of, progress_of
from tui.keys import bindings_of
from tui.messages import HistoryRead, JobEvent
from tui.screens.jobroom import JobRoom
from tui.series import JobSeries
from tui.show.events import event_line
from tui.show.jobs import progress_line, stage_strip
from tui.show.results import failure, plan, result
from tui.show.words import count, one_line, rate, sci, state_text, took
from tui.widgets.chart import BrailleChart
from tui.widgets.panel import Panel
from tui.widgets.title import entitle
from tui.world import LinkState, Live, Thing, World, number, section

_TABS = ("live", "plan", "result", "log")
_POINTS = 600
# Kinds whose loss is worth a chart.
_CHARTED = {"train"}


class JobScreen(JobRoom):
    """Everything about one job."""

    ROOM = "job"
    LISTS = False
    AUTO_FOCUS = "#events"
    BINDINGS = bindings_of("job")

    def __init__(self, job: str) -> None:
        super().__init__()
        self._job = job
        self._series = JobSeries()
        self._log: Sequence[str] = ()
        self._tab = "live"
        self._log_scale = False
        self._was_live = True

    @property
    def tab_name(self) -> str:
        return "jobs"

    def furnish(self) -> Sequence[Widget]:
        loss, rates, speeds = BrailleChart(id="loss"), BrailleChart(id="rates"), BrailleChart(id="speeds")
        charts = Horizontal(loss, Vertical(rates, speeds, id="side"), id="charts")
        live = Vertical(
            charts, Static("", id="numbers", markup=False), Panel(id="events", title="Events", follow=True), id="live"
        )
        panes = (live, Panel(id="plan"), Panel(id="result"), Panel(id="log", follow=True))
        return (
            Static("", id="crumb", markup=False),
            Static("", id="progress", markup=False),
            Panel(id="why", title="Why"),
            Static("", id="tabs", markup=False),
            ContentSwitcher(*panes, initial="live", id="panes"),
        )

    def on_mount(self) -> None:
        super().on_mount()
        entitle(self.query_one("#rates"), "learning rate")
        entitle(self.query_one("#speeds"), "tokens/s")
        self._read()

    def _read(self) -> None:
        self.feed.read_history(self, self._job, points=_POINTS)

    def on_history_read(self, message: HistoryRead) -> None:
        if message.job == self._job:
            self._series.read(message.history.metrics, message.history.events)
            self._log = message.history.log
            self.repaint()

    def on_job_event(self, message: JobEvent) -> None:
        if message.job == self._job:
            self._series.add(message.event)
            if message.event.get("type") == EventType.ENDED:
                self._read()

    def selected_job(self) -> Thing | None:
        return self.world.jobs.get(self._job)

    def show(self, world: World) -> None:
        job = world.jobs.get(self._job)
        if job is None:
            self.query_one("#crumb", Static).update(
                Content.styled(f" {one_line(self._job, 30)} is not known here", "$quiet")
            )
            return
        self._read_again_after_a_gap(world)
        live = world.live_of(self._job)
        self._paint_head(job, live, world)
        self._paint_why(job)
        self._paint_live(job, live)
        group = group_of(world, job)
        panel = self.query_one("#plan", Panel)
        own = section(job, "plan") or group.plan
        panel.show(plan(own, panel.room))
        panel = self.query_one("#result", Panel)
        panel.show(result(job, panel.room))
        panel = self.query_one("#log", Panel)
        lines = [line for line in self._log if matches(line, self.query_text)]
        panel.show(Content("\n".join(lines)) if lines else Content.styled("The log is empty.", "$quiet"))

    def _read_again_after_a_gap(self, world: World) -> None:
        """What was said while the daemon was out of reach is in its files."""
        live = world.link.state is LinkState.LIVE
        if live and not self._was_live:
            self._read()
        self._was_live = live

    def _paint_head(self, job: Thing, live: Live, world: World) -> None:
        now = self.luthier.now()
        width = self.size.width - 2
        phase = live.phase or str(job.get("phase") or "")
        lasted = took(job.get("started_at"), job.get("ended_at"), now) if job.get("started_at") else ""
        running = job.get("state") == "running"
        right = Content.assemble(state_text(job.get("state")), (f"  {lasted}", "$quiet"))
        path = Content.assemble(
            ("Jobs › ", "$quiet"),
            (one_line(job.get("name"), 24), "bold"),
            (f" › {job.get('kind')} ", "$quiet"),
            (one_line(f"· {phase}", max(0, width - 60)) if running and phase else "", "$primary"),
        )
        gap = " " * max(1, width - path.cell_length - right.cell_length)
        self.query_one("#crumb", Static).update(path + Content(gap) + right)
        progress = progress_of(job, live)
        line = self.query_one("#progress", Static)
        strip = stage_strip(group_of(world, job), width)
        moving = running and progress.total > 0
        line.update(progress_line(progress, width, now) if moving else strip)
        tabs = [Content.styled(f" {tab} ", "bold on $panel" if tab == self._tab else "$quiet") for tab in _TABS]
        stages = Content("   ") + strip if moving and strip.cell_length + 34 <= width else Content("")
        self.query_one("#tabs", Static).update(Content(" ").join(tabs) + stages)

    def _paint_why(self, job: Thing) -> None:
        box = self.query_one("#why", Panel)
        state, reason = str(job.get("state")), str(job.get("reason") or "")
        failed = state == "failed" or bool(section(job, "error"))
        box.display = failed or bool(reason)
        entitle(box, "Why it failed" if state == "failed" else "Why")
        box.set_class(failed, "-failed")
        if box.display:
            box.show(failure(job) if failed else Content(one_line(reason)))

    def _paint_live(self, job: Thing, live: Live) -> None:
        series = self._series
        charted = job.get("kind") in _CHARTED
        self.query_one("#charts").display = charted
        numbers = self.query_one("#numbers", Static)
        numbers.display = charted
        if charted:
            steps = float(live.steps or number(section(job, "progress").get("steps")) or 0)
            loss = self.query_one("#loss", BrailleChart)
            loss.curve = series.loss(steps, log=self._log_scale)
            entitle(loss, series.title(log=self._log_scale))
            self.query_one("#rates", BrailleChart).curve = series.rates(steps)
            self.query_one("#speeds", BrailleChart).curve = series.speeds(steps)
            numbers.update(self._numbers(job))
        events = self.query_one("#events", Panel)
        lines = [line for event in series.events if matches((line := event_line(event)).plain, self.query_text)]
        shown = Content("\n").join(lines[-300:]) if lines else Content.styled("It has said nothing yet.", "$quiet")
        events.show(shown)
        entitle(events, "Events" + (f"  / {one_line(self.query_text, 30)}" if self.query_text else ""))

    def _numbers(self, job: Thing) -> Content:
        """The numbers of now, or of the whole run when it is over."""
        now = self._series.now()
        training = section(section(job, "result"), "training")
        speed = number(training.get("tokens_per_second")) or now.tokens_per_second
        parts = [("lr", sci(now.learning_rate)), ("tok/s", rate(speed))]
        if now.gradient_norm is not None:
            parts.append(("gnorm", f"{now.gradient_norm:.2f}"))
        if tokens := number(training.get("tokens")) or now.tokens:
            parts.append(("tokens", count(tokens)))
        if job.get("device"):
            parts.append(("on", one_line(job["device"], 20)))
        if now.saved is not None:
            parts.append(("saved at", f"step {now.saved}"))
        pieces = [Content.assemble((f"{label} ", "$quiet"), value) for label, value in parts]
        return Content(" ") + Content.assemble(("  │  ", "$faint")).join(pieces)

    def action_tab(self, by: int) -> None:
        self._tab = _TABS[(_TABS.index(self._tab) + by) % len(_TABS)]
        self.query_one(ContentSwitcher).current = self._tab
        self.take_focus()
        self.repaint()

    def action_stage(self, by: int) -> None:
        """Go along the jobs of the same tune."""
        job = self.selected_job()
        mates = group_of(self.world, job).jobs if job else ()
        place = next((at for at, mate in enumerate(mates) if mate.get("id") == self._job), 0) + by
        if 0 <= place < len(mates):
            self._job = str(mates[place].get("id"))
            self._series, self._log = JobSeries(), ()
            self._read()
            self.repaint()

    def action_zoom(self) -> None:
        """Leave nothing but the chart, or bring the rest back."""
        self.toggle_class("-zoomed")
        self.call_after_refresh(self.repaint)

    def action_log_scale(self) -> None:
        self._log_scale = not self._log_scale
        self.repaint()

    def take_focus(self) -> None:
        self.query_one("#events" if self._tab == "live" else f"#{self._tab}", Panel).focus()
