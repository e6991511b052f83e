"""The short way of a batch of changes: it answers as the long one does, lets nobody in whom that refuses, and costs little."""

from __future__ import annotations

import io
import itertools
import socket
import sys
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from modeldb_core.audit.access import AccessReader
from modeldb_core.hookspecs import hookimpl
from modeldb_core.log.batches import MEDIA_TYPE, encode_changes
from modeldb_core.log.changes import STREAM, Change
from modeldb_core.log.conditions import Absent
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.stores import MetadataStore, protocol
from modeldb_core.stores.scoped import Scope
from modeldb_core.testing import StreamWriter
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.context import EXTENSION, ServerContext
from modeldb_server.security import longest_body
from modeldb_server.short_way import ShortWay
from modeldb_server.tasks import REFUSAL

PATH = f"{protocol.PREFIX}/changes"
ADA, BEN, EVE, READER = ("ada:" + "a" * 20, "ben:" + "b" * 20, "eve:" + "e" * 20, "ada:" + "r" * 20)
HEADERS = {"X-ModelDB": "1", "Content-Type": MEDIA_TYPE}


def bearer(entry: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {entry.partition(':')[2]}"}


def basic(entry: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(entry.encode()).decode()}"}


def made(filled: Any, settings: ServerSettings, **options: Any) -> Flask:
    return create_app(filled.store, filled.artifacts, settings, plugins=PluginManager(), **options)


def context_of(app: Flask) -> ServerContext:
    context = app.extensions[EXTENSION]
    assert isinstance(context, ServerContext)
    return context


def short_way_of(app: Flask) -> ShortWay:
    assert isinstance(app.wsgi_app, ShortWay)
    return app.wsgi_app


def points(writer: StreamWriter, run_id: str) -> Change:
    return writer.append(run_id, {key: [0.5] * 20 for key in "abcde"})


def send(app: Flask, body: bytes, headers: dict[str, str] | None = None, **options: Any) -> Any:
    options = {"base_url": "http://127.0.0.1:5000", **options}
    return app.test_client().post(PATH, data=body, headers={**HEADERS, **(headers or {})}, **options)


def counted(app: Flask) -> Counter[str]:
    """Return what the metrics of an application count, but for times."""
    lines = context_of(app).metrics.exposition().decode().splitlines()
    kept = ("modeldb_http_requests", "modeldb_http_request_duration_seconds_count", "modeldb_changes", "modeldb_token")
    return Counter(
        {
            line.rpartition(" ")[0]: int(float(line.rpartition(" ")[2]))
            for line in lines
            if line.startswith(kept) and "_created" not in line
        }
    )


def test_every_batch_is_answered_as_by_the_long_way(
    filled: Any, settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings, tokens=(ADA, BEN, EVE), read_tokens=(READER,), allowed_hosts=("models.example.org",))

    def scope_of(user: str) -> Scope | None:
        return Scope(frozenset(), frozenset({filled.project_id})) if user == "eve" else None

    one, other = (
        made(filled, replace(settings, access_log_dir=tmp_path / name), scope_of=scope_of) for name in ("short", "long")
    )
    other.wsgi_app = short_way_of(other)._long_way  # type: ignore[method-assign]
    went_on, long_way = [], short_way_of(one)._long_way
    monkeypatch.setattr(short_way_of(one), "_long_way", lambda *given: went_on.append(given) or long_way(*given))
    writer, stranger = filled.writer, StreamWriter(actor="ben")
    stranger.open()
    fresh = encode_changes([points(writer, filled.run_id)], compress=False)
    packed = encode_changes([points(writer, filled.run_id)], compress=True)
    taken = encode_changes(writer.take(1)[:1], compress=False)
    skipped = points(writer, filled.run_id)
    gap = encode_changes([points(writer, filled.run_id)], compress=False)
    altered = encode_changes([replace(skipped, payload=(skipped.payload or b"")[:-1] + b"\x01")], compress=False)
    erasing = encode_changes([skipped, writer.erase(skipped)], compress=False)
    unmet = protocol.dump_expect([Absent("run", filled.run_id)]) + encode_changes([skipped], compress=False)
    of_ben = encode_changes(stranger.changes, compress=False)
    cases: list[tuple[bytes, dict[str, str], dict[str, Any]]] = [
        (body, bearer(ADA), {})
        for body in (fresh, fresh, packed, taken, gap, altered, erasing, unmet, of_ben, b"", b"nothing")
    ]
    cases += [
        (of_ben, basic(BEN), {}),
        (of_ben, bearer(BEN), {}),
        (of_ben, bearer(EVE), {}),
        (of_ben, bearer(READER), {}),
    ]
    cases += [
        (fresh, headers, {})
        for headers in (
            {},
            {"Authorization": "Bearer wrong" + "w" * 20},
            {"Authorization": "Basic YWRhOmFhYWFhYWFhYWFhYWFhYWFhYWFh"},
            {"Cookie": "modeldb_session=x"},
            *(
                {**bearer(ADA), **more}
                for more in (
                    {"X-ModelDB": "0"},
                    {"Content-Type": "application/json"},
                    {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"},
                    {"Origin": "https://evil.example.org"},
                    {"Sec-Fetch-Site": "cross-site"},
                    {"Idempotency-Key": "one"},
                    {"Host": "evil.example.org", "X-Request-ID": "name-of-mine"},
                    {"X-Request-ID": "name-of-mine"},
                    {"Accept-Encoding": "gzip"},
                    {"Grpc-Metadata-Developer-Key": "b" * 20},
                    {"Content-Length": "99999999999"},
                )
            ),
        )
    ]
    cases += [
        (fresh, bearer(ADA), {"query_string": {"after": "1"}}),
        (fresh, bearer(ADA), {"base_url": "http://models.example.org"}),
    ]
    for number, (body, headers, options) in enumerate(cases):
        assert_bodies_are_read_alike(one, body, headers, options)
        answers = [send(app, body, headers, **options) for app in (one, other)]
        short, long = ([each.status, sorted(each.headers.items()), each.data] for each in answers)
        for each in (short, long):
            if "X-Request-ID" not in headers:
                each[1] = [(name, value) for name, value in each[1] if name != "X-Request-ID"]
        assert short == long, (headers, body[:40])
        assert number or not went_on, "a batch with a token is one for the short way"
    assert counted(one) == counted(other)
    assert counted(one)['modeldb_http_requests_total{method="POST",route="api.apply_changes",status="200"}'] == 13
    for app in (one, other):
        context_of(app).close()
    entries, others = _entries(tmp_path / "short"), _entries(tmp_path / "long")
    assert entries == others
    assert {action for _, action, *_ in entries} == {"sign_in", "refuse"}


def assert_bodies_are_read_alike(app: Flask, body: bytes, headers: dict[str, str], options: dict[str, Any]) -> None:
    """See that the loop is told the same of the body of a request as by the long way, and learns the same reason."""
    given = {"base_url": "http://127.0.0.1:5000", **options, "data": body, "headers": {**HEADERS, **headers}}
    told = []
    for ask in (short_way_of(app).longest_body, partial(longest_body, app)):
        environ = EnvironBuilder(PATH, method="POST", **given).get_environ()
        told.append((ask(environ), type(environ.get(REFUSAL)), str(environ.get(REFUSAL))))
    assert told[0] == told[1], headers


def _entries(folder: Path) -> list[tuple[Any, ...]]:
    """Return what an access log tells, without the identifiers of requests."""
    with AccessReader(folder) as reader:
        changes = [change for change in reader.read_changes().changes if change.kind != STREAM]
    return [(each.actor, each.action, each.kind, each.entity_id, {**each.data(), "request_id": ""}) for each in changes]


def test_a_request_is_counted_once_whichever_way_it_is_refused(filled: Any, settings: ServerSettings) -> None:
    app = made(filled, replace(settings, tokens=(ADA,), rate_limit=0.2))
    body = encode_changes([points(filled.writer, filled.run_id)], compress=False)
    assert [send(app, body, bearer(ADA)).status_code for _ in range(3)] == [200, 200, 429]
    assert send(app, body, bearer(BEN)).status_code == 401
    refusals = 'modeldb_token_refusals_total{reason="wrong"}'
    assert counted(app)[refusals] == 1
    assert counted(app)['modeldb_http_requests_total{method="POST",route="api.apply_changes",status="429"}'] == 1
    context_of(app).close()


def test_a_hook_of_a_plugin_sees_every_batch(filled: Any, app: Flask) -> None:
    body = encode_changes([points(filled.writer, filled.run_id)], compress=False)
    assert send(app, body).status_code == 200
    seen = []
    app.before_request_funcs.setdefault(None, []).append(lambda: seen.append("before"))
    assert send(app, body).status_code == 200
    assert seen == ["before"]


def test_a_batch_of_points_costs_few_calls(filled: Any, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,253 calls of Python functions and 1,230 of others before there was a short way; 491 and 431 when it was made."""
    bodies = [encode_changes([points(filled.writer, filled.run_id)], compress=False) for _ in range(5)]
    environs = []
    long_way = short_way_of(app)._long_way
    monkeypatch.setattr(
        short_way_of(app), "_long_way", lambda environ, start: environs.append(environ) or long_way(environ, start)
    )
    for body in bodies[:3]:
        assert send(app, body).status_code == 200
    counts: Counter[str] = Counter()
    environ = (
        app.test_client().post(PATH, base_url="http://127.0.0.1:5000", data=bodies[3], headers=HEADERS).request.environ
    )
    environ |= {"wsgi.input": io.BytesIO(bodies[4]), "CONTENT_LENGTH": str(len(bodies[4]))}
    answered = []
    sys.setprofile(lambda _frame, event, _argument: counts.update([event]))
    answer = b"".join(app(environ, lambda status, _headers: answered.append(status)))
    sys.setprofile(None)
    assert answered == ["200 OK"], answer
    assert not environs
    assert counts["call"] <= 650
    assert counts["c_call"] <= 650


@contextmanager
def profiled(app: Flask, note: Callable[[Any, str, Any], object]) -> Iterator[MetadataStore]:
    """Run a server of which all threads are profiled; yield a client's store."""
    threading.setprofile(note)
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    threading.setprofile(None)  # type: ignore[arg-type]
    try:
        with open_store(server.url) as store:
            yield store
    finally:
        server.stop()
        thread.join(60)


def test_a_batch_costs_a_whole_server_few_calls(filled: Any, app: Flask) -> None:
    """974 calls of Python functions when the loop asked Flask whether a body is read; 597 since it does not."""
    calls, each = itertools.count(), []
    with profiled(app, lambda _frame, event, _argument: next(calls) if event == "call" else None) as store:
        for _ in range(25):
            before = next(calls)
            store.apply([points(filled.writer, filled.run_id)])
            each.append(next(calls) - before)
    assert median(each[5:]) <= 690  # a loop that waits for long on a busy machine turns more often


def test_a_batch_and_its_answer_are_sent_in_one_piece_each(filled: Any, app: Flask) -> None:
    sent: list[str] = []

    def note(_frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and isinstance(getattr(called, "__self__", None), socket.socket):
            sent.append(called.__name__)

    with profiled(app, note) as store:
        store.apply([points(filled.writer, filled.run_id)])  # connects
        sent.clear()
        sys.setprofile(note)
        store.apply([points(filled.writer, filled.run_id)])
        sys.setprofile(None)
    assert Counter(sent)["sendall"] == 1, "of the client"
    assert Counter(sent)["send"] == 1, "of the server"


class Wrapping:
    """A plugin that wraps the application, as one that traces or authenticates does."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        inner = app.wsgi_app

        def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
            self.paths.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        app.wsgi_app = wrapped  # type: ignore[method-assign]


def test_what_a_plugin_wraps_the_application_in_sees_every_request(filled: Any, settings: ServerSettings) -> None:
    wrapping, plugins = Wrapping(), PluginManager()
    plugins.add(wrapping, "wrapping")
    app = create_app(filled.store, filled.artifacts, settings, plugins=plugins)
    body = encode_changes([points(filled.writer, filled.run_id)], compress=False)
    assert send(app, body).status_code == 200
    assert app.test_client().get("/health", base_url="http://127.0.0.1:5000").status_code == 200
    assert wrapping.paths == [PATH, "/health"]
    context_of(app).close()
