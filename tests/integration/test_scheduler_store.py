"""The database: its schema, its one opener, and the queue's transitions, on real SQLite."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from appliance.errors import Conflict, IllegalTransition, NotFound
from appliance.paths import Paths, find_paths
from appliance.states import TRANSITIONS, JobState
from scheduler import queue
from scheduler.store import jobs, lookup, things
from scheduler.store.database import AnotherDaemon, Database, StoreRefused
from scheduler.store.schema import HEAD, MIGRATIONS, NewerSchema
from scheduler.store.tables import JobRow, PipelineRow


@pytest.fixture
def paths(home: Path) -> Paths:
    return find_paths({"LUTHIER_HOME": str(home)})


@pytest.fixture
def database(paths: Paths) -> Iterator[Database]:
    opened = Database(paths)
    yield opened
    if not opened.closed:
        opened.close()


def put(database: Database, id_: str, **values: object) -> str:
    with database.write() as session:
        jobs.add(session, JobRow(id=id_, kind="train", name=id_, **({"state": "queued"} | values)))
    return id_


def state(database: Database, id_: str) -> str:
    with database.read() as session:
        return jobs.get(session, id_).state


@pytest.mark.parametrize(("source", "target"), list(product(JobState, JobState)))
def test_a_job_moves_exactly_where_the_table_of_transitions_says(
    database: Database, source: JobState, target: JobState
) -> None:
    put(database, "j-aaaaaa", state=str(source))
    if target in TRANSITIONS[source]:
        with database.write() as session:
            queue.move(session, "j-aaaaaa", target)
        assert state(database, "j-aaaaaa") == target
    else:
        with pytest.raises(IllegalTransition), database.write() as session:
            queue.move(session, "j-aaaaaa", target)
        assert state(database, "j-aaaaaa") == source


def test_the_database_itself_refuses_a_state_that_does_not_exist(database: Database) -> None:
    with pytest.raises(IntegrityError):
        put(database, "j-aaaaaa", state="nearly-done")


def test_the_database_itself_refuses_a_job_of_no_pipeline(database: Database) -> None:
    with pytest.raises(IntegrityError):
        put(database, "j-aaaaaa", pipeline="p-none")


def test_the_connection_is_set_up_to_survive_a_power_cut(database: Database) -> None:
    with database.read() as session:
        told = [session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]
    assert dict(zip(PRAGMAS, told, strict=True)) == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_migrations_make_the_schema_that_the_tables_describe(database: Database, paths: Paths) -> None:
    def schema(connection: sqlite3.Connection) -> list[list[str]]:
        """Every statement as its parts: the order of constraints in a table means nothing."""
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        return sorted(sorted(re.split(r"[(), ]+", " ".join(sql.replace('"', "").split()))) for (sql,) in rows)

    fresh = create_engine("sqlite://")
    SQLModel.metadata.create_all(fresh)
    with sqlite3.connect(paths.database) as migrated, fresh.connect() as described:
        raw = described.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        assert schema(migrated) == schema(raw)


def test_the_newest_migration_is_the_one_the_daemon_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_database_of_a_later_release_is_refused_and_left_alone(paths: Paths) -> None:
    Database(paths).close()
    with sqlite3.connect(paths.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerSchema, match="9999") as caught:
        Database(paths)
    assert caught.value.exit_status == 78
    with sqlite3.connect(paths.database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_damaged_database_is_refused_with_the_way_out(paths: Paths) -> None:
    Database(paths).close()
    paths.database.write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    with pytest.raises(StoreRefused) as caught:
        Database(paths)
    assert "recover" in str(caught.value.hint)
    assert caught.value.exit_status == 78


def test_a_second_opener_is_refused_until_the_first_has_left(database: Database, paths: Paths) -> None:
    with pytest.raises(AnotherDaemon):
        Database(paths)
    database.close()
    Database(paths).close()


def test_the_lock_and_the_database_are_not_inherited_by_children(database: Database, paths: Paths) -> None:
    listing = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if n != '3'])"
    found = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, close_fds=False)
    assert str(paths.state) not in found.stdout


def test_what_was_not_committed_is_neither_stored_nor_announced(database: Database) -> None:
    told: list[tuple[str, str]] = []
    database.listener = lambda noun, id_: told.append((noun, id_))
    put(database, "j-aaaaaa")

    def interrupted() -> None:
        with database.write() as session:
            queue.move(session, "j-aaaaaa", JobState.CANCELLED)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert state(database, "j-aaaaaa") == JobState.QUEUED
    assert told == [("job", "j-aaaaaa")]


def test_a_job_is_claimed_once(database: Database) -> None:
    put(database, "j-aaaaaa")
    claims = []
    for _ in range(2):
        with database.write() as session:
            claims.append(queue.claim(session, "j-aaaaaa", "cpu"))
    assert claims == [True, False]
    with database.read() as session:
        assert jobs.get(session, "j-aaaaaa").attempts == 1
        assert len(jobs.attempts(session, "j-aaaaaa")) == 1


def test_an_attempt_that_never_began_is_not_counted(database: Database) -> None:
    put(database, "j-aaaaaa")
    with database.write() as session:
        queue.claim(session, "j-aaaaaa", "cpu")
        queue.unclaim(session, "j-aaaaaa")
        row = jobs.get(session, "j-aaaaaa")
        assert (row.state, row.attempts, list(jobs.attempts(session, row.id))) == (JobState.QUEUED, 0, [])


def chain(database: Database) -> list[str]:
    ids = [f"j-chain{n}" for n in range(3)]
    with database.write() as session:
        things.save(session, PipelineRow(id="p-chain0", name="chain", base="/b"))
        for n, id_ in enumerate(ids):
            row = JobRow(id=id_, kind=f"kind{n}", name="chain", state="", pipeline="p-chain0")
            row.depends_on = ids[n - 1 : n] if n else []
            queue.enqueue(session, row)
    return ids


def test_a_job_waits_for_what_it_depends_on(database: Database) -> None:
    first, second, third = chain(database)
    assert [state(database, id_) for id_ in (first, second, third)] == ["queued", "blocked", "blocked"]
    with database.write() as session:
        queue.claim(session, first, None)
        queue.move(session, first, JobState.RUNNING)
        queue.move(session, first, JobState.SUCCEEDED)
        assert queue.release_ready(session, lambda row: row.id == second) == []
        assert queue.release_ready(session, lambda row: False) == [second]
    assert state(database, third) == JobState.BLOCKED


def test_a_cancelled_job_takes_with_it_what_was_to_be_built_on_it_and_says_why(database: Database) -> None:
    first, second, third = chain(database)
    with database.write() as session:
        queue.cancel(session, first)
    assert [state(database, id_) for id_ in (first, second, third)] == ["cancelled"] * 3
    with database.read() as session:
        error = jobs.get(session, third).error
    assert error is not None
    assert error["code"] == "dependency-failed"


def test_a_rerun_does_the_job_and_everything_built_on_it_again(database: Database) -> None:
    first, second, third = chain(database)
    with database.write() as session:
        queue.cancel(session, second)
        again = queue.rerun(session, second)
        found = {row.rerun_of: row for row in jobs.of_pipeline(session, "p-chain0") if row.rerun_of}
    assert set(found) == {second, third}
    assert (again.depends_on, found[third].depends_on) == ([first], [again.id])
    with pytest.raises(Conflict), database.write() as session:
        queue.rerun(session, first)


def test_a_job_that_depends_on_a_failed_one_is_refused(database: Database) -> None:
    put(database, "j-failed", state="failed")
    row = JobRow(id="j-new", kind="train", name="n", state="", depends_on=["j-failed"])
    with pytest.raises(Conflict, match="j-failed"), database.write() as session:
        queue.enqueue(session, row)


@pytest.mark.parametrize("ended", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_can_be_neither_cancelled_nor_paused_nor_resumed(database: Database, ended: str) -> None:
    put(database, "j-aaaaaa", state=ended)
    for wish in (queue.cancel, queue.pause, queue.resume):
        with pytest.raises(Conflict), database.write() as session:
            wish(session, "j-aaaaaa")


def test_things_are_found_by_id_prefix_and_newest_name(database: Database) -> None:
    for number, id_ in enumerate(["j-abcdef", "j-abxxxx", "j-zzzzzz"]):
        put(database, id_, state="queued")
        with database.write() as session:
            jobs.change(session, id_, name="same" if number < 2 else "other")
    with database.read() as session:
        assert lookup.find(session, JobRow, "j-abcdef", "job").id == "j-abcdef"
        assert lookup.find(session, JobRow, "j-abc", "job").id == "j-abcdef"
        assert lookup.find(session, JobRow, "same", "job").id == "j-abxxxx"
        with pytest.raises(Conflict, match="more than one"):
            lookup.find(session, JobRow, "j-ab", "job")
        with pytest.raises(NotFound) as caught:
            lookup.find(session, JobRow, "othre", "job")
    assert "other" in str(caught.value.hint)


def test_an_id_prefix_with_wildcards_means_itself(database: Database) -> None:
    put(database, "j-abcdef")
    with database.read() as session, pytest.raises(NotFound):
        lookup.find(session, JobRow, "j-%", "job")
