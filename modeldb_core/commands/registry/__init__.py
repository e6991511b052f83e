"""The model registry: versions of models, the stages and aliases that they move between, and what was where at a time.

Begin with ``versions.py``, which numbers versions, and ``promotion.py``, which moves them; ``history.py`` reads the moves
back from the log. Each operation takes effect directly, under conditions: of two people who decide at once one is told.

May import: what ``commands`` may, and ``commands`` itself.
"""
