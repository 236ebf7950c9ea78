"""The one connection to the database: WAL, ``synchronous=FULL``, foreign keys, one opener, one thread.

SQLite before 3.51.3 can corrupt a WAL database that two connections write or checkpoint at once, so there is
exactly one, in one process; the lock file keeps a second daemon out, and the pool refuses a second connection.
Every write is one ``BEGIN IMMEDIATE`` transaction that is synced before anybody is told of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlmodel import Session, create_engine

from appliance import durable
from appliance.errors import Conflict, DiskFull, LuthierError
from appliance.jobdir import take_lease
from appliance.paths import Paths
from scheduler.store.schema import migrate

Changed = Callable[[str, str], None]


class AnotherDaemon(Conflict):
    """The database is open in the daemon of this installation that already runs."""

    code = "another-daemon"


class StoreRefused(LuthierError):
    """A database that this release must not touch: damaged, or of a later release."""

    code = "store-refused"
    exit_status = 78


class Database:
    """Sessions on the database, and a word to whoever listens after each committed change."""

    def __init__(self, paths: Paths) -> None:
        """Open and migrate. Raises ``AnotherDaemon`` and ``StoreRefused``."""
        durable.make_folder(paths.state)
        lock = take_lease(paths.daemon_lock)
        if lock is None:
            raise AnotherDaemon(f"Another daemon of {paths.state} is running.", hint="`luthier status` asks it.")
        self._lock, self._lock_file = lock, paths.daemon_lock
        self.closed = False
        self.listener: Changed = _nobody
        try:
            self._engine = _engine(paths)
            with self._engine.connect() as connection:
                _check(connection.exec_driver_sql("PRAGMA quick_check").scalar(), paths)
                migrate(connection)
        except (DatabaseError, LuthierError) as error:
            os.close(lock)
            if isinstance(error, LuthierError):
                raise
            raise _damaged(paths, str(error.__cause__ or error)) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction; its changes are announced after it is on disk. Raises ``DiskFull``."""
        with Session(self._engine, expire_on_commit=False) as session:
            session.info["changed"] = {}
            try:
                session.connection(execution_options={"luthier_write": True})
                yield session
                session.commit()
            except OperationalError as error:
                if "disk is full" in str(error):
                    raise DiskFull("The disk is full: the queue cannot be changed.", hint="Free some space.") from error
                raise
            changed = list(session.info["changed"])
        for noun, id_ in changed:
            self.listener(noun, id_)

    def still_there(self) -> bool:
        """Whether the lock file is the one that was locked: a home that was deleted or moved away is not ours."""
        try:
            return os.path.samestat(os.fstat(self._lock), self._lock_file.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Fold the log into the database and let the next opener in."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()
        os.close(self._lock)
        self.closed = True


def note(session: Session, noun: str, id_: str) -> None:
    """Remember that a thing changed; a dict, because order matters and a set has none."""
    session.info["changed"][(noun, id_)] = None


def _nobody(noun: str, id_: str) -> None:
    """Nobody listens yet."""


def _engine(paths: Paths) -> Engine:
    engine = create_engine(
        f"sqlite:///{paths.database}", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=5
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: Any) -> None:
        # Transactions are begun by us (see _begin), not by the driver.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("luthier_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    paths.database.touch(mode=0o600)
    return engine


def _check(verdict: Any, paths: Paths) -> None:
    if verdict != "ok":
        raise _damaged(paths, str(verdict))


def _damaged(paths: Paths, reason: str) -> StoreRefused:
    return StoreRefused(
        f"The database {paths.database} is damaged: {reason}",
        hint="Move it away and run `luthier daemon recover`: it is rebuilt from the job folders.",
        where=str(paths.database),
    )
