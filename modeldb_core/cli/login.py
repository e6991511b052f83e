"""``modeldb login`` and ``modeldb logout``: a token for the address of one server."""

from __future__ import annotations

import sys

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.session import examples
from modeldb_core.cli.tables import print_json
from modeldb_core.config.credentials import forget_token, store_token
from modeldb_core.config.trust import address_of
from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, StoreUnavailableError
from modeldb_core.plugins import load_settings, open_store
from modeldb_core.queries import Query
from modeldb_core.runtime.redaction import strip_userinfo

_URL = click.argument("url", metavar="URL")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    epilog=examples("modeldb login https://models.example.org", "modeldb login https://models.example.org < token")
)
@_URL
@_JSON
def login(*, url: str, as_json: bool) -> None:
    """Store the token for a server, for this user.

    It is asked for without showing it, or read from standard input, and tried. It is kept in the system's keyring where
    the package keyring is installed, else in a file that only you can read, and is shown to this server and to no other.
    """
    address = _address(url)
    token = (click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not token:
        msg = "no token was given; nothing is stored"
        raise InvalidArgumentError(msg)
    try:
        _try_token(url, token)
    except StoreUnavailableError as error:
        echo(f"The token could not be tried: {error}", err=True)
    place = store_token(address, token)
    if as_json:
        print_json({"address": address, "place": str(place)})
    else:
        echo(f"The token for {address} is in {place}.")


@click.command(epilog=examples("modeldb logout https://models.example.org"))
@_URL
@_JSON
def logout(*, url: str, as_json: bool) -> None:
    """Remove the stored token of a server."""
    address = _address(url)
    if not forget_token(address):
        msg = f"no token is stored for {address}"
        raise NotFoundError(msg)
    if as_json:
        print_json({"address": address, "removed": True})
    else:
        echo(f"The token for {address} is removed.")


def _address(url: str) -> str:
    address = address_of(url)
    if not address:
        msg = f"{strip_userinfo(url)!r} is not the URL of a server; expected one such as 'https://models.example.org'"
        raise InvalidArgumentError(msg)
    return address


def _try_token(url: str, token: str) -> None:
    """Ask the server something.

    Raises:
        PermissionDeniedError: it does not know the token.
        StoreUnavailableError: it cannot be reached.
    """
    store = open_store(url, load_settings(url=url, token=token))
    try:
        store.find(Query(kind="project", limit=1))
    except PermissionDeniedError as error:
        msg = f"the token is not stored: {error}"
        raise PermissionDeniedError(msg) from error
    finally:
        store.close()
