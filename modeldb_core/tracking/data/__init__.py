"""Data sets with versions: what lies in folders and buckets, hashed in parallel; queries; objects of a program.

May import: ``tracking.description`` and what that may, and of ``tracking`` what knows no runs. Begin with ``sources.py`` (what a
version can be made of), then ``reading.py`` (how it becomes the content of one).
"""
