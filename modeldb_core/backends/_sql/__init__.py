"""What the stores on SQL databases share: tables, migrations, and how changes are applied and questions answered.

Everything here is SQLAlchemy Core and means the same on every database. What differs (connections, transactions,
errors, locks) is behind :class:`~modeldb_core.backends._sql.database.Database`. What writing needs goes through two doors,
``sa.py`` and ``tables.py``, and imports SQLAlchemy only where a statement is built (``prepared.py``).
"""
