"""The crash-safe way of what a process logs: into a local journal, from there to the store, also after the process died.

May import: ``stores``, ``queries`` and below. Begin with ``writer.py`` and ``journal.py``. Records (``records.py``) lie in segments
(``segments.py``), become changes (``sealing.py``) and are shipped (``shipping.py``); ``recovery.py`` does the same for journals that
a dead process left.
"""
