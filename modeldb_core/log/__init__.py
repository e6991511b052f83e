"""What happened: changes in streams, their bytes, the points of series, and what follows from all of them.

May import: ``model`` and below. Begin with ``changes.py``: a change and the chain that it is part of. ``replay.py`` defines which
entities follow from changes, ``batches.py`` and ``points.py`` how both travel.
"""
