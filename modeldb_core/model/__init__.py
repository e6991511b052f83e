"""What exists: the kinds of entities and their fields, declared once, and the values that they hold.

May import: ``runtime`` and ``errors``. Begin with ``schema.py`` (kinds and fields), then ``entities.py`` and ``values.py``.
"""
