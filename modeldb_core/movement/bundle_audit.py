"""Verifying a bundle by itself, without any store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from modeldb_core.audit import Checkpoint, Report
from modeldb_core.audit.blobs import walked
from modeldb_core.audit.log import LogAudit
from modeldb_core.errors import IntegrityError, ModelDBError
from modeldb_core.movement.logs import changes_of
from modeldb_core.movement.references import needed_by, trees_needed_by
from modeldb_core.trees.walking import Walk

if TYPE_CHECKING:
    from modeldb_core.audit import Progress
    from modeldb_core.movement.bundles import Bundle

_CHUNK = 1 << 20


def verify_bundle(bundle: Bundle, progress: Progress | None = None, *, checkpoint: Checkpoint | None = None) -> Report:
    """Verify that a bundle is whole and that everything in it is as its writers sealed it.

    Every chain and every payload is checked, that each stream ends where the manifest says, the digests of the manifest,
    every blob, and that every blob that changes need is there unless the manifest says that it was not, nodes of trees and what
    their entries name among them.

    Args:
        checkpoint: how far streams had come when it was made. Of a bundle that holds a selection, those of its streams.
    """
    report = Report()
    tell = progress or (lambda *_: None)
    if checkpoint is not None and bundle.manifest.selection:
        has = bundle.manifest.heads
        streams = {name: end for name, end in checkpoint.streams.items() if name in has}
        checkpoint = Checkpoint(checkpoint.made_at, streams)  # of whose order alone it holds no digest
    log = LogAudit(bundle, report, checkpoint)
    log.run(tell)
    report.entities = len(log.names)
    manifest, name = bundle.manifest, str(bundle.path)
    _check_batches(bundle, report)
    if report.changes != manifest.changes:
        report.add("bundle", name, f"it holds {report.changes:,} changes; its manifest says {manifest.changes:,}")
    if report.withheld != manifest.withheld:
        report.add(
            "bundle", name, f"{report.withheld:,} payloads are withheld; its manifest says {manifest.withheld:,}"
        )
    _check_blobs(bundle, report, tell)
    if manifest.has_artifacts:
        _check_needs(bundle, report)
    return report


def _check_batches(bundle: Bundle, report: Report) -> None:
    digest = hashlib.sha256()
    try:
        for batch in bundle.batches():
            digest.update(batch)
    except IntegrityError as error:
        report.add("bundle", str(bundle.path), error)
        return
    if digest.hexdigest() != bundle.manifest.changes_sha256:
        report.add("bundle", str(bundle.path), "its changes do not match the digest in its manifest")


def _check_blobs(bundle: Bundle, report: Report, tell: Progress) -> None:
    for info in bundle.list():
        try:
            with bundle.open(info.digest) as stream:
                while stream.read(_CHUNK):
                    pass
        except ModelDBError as error:
            report.add("artifact", f"blob {info.digest}", error)
        report.blobs += 1
        tell("blobs", report.blobs, bundle.manifest.blobs)


def _check_needs(bundle: Bundle, report: Report) -> None:
    absent = set(bundle.manifest.absent_blobs)
    walk = Walk(bundle)
    try:
        for change in changes_of(bundle):
            owner = f"{change.kind} {change.entity_id}"
            for digest in needed_by(change):
                _check_need(bundle, report, absent, digest, owner)
            for field, root in trees_needed_by(change):
                for node in walked(walk, root, f"{owner}, {field}"):
                    for problem in node.problems():
                        if node.visit.digest not in absent:
                            report.add("artifact", node.subject, problem)
                    for need in node.needs():
                        _check_need(bundle, report, absent, need.digest, need.where)
    except ModelDBError:
        return  # the log cannot be read: said already


def _check_need(bundle: Bundle, report: Report, absent: set[str], digest: str, owner: str) -> None:
    if digest not in absent and not bundle.has(digest):
        absent.add(digest)
        report.add("artifact", f"blob {digest} (of {owner})", "it is missing")
