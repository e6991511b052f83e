"""The gRPC server: who is let in, limits, health, reflection, TLS, and its end. What calls answer is in test_every_call.py."""

from __future__ import annotations

import base64
import datetime
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import ConfigurationError, StoreUnavailableError
from modeldb_core.plugins import PluginManager, open_store
from modeldb_server import Server, ServerSettings, create_app
from modeldb_v1.calls import DECLARED
from modeldb_v1.schema import CALLS, call_named, message_class
from tests.v1.world import READER, WRITER, World, running_world
from tests.waiting import wait_until

VERIFY = "/ai.verta.modeldb.ProjectService/verifyConnection"
CREATE = "/ai.verta.modeldb.ProjectService/createProject"
BEARER = (("authorization", f"Bearer {WRITER}"),)
SERVING, NOT_SERVING = 1, 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("grpc")) as made:
        yield made


def ask(channel: Any, path: str, payload: bytes = b"", **options: Any) -> bytes:
    """Make a call with bytes, without any generated code."""
    options.setdefault("timeout", 120)
    return channel.unary_unary(path)(payload, **options)


def refused(channel: Any, path: str, payload: bytes = b"", **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, path, payload, **options)
    return caught.value


# -- who asks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        BEARER,
        (("authorization", "Basic " + base64.b64encode(f"ada:{WRITER}".encode()).decode()),),
        (("grpcgateway-authorization", f"Bearer {WRITER}"),),
        (("email", "ada"), ("developer_key", WRITER)),
        (("grpc-metadata-email", "ada"), ("grpc-metadata-developer_key", WRITER), ("source", "PythonClient")),
    ],
)
def test_metadata_says_who_asks_in_each_way_that_headers_do(world: World, metadata: Any) -> None:
    assert ask(world.channel, VERIFY, metadata=metadata) == b"\x08\x01"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer no-token-of-this-server"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("x-modeldb", "1"), ("cookie", f"modeldb={WRITER}")), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", f"Bearer {READER}"),), grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_others_are_refused_before_their_message_is_read(world: World, metadata: Any, code: Any) -> None:
    error = refused(world.channel, CREATE, b"\xff\xff", metadata=metadata)
    assert error.code() is code
    assert error.details()


def test_an_error_has_a_status_with_the_reason_that_http_says(world: World) -> None:
    """As bytes, so that nothing of ours reads what it has written."""

    def part(number: int, data: bytes) -> bytes:
        length = len(data)
        return (
            bytes([number << 3 | 2, length] if length < 128 else [number << 3 | 2, length & 127 | 128, length >> 7])
            + data
        )

    method = "ProjectService.getProjectById"
    answer = world.http.get(
        "/api/v1/modeldb/project/getProjectById?id=none",
        headers={"Authorization": f"Bearer {READER}"},
        base_url="http://127.0.0.1",
    ).json
    (info,) = answer["details"]
    assert info["reason"] == "NOT_FOUND"
    error = refused(
        world.channel,
        f"/{call_named(method).service}/getProjectById",
        call_named(method).request(id="none").SerializeToString(),
        metadata=(("authorization", f"Bearer {READER}"),),
    )
    metadata = dict(error.trailing_metadata())
    inner = part(1, info["@type"].encode()) + part(2, part(1, info["reason"].encode()) + part(2, b"modeldb"))
    expected = b"\x08\x05" + part(2, answer["message"].encode()) + part(3, inner)
    assert metadata["grpc-status-details-bin"] == expected


def test_guesses_over_http_and_grpc_are_counted_together(tmp_path: Path) -> None:
    with running_world(tmp_path) as made:
        for number in range(10):
            assert made.over_http("ProjectService.verifyConnection", {}, f"a-guess-over-http-{number}").code == 16
            assert made.over_grpc("ProjectService.verifyConnection", {}, f"a-guess-over-grpc-{number}").code == 16
        reply = made.over_grpc("ProjectService.verifyConnection", {}, "one-guess-too-many")
        assert (reply.code, "try again" in reply.message) == (8, True)
        assert made.over_http("ProjectService.verifyConnection", {}, "and-another-of-them").code == 8


def test_a_proxy_alone_says_for_whom_it_asks(tmp_path: Path) -> None:
    seen: list[str] = []
    for proxy, expected in (
        ("127.0.0.1", "192.0.2.7"),
        ("127.0.0.0/8", "192.0.2.7"),
        ("", "127.0.0.1"),
        ("192.0.2.1", "127.0.0.1"),
    ):
        with running_world(tmp_path, trusted_proxy=proxy) as made:
            made.server.app.before_request(lambda: seen.append(made_address()))
            ask(made.channel, VERIFY, metadata=(*BEARER, ("x-forwarded-for", "10.0.0.1, 192.0.2.7")))
            assert seen[-1] == expected


def made_address() -> str:
    from flask import request

    return request.remote_addr or ""


def test_the_paths_of_grpc_answer_nobody_who_comes_by_http(world: World) -> None:
    headers = {"Authorization": f"Bearer {WRITER}", "Content-Type": "application/grpc", "X-ModelDB": "1"}
    answer = world.http.post(VERIFY, headers=headers, base_url="http://127.0.0.1")
    assert answer.status_code == 404


# -- messages and limits ----------------------------------------------------------------------------------------------


def test_bytes_that_are_no_message_are_refused(world: World) -> None:
    error = refused(world.channel, CREATE, b"\x0a\xff", metadata=BEARER)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ai.verta.modeldb.CreateProject" in error.details()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"project_visibility": 99}, "project_visibility is 99"),
        ({"attributes": [{"key": "a", "value": {}}]}, "attributes.value is a Value without a kind"),
    ],
)
def test_what_json_cannot_say_is_refused(world: World, fields: Any, said: str) -> None:
    message = message_class("CreateProject")(name=world.name(), **fields)
    error = refused(world.channel, CREATE, message.SerializeToString(), metadata=BEARER)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.details()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_that_is_too_long_is_refused_also_once_it_is_decompressed(world: World, compression: Any) -> None:
    message = message_class("CreateProject")(name="a" * 4_200_000).SerializeToString()
    error = refused(world.channel, CREATE, message, metadata=BEARER, compression=compression)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_more_calls_than_there_is_room_for_are_refused_and_those_past_their_deadline_are_not_begun(
    tmp_path: Path,
) -> None:
    with running_world(tmp_path, threads=1, max_grpc_calls=8) as made:
        go_on, held, begun = threading.Event(), threading.Semaphore(0), []

        def hold() -> None:
            begun.append(threading.current_thread().name)
            held.release()
            go_on.wait(120)

        made.server.app.before_request(hold)
        pool_size = made.server.beside[0]._pool._max_workers  # type: ignore[attr-defined]
        call = made.channel.unary_unary(VERIFY)
        running = [call.future(b"", metadata=BEARER, timeout=120) for _ in range(pool_size)]
        for _ in range(pool_size):
            assert held.acquire(timeout=120)
        cancelled = call.future(b"", metadata=BEARER, timeout=120)
        late = call.future(b"", metadata=BEARER, timeout=0.2)
        waiting = call.future(b"", metadata=BEARER, timeout=120)
        assert refused_code(late) is grpc.StatusCode.DEADLINE_EXCEEDED
        cancelled.cancel()
        some = threading.Event()
        more = [call.future(b"", metadata=BEARER, timeout=120) for _ in range(8)]
        for each in more:
            each.add_done_callback(lambda _: some.set())
        assert some.wait(120)  # before any of those that run has ended
        go_on.set()
        assert [each.result(120) for each in (*running, waiting)] == [b"\x08\x01"] * (pool_size + 1)
        refusals = [each.exception(timeout=120) for each in more]
        assert {each.code() for each in refusals if each} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(begun) == pool_size + 1 + refusals.count(None)  # neither the cancelled one nor the late one


def refused_code(call: Any) -> Any:
    return call.exception(timeout=120).code()


# -- health and reflection --------------------------------------------------------------------------------------------


def check(channel: Any, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=120).status


def test_health_needs_no_token_and_knows_every_service(world: World) -> None:
    services = {call.service for name, call in CALLS.items() if name in DECLARED}
    assert {check(world.channel, service) for service in ("", *services)} == {SERVING}
    with pytest.raises(grpc.RpcError) as caught:
        check(world.channel, "no.such.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_follows_the_store_and_the_end_of_the_server(tmp_path: Path) -> None:
    with running_world(tmp_path, f"sqlite:///{tmp_path}/modeldb.db") as made:
        watched = health_pb2_grpc.HealthStub(made.channel).Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert next(watched).status == SERVING
        store = made.server.context.whole_store
        broken = threading.Event()
        check_usable = store.check_usable

        def check_or_fail(**options: Any) -> None:
            if broken.is_set():
                raise StoreUnavailableError("gone")
            check_usable(**options)

        store.check_usable = check_or_fail  # type: ignore[method-assign]
        broken.set()
        assert next(watched).status == NOT_SERVING
        broken.clear()
        assert next(watched).status == SERVING
        made.server.stop()
        assert next(watched).status == NOT_SERVING


def test_a_client_that_names_services_that_there_are_not_is_not_remembered(world: World) -> None:
    watched = health_pb2_grpc.HealthStub(world.channel).Watch(health_pb2.HealthCheckRequest(service="x"), timeout=120)
    assert [each.status for each in watched] == [3]


def test_as_many_clients_watch_health_as_there_is_room_for(tmp_path: Path) -> None:
    with running_world(tmp_path) as made:
        watch = health_pb2_grpc.HealthStub(made.channel).Watch
        watched = [watch(health_pb2.HealthCheckRequest(), timeout=120) for _ in range(16)]
        assert {next(each).status for each in watched} == {SERVING}
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(health_pb2.HealthCheckRequest(), timeout=120))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert check(made.channel) == SERVING
        for each in watched:
            each.cancel()
        wait_until(lambda: not made.server.beside[0]._health._watchers)  # type: ignore[attr-defined]
        assert next(watch(health_pb2.HealthCheckRequest(), timeout=120)).status == SERVING


def test_as_many_clients_ask_for_descriptions_as_there_is_room_for(tmp_path: Path) -> None:
    def names(stub: Any) -> Any:
        return stub.ServerReflectionInfo(iter_until(go_on), metadata=BEARER, timeout=120)

    go_on = threading.Event()
    with running_world(tmp_path) as made:
        stub = reflection_pb2_grpc.ServerReflectionStub(made.channel)
        asking = [names(stub) for _ in range(4)]
        assert all(next(each).HasField("list_services_response") for each in asking)
        with pytest.raises(grpc.RpcError) as caught:
            next(names(stub))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        assert [list(each) for each in asking] == [[]] * 4
        assert next(names(stub)).HasField("list_services_response")


def iter_until(go_on: threading.Event) -> Iterator[Any]:
    """Ask which services there are, and end when that is set."""
    yield reflection_pb2.ServerReflectionRequest(list_services="")
    go_on.wait(120)


def test_a_client_without_generated_code_learns_the_calls_by_reflection(world: World) -> None:
    channel = grpc.intercept_channel(world.channel, _Showing())
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {call.service for name, call in CALLS.items() if name in DECLARED} < set(database.get_services())
    method = (
        DescriptorPool(database).FindServiceByName("ai.verta.modeldb.ProjectService").FindMethodByName("createProject")
    )
    request = GetMessageClass(method.input_type)(name=world.name())
    answer = ask(world.channel, CREATE, request.SerializeToString(), metadata=BEARER)
    assert GetMessageClass(method.output_type).FromString(answer).project.name == request.name


def test_reflection_is_for_those_who_may_read(world: World) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(world.channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


class _Showing(grpc.StreamStreamClientInterceptor):
    """Shows a token with each call of reflection."""

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=BEARER), requests)


# -- listening --------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path, bytes]:
    """Write a certificate for localhost and its key; return the files and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.pem", folder / "server.key"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    files[0].write_bytes(public)
    files[1].write_bytes(private)
    return *files, public


def test_tls_takes_a_renewed_certificate_without_a_restart(tmp_path: Path) -> None:
    chain, key, first = certificate(tmp_path, "first")
    with running_world(tmp_path, grpc_certificate=chain, grpc_key=key) as made:
        assert made.server.beside[0].url.startswith("grpcs://")
        address = f"localhost:{made.server.beside[0].port}"  # type: ignore[attr-defined]
        for trusted in (first, b""):
            trusted = trusted or certificate(tmp_path, "second")[2]
            credentials = grpc.ssl_channel_credentials(trusted)
            with grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                assert ask(channel, VERIFY, metadata=BEARER) == b"\x08\x01"
        key.write_text("no key")  # half of a renewal: the server goes on with what it has
        with grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            assert ask(channel, VERIFY, metadata=BEARER) == b"\x08\x01"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "may not listen on"),
        ({"grpc_certificate": Path("none.pem"), "grpc_key": Path("none.key")}, "none.pem: No such file"),
    ],
)
def test_a_server_that_cannot_listen_as_it_should_does_not(tmp_path: Path, settings: Any, said: str) -> None:
    with open_store("memory://") as store:
        artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
        app = create_app(store, artifacts, ServerSettings(port=0, grpc_port=0, grpc_only=True, **settings))
        with pytest.raises(ConfigurationError, match=said):
            Server(app)
        artifacts.close()


def test_a_port_that_is_taken_is_named(world: World, tmp_path: Path) -> None:
    port = world.server.beside[0].port  # type: ignore[attr-defined]
    with (
        pytest.raises(ConfigurationError, match=f"gRPC cannot listen on 127.0.0.1:{port}"),
        running_world(tmp_path, grpc_port=port),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grpc_only": True}, "needs server.grpc_port"),
        ({"grpc_port": 70_000}, "expected 0 to 65535"),
        ({"grpc_port": 5000}, "need a port each"),
        ({"grpc_port": 0, "grpc_key": Path("key.pem")}, "one of the two is missing"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ServerSettings(**settings)


def test_a_server_without_the_v1_api_says_that_it_cannot_answer_grpc(tmp_path: Path) -> None:
    with open_store("memory://") as store:
        artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
        app = create_app(store, artifacts, ServerSettings(port=0, grpc_port=0), plugins=PluginManager())
        with pytest.raises(ConfigurationError, match="nothing here answers gRPC"):
            Server(app)
        artifacts.close()


def test_a_server_without_grpcio_starts_and_says_what_is_missing_when_it_is_asked_for(tmp_path: Path) -> None:
    program = """
        import sys
        sys.modules["grpc"] = None
        from modeldb_core.errors import MissingDependencyError
        from modeldb_core.plugins import open_artifacts, open_store
        from modeldb_server import Server, ServerSettings, create_app

        store, artifacts = open_store("memory://"), open_artifacts(f"file://{sys.argv[1]}")
        Server(create_app(store, artifacts, ServerSettings(port=0))).close()
        try:
            Server(create_app(store, artifacts, ServerSettings(port=0, grpc_port=0)))
        except MissingDependencyError as error:
            assert "modeldb-core[grpc]" in str(error), error
        else:
            raise AssertionError
    """
    code = "\n".join(line[8:] for line in program.splitlines())
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, timeout=120)


def test_grpc_alone_is_answered_from_the_command_line_and_ends_at_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "modeldb_core", "server", "--grpc-only", "--grpc-port", "0"]
    command += ["--url", f"sqlite:///{tmp_path}/modeldb.db", "--artifact-url", f"file://{tmp_path}/blobs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = line.partition("grpc://")[2].split()[0]
            with grpc.insecure_channel(address) as channel:
                assert ask(channel, VERIFY, wait_for_ready=True) == b"\x08\x01"
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_call_that_has_begun_is_answered_by_a_server_that_stops(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    with running_world(tmp_path, stop_timeout_s=60.0) as made:

        def hold() -> None:
            begun.set()
            go_on.wait(120)

        made.server.app.before_request(hold)
        call = made.channel.unary_unary(VERIFY).future(b"", metadata=BEARER, timeout=120)
        assert begun.wait(120)
        made.server.stop()
        go_on.set()
        assert call.result(120) == b"\x08\x01"
