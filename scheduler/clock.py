"""When things happen: APScheduler in memory only. What is to be done is in the queue, never in a pickled job."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from profiles.devices import read_devices
from scheduler.house import House
from scheduler.reconcile import sweep

logger = logging.getLogger(__name__)
LARGEST_LOG = 10 << 20
"""Bytes of the daemon's log after which it is rotated; one older part is kept."""
_DEVICES_PATIENCE = 5.0


class Clock:
    """The daemon's recurring chores."""

    def __init__(self, house: House) -> None:
        self.house = house
        # Late is better than never (the default drops what is a second late), and once is enough.
        self._ticker = AsyncIOScheduler(job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})

    def start(self) -> None:
        self.every(1, self._look_again)
        self.every(2, self._leave_if_homeless)
        self.every(5, self._read_devices)
        self.every(30, self._give_up_loading)
        self.every(3600, self._sweep)
        self.every(600, self._rotate)
        self._ticker.start()

    def stop(self) -> None:
        # A chore that is cut short by the end is not an error worth a traceback.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._ticker.shutdown(wait=False)

    def every(self, seconds: int, chore: Callable[[], Awaitable[None]]) -> None:
        self._ticker.add_job(chore, "interval", seconds=seconds)

    async def _look_again(self) -> None:
        """The safety net: a look at the queue even if nothing seemed to change."""
        self.house.dispatch.dirty = True

    async def _leave_if_homeless(self) -> None:
        """A daemon whose home was deleted under it can keep nothing; it must not go on invisibly."""
        if not self.house.database.still_there():
            logger.error(
                "The home of this daemon is gone; it ends with its jobs.", extra={"home": self.house.paths.state}
            )
            self.house.dispatch.supervisor.abandon()
            self.house.leave()

    async def _read_devices(self) -> None:
        """A driver that hangs must not hang the daemon: the reading waits in a thread, and is given up."""
        try:
            self.house.devices = await asyncio.wait_for(asyncio.to_thread(read_devices), _DEVICES_PATIENCE)
        except TimeoutError:
            logger.warning("The devices could not be read in time.")

    async def _give_up_loading(self) -> None:
        """A report may wait for a model that the server never speaks of."""
        with self.house.database.write() as session:
            self.house.dispatch.endpoint.give_up_loading(session)
            self.house.dispatch.release(session)

    async def _sweep(self) -> None:
        sweep(self.house.paths, set(self.house.dispatch.supervisor.watched()))

    async def _rotate(self) -> None:
        rotate_log(self.house.paths.daemon_log)


def rotate_log(path: Path, largest: int = LARGEST_LOG) -> bool:
    """Begin a new log when our stderr is this file and it has become too long."""
    try:
        ours = os.path.samestat(os.fstat(sys.stderr.fileno()), path.stat())
    except (OSError, ValueError):
        return False
    if not ours or path.stat().st_size < largest:
        return False
    path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    return True
