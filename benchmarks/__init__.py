"""Measures every performance budget beside the physical limit of the same work, in the same run.

``python -m benchmarks`` prints one table; ``docs/performance.md`` explains it. Nothing here is asserted by the tests:
a machine that is busy would fail them. The tests only see to it that every benchmark runs.
"""
