"""The verifier in one file, run without ModelDB, names every alteration of an export that `modeldb audit verify` names."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.audit import Checkpoint, verifier
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.cli import program
from modeldb_core.errors import ModelDBError
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import GENESIS, Change, Head, seal
from modeldb_core.model.values import BlobReference
from modeldb_core.movement.archive import end_of_archive, header, padding, read_members
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.copying import copy
from modeldb_core.movement.manifest import Manifest
from modeldb_core.testing.scene import Scene
from modeldb_core.trees import TreeStore

Findings = set[tuple[str, str]]
Members = list[tuple[str, bytes]]


class Parts:
    """What a bundle holds, taken apart: its changes, its blobs and what its manifest says."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self.members = [
                (member.name, file.read(member.size))
                for member in read_members(file.fileno(), str(path))
                if file.seek(member.offset) is not None
            ]
        self.manifest = Manifest.decode(dict(self.members)["manifest.json"])
        self.changes = [
            change for name, data in self.members if name.endswith(".chg") for change in decode_changes(data)
        ]
        self.blobs = {name[6:]: data for name, data in self.members if name.startswith("blobs/")}

    def packed(self, changes: list[Change] | None = None, blobs: dict[str, bytes] | None = None, **said: Any) -> bytes:
        """Return a bundle in which the manifest fits everything else, as a skilled forger would make it."""
        changes = self.changes if changes is None else changes
        blobs = self.blobs if blobs is None else blobs
        batch = encode_changes(changes)
        heads: dict[str, Head] = {}
        for change in changes:
            lease = self.manifest.heads.get(change.stream_id, Head(0, b"", 0))
            heads[change.stream_id] = replace(
                lease, seq=change.seq, hash=change.hash, recorded_at=change.recorded_at, closed=change.action == "close"
            )
        manifest = replace(
            self.manifest,
            heads=heads,
            changes=len(changes),
            changes_sha256=hashlib.sha256(batch).hexdigest(),
            blobs=len(blobs),
            blob_bytes=sum(map(len, blobs.values())),
            blobs_sha256=hashlib.sha256(b"".join(map(bytes.fromhex, blobs))).hexdigest(),
            **said,
        )
        return join(
            [
                self.members[0],
                *((f"blobs/{name}", data) for name, data in blobs.items()),
                ("changes/000000000000.chg", batch),
                ("manifest.json", manifest.encode()),
            ]
        )


def join(members: Members) -> bytes:
    return b"".join(header(n, len(d)) + d + padding(len(d)) for n, d in members) + end_of_archive()


def chained(changes: list[Change]) -> list[Change]:
    """Return changes with all hashes made again, so that every chain verifies: what a forger with all tables can do."""
    seqs: dict[str, tuple[int, bytes]] = {}
    found = []
    for change in changes:
        seq, previous = seqs.get(change.stream_id, (0, GENESIS))
        if change.payload is None or change.salt is None:
            made = change
        else:
            made = seal(
                change.stream_id,
                seq + 1,
                previous,
                recorded_at=change.recorded_at,
                actor=change.actor,
                action=change.action,
                kind=change.kind,
                entity_id=change.entity_id,
                payload=change.payload,
                salt=change.salt,
            )
        seqs[change.stream_id] = made.seq, made.hash
        found.append(made)
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Parts, Checkpoint, Path]]:
    """A bundle with two streams, points, files, a moved value, an erasure and a tree; its parts; a checkpoint."""
    folder = tmp_path_factory.mktemp("verifier")
    store, artifacts = MemoryStore(), FsspecArtifactStore(f"file://{folder}/artifacts")
    scene = Scene(store)
    put = lambda data: artifacts.put(io.BytesIO(data)).digest  # noqa: E731
    for number in range(3):
        run = scene.run(f"run {number}", hyperparameters={"lr": number / 10})
        scene.writer.append(run, {"loss": [1.0, 0.5, float(number)]})
        entry = {"digest": put(b"content %d" % number), "size_bytes": 9}
        scene.writer.update("run", run, put={"artifacts": {"a": entry}})
    moved = put(json.dumps("long " * 100).encode())
    scene.writer.update("run", run, put={"attributes": {"moved": BlobReference(moved, 502)}})
    scene.ship()
    other = Scene(store)
    other.writer.update("run", run, add={"tags": ["other"]})
    files = {f"data/{number:05}": {"digest": put(b"file %d" % (number % 3)), "size_bytes": 6} for number in range(700)}
    tree = TreeStore(artifacts).build(files)
    other.writer.create("dataset_version", name="d", version=1, dataset_id=other.project_id, tree=tree.root)
    other.ship()
    secret = scene.writer.update("run", run, put={"attributes": {"secret": 1}})
    scene.writer.erase(secret)
    scene.ship()
    other.writer.update("run", run, add={"tags": ["last"]})
    other.ship()
    path = folder / "runs.bundle"
    with BundleWriter(path) as writer:
        done = copy(store, writer, artifacts=(artifacts, writer), workers=1)
        writer.finish(has_artifacts=True, absent_blobs=sorted(done.absent))
    checkpoint = Checkpoint.of(store)
    checkpoint.write(folder / "checkpoint.json")
    yield path, Parts(path), checkpoint, folder
    artifacts.close()


def alterations(path: Path, parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Iterate over altered bundles, each with what was done to it."""
    data, members = path.read_bytes(), parts.members
    at = 0
    for name, content in members:  # a bit of each part, and of each header
        for where in (at + 3, at + 130, at + 512, at + 512 + len(content) // 2, at + 511 + len(content)):
            yield f"byte {where} ({name})", data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :]
        at += 512 + len(content) + len(padding(len(content)))
    yield "cut off", data[:-700]
    yield "longer", data + b"\0"
    for index in range(len(members)):
        yield f"without {members[index][0]}", join(members[:index] + members[index + 1 :])
    yield "twice", join(members[:2] + members[1:])
    yield "another order", join([members[0], *reversed(members[1:-1]), members[-1]])
    changes = parts.changes
    kinds = {(change.stream_id, change.action, change.kind): index for index, change in enumerate(changes)}
    for index in sorted({0, *kinds.values()}):  # one of each
        change = changes[index]
        for name, forged in forgeries(change):
            some = [*changes[:index], forged, *changes[index + 1 :]]
            yield f"{name} of {index}", parts.packed(some)
            if forged.payload is not None and name != "hash":
                yield f"{name} of {index}, chained", parts.packed(chained(some))
        less = changes[:index] + changes[index + 1 :]
        yield f"without {index}", parts.packed(less)
    first = changes[0].stream_id
    yield "without a stream", parts.packed([change for change in changes if change.stream_id != first])
    yield "without an end", parts.packed(changes[:-1])
    for index in range(0, len(changes) - 1, 5):
        one, other = changes[index : index + 2]
        some = [*changes[:index], other, one, *changes[index + 2 :]]
        yield f"exchanged {index}", parts.packed(some)
        if other.action not in ("erase",) and one.payload is not None and other.payload is not None:
            yield f"exchanged {index}, chained", parts.packed(chained(some))
    for digest, content in parts.blobs.items():
        less_blobs = {name: blob for name, blob in parts.blobs.items() if name != digest}
        yield f"without blob {digest}", parts.packed(blobs=less_blobs)
        yield f"blob {digest} altered", parts.packed(blobs={**parts.blobs, digest: b"x" + content[1:]})
    for index, edits in said_otherwise(changes).items():
        for edit in edits:
            some = [*changes[:index], replace(changes[index], **edit), *changes[index + 1 :]]
            yield f"{edit} of {index}, chained", parts.packed(chained(some))
    head = parts.manifest.heads[first]
    for name, value in (("seq", head.seq + 1), ("closed", not head.closed), ("lease_s", head.lease_s + 1)):
        heads = {**parts.manifest.heads, first: replace(head, **{name: value})}
        manifest = replace(parts.manifest, heads=heads)
        yield f"another head: {name}", join([*members[:-1], ("manifest.json", manifest.encode())])


def said_otherwise(changes: list[Change]) -> dict[int, list[dict[str, Any]]]:
    """Return, by the index of a change, what can be written in it that a stream never says."""
    of_action = {change.action: index for index, change in enumerate(changes) if change.payload is not None}
    target = json.loads(changes[of_action["erase"]].payload or b"")
    other = [{}, [], {**target, "seq": float(target["seq"])}, {**target, "seq": [1]}, {**target, "hash": "00"}]
    texts = [{name: "", "actor": ""} for name in ("action", "kind", "entity_id")]
    return {
        of_action["update"]: [*texts, {"actor": "a" * 1025}, {"actor": "a\0"}, {"recorded_at": 2**62}],
        of_action["open"]: [{"payload": payload} for payload in (b"{", b"[]", b'{"lease_s": -1}', b'{"lease_s": "1"}')],
        of_action["erase"]: [{"payload": json.dumps(each).encode()} for each in other],
    }


def forgeries(change: Change) -> Iterator[tuple[str, Change]]:
    yield "actor", replace(change, actor="mallory")
    yield "time", replace(change, recorded_at=change.recorded_at + 1)
    yield "entity", replace(change, entity_id=change.entity_id[:-1] + "x")
    yield "hash", replace(change, hash=bytes(32))
    if change.payload is not None:
        yield "payload", replace(change, payload=change.payload[:-1] + b" " + change.payload[-1:])
        yield "erasure", change.erased()
        yield "withholding", change.without_payload()


_WORDS = re.compile(
    r"change \d+ of stream [^ ]+|stream [^ ]+|[0-9a-f]{64}|the order of the log|(?:run|project|experiment) [^ ]+"
)


def named(aspect: str, subject: str) -> tuple[str, str]:
    """Return what a finding is about. A batch that cannot be read is that of the bundle, for both."""
    if aspect == "bundle" or subject.startswith("the change at position"):
        return "bundle", ""
    found = _WORDS.search(subject)
    return aspect, found[0] if found else subject


def of_modeldb(path: Path, checkpoint: Checkpoint | None) -> Findings:
    try:
        with Bundle(path) as bundle:
            report = verify_bundle(bundle, checkpoint=checkpoint)
    except ModelDBError:
        return {("bundle", "")}  # it is not opened at all
    return {named(finding.aspect, finding.subject) for finding in report.findings}


def run_alone(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the verifier as an auditor does: Python without packages, without ModelDB, elsewhere."""
    script = folder / "verify.py"
    if not script.exists():
        script.write_text(Path(str(verifier.__file__)).read_text("utf-8"), "utf-8")
    command = [getattr(sys, "_base_executable", sys.executable), "-I", "-S", str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, cwd=folder)


@pytest.fixture(scope="module")
def altered(scene: Any) -> dict[str, Path]:
    path, parts, _, folder = scene
    (folder / "altered").mkdir()
    found = {}
    for number, (what, data) in enumerate(alterations(path, parts)):
        found[what] = folder / "altered" / f"{number}.bundle"
        found[what].write_bytes(data)
    assert len(found) > 150
    return found


@pytest.mark.parametrize("with_checkpoint", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_the_verifier_names_every_alteration_that_the_audit_names(
    scene: Any, altered: dict[str, Path], with_checkpoint: bool
) -> None:
    _, _, checkpoint, folder = scene
    options = ["--checkpoint", folder / "checkpoint.json"] if with_checkpoint else []
    done = run_alone(folder, "--json", *options, *altered.values())
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(altered)
    unseen = []
    for (what, path), answer in zip(altered.items(), answers, strict=True):
        expected = of_modeldb(path, checkpoint if with_checkpoint else None)
        theirs = {named(aspect, subject) for aspect, subject, _ in answer["findings"]}
        left = expected - theirs
        if expected == {("bundle", "")} and theirs:
            left = set()  # it is not opened by ModelDB; here the part is named
        if left or bool(expected) != bool(theirs):
            unseen.append((what, left, theirs))
        if not expected and with_checkpoint:
            unseen.append((what, "nobody sees it", theirs))
    assert unseen == []


def test_the_verifier_finds_nothing_where_nothing_is(scene: Any, tmp_path: Path) -> None:
    path, parts, _, folder = scene
    done = run_alone(folder, path, "--checkpoint", folder / "checkpoint.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "everything verifies"
    assert f"{len(parts.changes)} changes, 2 streams, {len(parts.blobs)} blobs, 1 erased, 0 withheld" in done.stdout
    again = tmp_path / "again.bundle"
    again.write_bytes(parts.packed())
    withheld = tmp_path / "withheld.bundle"
    some = [change.without_payload() if change.action == "append" else change for change in parts.changes]
    withheld.write_bytes(parts.packed(some, withheld=sum(change.withheld for change in some)))
    assert run_alone(folder, again, withheld, "--checkpoint", folder / "checkpoint.json").returncode == 0


def test_the_verifier_stands_on_the_standard_library_alone() -> None:
    tree = ast.parse(Path(str(verifier.__file__)).read_text("utf-8"))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert modules <= set(sys.stdlib_module_names)


def test_a_checkpoint_that_was_altered_or_signed_by_somebody_else_is_not_used(scene: Any, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path, _, checkpoint, folder = scene
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    form = serialization.PublicFormat
    for name, each, encoding, shape in (
        ("key.pem", key, serialization.Encoding.PEM, form.SubjectPublicKeyInfo),
        ("key.pub", key, serialization.Encoding.OpenSSH, form.OpenSSH),
        ("other.pem", other, serialization.Encoding.PEM, form.SubjectPublicKeyInfo),
    ):
        (tmp_path / name).write_bytes(each.public_key().public_bytes(encoding, shape))
    signed = checkpoint.signed_by(key)
    signed.write(tmp_path / "signed.json")
    for name, code in (("key.pem", 0), ("key.pub", 0), ("other.pem", 2)):
        done = run_alone(folder, path, "--checkpoint", tmp_path / "signed.json", "--key", tmp_path / name)
        assert done.returncode == code, done.stderr
    unsigned = run_alone(folder, path, "--checkpoint", folder / "checkpoint.json", "--key", tmp_path / "key.pem")
    assert unsigned.returncode == 2
    data = json.loads((tmp_path / "signed.json").read_text())
    signature = base64.b64decode(data["signatures"][0]["sig"])
    stream = min(data["streams"])
    for change in (
        {"made_at": data["made_at"] + 1},
        {"order": "00" * 32},
        {"root": "00" * 32},
        {"digest": "00" * 32},
        {"streams": {**data["streams"], stream: [1, "00" * 32]}},
        {"signatures": [{"keyid": "", "sig": base64.b64encode(bytes([signature[0] ^ 1]) + signature[1:]).decode()}]},
    ):
        (tmp_path / "altered.json").write_text(json.dumps({**data, **change}))
        done = run_alone(folder, path, "--checkpoint", tmp_path / "altered.json", "--key", tmp_path / "key.pem")
        assert done.returncode == 2, change


def test_the_command_prints_the_verifier(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["audit", "verifier"]) == 0
    assert capsys.readouterr().out == Path(str(verifier.__file__)).read_text("utf-8")
