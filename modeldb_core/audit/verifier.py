"""Verify an export of ModelDB, by itself or against a checkpoint: one file, with nothing but Python (3.9 or later).

Written from docs/format.md alone, and not with the code of ModelDB: an auditor can read all of it.

    python -I verify.py runs.bundle
    python -I verify.py runs.bundle --checkpoint 2026-11-01.json --key auditor.pub

Prints everything that is not as it was written, and exits with 1 if there is anything; with 2 where it cannot start.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import struct
import sys
import zlib
from typing import Any, Iterator, NamedTuple

FORMAT = "modeldb-bundle-1"
BLOB = re.compile(r"blobs/([0-9a-f]{64})")
BATCH = re.compile(r"changes/(\d{12})\.chg")
DIGEST = re.compile(r"[0-9a-f]{64}")
LATEST = 253_402_300_799_999_999  # the end of the year 9999, in microseconds
MOST_BATCH_BYTES, MOST_CHANGES = 256 << 20, 1 << 17
LEASE_S, MOST_LEASE_S = 30.0, 366 * 86_400
# Kinds whose documents have entries with digests in these fields, and roots of trees in those (docs/format.md, "Blobs and trees").
BLOB_FIELDS = {
    "project": ("artifacts", "code"),
    "experiment": ("artifacts", "code"),
    "run": ("artifacts", "code", "inputs"),
    "model_version": ("artifacts", "inputs"),
    "dataset_version": ("inputs",),
    "commit": ("inputs",),
}
TREE_FIELDS = {"dataset_version": ("tree",), "commit": ("tree",)}


class WrongError(Exception):
    """Something cannot be read, and why."""


class Change(NamedTuple):
    """A change as it stands in a batch."""

    stream_id: str
    seq: int
    recorded_at: int
    actor: str
    action: str
    kind: str
    entity_id: str
    salt: bytes | None
    payload: bytes | None
    payload_digest: bytes
    previous_hash: bytes
    hash: bytes
    withheld: bool

    @property
    def name(self) -> str:
        """The words that name it."""
        return f"change {self.seq} of stream {self.stream_id} ({self.action} {self.kind} {self.entity_id})"

    def data(self) -> dict[str, Any] | None:
        """Return its payload: empty of points, and where there is none; ``None`` where it is not a map."""
        if self.payload is None or self.action == "append":
            return {}
        try:
            data = json.loads(self.payload)
        except (ValueError, RecursionError):
            return None
        return data if isinstance(data, dict) else None


class Verifier:
    """Reads a bundle once and collects what is wrong with it, as (aspect, subject, message)."""

    def __init__(self, path: str, checkpoint: dict[str, Any] | None) -> None:
        self.path, self.checkpoint = path, checkpoint
        self.findings: list[tuple[str, str, str]] = []
        self.changes = self.withheld = self.erased = 0
        self.ends: dict[str, Change] = {}
        self.leases: dict[str, float] = {}
        self.blobs: dict[str, tuple[int, int]] = {}
        self.batches: list[tuple[int, int, int]] = []
        self.manifest: dict[str, Any] = {}
        self.erasures: set[tuple[Any, ...]] = set()  # kind, entity, and what target_of returns
        self.missing: list[Change] = []
        self.needs: dict[str, str] = {}
        self.trees: dict[str, str] = {}
        self.passed: set[str] = set()
        self.later: set[tuple[str, str]] = set()
        self.preceded: dict[tuple[str, str], None] = {}
        self.order = hashlib.sha256(b"modeldb-order-1\n")

    def add(self, aspect: str, subject: str, message: object) -> None:
        self.findings.append((aspect, subject, str(message)))

    def run(self) -> None:
        """Verify everything that can be read."""
        with open(self.path, "rb") as file:
            self.file = file
            try:
                self.read_members()
            except WrongError as error:
                self.add("bundle", self.path, error)
            self.streams = self.seen_by_checkpoint()
            digest = hashlib.sha256()
            for start, offset, size in self.batches:
                self.read_batch(start, offset, size, digest)
            self.check_manifest(digest.hexdigest())
            self.check_streams()
            self.check_checkpoint()
            self.check_blobs()

    # The archive

    def read_members(self) -> None:
        """Read the headers of the archive, and the manifest."""
        size, at, digests, blob_bytes, crate, number = os.path.getsize(self.path), 0, hashlib.sha256(), 0, "", 0
        while True:
            head = self.read(at, 512)
            if head == bytes(512):
                if self.read(at, 1024) != bytes(1024) or at + 1024 != size or not self.manifest:
                    raise WrongError(
                        "it does not end with a manifest and 1,024 zero bytes: it is not complete, or was altered"
                    )
                break
            name, length = read_header(head)
            offset, at = at + 512, at + 512 + length + -length % 512
            if at > size or self.read(offset + length, at - offset - length).strip(b"\0"):
                raise WrongError(f"{name!r} is longer than the file, or followed by what is not zero")
            if (number == 0) != (name == "format") or self.manifest or (crate and name != "manifest.json"):
                raise WrongError(f"it holds {name!r}, which has no place there")
            if name == "format":
                if self.read(offset, length) != f"{FORMAT}\n".encode():
                    raise WrongError(f"its format is not {FORMAT}")
            elif match := BLOB.fullmatch(name):
                digests.update(bytes.fromhex(match[1]))
                blob_bytes += length
                self.blobs[match[1]] = (offset, length)
            elif match := BATCH.fullmatch(name):
                self.batches.append((int(match[1]), offset, length))
            elif name == "ro-crate-metadata.json":
                crate = hashlib.sha256(self.read(offset, length)).hexdigest()
            elif name == "manifest.json":
                self.manifest = read_manifest(self.read(offset, length))
            else:
                raise WrongError(f"it holds {name!r}, which has no place there")
            number += 1
        found = {
            "blobs": len(self.blobs),
            "blob_bytes": blob_bytes,
            "blobs_sha256": digests.hexdigest(),
            "crate_sha256": crate,
        }
        for key, value in found.items():
            if self.manifest[key] != value:
                self.add("bundle", self.path, f"its {key} is {value}; its manifest says {self.manifest[key]}")

    def read(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        data = self.file.read(length)
        if len(data) != length:
            raise WrongError("the file ends too early")
        return data

    # The log

    def read_batch(self, start: int, offset: int, size: int, digest: Any) -> None:
        """Read a batch of changes and take each."""
        name = f"changes/{start:012d}.chg"
        try:
            data = self.read(offset, size)
            digest.update(data)
            changes = decode_batch(data)
        except (WrongError, struct.error, ValueError, zlib.error, IndexError) as error:
            self.add("bundle", name, f"it cannot be read: {error}")
            return
        if start != self.changes:
            self.add("bundle", name, f"{self.changes:,} changes stand before it, not as many as its name says")
        for change in changes:
            self.take(change)

    def take(self, change: Change) -> None:
        self.changes += 1
        end = self.ends.get(change.stream_id)
        if problem := check_change(change, end):
            self.add("change", change.name, problem)
        self.ends[change.stream_id] = change
        entity = (change.kind, change.entity_id)
        data = change.data()
        if change.kind == "stream" and change.action in ("open", "beat", "close"):
            self.follow_lease(change, data)
        if change.withheld:
            self.withheld += 1
            if not self.manifest.get("withheld"):
                self.add("change", change.name, "its payload was withheld; the manifest says that none was")
        elif change.payload is None:
            self.erased += 1
            self.missing.append(change)
        elif change.action == "erase":
            target = target_of(data or {})
            if target is None:
                self.add("change", change.name, "it does not name stream, number and hash of a change")
            else:
                self.erasures.add((*entity, *target))
        elif data:
            for part in (data, data.get("set"), data.get("put")):
                if isinstance(part, dict):
                    self.follow(change.kind, part, f"{change.kind} {change.entity_id}")
        seen = self.streams.get(change.stream_id, (0, ""))
        if change.seq <= seen[0]:
            self.order.update(change.hash)
            if entity in self.later:
                self.preceded[entity] = None
        elif self.checkpoint is not None:
            self.later.add(entity)
        if change.seq == seen[0]:
            self.passed.add(change.stream_id)
            if change.hash.hex() != seen[1]:
                self.add("checkpoint", change.name, "the checkpoint saw another one")

    def follow_lease(self, change: Change, data: dict[str, Any] | None) -> None:
        before = self.leases.pop(change.stream_id, LEASE_S)
        lease_s: Any = data.get("lease_s", before) if data is not None else None
        if type(lease_s) in (int, float) and 0 <= lease_s <= MOST_LEASE_S:
            self.leases[change.stream_id] = lease_s
        else:
            self.add("change", change.name, f"its payload does not say a lease of 0 to {MOST_LEASE_S} seconds")

    def check_streams(self) -> None:
        """Hold the ends of streams against the manifest, and payloads that are gone against what was erased."""
        heads = self.manifest.get("heads", {})
        for stream_id in sorted({*heads, *self.ends}):
            end = self.ends.get(stream_id)
            found: list[Any] = []
            if end is not None:
                lease_s = self.leases.get(stream_id, LEASE_S)
                found = [end.seq, end.hash.hex(), end.recorded_at, lease_s, end.action == "close"]
            if found != heads.get(stream_id):
                self.add(
                    "stream", f"stream {stream_id}", f"it ends with {found}; the manifest says {heads.get(stream_id)}"
                )
        for change in self.missing:
            key = (change.kind, change.entity_id, change.stream_id, change.seq, change.hash.hex())
            if key not in self.erasures:
                self.add("change", change.name, "its payload is gone, though no change erased it")

    def check_manifest(self, digest: str) -> None:
        if not self.manifest:
            return
        found = {"changes": self.changes, "withheld": self.withheld, "changes_sha256": digest}
        for key, value in found.items():
            if self.manifest[key] != value:
                self.add("bundle", self.path, f"its {key} is {value}; its manifest says {self.manifest[key]}")

    # The checkpoint

    def seen_by_checkpoint(self) -> dict[str, tuple[int, str]]:
        """Return number and hash by stream; of a bundle of a selection, those of its streams."""
        streams = self.checkpoint["streams"] if self.checkpoint is not None else {}
        heads = self.manifest.get("heads", {}) if self.manifest.get("selection") else streams
        return {stream_id: (seq, value) for stream_id, (seq, value) in streams.items() if stream_id in heads}

    def check_checkpoint(self) -> None:
        if self.checkpoint is None:
            return
        for stream_id, (seq, _) in sorted(self.streams.items()):
            if seq and stream_id not in self.passed:
                self.add("checkpoint", f"stream {stream_id}", f"the checkpoint saw {seq} changes of it: they are gone")
        is_whole = not self.manifest.get("selection") and self.checkpoint["order"]
        if not is_whole or any(aspect == "checkpoint" for aspect, _, _ in self.findings):
            return
        if self.order.hexdigest() != self.checkpoint["order"]:
            self.add(
                "checkpoint", "the order of the log", "the changes that the checkpoint saw count in another order now"
            )
        for kind, entity_id in self.preceded:
            message = "changes that the checkpoint did not see stand before others that it saw"
            self.add("checkpoint", f"{kind} {entity_id}", message)

    # Blobs and trees

    def follow(self, kind: str, document: dict[str, Any], owner: str) -> None:
        """Note the blobs and trees that a document, or a part of one, names."""
        for field in BLOB_FIELDS.get(kind, ()):
            entries = document.get(field)
            for entry in (entries, *(entries.values() if isinstance(entries, dict) else ())):
                digest = entry.get("digest") if isinstance(entry, dict) else None
                if isinstance(digest, str) and DIGEST.fullmatch(digest):
                    self.needs.setdefault(digest, owner)
        for digest in moved_values(document):
            self.needs.setdefault(digest, owner)
        for field in TREE_FIELDS.get(kind, ()):
            root = document.get(field)
            if isinstance(root, str) and DIGEST.fullmatch(root):
                self.trees.setdefault(root, f"{owner}, {field}")

    def check_blobs(self) -> None:
        for digest, (offset, length) in self.blobs.items():
            found, at = hashlib.sha256(), offset
            while at < offset + length:
                found.update(self.read(at, min(1 << 20, offset + length - at)))
                at += 1 << 20
            if found.hexdigest() != digest:
                self.add("artifact", f"blob {digest}", "its content does not match its digest")
        if not self.manifest.get("has_artifacts"):
            return
        absent = set(self.manifest["absent_blobs"])
        waiting, seen = [(root, owner, None) for root, owner in self.trees.items()], set()
        while waiting:
            digest, owner, expected = waiting.pop()
            if digest in seen or digest in absent:
                continue
            seen.add(digest)
            try:
                if digest not in self.blobs:
                    raise WrongError("it is missing")
                waiting += self.walk(self.read(*self.blobs[digest]), owner, expected)
            except (WrongError, IndexError, ValueError, struct.error) as error:
                self.add("artifact", f"node {digest} (of {owner})", error)
        for digest, owner in self.needs.items():
            if digest not in absent and digest not in self.blobs:
                self.add("artifact", f"blob {digest} (of {owner})", "it is missing")

    def walk(self, data: bytes, owner: str, expected: Any) -> list[tuple[str, str, Any]]:
        """Return the nodes that a node of a tree names; note the blobs that its entries need."""
        level, totals, items = decode_node(data)
        if expected not in (None, (level, *totals, items[-1][0] if items else b"")):
            raise WrongError("it is not what the node above says")
        if level:
            return [(digest.hex(), owner, (level - 1, count, size, key)) for key, digest, count, size in items]
        found: list[tuple[str, str, Any]] = []
        for key, entry, observed in items:
            where = f"{owner}: {key.replace(bytes(1), b'/').decode()!r}"
            for part in (entry, observed):
                if isinstance(part.get("digest"), str) and DIGEST.fullmatch(part["digest"]):
                    self.needs.setdefault(part["digest"], where)
                if isinstance(part.get("tree"), str) and DIGEST.fullmatch(part["tree"]):
                    found.append((part["tree"], where, None))
                for digest in moved_values(part):
                    self.needs.setdefault(digest, where)
        return found


def read_header(head: bytes) -> tuple[str, int]:
    """Return name and size of a member; its header has to be the one that follows from these."""
    digits = head[124:136]
    size = int.from_bytes(digits[1:], "big") if digits[0] == 0x80 else int(digits.rstrip(b"\0") or b"x", 8)
    name = head[:100].rstrip(b"\0")
    made = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    made += (b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")) + b"00000000000\0" + b" " * 8
    made += b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    made = made[:148] + b"%06o\0 " % sum(made) + made[156:]
    if made != head:
        raise WrongError(f"the header of {name!r} is not that of a plain file: it was altered")
    return name.decode("ascii"), size


def read_manifest(text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        digest = manifest.pop("digest")
        if digest != hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest():
            raise WrongError("its manifest was altered: it does not match its digest")
        if (json.dumps({**manifest, "digest": digest}, sort_keys=True) + "\n").encode() != text or manifest[
            "format"
        ] != FORMAT:
            raise WrongError("its manifest is not written as manifests are")
        for name in (
            "heads",
            "changes",
            "changes_sha256",
            "blobs",
            "has_artifacts",
            "absent_blobs",
            "selection",
            "withheld",
        ):
            manifest[name]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WrongError(f"its manifest cannot be read: {error!r:.200}") from error
    return manifest  # type: ignore[no-any-return]


def decode_batch(data: bytes) -> list[Change]:
    """Return the changes of a batch."""
    magic, form, count, length = struct.unpack_from("<4sBIQ", data)
    if magic != b"CHG1" or form > 1 or length > MOST_BATCH_BYTES or count > min(MOST_CHANGES, (len(data) - 17) // 32):
        raise WrongError("it does not begin as a batch does")
    body = data[17:]
    if form:
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(body, length + 1)
        if not unpacker.eof or unpacker.unused_data:
            raise WrongError("what is packed ends too early or too late")
    if len(body) != length:
        raise WrongError("it is not as long as it says")
    reader = Reader(body)
    hashes: dict[str, bytes] = {}
    found: list[Change] = []
    for _ in range(count):
        flags, seq, recorded_at = struct.unpack("<BQQ", reader.take(17))
        stream_id, actor, action, kind, entity_id = (reader.counted().decode() for _ in range(5))
        salt = payload = None
        if flags & 1:
            salt, payload = reader.take(16), reader.counted()
            digest = hashlib.sha256(salt + payload).digest()
        else:
            digest = reader.take(32)
        previous = hashes.get(stream_id, bytes(32)) if flags & 2 else reader.take(32)
        hashes[stream_id] = value = reader.take(32)
        if flags & 5 == 5:
            raise WrongError("a payload is there and marked as withheld")
        head = (stream_id, seq, recorded_at, actor, action, kind, entity_id)
        found.append(Change(*head, salt, payload, digest, previous, value, bool(flags & 4)))
    if reader.at != len(body):
        raise WrongError("there are bytes after the last change")
    return found


def check_change(change: Change, end: Change | None) -> str:
    """Return what is wrong with a change that follows another one of its stream; empty where nothing is."""
    before = end.seq if end is not None else 0
    if change.seq != before + 1:
        return f"it follows number {before}: changes between were dropped or moved"
    if change.previous_hash != (end.hash if end is not None else bytes(32)):
        return "it does not follow the change before it: one of the two was altered, dropped or moved"
    digest = hashlib.sha256(b"modeldb-change-1\n" + struct.pack(">QQ", change.seq, change.recorded_at))
    for name in ("stream_id", "actor", "action", "kind", "entity_id"):
        text = getattr(change, name)
        data = text.encode()
        digest.update(struct.pack(">I", len(data)) + data)
        if not is_name(text) and (text or name != "actor"):
            return "it has a text that no change can have"
    digest.update(change.payload_digest + change.previous_hash)
    if digest.digest() != change.hash:
        return "it does not match its hash: it or its payload was altered"
    return "" if change.seq < 2**63 and change.recorded_at <= LATEST else "it has a number that no change can have"


def is_name(text: str) -> bool:
    return 0 < len(text) <= 1024 and "\0" not in text


def target_of(data: dict[str, Any]) -> tuple[str, int, str] | None:
    """Return stream, number and hash of what an `erase` change names; ``None`` where it names nothing."""
    stream_id, seq, value = data.get("stream_id"), data.get("seq"), data.get("hash")
    if not isinstance(stream_id, str) or not isinstance(value, str) or type(seq) is not int:
        return None
    return (stream_id, seq, value) if is_name(stream_id) and 1 <= seq < 2**63 and DIGEST.fullmatch(value) else None


def moved_values(document: Any) -> Iterator[str]:
    """Iterate over the digests of values that were moved into the artifact store."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            digest = value.get("$blob")
            if isinstance(digest, str) and DIGEST.fullmatch(digest):
                yield digest
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


class Reader:
    """Takes bytes and numbers from a text of bytes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise WrongError("it ends too early")
        self.at += count
        return found

    def counted(self) -> bytes:
        return self.take(*struct.unpack("<I", self.take(4)))

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7


def decode_node(data: bytes) -> tuple[int, tuple[int, int], list[Any]]:
    """Return level, number and sizes of entries below, and items of a node of a tree."""
    magic, level, number, count, size = struct.unpack_from("<4sBIQQ", data)
    if magic != b"TRE1" or level > 24:
        raise WrongError("it is not a node of a tree")
    reader, key, entries, sizes = Reader(data, 25), b"", 0, 0
    items: list[Any] = []
    for _ in range(number):
        before, shared = key, reader.number()
        key = before[:shared] + reader.take(reader.number())
        if key <= before:
            raise WrongError("its keys are not in order")
        if level:
            digest, mark = reader.take(32), reader.take(1)
            if mark != b"\0":
                reader.take(32)
            below, bytes_below = reader.number(), reader.number()
            items.append((key, digest, below, bytes_below))
        else:
            below, bytes_below = 1, max(0, reader.number() - 1)
            texts = [reader.take(reader.number()) for _ in range(2)]
            items.append((key, *(json.loads(text) if text else {} for text in texts)))
        entries, sizes = entries + below, sizes + bytes_below
    if reader.at != len(data) or (entries, sizes) != (count, size):
        raise WrongError("it does not hold what it says")
    return level, (count, size), items


# Checkpoints


def read_checkpoint(path: str, key_path: str | None) -> dict[str, Any]:
    """Return a checkpoint that was not altered, and that the owner of the key has signed where one is given."""
    with open(path, "rb") as file:
        data = json.loads(file.read())
    signed = {name: data[name] for name in ("format", "made_at", "order", "root", "streams")}
    text = json.dumps(signed, sort_keys=True).encode()
    if signed["format"] != "modeldb-checkpoint-1" or hashlib.sha256(text).hexdigest() != data["digest"]:
        raise WrongError("the checkpoint was altered: its content does not match its digest")
    if merkle_root(signed["streams"]) != signed["root"]:
        raise WrongError("the checkpoint was altered: its root is not that of its streams")
    if key_path is not None:
        kind = b"application/vnd.modeldb.checkpoint+json"
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(text), text)
        key = read_key(key_path)
        signatures = [base64.b64decode(each["sig"]) for each in data.get("signatures", [])]
        if not any(ed25519_verifies(key, message, each) for each in signatures):
            raise WrongError("the checkpoint was not signed with this key")
    return data  # type: ignore[no-any-return]


def merkle_root(streams: dict[str, Any]) -> str:
    """Return the root of the Merkle tree (RFC 9162) over the ends of streams."""
    leaves = [
        hashlib.sha256(b"\0" + name + b"\0" + struct.pack(">Q", seq) + bytes.fromhex(value)).digest()
        for name, (seq, value) in sorted((name.encode(), end) for name, end in streams.items())
    ]

    def root(start: int, stop: int) -> bytes:
        if stop - start == 1:
            return leaves[start]
        middle = start + (1 << (stop - start - 1).bit_length() - 1)
        return hashlib.sha256(b"\1" + root(start, middle) + root(middle, stop)).digest()

    return (root(0, len(leaves)) if leaves else hashlib.sha256(b"").digest()).hex()


def read_key(path: str) -> bytes:
    """Return the 32 bytes of a public ed25519 key in PEM or as ssh-keygen writes it: they are the last ones of both."""
    with open(path, encoding="ascii") as file:
        text = file.read()
    lines = (
        text.split() if text.startswith("ssh-ed25519") else [line for line in text.splitlines() if "-----" not in line]
    )
    data = base64.b64decode(lines[1] if text.startswith("ssh-ed25519") else "".join(lines))
    if len(data) not in (44, 51):
        raise WrongError(f"{path} holds no public ed25519 key")
    return data[-32:]


P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def ed25519_verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature is that of a key: RFC 8032, section 5.1.7."""
    if len(signature) != 64:
        return False
    try:
        point, commitment = decompressed(key), decompressed(signature[:32])
    except WrongError:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    base_y = 4 * pow(5, P - 2, P) % P
    left = multiplied(decompressed(base_y.to_bytes(32, "little")), scalar)
    right = added(commitment, multiplied(point, challenge))
    return scalar < ORDER and all((left[axis] * right[2] - right[axis] * left[2]) % P == 0 for axis in (0, 1))


def decompressed(data: bytes) -> tuple[int, int, int, int]:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise WrongError("it is not a point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def added(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % P, (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiplied(point: tuple[int, int, int, int], scalar: int) -> tuple[int, int, int, int]:
    found = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = added(found, point)
        point, scalar = added(point, point), scalar >> 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify exports of ModelDB without ModelDB.")
    parser.add_argument("bundles", nargs="+", help="what `modeldb export` wrote")
    parser.add_argument("--checkpoint", help="what `modeldb audit checkpoint` wrote")
    parser.add_argument("--key", help="the public key (PEM, or of ssh-keygen) of who signed the checkpoint")
    parser.add_argument("--json", action="store_true", help="print a JSON object on a line for each bundle")
    options = parser.parse_args()
    try:
        checkpoint = read_checkpoint(options.checkpoint, options.key) if options.checkpoint else None
    except (WrongError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"the checkpoint cannot be used: {error}", file=sys.stderr)
        return 2
    is_fine = True
    for path in options.bundles:
        verifier = Verifier(path, checkpoint)
        try:
            verifier.run()
        except (WrongError, OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
            verifier.add("bundle", path, f"it cannot be read further: {error!r:.300}")
        is_fine &= not verifier.findings
        show(verifier, as_json=options.json)
    return 0 if is_fine else 1


def show(verifier: Verifier, *, as_json: bool) -> None:
    counts = {
        "changes": verifier.changes,
        "streams": len(verifier.ends),
        "blobs": len(verifier.blobs),
        "erased": verifier.erased,
        "withheld": verifier.withheld,
    }
    if as_json:
        answer = {"bundle": verifier.path, "ok": not verifier.findings, **counts, "findings": verifier.findings}
        print(json.dumps(answer))
        return
    lines = [f"{verifier.path}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())]
    lines += [f"WRONG {subject}: {message}" for _, subject, message in verifier.findings]
    lines += [f"{len(verifier.findings):,} findings" if verifier.findings else "everything verifies"]
    for line in lines:  # what a bundle holds must not reach a terminal as it is
        print(
            "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
            .encode("ascii", "backslashreplace")
            .decode()
        )


if __name__ == "__main__":
    sys.exit(main())
