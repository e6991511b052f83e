"""Model cards: what the record knows of a version, as Markdown.

Everything in a card comes from people and programs, strangers among them: each text is escaped, so that it shows as it was
written and means nothing: no markup, no link, no HTML, no control character.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from modeldb_core.commands.registry.approvals import approvals_of
from modeldb_core.commands.registry.history import history
from modeldb_core.commands.registry.versions import VERSION
from modeldb_core.errors import ErasedError, NotFoundError
from modeldb_core.log.display import flat, is_own
from modeldb_core.log.json_documents import time_text
from modeldb_core.model.values import BlobReference
from modeldb_core.queries import Linked, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modeldb_core.commands.registry.history import Move
    from modeldb_core.model.entities import Run
    from modeldb_core.model.registry import ModelVersion, RegisteredModel
    from modeldb_core.stores import MetadataStore

_MARKUP = re.compile(
    r"[\\`*_\[\]()<>|~&$@:]"  # emphasis, code, links, HTML, cells, entities, formulas, addresses
    r"|^[#+\-=.]|^\d+(?=\.)"  # what means something at the beginning
    r"|(?<=www)\.",  # an address without a scheme
    re.IGNORECASE,
)
_MAX_TEXT, _MAX_ROWS = 2000, 200


def card(
    store: MetadataStore,
    model: RegisteredModel,
    version: ModelVersion,
    *,
    resolve: Callable[[Any], Any] = lambda value: value,
) -> str:
    """Return the card of a version.

    Args:
        store: where the run, the data and the history are read.
        model: of the version.
        version: which one.
        resolve: reads values that were moved to the artifact store.
    """
    run, gone = _run_of(store, version)
    aliases = sorted(name for name, each in model.aliases.items() if each == version.entity_id)
    about: dict[str, Any] = {
        "Version": version.version,
        "Stage": version.stage,
        "Aliases": ", ".join(aliases),
        "Labels": ", ".join(version.tags),
        "Registered by": version.owner,
        "Registered at": version.created_at,
    }
    sections = (
        ("", about),
        ("Model", _model(version)),
        ("Signature", dict(_signature(version))),
        ("Data", {} if run is None else _named(run.datasets, ("version", "digest", "shape"))),
        ("Metrics", {} if run is None else dict(sorted(run.metrics.items(), key=lambda each: is_own(each[0])))),
        ("Hyperparameters", {} if run is None else dict(flat({k: resolve(v) for k, v in run.hyperparameters.items()}))),
        ("Environment", {} if run is None else _environment(run, version, resolve)),
        ("Lineage", _lineage(store, run, gone, version)),
        ("Files", {path: entry.get("digest") for path, entry in _maps(version.artifacts)}),
        ("Facts", dict(flat(version.attributes))),
    )
    lines = [f"# {escaped(model.name)} v{version.version}", ""]
    for text in (model.description, version.description):
        lines += [escaped(text), ""] if text else []
    for title, values in sections:
        lines += _table(title, values)
    lines += _listed("Approvals", _approvals(store, version))
    lines += _listed("History", _last(_moves(history(store, model.entity_id), version)))
    return "\n".join(lines).rstrip() + "\n"


def escaped(value: object) -> str:
    """Return a value as Markdown that shows it as it is, on one line."""
    if isinstance(value, BlobReference):
        return f"{value.size_bytes:,} bytes"
    if isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, datetime):
        return str(time_text(value))
    text = " ".join(str(value).split())
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    text = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
    return _MARKUP.sub(lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", text)


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    rows = [(name, value) for name, value in values.items() if value not in (None, "", (), [])]
    if not rows:
        return []
    lines = [f"## {title}", ""] if title else []
    lines += ["| | |", "|---|---|", *(f"| {escaped(name)} | {escaped(value)} |" for name, value in rows[:_MAX_ROWS])]
    return [*lines, *([f"| … | {len(rows) - _MAX_ROWS:,} more |"] if len(rows) > _MAX_ROWS else []), ""]


def _listed(title: str, items: Iterable[str]) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"## {title}", "", *lines, ""] if lines else []


def _last(items: Iterable[str]) -> Iterator[str]:
    """Iterate over the last of many items, after how many are left out."""
    kept: deque[str] = deque(maxlen=_MAX_ROWS)
    number = 0
    for number, item in enumerate(items, 1):  # noqa: B007 - the last number counts
        kept.append(item)
    if number > len(kept):
        yield f"… {number - len(kept):,} earlier"
    yield from kept


def _run_of(store: MetadataStore, version: ModelVersion) -> tuple[Run | None, str]:
    """Return the run that made a version, or why there is none to show."""
    if not version.run_id:
        return None, ""
    try:
        run = cast("Run", store.get("run", version.run_id))
    except ErasedError:
        return None, "erased"
    except NotFoundError:
        return None, "not in this store"
    return run, "deleted" if run.deleted_at is not None else ""


def _model(version: ModelVersion) -> dict[str, Any]:
    described = {name: version.model.get(name) for name in ("class", "format", "python")}
    packages = version.model.get("packages")
    listed = ", ".join(f"{name} {found}" for name, found in sorted(packages.items())) if _is_map(packages) else ""
    problems = version.model.get("problems")
    return {
        **described,
        "packages": listed,
        "trusted types": ", ".join(map(str, version.trusted_types)),
        "problems": "; ".join(map(str, problems)) if isinstance(problems, (list, tuple)) else "",
    }


def _signature(version: ModelVersion) -> Iterator[tuple[str, Any]]:
    signature = version.model.get("signature")
    for side, said in signature.items() if _is_map(signature) else ():
        columns = said.get("columns") if _is_map(said) else said
        for column in columns if isinstance(columns, (list, tuple)) else ():
            name, kind = (column.get("name"), column.get("type", "")) if _is_map(column) else (column, "")
            yield f"{side}: {name}", kind or "any"
        if _is_map(said):
            yield from ((f"{side} {name}", value) for name, value in said.items() if name != "columns")


def _environment(run: Run, version: ModelVersion, resolve: Callable[[Any], Any]) -> dict[str, Any]:
    packages = resolve(run.environment.get("packages"))
    return {
        "python": run.environment.get("python"),
        "packages": f"{len(packages):,} are recorded with the run" if _is_map(packages) else "",
        "machine": run.context.get("platform") or run.context.get("host"),
        "model written by Python": version.model.get("python"),
    }


def _lineage(store: MetadataStore, run: Run | None, gone: str, version: ModelVersion) -> dict[str, Any]:
    users = Query("run", linked=Linked(VERSION, version.entity_id), fields=("name",), limit=_MAX_ROWS + 1)
    names = [each.name for each in store.find(users).entities]  # those of all that use it may be very many
    more = f"more than {_MAX_ROWS}: " if len(names) > _MAX_ROWS else ""
    found: dict[str, Any] = {"run": f"{version.run_id} ({gone})" if gone else version.run_id}
    if run is not None:
        commit = run.code.get("commit")
        found |= {"run name": run.name, "parent run": run.parent_id, "code": commit}
        found |= {f"model {role}": f"{entry.get('name')} v{entry.get('version')}" for role, entry in _maps(run.models)}
        found |= {f"data {role}": entry.get("name") for role, entry in _maps(run.datasets)}
    return found | {"used by runs": more + ", ".join(names[:_MAX_ROWS])}


def _named(entries: Mapping[str, Any], fields: Iterable[str]) -> dict[str, str]:
    return {
        role: ", ".join([str(entry.get("name", "")), *(f"{each} {entry[each]}" for each in fields if entry.get(each))])
        for role, entry in _maps(entries)
    }


def _approvals(store: MetadataStore, version: ModelVersion) -> Iterator[str]:
    for each in approvals_of(store, version.entity_id):
        why = f": {escaped(each.reason)}" if each.reason else ""
        yield f"{escaped(each.created_at)} {escaped(each.owner)}: {escaped(each.verdict)} for {escaped(each.stage)}{why}"


def _moves(moves: Iterable[Move], version: ModelVersion) -> Iterator[str]:
    for move in moves:
        pairs = [pair for places in (move.stages, move.aliases) for pair in places.values()]
        ids = {held.version_id for pair in pairs for held in pair if held} | (
            {move.version.version_id} if move.version else set()
        )
        if version.entity_id in ids:
            yield f"{escaped(move.at)} {escaped(move.actor)}: {escaped(move_text(move))}"


def move_text(move: Move) -> str:
    """Return a move in words: ``v3 from staging to production, champion (was v2): better auc``."""
    if move.is_erased:
        return "erased"
    number = f"v{move.version.number}" if move.version and move.version.number else "a version"
    parts = [f"from {move.from_stage} to {move.to_stage}"] if move.to_stage else []
    for name, (before, after) in move.aliases.items():
        parts.append(f"{name} {'given' if after else 'removed'}" + (f" (was v{before.number})" if before else ""))
    parts += [f"in place of v{before.number}" for before, after in move.stages.values() if before and after]
    return f"{number} {', '.join(parts) or 'moved'}" + (f": {move.reason}" if move.reason else "")


def _maps(entries: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, entry) for name, entry in entries.items() if _is_map(entry)]


def _is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
