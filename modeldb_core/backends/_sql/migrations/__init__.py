"""The migrations of the tables, run by Alembic; ``schema.py`` says when."""
