"""Rooms in which a job can be paused, cancelled and run again."""

from __future__ import annotations

from appliance.states import TERMINAL
from tui.screens.confirm import Confirm
from tui.screens.room import Room
from tui.world import Thing

_ENDED = {str(state) for state in TERMINAL}


class JobRoom(Room):
    """A room with a selected job."""

    def selected_job(self) -> Thing | None:
        """The job that the keys act on."""
        raise NotImplementedError

    def _job_for(self, verb: str) -> Thing | None:
        job = self.selected_job()
        if job is None:
            self.notify(f"No job is selected, so there is none to {verb}.", severity="warning", markup=False)
        return job

    def action_pause(self) -> None:
        job = self._job_for("pause")
        if job is None:
            return
        state = str(job.get("state"))
        if state in _ENDED or state == "blocked":
            why = "waits for another job" if state == "blocked" else f"is {state}; r runs it again"
            self.notify(f"{_title(job)} cannot be paused: it {why}.", severity="warning", markup=False)
        elif state == "paused":
            self.feed.act(self, str(job.get("id")), "resume", f"{_title(job)} goes on")
        else:
            self.feed.act(self, str(job.get("id")), "pause", f"{_title(job)} pauses at its next checkpoint")

    def action_cancel(self) -> None:
        job = self._job_for("cancel")
        if job is None:
            return
        if str(job.get("state")) in _ENDED:
            self.notify(f"{_title(job)} is over already: {job.get('state')}.", severity="warning", markup=False)
            return

        def cancel(sure: bool | None) -> None:
            if sure:
                self.feed.act(self, str(job.get("id")), "cancel", f"{_title(job)} is being cancelled")

        question = f"Cancel {_title(job)}?"
        self.app.push_screen(Confirm(question, "Its checkpoints are kept, and r runs it again.", "cancel it"), cancel)

    def action_rerun(self) -> None:
        job = self._job_for("run again")
        if job is None:
            return
        if str(job.get("state")) not in _ENDED:
            self.notify(f"{_title(job)} has not ended: {job.get('state')}.", severity="warning", markup=False)
            return
        self.feed.act(self, str(job.get("id")), "rerun", f"{_title(job)} is queued again")


def _title(job: Thing) -> str:
    return f"{job.get('kind')} of {job.get('name')}"
