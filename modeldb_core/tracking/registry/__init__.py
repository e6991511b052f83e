"""Registered models and their versions, as programs hold them; ``registering.py`` beside this room makes and finds them.

Imported by programs that register or load models alone. May import: only what the handle of a run stands on, since that
records the versions that a run uses.
"""
