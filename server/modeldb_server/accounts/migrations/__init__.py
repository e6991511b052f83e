"""Migrations of the tables of accounts, run by ``database.py``: one module in ``versions`` for each version of the tables."""
