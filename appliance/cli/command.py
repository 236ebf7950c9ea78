"""What a command is, and what it is given when it runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from appliance.cli.render import Screen
from appliance.client import Client, ensure_daemon
from appliance.errors import DaemonUnreachable
from appliance.paths import Paths
from appliance.settings import Settings, load_settings


def _no_arguments(_: ArgumentParser) -> None:
    """A command that takes nothing but the options of all."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One verb with its arguments and its help, or a noun with verbs."""

    about: str
    """One line; what follows after an empty line is shown in the command's own help only."""
    run: Callable[[Call], int] | None = None
    configure: Callable[[ArgumentParser], None] = _no_arguments
    usage: str = ""
    """The arguments as a person would write them."""
    examples: tuple[str, ...] = ()
    exits: tuple[int, ...] = (0, 2, 3, 4)
    """The exit statuses worth explaining in its help."""
    verbs: Mapping[str, Command] = field(default_factory=dict)


@dataclass
class Call:
    """One run of a command: its options, the places, the settings, the screen and a way to the daemon."""

    options: Namespace
    screen: Screen
    paths: Paths
    no_start: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """Read when first needed, so that help and version work with a broken settings file."""
        return load_settings(self.paths.config_file, flags=self.flags)

    def client(self) -> Client:
        """A connection to the daemon, which is started when none answers (not with ``--no-start``)."""
        self.reach_daemon()
        return Client(self.paths)

    def reach_daemon(self) -> dict[str, Any]:
        """The daemon's status. Raises ``DaemonUnreachable``."""
        status = self.daemon_status()
        if status is not None:
            if self.flags:
                self.screen.warn(
                    f"The daemon (process {status.get('pid')}) runs already; `luthier daemon restart` "
                    "with the same --setting makes it take note."
                )
            return status
        if self.no_start:
            with Client(self.paths) as client:
                return client.status()
        self.screen.live("starting the daemon…")
        status = ensure_daemon(self.paths, self.settings)
        self.screen.clear()
        return status

    def daemon_status(self) -> dict[str, Any] | None:
        """The daemon's status, or None when none answers; starts nothing."""
        with Client(self.paths) as client:
            try:
                return client.status()
            except DaemonUnreachable:
                return None

    @property
    def interactive(self) -> bool:
        """Whether a person sits at both ends."""
        return sys.stdin.isatty() and sys.stdout.isatty()
