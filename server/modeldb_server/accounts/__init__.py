"""Users, their tokens, passwords and sessions, and what they may do: who asks the server.

May import: what ``modeldb_server`` may, but nothing of Flask below ``routes.py``. Begin with ``accounts.py``, which answers both questions.
``directory.py`` reads who is who from the log of the store; ``vault.py`` keeps what is secret in tables of its own
(``tables.py``, ``migrations``), of which only digests and hashes are stored (``secrets.py``); ``credentials.py`` finds in a
request what it shows.
"""
