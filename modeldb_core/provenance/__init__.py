"""What was made from what: links walked, drawn and exported; and what a run or a model was made of, as a bill of materials.

May import: plugins, config, stores, queries, log, model and below. Begin with ``walk.py``; ``graph.py`` says what comes
out of it, and ``dot.py``, ``prov.py`` and ``openlineage.py`` write that down.
"""
