"""How a database comes to the form of `tables`, step by step (Alembic)."""
