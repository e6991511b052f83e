"""The model registry as programs use it: ``functions.py`` has what users call, ``models.py`` what that returns.

Imported by programs that register or load models alone. May import: what ``tracking`` may; ``models.py`` only what a run's
handle stands on, which records the versions that it uses.
"""
