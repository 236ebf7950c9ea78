"""The composition root: ``python -m scheduler.daemon`` builds the parts and runs them until it is told to end.

SIGTERM ends it; running jobs go on in their shims, and the next daemon adopts them. Exit status 0 when another
daemon of this installation runs already, 78 when the database must not be touched, 74 when the disk fails, 70 when
a bug of ours ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from sqlalchemy.exc import OperationalError

from appliance import durable
from appliance.errors import DiskFull, LuthierError
from appliance.paths import Paths, find_paths
from appliance.settings import Settings, load_settings
from profiles.devices import Device, read_devices
from scheduler import logs
from scheduler.api.app import create_app
from scheduler.api.peer import PeerProtocol, bind
from scheduler.clock import Clock
from scheduler.dispatch import Dispatch
from scheduler.endpoint import Endpoint
from scheduler.events import Feed
from scheduler.house import House
from scheduler.placement import Capacity
from scheduler.reconcile import reconcile
from scheduler.recover import recover
from scheduler.store.database import AnotherDaemon, Database
from scheduler.supervisor import Supervisor

logger = logging.getLogger(__name__)
PULSE = 0.1
"""Seconds between two looks at what runs."""
_FOLLOW_EVERY = 3
"""Pulses between two looks at what workers say."""
EXIT_IO = 74
EXIT_BUG = 70


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: ending is this module's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Daemon:
    """The running parts."""

    house: House
    clock: Clock
    server: Server
    listener: socket.socket
    leaving: asyncio.Event

    async def run(self) -> None:
        """Serve and pulse until it is time to leave."""
        serving = asyncio.create_task(self.server.serve(sockets=[self.listener]))
        pulse = asyncio.create_task(self._pulse())
        self.clock.start()
        leaving = asyncio.create_task(self.leaving.wait())
        await asyncio.sleep(0)
        tell_systemd("READY=1")
        logger.info("Ready.", extra={"socket": str(self.house.paths.socket), "pid": os.getpid()})
        await asyncio.wait({serving, pulse, leaving}, return_when=asyncio.FIRST_COMPLETED)
        tell_systemd("STOPPING=1")
        self.clock.stop()
        self.house.feed.close()
        self.server.should_exit = True
        await serving
        if pulse.done():
            pulse.result()
        pulse.cancel()

    async def _pulse(self) -> None:
        beats = 0
        while True:
            try:
                if beats % _FOLLOW_EVERY == 0:
                    self.house.dispatch.follower.look()
                self.house.dispatch.step()
            except DiskFull as error:
                logger.error("The disk is full; nothing is started until there is room.", extra={"why": error.message})
                await asyncio.sleep(1)
            beats += 1
            await asyncio.sleep(PULSE)


def build(paths: Paths, settings: Settings, worker_command: Sequence[str] | None = None) -> Daemon:
    """Open everything and take over what an earlier daemon left. Raises ``LuthierError``."""
    fresh = not paths.database.exists()
    database = Database(paths)
    if fresh and any(paths.jobs.glob("j-*/job.json")):
        logger.warning("The database is missing and there are job folders: it is rebuilt from them.")
        recover(database, paths)
    durable.make_folder(paths.jobs)
    supervisor = Supervisor(paths.jobs, worker_command)
    devices = read_devices()
    capacity = Capacity(usable(devices), settings.daemon.light_jobs)
    dispatch = Dispatch(database, supervisor, settings, capacity, Endpoint(supervisor))
    leaving = asyncio.Event()
    house = House(paths, settings, database, dispatch, Feed(), devices, leaving.set, os.getpid())
    reconcile(database, dispatch, paths)
    config = uvicorn.Config(
        create_app(house), http=PeerProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    config.timeout_graceful_shutdown = 3
    return Daemon(house, Clock(house), Server(config), bind(paths.socket), leaving)


def usable(devices: Sequence[Device]) -> tuple[str, ...]:
    """The names of the devices jobs run on: the GPUs, or the CPU where there is none."""
    gpus = tuple(device.torch_name for device in devices if device.kind == "gpu")
    return gpus or ("cpu",)


def tell_systemd(state: str) -> None:
    """sd_notify(3), when a service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
            messenger.connect("\0" + address[1:] if address.startswith("@") else address)
            messenger.sendall(state.encode())


async def _run(paths: Paths, settings: Settings, worker_command: Sequence[str] | None) -> None:
    daemon = build(paths, settings, worker_command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.leaving.set)
    try:
        await daemon.run()
    finally:
        paths.socket.unlink(missing_ok=True)
        daemon.house.database.close()
    logger.info("Ended.")


def main(argv: Sequence[str] | None = None, *, worker_command: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.daemon", description="The Luthier daemon.")
    parser.add_argument(
        "--recover", action="store_true", help="rebuild a missing database from the job folders and end"
    )
    options = parser.parse_args(argv)
    os.umask(0o077)
    try:
        paths = find_paths()
        settings = load_settings(paths.config_file)
        logs.configure(settings.daemon.log_level)
        if options.recover:
            database = Database(paths)
            logger.info("Recovered.", extra=recover(database, paths))
            database.close()
            return 0
        asyncio.run(_run(paths, settings, worker_command))
    except AnotherDaemon as error:
        sys.stderr.write(f"{error.message}\n")
        return 0
    except (DiskFull, OSError, OperationalError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_IO
    except LuthierError as error:
        sys.stderr.write(f"{error.message}{f' {error.hint}' if error.hint else ''}\n")
        return error.exit_status
    except Exception:
        logger.exception("The daemon ends because of a bug.")
        return EXIT_BUG
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
