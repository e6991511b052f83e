"""What is logged, described: data sets by digests of their content, models by formats and signatures, objects as values.

May import: ``plugins`` and below, nothing of ``tracking``. Begin with ``datasets.py`` (data sets) and ``model_formats.py`` (models).
"""
