"""Repositories: what commits hold, how two states differ, and how they are merged; no store is written here.

A commit holds a content tree from *locations* ("data/train") to *blobs* of four kinds (``blobs.py``). What differs between two
trees (``differences.py``) and what a merge makes of two lines of work (``merging.py``) are pure functions of maps from locations to
entries. ``ancestry.py`` walks commits, ``names.py`` says what branches and locations may be called.
``docs/repositories.md`` says what a user sees; :mod:`modeldb_core.commands.repositories` makes commits of it.

May import: ``trees``, ``stores`` and below. Begin with ``blobs.py``, then ``merging.py``.
"""
