"""The process that ModelDB runs in: forks, exits, threads, files, messages to people, and secrets kept out of texts.

May import: ``modeldb_core.errors``. Begin with ``forks.py`` and ``exits.py``: the end of a process and its copies shape
everything that holds threads, files or connections.
"""

__version__ = "0.1.0"
"""Of ModelDB."""
