"""``modeldb server`` and ``modeldb ui``."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples
from modeldb_core.errors import MissingDependencyError
from modeldb_core.plugins import open_artifacts, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.config import Settings


def _server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--url",
            metavar="URL",
            help="The store; default: the configured one. It is created where it does not exist.",
        ),
        click.option("--artifact-url", metavar="URL", help="Where files and models are; default: beside the store."),
        click.option(
            "--host",
            metavar="ADDRESS",
            help="Address of this machine to listen on; default: 127.0.0.1. Others need tokens (MODELDB_SERVER_TOKENS).",
        ),
        click.option("-p", "--port", type=click.IntRange(0, 65535), help="Port; 0: any that is free. Default: 5000."),
        click.option("--threads", type=click.IntRange(1, 256), help="Threads that answer requests; default: 8."),
        click.option(
            "--allow-host", "hosts", metavar="NAME", multiple=True, help="Host name of a reverse proxy; repeatable."
        ),
        click.option(
            "--grpc-port",
            type=click.IntRange(0, 65535),
            help="Port on which to answer gRPC as well; 0: any that is free. Default: none.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(epilog=examples("modeldb server", "modeldb server --port 8080 --url sqlite:////data/modeldb.db"))
@_server_options
@click.option("--grpc-only", is_flag=True, help="Answer gRPC and no HTTP.")
def server(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Serve the web pages and the HTTP API until interrupted."""
    _serve(_session(**options), open_browser=False)


@click.command(epilog=examples("modeldb ui", "modeldb ui --port 0 --no-browser"))
@_server_options
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
def ui(*, browser: bool, port: int | None, **options: Any) -> None:  # noqa: ANN401 - the options above
    """Serve the web pages and open them in a browser.

    Where no port was asked for and the usual one is taken, a free one is used.
    """
    session = _session(port=port, **options)
    if session.settings.origin("server_port") == "default" and not _is_free(session.settings):
        session.close()
        session = _session(port=0, **options)
    _serve(session, open_browser=browser)


def _session(
    *,
    url: str | None,
    artifact_url: str | None,
    host: str | None,
    port: int | None,
    threads: int | None,
    hosts: tuple[str, ...],
    grpc_port: int | None,
    grpc_only: bool = False,
) -> Session:
    return Session(
        url=url,
        artifact_url=artifact_url,
        server_host=host,
        server_port=port,
        server_threads=threads,
        server_allowed_hosts=hosts or None,
        server_grpc_port=grpc_port,
        server_grpc_only=grpc_only or None,
    )


def _serve(session: Session, *, open_browser: bool) -> None:
    try:
        from modeldb_server import serve
    except ImportError as error:
        msg = f"the server needs a package that is not installed ({error}); pip install 'modeldb-core[server]'"
        raise MissingDependencyError(msg) from error

    def ready(listening: Any) -> None:  # noqa: ANN401 - modeldb_server is not imported by core
        echo("\n".join(listening.greeting()))
        if open_browser:
            _open_browser(listening.url)

    settings = session.settings
    try:
        with open_store(settings.url, settings) as store:
            artifacts = open_artifacts(settings.artifact_url, settings)
            try:
                serve(store, artifacts, settings, ready=ready)
            finally:
                artifacts.close()
    finally:
        session.close()


def _open_browser(url: str) -> None:
    """Open a browser in a thread: some only return when the page has been answered, which takes this one."""
    import webbrowser

    if not _has_display():  # there, Python would start a browser for the terminal, in this one
        echo("There is no display to open a browser on: open the address yourself.", err=True)
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))


def _is_free(settings: Settings) -> bool:
    try:
        with socket.create_connection((settings.server_host, settings.server_port), timeout=0.5):
            return False
    except OSError:
        return True
