"""What exists: the kinds of entities with their fields, and the values that they hold.

May import: ``runtime`` and ``errors``. Begin with ``entities.py``, then ``values.py``.
"""
