"""``modeldb doctor``: look at everything that ModelDB needs, and say what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from modeldb_core.cli.journals import damaged_journals, left_alone, orphaned_journals
from modeldb_core.cli.output import echo
from modeldb_core.cli.program import FOUND, OK
from modeldb_core.cli.session import Session, examples
from modeldb_core.cli.tables import print_json, size
from modeldb_core.cli.terminal import styled
from modeldb_core.cli.text import clean
from modeldb_core.errors import ModelDBError
from modeldb_core.movement.logs import heads_of
from modeldb_core.plugins import list_plugins, places_for
from modeldb_core.queries import Query
from modeldb_core.runtime import __version__
from modeldb_core.runtime.disk import lock_problem
from modeldb_core.runtime.notices import as_typed
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.stores import Files

if TYPE_CHECKING:
    from modeldb_core.config import Settings

WINDOWS = (
    "ModelDB is not tested on Windows: logging, reading and the server are written to work there; a program that is ended "
    "from outside cannot end its runs, and is recovered like a killed one"
)
LITTLE_SPACE_BYTES = 1 << 30
HARDLY_ANY_SPACE_BYTES = 100 << 20
CLOCK_TOLERANCE_S = 60.0
MOST_LEFT_ALONE = 20
_REMOTE_FILE_SYSTEMS = frozenset({"9p", "afs", "ceph", "cifs", "fuse.sshfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3"})
_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "wrong": ("WRONG", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing; ``advice`` says what to do about it."""

    subject: str
    state: Literal["ok", "note", "wrong"]
    text: str
    advice: str = ""


@click.command(epilog=examples("modeldb doctor", "modeldb doctor --url sqlite:////data/modeldb.db --json"))
@click.option("--url", metavar="URL", help="The store; default: the configured one.")
@click.option("--artifact-url", metavar="URL", help="Where files and models are; default: beside the store.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, url: str | None, artifact_url: str | None, as_json: bool) -> int:
    """Check versions, plugins, store, artifacts, journals, disk space and clock. Exits with 1 if something is wrong."""
    session = Session(url=url, artifact_url=artifact_url, ships_orphans=False)  # it says what waits
    try:
        findings = list(examine(session))
    finally:
        session.close()
    if as_json:
        print_json(
            [
                {"subject": item.subject, "state": item.state, "text": item.text, "advice": item.advice}
                for item in findings
            ]
        )
    else:
        for item in findings:
            mark, color = _MARKS[item.state]
            click.echo(styled(f"{mark:>5}", fg=color), file=sys.stdout, nl=False)
            echo(f"  {item.subject}: {clean(item.text)}")
            if item.advice:
                echo(f"       -> {as_typed(clean(item.advice))}")
    return FOUND if any(item.state == "wrong" for item in findings) else OK


def examine(session: Session) -> Iterator[Finding]:
    """Iterate over what is found; a check that fails in an unforeseen way is a finding itself."""
    checks: tuple[Callable[[Session], Iterator[Finding]], ...] = (
        _versions,
        _system,
        _settings,
        _plugins,
        _store,
        _clock,
        _artifacts,
        _journals,
        _space,
    )
    for check in checks:
        try:
            yield from check(session)
        except ModelDBError as error:
            yield Finding(check.__name__.strip("_"), "wrong", str(error))
        except Exception as error:
            yield Finding(check.__name__.strip("_"), "wrong", f"the check failed: {type(error).__name__}: {error}")


def _versions(session: Session) -> Iterator[Finding]:
    del session
    from importlib.metadata import PackageNotFoundError, version

    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("versions", "ok", f"ModelDB {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")
    for extra, name in {"server": "flask", "sklearn": "scikit-learn"}.items():
        try:
            yield Finding(f"extra {extra}", "ok", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding(
                f"extra {extra}", "note", "not installed", f"if you need it: pip install 'modeldb-core[{extra}]'"
            )


def _system(session: Session) -> Iterator[Finding]:
    """Say what this operating system lacks."""
    del session
    if (problem := lock_problem()) is not None:
        advice = "pip install portalocker; until then what is logged is kept in memory, and lost with the process"
        yield Finding("file locks", "wrong", problem, advice)
    if sys.platform == "win32":
        yield Finding("operating system", "note", WINDOWS, "report what does not work")


def _settings(session: Session) -> Iterator[Finding]:
    settings = session.settings
    shown = f"{redact_url(settings.url)} ({settings.origin('url')})"
    yield Finding("store URL", "ok", shown)


def _plugins(session: Session) -> Iterator[Finding]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with a plugin stands in its description
        found = list_plugins(session.settings)
    if not any(info.is_own for info in found):
        advice = "install modeldb-core with pip: its own stores are plugins too"
        yield Finding("plugins", "wrong", "ModelDB's own plugins are not installed", advice)
    for info in found:
        if info.state == "broken":
            advice = "reinstall modeldb-core" if info.is_own else f"update or uninstall {info.distribution}"
            yield Finding("plugins", "wrong" if info.is_own else "note", f"{info} is left out: {info.error}", advice)
    loaded = sum(info.state == "loaded" for info in found)
    blocked = [info.name for info in found if info.state == "blocked"]
    yield Finding("plugins", "ok", f"{loaded} loaded" + (f", blocked: {', '.join(blocked)}" if blocked else ""))


def _store(session: Session) -> Iterator[Finding]:
    place = places_for(session.settings).place_of(session.settings.url)
    path = place.path_in(session.settings.url)
    if path is not None:
        if not path.exists():
            yield from _missing_store(path)
            return
        if (
            isinstance(place, Files)
            and not place.may_be_remote
            and (kind := _file_system(path)) in _REMOTE_FILE_SYSTEMS
        ):
            advice = "keep it on a local disk: file locks over the network lose data"
            yield Finding("store", "wrong", f"{path} lies on a network file system ({kind})", advice)
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            yield Finding("store", "note", f"{path} can be read but not written by this user")
    store = session.store
    page = store.find(Query(kind="run", limit=0, count=True))
    yield Finding("store", "ok", f"{store.url} answers: {page.total or 0:,} runs")
    if path is None and getattr(store, "read_only", False):
        yield Finding("store", "note", "it can be read but not written by this user")
    for text in getattr(store, "audit_schema", tuple)():
        yield Finding("store", "wrong", text, "remove or repair it, then run: modeldb audit verify")
    lost = store.find(Query(kind="run", filter='status = "lost"', limit=0, count=True)).total or 0
    if lost:
        advice = "modeldb sync, on the machine where they ran, recovers what they had logged"
        yield Finding("runs", "note", f"{lost:,} {'run has' if lost == 1 else 'runs have'} lost their process", advice)


def _missing_store(path: Path) -> Iterator[Finding]:
    folder = next(folder for folder in path.parents if folder.exists())
    if os.access(folder, os.W_OK | os.X_OK):
        yield Finding("store", "note", f"{path} does not exist yet", "it is made when the first run is logged")
    else:
        advice = "choose another place with MODELDB_URL or modeldb.toml"
        yield Finding("store", "wrong", f"{path} does not exist, and {folder} may not be written", advice)


def _clock(session: Session) -> Iterator[Finding]:
    path = places_for(session.settings).path_in(session.settings.url)
    if path is not None and not path.exists():
        return
    latest = max((head.recorded_at for _, head in heads_of(session.store)), default=0)
    ahead_s = latest / 1_000_000 - time.time()
    if ahead_s > CLOCK_TOLERANCE_S:
        advice = "set the clock of this machine, or of the one that logged it; runs read as lost by these clocks"
        yield Finding("clock", "wrong", f"the store holds changes from {ahead_s:,.0f} s in the future", advice)
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def _artifacts(session: Session) -> Iterator[Finding]:
    folder = places_for(session.settings).path_in(session.settings.artifact_url, "artifacts")
    if folder is not None and not folder.exists():
        yield Finding("artifacts", "note", f"{folder} does not exist yet", "it is made when the first file is logged")
        return
    artifacts = session.artifacts
    next(iter(artifacts.list()), None)
    yield Finding("artifacts", "ok", f"{artifacts.url} answers")
    if folder is not None and not os.access(folder, os.W_OK):
        yield Finding("artifacts", "note", f"{folder} can be read but not written by this user")


def _journals(session: Session) -> Iterator[Finding]:
    folder = session.settings.journal_dir
    if not _is_writable(folder):
        advice = "make it writable, or choose another with journal_dir (MODELDB_JOURNAL_DIR)"
        yield Finding(
            "journals", "wrong", f"{folder} cannot be written: a crash would lose what was just logged", advice
        )
        return
    if (kind := _file_system(folder)) in _REMOTE_FILE_SYSTEMS:
        yield Finding(
            "journals", "wrong", f"{folder} lies on a network file system ({kind})", "set journal_dir to a local disk"
        )
    waiting = orphaned_journals(folder)
    if waiting:
        total = size(sum(orphan.size_bytes for orphan in waiting))
        urls = sorted({orphan.store_url for orphan in waiting} - {""})
        text = f"{len(waiting):,} of dead processes wait to be shipped ({total}), for {', '.join(urls) or 'no known store'}"
        yield Finding("journals", "note", text, "modeldb sync")
    for path in damaged_journals(folder):
        advice = "what could be read is in the store; delete it when you no longer need it"
        yield Finding("journals", "note", f"{path} is damaged", advice)
    alone = left_alone(folder)
    for found in alone[:MOST_LEFT_ALONE]:
        yield Finding("journals", "wrong" if found.is_pending and not found.is_newer else "note", str(found))
    if len(alone) > MOST_LEFT_ALONE:
        more = f"{len(alone) - MOST_LEFT_ALONE:,} more in {folder} are left alone"
        yield Finding("journals", "note", more, "modeldb sync --dry-run lists them")
    yield Finding("journals", "ok", str(folder))


def _space(session: Session) -> Iterator[Finding]:
    for folder in _folders(session.settings):
        free = shutil.disk_usage(folder).free
        if free < HARDLY_ANY_SPACE_BYTES:
            yield Finding("disk space", "wrong", f"{size(free)} left on {folder}", "free some now: logging will fail")
        elif free < LITTLE_SPACE_BYTES:
            yield Finding("disk space", "note", f"{size(free)} left on {folder}", "free some soon")
        else:
            yield Finding("disk space", "ok", f"{size(free)} free for {folder}")


def _folders(settings: Settings) -> list[Path]:
    """Return an existing folder for each file system that is written to."""
    places = places_for(settings)
    found = (places.path_in(settings.url), places.path_in(settings.artifact_url, "artifacts"))
    wanted = [settings.journal_dir, *(path.absolute() for path in found if path is not None)]
    existing = [next(folder for folder in (path, *path.parents) if folder.exists()) for path in wanted]
    return list({folder.stat().st_dev: folder for folder in existing}.values())


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds ``path``; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    resolved = str(path.resolve())
    for line in lines:
        _, point, found, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
