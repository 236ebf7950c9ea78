"""Where things live: under ``LUTHIER_HOME`` when it is set; otherwise FHS for a service, XDG for a person."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes with its NUL (unix(7)).
_SOCKET_PATH_MAX = 100


@dataclass(frozen=True)
class Paths:
    """The folders and files of one installation."""

    config_file: Path
    state: Path
    cache: Path
    runtime: Path
    inbox: Path

    @property
    def database(self) -> Path:
        return self.state / "luthier.db"

    @property
    def jobs(self) -> Path:
        return self.state / "jobs"

    @property
    def daemon_log(self) -> Path:
        return self.state / "daemon.log"

    @property
    def daemon_lock(self) -> Path:
        """Held by the one daemon of this installation."""
        return self.state / "daemon.lock"

    @property
    def socket(self) -> Path:
        """The control socket; a home too long for a socket path gets a hashed one in the temporary folder."""
        wanted = self.runtime / "control.sock"
        if len(os.fsencode(wanted)) <= _SOCKET_PATH_MAX:
            return wanted
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108  the folder itself is private
        return base / f"luthier-{os.getuid()}-{digest}" / "control.sock"

    def as_dict(self) -> dict[str, str]:
        """Every place by name, for ``luthier config path``."""
        names = (
            "config_file",
            "state",
            "cache",
            "runtime",
            "inbox",
            "database",
            "jobs",
            "daemon_log",
            "socket",
        )
        return {name: str(getattr(self, name)) for name in names}


def find_paths(environ: Mapping[str, str] | None = None) -> Paths:
    """The places that the environment asks for; nothing is created."""
    env = os.environ if environ is None else environ
    if home := env.get("LUTHIER_HOME"):
        root = Path(home).expanduser().absolute()
        return Paths(root / "config.toml", root, root / "cache", root / "run", root / "inbox")
    if state := env.get("STATE_DIRECTORY"):
        return _service_paths(env, Path(state))
    user = Path(env.get("HOME") or Path.home())
    runtime = env.get("XDG_RUNTIME_DIR")
    data = Path(env.get("XDG_STATE_HOME") or user / ".local/state") / "luthier"
    return Paths(
        config_file=Path(env.get("XDG_CONFIG_HOME") or user / ".config") / "luthier/config.toml",
        state=data,
        cache=Path(env.get("XDG_CACHE_HOME") or user / ".cache") / "luthier",
        runtime=Path(runtime) / "luthier" if runtime else data / "run",
        inbox=user / "luthier-inbox",
    )


def _service_paths(env: Mapping[str, str], state: Path) -> Paths:
    """A system service, as systemd describes it (systemd.exec(5), RuntimeDirectory= and friends)."""
    return Paths(
        config_file=Path(env.get("CONFIGURATION_DIRECTORY") or "/etc/luthier") / "config.toml",
        state=state,
        cache=Path(env.get("CACHE_DIRECTORY") or "/var/cache/luthier"),
        runtime=Path(env.get("RUNTIME_DIRECTORY") or "/run/luthier"),
        inbox=state / "inbox",
    )
