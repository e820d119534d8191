"""What Alembic runs for a migration: the steps, over the connection that `database` has opened and locked."""

from __future__ import annotations

from alembic import context

from tunesmith.remembered.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
