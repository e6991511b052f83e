"""Repeating a run: a plan that can be shown and refused, and what comes of carrying it out."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.edits import update
from modeldb_core.errors import ReproductionError
from modeldb_core.journal.recovery import recover
from modeldb_core.model.entities import FINISHED, RUNNING, Run
from modeldb_core.plugins import load_settings, open_artifacts, open_store
from modeldb_core.reproduction.checkout import make_code, plan_code
from modeldb_core.reproduction.command import shown, shown_words
from modeldb_core.reproduction.data import copy_unrecorded, data_files, place_data
from modeldb_core.reproduction.differences import Section, compare_runs
from modeldb_core.reproduction.environments import build, plan_environment
from modeldb_core.reproduction.execution import run_command, store_settings, words_of
from modeldb_core.reproduction.record import read_record
from modeldb_core.reproduction.results import compare_results, matching_run
from modeldb_core.reproduction.values import resolving, with_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from modeldb_core.log.points import Series
    from modeldb_core.reproduction.checkout import CodePlan
    from modeldb_core.reproduction.data import DataFile
    from modeldb_core.reproduction.environments import EnvironmentPlan, Mode
    from modeldb_core.reproduction.record import Recording
    from modeldb_core.reproduction.results import Result
    from modeldb_core.reproduction.values import Resolve
    from modeldb_core.reproduction.versions import Versions
    from modeldb_core.tracking.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user allows and asks for; see the options of ``modeldb reproduce``."""

    command: Sequence[str] = ()
    repository: Path | None = None
    fetch: bool = False
    environment: Mode = "auto"
    uv_options: Sequence[str] = ()
    allow_urls: bool = False
    allow_builds: bool = False
    data: Path | None = None
    copy: Sequence[str] = ()
    changed_data: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What repeating a run means here. Making one reads the record and asks git; it installs, fetches and runs nothing."""

    run: Run
    recording: Recording
    code: CodePlan
    environment: EnvironmentPlan
    data: Sequence[DataFile]
    options: Options

    def lines(self) -> list[str]:
        """Return everything that would be fetched, installed and run, for people.

        What comes from the record is written so that nothing in it is hidden: escapes stand for control characters.
        """
        interpreter = sys.executable if self.environment.is_here else "environment/bin/python"
        command = shown_words(words_of(self.recording.command, interpreter))
        lines = [
            f"Run {shown(self.run.name)} ({self.run.entity_id}) will be repeated in a folder of its own, with your rights.",
            "",
        ]
        lines += ["Code:", *(f"  {line}" for line in self.code.lines(self.recording) or ["none that was recorded"]), ""]
        lines += ["Environment:", *(f"  {line}" for line in self.environment.lines()), ""]
        data = [each.line() for each in self.data]
        data += [f"{shown(path)}, copied as it is now, as asked for" for path in self.options.copy]
        if data:
            lines += ["Data:", *(f"  {line}" for line in data), ""]
        lines += [
            "Command, run without a shell:",
            f"  {command}",
            f"  in the folder {shown(self.recording.place.folder)} of the code",
        ]
        if self.recording.gaps:
            lines += ["", "It cannot be exact:", *(f"  {gap}" for gap in self.recording.gaps)]
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What came of repeating a run.

    Attributes:
        run: the original one.
        repeated: the other one, in the store of its folder, with all the values that had been moved to its artifact store.
        results: the metrics of both.
        tolerance: up to which a difference counts as close.
        data: the data sets that differ, those in memory too.
        environment: how the environment differs from the recorded one.
        gaps: why the repetition is not exact.
    """

    run: Run
    repeated: Run
    results: Sequence[Result]
    tolerance: float
    data: Section
    environment: Sequence[str]
    gaps: Sequence[str]

    @property
    def is_same(self) -> bool:
        """Whether every metric is the same, or close."""
        return all(result.is_good for result in self.results)

    def document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "run_id": self.run.entity_id,
            "outcome": "same" if self.is_same else "differs",
            "tolerance": self.tolerance,
            "results": [result.document() for result in self.results],
            "data": self.data.document(),
            "environment": list(self.environment),
            "gaps": list(self.gaps),
        }


def plan(run: Run, resolve: Resolve, options: Options) -> Plan:
    """Read the record of a run and decide how it is repeated here.

    Raises:
        ReproductionError: it cannot be; the message says why, and what can be done.
    """
    recording = read_record(run, resolve, options.command)
    return Plan(
        run=run,
        recording=recording,
        code=plan_code(recording, repository=options.repository, fetch=options.fetch),
        environment=plan_environment(
            recording,
            options.environment,
            options=options.uv_options,
            allow_urls=options.allow_urls,
            allow_builds=options.allow_builds,
        ),
        data=data_files(recording),
        options=options,
    )


def carry_out(
    planned: Plan,
    folder: Path,
    versions: Versions,
    say: Callable[[str], None],
    record: Callable[[Reproduction, Mapping[str, Series]], None] | None = None,
) -> Reproduction:
    """Repeat a run as planned, and compare.

    Args:
        planned: what somebody has agreed to.
        folder: an empty folder for code, environment and store.
        versions: where the original run and its data are.
        say: is told what happens and what the program prints.
        record: called at the end with the repeated run's series, while its store is open.

    Raises:
        ReproductionError: something is missing, or the program fails, or logs nothing that can be compared.
    """
    recording, options = planned.recording, planned.options
    say("Making the code...")
    gaps = [*recording.gaps, *make_code(planned.code, recording, folder)]
    gaps += place_data(planned.data, folder / "code", versions, folder=options.data, allow_changed=options.changed_data)
    gaps += copy_unrecorded(options.copy, recording.place, folder / "code", folder=options.data)
    say("Making the environment...")
    environment = build(planned.environment, recording, folder)
    say("Running the program...")
    if problem := run_command(recording, environment, folder, say):
        if planned.run.status in (FINISHED, RUNNING):
            raise ReproductionError(problem)
        gaps.append(problem)
    url, artifact_url, journal_dir = store_settings(folder)
    settings = load_settings(url=url, artifact_url=artifact_url, journal_dir=journal_dir)
    with open_store(url, settings) as own, closing(open_artifacts(artifact_url, settings)) as artifacts:
        recover(settings.journal_dir, own.url, own, lambda: artifacts)
        repeated = matching_run(planned.run, versions.store, own)
        results = compare_results(planned.run, repeated, (versions.store, own), options.tolerance)
        there, here = resolving(versions.blobs.open), resolving(artifacts.open)
        whole, lost = with_values(repeated, artifacts.open)  # the folder of its artifacts may go
        found = Reproduction(
            run=planned.run,
            repeated=whole,
            results=results,
            tolerance=options.tolerance,
            data=compare_runs(planned.run, repeated, lambda value: here(there(value)))["data"],
            environment=environment.differences,
            gaps=[*gaps, *lost],
        )
        if record is not None:
            record(found, {key: own.read_series(repeated.entity_id, key) for key in repeated.series})
    return found


def record_repetition(client: Client, found: Reproduction, series: Mapping[str, Series]) -> str:
    """Log the repeated run beside the original one and link it to that; returns its identifier."""
    original, repeated = found.run, found.repeated
    outcome = {
        "repeats": original.entity_id,
        "outcome": "same" if found.is_same else "differs",
        "tolerance": found.tolerance,
    }
    with client.start_run(
        client.container_name("project", original.project_id),
        client.container_name("experiment", original.experiment_id),
        f"{original.name} (repeated)",
        tags=["reproduction"],
        hyperparameters=dict(repeated.hyperparameters),
        attributes=outcome,
        capture=False,
        make_current=False,
    ) as run:
        run._record(update(Run.KIND, run.run_id, {"set": {"repeats_id": original.entity_id}}))
        run.log_metrics({key: value for key, value in repeated.metrics.items() if key not in repeated.series})
        for key, points in series.items():
            for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True):
                run.log_metrics({key: value}, step=step)
        for gap in (*found.environment, *found.gaps):
            run.note(gap)
    return run.run_id
