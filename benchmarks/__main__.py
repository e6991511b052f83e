"""``python -m benchmarks``: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import FULL, QUICK, TINY, Bench
from benchmarks.catalogue import BENCHMARKS, PEERS
from benchmarks.results import notes, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Result

_SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns 0 unless a benchmark broke. A budget that is missed is a finding, no failure."""
    options = _parser().parse_args(arguments)
    sizes = _SCALES["tiny" if options.tiny else "quick" if options.quick else "full"]
    if options.repeat:
        sizes = replace(sizes, repeats=options.repeat)
    known = BENCHMARKS | PEERS
    asked = {*(options.only or BENCHMARKS), *(PEERS if options.peers else ())}
    chosen = {name: run for name, run in known.items() if name in asked}
    with tempfile.TemporaryDirectory(prefix="modeldb-benchmarks-", dir=options.workdir) as folder:
        bench = Bench(Path(folder), sizes, _Progress().say, peers_python=options.peers_python)
        results, broken = _run(bench, chosen)
    about = _about(sizes is FULL)
    sys.stdout.write(f"{about}\n\n{table(results)}\n\n{notes(results)}\n")
    if options.json:
        data = {"about": about, "results": [result.to_json() for result in results], "broken": broken}
        options.json.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    for name, error in broken.items():
        sys.stdout.write(f"\n{name} broke: {error}\n")
    return 1 if broken else 0


def _run(bench: Bench, chosen: dict[str, Any]) -> tuple[list[Result], dict[str, str]]:
    """Return the results, and the errors of benchmarks that broke by their name."""
    results: list[Result] = []
    broken: dict[str, str] = {}
    for name, run in chosen.items():
        bench.say(name)
        try:
            for result in run(bench):
                results.append(result)
                bench.say(f"{result.work}: {result.value:.4g} {result.unit} {result.verdict}")
        except Exception as error:
            broken[name] = f"{type(error).__name__}: {error}"
            bench.say(f"{name} broke: {traceback.format_exc()}")
    return results, broken


class _Progress:
    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Write a line to standard error, with the seconds since the start."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stderr.flush()


def _about(is_full: bool) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    scale = "full sizes" if is_full else "other sizes than those of the budgets"
    return f"{now}, Python {platform.python_version()}, {os.cpu_count()} cores, load average {load}, {scale}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the performance budgets.")
    names = [*BENCHMARKS, *PEERS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"of {', '.join(names)}")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="smaller sizes: a first look within two minutes")
    scale.add_argument("--tiny", action="store_true", help="sizes that only show whether every benchmark runs")
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions; default: 5, with --quick 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    parser.add_argument(
        "--workdir", type=Path, metavar="FOLDER", help="where to put the stores; default: the temporary folder"
    )
    parser.add_argument("--peers", action="store_true", help="measure other trackers too, where they are installed")
    parser.add_argument(
        "--peers-python",
        metavar="FILE",
        default=sys.executable,
        help="the interpreter of an environment that has them, as benchmarks.install_peers makes it; default: this one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
