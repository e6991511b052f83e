"""Every benchmark runs, and the table says what was measured. No time is asserted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _import_benchmarks() -> None:
    """Import the package from the repository, of which it is no installed part, without touching the path."""
    folder = ROOT / "benchmarks"
    spec = spec_from_file_location("benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["benchmarks"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["benchmarks"])


_import_benchmarks()

from benchmarks.catalogue import BENCHMARKS, PEERS  # noqa: E402
from benchmarks.results import Budget, Result, notes, table  # noqa: E402

QUICK = ("producer", "one", "import")
ALONE = {name: benchmark for name, benchmark in PEERS.items() if name == "trackers"}
"""Of the benchmarks of others, those that measure ModelDB too where nothing else is installed."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.thorough) for name in BENCHMARKS | ALONE]
)
def test_benchmark_runs(name: str, tmp_path: Path) -> None:
    report, workdir = tmp_path / "report.json", tmp_path / "work"
    workdir.mkdir()
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--repeat", "1", "--only", name]
    done = subprocess.run(
        [*command, "--json", str(report), "--workdir", str(workdir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(report.read_text("utf-8"))
    assert data["results"]
    for result in data["results"]:
        assert result["benchmark"] == name
        assert all(math.isfinite(sample) for sample in result["ours"] + result["limit"])
        assert f"| {result['work']} " in done.stdout
    assert not list(workdir.iterdir())


def _result(**more: object) -> Result:
    fields: dict[str, object] = {"benchmark": "x", "work": "some work", "unit": "ms", "ours": [3.0, 1.0, 2.0]}
    return Result(**{**fields, **more})  # type: ignore[arg-type]


def test_ratio_is_the_median_of_neighbouring_samples() -> None:
    assert _result(ours=[2.0, 30.0, 4.0], limit=[1.0, 10.0, 4.0]).ratio == 2.0


@pytest.mark.parametrize(
    ("budget", "limit", "verdict"),
    [
        (Budget(4), (), "met (0.50 of it)"),
        (Budget(1), (), "MISSED (2.00 x)"),
        (Budget(2, "ratio"), (3.0, 1.0, 2.0), "met (0.50 of it)"),
        (Budget(0.5, "ratio"), (3.0, 1.0, 2.0), "MISSED (2.00 x)"),
        (Budget(4, "ratio", at_least=True), (3.0, 1.0, 2.0), "MISSED (4.00 x)"),
        (Budget(1, at_least=True), (), "met (0.50 of it)"),
        (Budget(2, "excess"), (2.0, 0.0, 1.0), "met (0.50 of it)"),
        (None, (), ""),
    ],
)
def test_verdict_compares_with_the_budget(budget: Budget | None, limit: tuple[float, ...], verdict: str) -> None:
    assert _result(budget=budget, limit=limit).verdict == verdict


def test_table_and_notes_name_the_work_and_its_limit() -> None:
    results = [_result(budget=Budget(2, "ratio"), limit=[1.0], limit_is="the least", peers="others 9 ms"), _result()]
    lines = table(results).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "2.00 ms" in lines[2]
    assert "≤ 2 x" in lines[2]
    assert notes(results).splitlines() == ["- Limit of `x`: the least.", "- Others on `x`, as documented: others 9 ms."]


@pytest.fixture(scope="module", autouse=True)
def _forget_benchmarks() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]
