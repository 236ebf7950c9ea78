"""How Alembic runs here: on the daemon's own connection, never on one it opens itself."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import scheduler.store.tables  # noqa: F401  the tables enter SQLModel.metadata by being imported

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
