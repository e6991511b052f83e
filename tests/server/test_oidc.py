"""Signing in through an OpenID provider: a real one, that the test starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from joserfc.jwk import RSAKey

from modeldb_core.commands import people
from modeldb_core.errors import ConfigurationError, MissingDependencyError
from modeldb_core.plugins import PluginManager
from modeldb_core.stores import MetadataStore
from modeldb_server import ServerSettings, create_app
from modeldb_server.accounts.accounts import Accounts
from tests.server.test_accounts import ADMIN
from tests.services.openid import CLIENT_ID, CLIENT_SECRET, Provider, provider

BASE = "http://127.0.0.1:5000"
BEGIN, CALLBACK = "/api/v2/session/oidc", "/api/v2/session/oidc/callback"


@pytest.fixture(scope="module")
def openid() -> Iterator[Provider]:
    with provider() as started:
        yield started


@pytest.fixture
def settings(openid: Provider, tmp_path: Path) -> ServerSettings:
    openid.claims, openid.forged, openid.signing_key = {"sub": "subject-1"}, {}, None
    return ServerSettings(
        port=0,
        accounts=f"sqlite:///{tmp_path}/accounts.db",
        oidc_issuer=openid.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_create_users=True,
    )


@pytest.fixture
def app(store: MetadataStore, artifacts: Any, settings: ServerSettings) -> Iterator[Any]:
    made = create_app(store, artifacts, settings, plugins=PluginManager())
    yield made
    made.extensions["modeldb_server"].close()


def walk(app: Any, target: str = "/runs/1", client: Any = None, **changed: str) -> Any:
    """Sign in as a browser does: here, to the provider, and back."""
    client = client or app.test_client()
    begun = client.get(BEGIN, query_string={"next": target}, base_url=BASE)
    assert begun.status_code == 302, begun.text
    there = requests.get(begun.headers["Location"], allow_redirects=False, timeout=30)
    assert there.status_code == 302, there.text
    sent = dict(parse_qsl(urlsplit(there.headers["Location"]).query)) | changed
    path = f"{CALLBACK}?{urlencode(sent)}"
    return client.get(
        path,
        base_url=BASE,
        headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    )


def test_somebody_new_becomes_a_user_and_comes_back_as_the_same_one(app: Any, openid: Provider) -> None:
    openid.claims = {"sub": "s-1", "preferred_username": "ada", "email": "ada@example.org", "email_verified": True}
    client = app.test_client()
    answer = walk(app, client=client)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/runs/1"), answer.text
    cookie = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("modeldb_session="))
    assert "HttpOnly" in cookie
    who = client.get("/api/v2/session", base_url=BASE).json
    assert (who["user"], who["is_admin"]) == ("ada", False)
    openid.claims = {"sub": "s-1", "preferred_username": "another"}
    again = app.test_client()
    assert walk(app, client=again).status_code == 302
    assert again.get("/api/v2/session", base_url=BASE).json["user_id"] == who["user_id"]


def test_an_address_that_the_provider_has_verified_leads_to_its_user_once(
    app: Any, openid: Provider, store: MetadataStore
) -> None:
    accounts = app.extensions["modeldb_server"].accounts
    accounts.execute(people.create_user(store, "bob", email="bob@example.org"), ADMIN)
    openid.claims = {"sub": "s-2", "preferred_username": "bob", "email": "bob@example.org", "email_verified": False}
    assert walk(app).status_code == 403  # anyone may have written that address
    openid.claims["email_verified"] = True
    client = app.test_client()
    assert walk(app, client=client).status_code == 302
    assert client.get("/api/v2/session", base_url=BASE).json["user"] == "bob"
    openid.claims["sub"] = "s-3"  # somebody else who has the address now
    assert walk(app).status_code == 403
    bob = accounts.directory().named("bob")
    accounts.disable(bob, ADMIN)
    openid.claims["sub"] = "s-2"
    assert walk(app).status_code == 403
    assert client.get("/api/v2/session", base_url=BASE).status_code == 401


def test_what_does_not_prove_who_signs_in_lets_nobody_in(app: Any, openid: Provider) -> None:
    openid.claims = {"sub": "s-4", "preferred_username": "eve"}
    assert walk(app, state="another").status_code == 403
    assert walk(app, code="another").status_code == 403
    assert walk(app, code="").status_code == 403
    assert walk(app, error="access_denied").status_code == 403
    openid.signing_key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    assert walk(app).status_code == 403  # signed by somebody else
    openid.signing_key = None
    for claims in (
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": [CLIENT_ID, "another"]},
        {"nonce": "x"},
        {"exp": 1},
    ):
        openid.forged = claims
        assert walk(app).status_code == 403, claims
    openid.forged = {}
    client = app.test_client()
    begun = client.get(BEGIN, base_url=BASE)
    there = (
        requests.get(begun.headers["Location"], allow_redirects=False, timeout=30)
        .headers["Location"]
        .removeprefix(BASE)
    )
    assert app.test_client().get(there, base_url=BASE).status_code == 403  # another browser
    assert client.get(there, base_url=BASE).status_code == 302
    assert client.get(there, base_url=BASE).status_code == 403  # a second time
    assert app.extensions["modeldb_server"].accounts.directory().named("eve") is not None


def test_a_sign_in_leads_nowhere_but_into_this_server(app: Any, openid: Provider) -> None:
    openid.claims = {"sub": "s-5", "preferred_username": "eve"}
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x"):
        assert walk(app, target).headers["Location"] == "/", target


def test_a_provider_is_asked_over_an_encrypted_connection_with_a_secret() -> None:
    for wrong in ({"oidc_issuer": "http://idp.example.org"}, {"oidc_issuer": "https://idp.example.org"}):
        with pytest.raises(ConfigurationError, match="oidc_issuer"):
            ServerSettings(**wrong)
    with pytest.raises(ConfigurationError, match="trusted_proxy"):
        ServerSettings(proxy_user_header="X-Remote-User")


def test_a_server_that_cannot_sign_in_through_its_provider_does_not_start(
    store: MetadataStore, artifacts: Any, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Accounts] = []
    closed: list[Accounts] = []
    make, close = Accounts.__init__, Accounts.close
    monkeypatch.setattr(Accounts, "__init__", lambda own, *args: opened.append(own) or make(own, *args))
    monkeypatch.setattr(Accounts, "close", lambda own: closed.append(own) or close(own))
    without = replace(settings, accounts="off")
    with pytest.raises(ConfigurationError, match="modeldb admin create"):
        create_app(store, artifacts, without, plugins=PluginManager())
    for package in ("authlib.integrations.requests_client", "joserfc.jwt"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, package, None)
            with pytest.raises(MissingDependencyError, match=r"pip install 'modeldb-core\[oidc\]'"):
                create_app(store, artifacts, settings, plugins=PluginManager())

    assert len(closed) == len(opened) == 2


def test_a_server_that_cannot_write_its_access_log_leaves_no_connection_to_its_accounts(
    store: MetadataStore, artifacts: Any, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed: list[Accounts] = []
    close = Accounts.close
    monkeypatch.setattr(Accounts, "close", lambda own: closed.append(own) or close(own))
    (tmp_path / "log").write_text("a file")
    wanted = replace(settings, oidc_issuer="", access_log_dir=tmp_path / "log", access_log_required=True)
    with pytest.raises(ConfigurationError, match="access log cannot be written"):
        create_app(store, artifacts, wanted, plugins=PluginManager())
    assert len(closed) == 1
