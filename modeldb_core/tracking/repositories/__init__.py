"""Repositories in Python. Programs that only log runs never enter this room; begin with ``repository.py``."""
