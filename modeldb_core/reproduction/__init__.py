"""Explaining how two runs differ, and repeating one.

``differences.py`` is the comparison of two runs that ``modeldb.diff``, ``modeldb diff`` and the server answer with.
Begin there. The room stands beside ``tracking``; nothing in ``tracking`` imports it.
"""
