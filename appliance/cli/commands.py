"""The table of commands. A command is one file; it is imported when it is run or asked for its help."""

from __future__ import annotations

from appliance.registry import Entry, Registry

COMMANDS = Registry(
    "command",
    {
        "quickstart": Entry("appliance.cli.quickstart:COMMAND", "Tune, prove, export and serve the bundled example"),
        "tune": Entry("appliance.cli.tune:COMMAND", "Turn a dataset into a proven, served model"),
        "plan": Entry("appliance.cli.plan:COMMAND", "Say what this machine would do about a dataset, and why"),
        "status": Entry("appliance.cli.status:COMMAND", "One look at everything"),
        "ps": Entry("appliance.cli.ps:COMMAND", "What runs now and what is being served"),
        "watch": Entry("appliance.cli.watch:COMMAND", "Follow a tune or a job until it ends"),
        "logs": Entry("appliance.cli.logs:COMMAND", "What a job's worker wrote"),
        "why": Entry("appliance.cli.why:COMMAND", "Why a job waits, or why it failed and what to do"),
        "job": Entry("appliance.cli.job:COMMAND", "The queue: ls, show, pause, resume, cancel, rerun"),
        "data": Entry("appliance.cli.data:COMMAND", "Datasets: check, add, ls, show, rows, preview, rm"),
        "model": Entry("appliance.cli.model:COMMAND", "Models: ls, show, add, export, verify, rm"),
        "evaluate": Entry("appliance.cli.evaluate:COMMAND", "Score a model against its base"),
        "serve": Entry("appliance.cli.serve:COMMAND", "Serve a model on the local endpoint"),
        "unserve": Entry("appliance.cli.unserve:COMMAND", "Stop serving a model"),
        "endpoint": Entry("appliance.cli.endpoint:COMMAND", "The endpoint's address, ready to paste"),
        "run": Entry("appliance.cli.run:COMMAND", "Ask a model one thing, or chat with it"),
        "gpu": Entry("appliance.cli.gpu:COMMAND", "The devices of this machine"),
        "daemon": Entry("appliance.cli.daemon:COMMAND", "The daemon: start, stop, restart, status, logs, run"),
        "config": Entry("appliance.cli.config:COMMAND", "Settings: show, get, path, validate"),
        "version": Entry("appliance.cli.version:COMMAND", "The version of Luthier and of what it stands on"),
        "completion": Entry("appliance.cli.completion:COMMAND", "A completion script for bash, zsh or fish"),
    },
)

GROUPS: dict[str, tuple[str, ...]] = {
    "Make a model": ("quickstart", "tune", "plan", "evaluate"),
    "Follow the work": ("status", "ps", "watch", "logs", "why", "job"),
    "Things made": ("data", "model"),
    "Use a model": ("serve", "unserve", "endpoint", "run"),
    "The machine": ("gpu", "daemon", "config", "version", "completion"),
}
"""The order in which ``luthier --help`` lists them."""
