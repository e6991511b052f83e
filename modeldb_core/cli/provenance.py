"""``modeldb bom`` and ``modeldb attest``: what a run or a model is made of, for those who ask for it in writing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_entity
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json
from modeldb_core.cli.text import clean, json_escaped
from modeldb_core.errors import AlreadyExistsError, IntegrityError, NotFoundError
from modeldb_core.provenance import envelope as envelopes
from modeldb_core.provenance.bom import make_bom
from modeldb_core.provenance.record import record_of
from modeldb_core.provenance.statement import compare, make_statement, subjects_of
from modeldb_core.stores.references import find_entity

if TYPE_CHECKING:
    from modeldb_core.provenance.record import Record

_OUTPUT = click.option("-o", "--output", metavar="FILE", help="Write it into a file, which must not exist yet.")


@click.command(epilog=examples("modeldb bom churn@v3", "modeldb bom 3f9a1c2e -o bom.cdx.json"))
@click.argument("reference", metavar="ENTITY", shell_complete=complete_entity)
@_OUTPUT
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as it always does.")
@with_session
def bom(session: Session, *, reference: str, output: str | None, as_json: bool) -> None:
    """Write the bill of materials of a run or a version of a model: a CycloneDX ML-BOM.

    It lists files with their digests, data, packages, code and results, and says what the record does not know.
    """
    del as_json
    _write(make_bom(_record(session, reference), session.resolve), output)


@click.command(
    epilog=examples(
        "modeldb attest churn@v3 --key key.pem -o churn.intoto.json",
        "modeldb attest --verify churn.intoto.json --key key.pub churn@v3 --file model.skops",
    )
)
@click.argument("reference", metavar="ENTITY", required=False, shell_complete=complete_entity)
@click.option(
    "--key", metavar="FILE", required=True, help="Your ed25519 key (PEM, or of ssh-keygen); to verify, a public one."
)
@click.option(
    "--verify", "signed", metavar="FILE", help="Verify what is in a file instead, and compare it with ENTITY."
)
@click.option(
    "--file", "files", metavar="PATH", multiple=True, help="With --verify: a file that must be among those stated."
)
@_OUTPUT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def attest(
    session: Session,
    *,
    reference: str | None,
    key: str,
    signed: str | None,
    files: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> None:
    """State how the files of a run or a version of a model were made, and sign that with your key.

    It is an in-toto statement with SLSA provenance, in a DSSE envelope. To make a key:
    openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out key.pub
    """
    if signed is not None:
        if output is not None:
            msg = "--output is for what is signed; --verify writes nothing"
            raise click.UsageError(msg)
        _verify(session, reference, Path(signed), key, files, as_json=as_json)
        return
    if reference is None or files:
        msg = "name the run or the version of a model; --file goes with --verify"
        raise click.UsageError(msg)
    private = envelopes.private_key(key, lambda: str(click.prompt("Password of the key", hide_input=True, err=True)))
    statement = make_statement(_record(session, reference), session.resolve)
    _write(envelopes.sign(statement, private), output)


def _verify(
    session: Session, reference: str | None, signed: Path, key: str, files: tuple[str, ...], *, as_json: bool
) -> None:
    """Verify a signature, and what it says against the record and against files; print what was stated."""
    public = envelopes.public_key(key)
    statement = envelopes.verify(envelopes.read_envelope(signed), public)
    subjects = subjects_of(statement)
    for path in files:
        if (digest := _digest(Path(path))) not in subjects.values():
            msg = f"{path} has the SHA-256 {digest}, and no file with that was stated in {signed}"
            raise IntegrityError(msg)
    if reference is not None and (differences := compare(statement, _record(session, reference))):
        msg = f"the record of {reference} differs from what was stated: {'; '.join(differences[:20])}"
        raise IntegrityError(msg)
    if as_json:
        print_json({"key_id": envelopes.key_id(public), "statement": statement})
        return
    echo(f"The signature was made with the key {envelopes.key_id(public)[:16]}. It states how these files were made:")
    for path, digest in subjects.items():
        echo(f"  {clean(digest)}  {clean(path)}")


def _record(session: Session, reference: str) -> Record:
    return record_of(session.store, find_entity(session.store, reference), session.resolve)


def _write(data: dict[str, Any], output: str | None) -> None:
    if output is None:
        print_json(data)
        return
    try:
        with open(output, "x", encoding="utf-8") as file:
            file.write(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")
    except FileExistsError as error:
        msg = f"{output} exists; choose another name, or remove it first"
        raise AlreadyExistsError(msg) from error
    echo(f"{output} is written.", err=True)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise NotFoundError(msg) from error
