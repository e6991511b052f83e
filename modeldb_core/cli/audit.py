"""``modeldb audit``: read and verify the record of all changes."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.audit_log import log
from modeldb_core.cli.output import echo
from modeldb_core.cli.program import FOUND, OK
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json
from modeldb_core.cli.text import clean
from modeldb_core.movement.bundles import Bundle
from modeldb_core.provenance import envelope as envelopes

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.audit import Checkpoint


@click.group()
def audit() -> None:
    """Read and verify the record of all changes."""


audit.add_command(log)


@audit.command(
    epilog=examples(
        "modeldb audit verify",
        "modeldb audit verify --artifacts --checkpoint 2026-11-01.json",
        "modeldb audit verify runs.bundle",
    )
)
@click.argument("bundle_path", metavar="[BUNDLE]", required=False)
@click.option("--checkpoint", "checkpoint_path", metavar="FILE", help="Compare the store with this checkpoint.")
@click.option("--key", metavar="FILE", help="The public key of who has to have signed the checkpoint.")
@click.option("--access", "is_access", is_flag=True, help="Verify the access log of the server on this machine.")
@click.option("--artifacts", "with_artifacts", is_flag=True, help="Read and check every stored file as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def verify(
    session: Session,
    *,
    bundle_path: str | None,
    checkpoint_path: str | None,
    key: str | None,
    is_access: bool,
    with_artifacts: bool,
    as_json: bool,
) -> int:
    """Check that nothing in the store was altered, dropped or added outside of ModelDB.

    Every chain of changes is verified, and everything that answers questions is compared with a replay of the
    changes. Exits with 1 if anything does not match, and names it.

    With BUNDLE, a file that `modeldb export` wrote is verified by itself: its chains, its files and its manifest.
    """
    from modeldb_core import audit as auditing
    from modeldb_core.audit.access import verify_access

    if is_access and (bundle_path is not None or with_artifacts):
        msg = "--access verifies the access log alone; leave out BUNDLE and --artifacts"
        raise click.UsageError(msg)
    if key is not None and checkpoint_path is None:
        msg = "--key says who has to have signed the checkpoint; name that with --checkpoint"
        raise click.UsageError(msg)
    checkpoint = _checkpoint(session, checkpoint_path, key) if checkpoint_path else None
    with stages_bar() as show:
        if is_access:
            report = verify_access(_access_folder(session), show, checkpoint=checkpoint)
        elif bundle_path is not None:
            from modeldb_core.movement.bundle_audit import verify_bundle

            with Bundle(bundle_path) as bundle:
                report = verify_bundle(bundle, show, checkpoint=checkpoint)
        else:
            artifacts = session.artifacts if with_artifacts else None
            report = auditing.verify(session.store, artifacts, show, checkpoint=checkpoint)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        for line in str(report).splitlines():
            echo(clean(line))
    return OK if report.ok else FOUND


@audit.command(
    "checkpoint",
    epilog=examples(
        "modeldb audit checkpoint 2026-11-01.json",
        "modeldb audit checkpoint s3://auditor/checkpoints --key key.pem",
        "modeldb audit checkpoint checkpoints/ --access",
    ),
)
@click.argument("place", metavar="[WHERE]", required=False)
@click.option("--key", metavar="FILE", help="Sign it with this ed25519 key; default: audit.key of the settings.")
@click.option("--access", "is_access", is_flag=True, help="Of the access log of the server on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def write_checkpoint(session: Session, *, place: str | None, key: str | None, is_access: bool, as_json: bool) -> None:
    """Write down how far every stream of changes has come.

    Keep it where those who can alter the store cannot: `audit verify --checkpoint` then shows changes that were
    dropped from the end, and streams that are missing as a whole. WHERE is a file, a folder or the URL of a bucket; without
    it the checkpoint is printed. Where audit.timestamp_url names a time-stamp authority, that witnesses it.
    """
    from modeldb_core.audit.access import AccessReader
    from modeldb_core.audit.making import keep_checkpoint, make_checkpoint

    settings = session.settings
    path = key or settings.audit_key
    private = None
    if path is not None:
        private = envelopes.private_key(
            path, lambda: str(click.prompt("Password of the key", hide_input=True, err=True))
        )
    if is_access:
        with AccessReader(_access_folder(session)) as reader:
            checkpoint = make_checkpoint(reader, settings, key=private)
    else:
        checkpoint = make_checkpoint(session.store, settings, key=private)
    if place is None:
        echo(checkpoint.encode(), nl=False)
        return
    where = keep_checkpoint(checkpoint, place, settings, what="access" if is_access else "checkpoint")
    if as_json:
        print_json(
            {
                "path": where,
                "streams": len(checkpoint.streams),
                "sha256": checkpoint.digest,
                "root": checkpoint.root.hex(),
            }
        )
        return
    echo(f"{clean(where)}: {len(checkpoint.streams):,} streams, SHA-256 {checkpoint.digest}")


@audit.command(epilog=examples("modeldb audit verifier"))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def verifier(*, as_json: bool) -> None:
    """Print a program in one file that verifies exports and checkpoints without ModelDB.

    It needs Python and nothing else, and is written from docs/format.md. Write it into a file, such as verify.py, and give
    that to an auditor: python -I verify.py runs.bundle --checkpoint 2026-11-01.json
    """
    text = resources.files("modeldb_core.audit").joinpath("verifier.py").read_text("utf-8")
    if as_json:
        print_json({"verifier": text})
    else:
        echo(text, nl=False)


def _checkpoint(session: Session, path: str, key: str | None) -> Checkpoint:
    """Return a checkpoint, and say who witnessed it; one that was altered is an error."""
    from modeldb_core.audit import Checkpoint
    from modeldb_core.audit.making import check_anchors

    checkpoint = Checkpoint.read(path)
    if key is not None:
        checkpoint.check_signature(envelopes.public_key(key))
    for sentence in check_anchors(checkpoint, session.settings):
        echo(clean(f"{path}: {sentence}"), err=True)
    return checkpoint


def _access_folder(session: Session) -> Path:
    """Return where the servers of this store on this machine write their access log."""
    from modeldb_core.audit.access import access_folder

    return access_folder(session.settings.server_access_log_dir, session.settings.url)
