"""Bringing a database to this release's schema; one of a later release is refused."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect

from appliance.errors import LuthierError

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
HEAD = "0001"
"""The newest migration; a database that is there already is opened without loading Alembic."""


class NewerSchema(LuthierError):
    """A database written by a later release."""

    code = "newer-schema"
    exit_status = 78


def migrate(connection: Connection) -> None:
    """Apply what is missing, in one transaction for each migration. Raises ``NewerSchema``."""
    present = version_of(connection)
    connection.rollback()
    if present == HEAD:
        return
    if present is not None and present > HEAD:
        raise NewerSchema(
            f"The database has schema {present}, and this release knows {HEAD}.",
            hint="A later release of Luthier wrote it: start that one, or use another home.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def version_of(connection: Connection) -> str | None:
    """The migration a database is at, None when it is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version
