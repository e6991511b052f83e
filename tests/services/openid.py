"""A small OpenID provider, built with Authlib: authorization code flow with PKCE, for the tests of signing in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin, ClientMixin
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, Response, jsonify, request
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "modeldb", "a-secret-of-the-test-client"


@dataclass
class Provider:
    """What the provider answers; a test alters it.

    Attributes:
        claims: of who signs in.
        forged: claims of the token that are other ones than they should be.
    """

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "subject-1"})
    forged: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}))
    signing_key: Any = None


class _Client(ClientMixin):
    redirect_uris: list[str] = []

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/api/v2/session/oidc/callback")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        del endpoint
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class _Code(AuthorizationCodeMixin):
    code: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    auth_time: int = 0

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


@contextmanager
def provider() -> Iterator[Provider]:
    """Start the provider; it ends with the block."""
    about, app = Provider(), Flask("provider")
    codes: dict[str, _Code] = {}
    client = _Client()
    server = AuthorizationServer(app, query_client=lambda _client_id: client, save_token=lambda _token, _request: None)

    class CodeGrant(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]

        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            names = ("nonce", "code_challenge", "code_challenge_method")
            codes[code] = _Code(
                code, request.payload.redirect_uri, request.payload.scope, *(data.get(name, "") for name in names)
            )

        def query_authorization_code(self, code: str, client: Any) -> _Code | None:
            del client
            return codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del codes[authorization_code.code]

        def authenticate_user(self, authorization_code: _Code) -> dict[str, Any]:
            del authorization_code
            return about.claims

    class IdToken(OpenIDCode):
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            del nonce, request
            return False

        def resolve_client_private_key(self, client: Any) -> Any:
            del client
            return about.signing_key or about.key

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            del client
            return {"iss": about.issuer}

        def get_encode_header(self, client: Any) -> dict[str, str]:
            del client
            return {"alg": "RS256", "kid": "one"}

        def generate_user_info(self, user: dict[str, Any], scope: str) -> UserInfo:
            del scope
            return UserInfo(**{**user, **about.forged})

    server.register_grant(CodeGrant, [IdToken(), CodeChallenge(required=True)])

    @app.get("/.well-known/openid-configuration")
    def describe() -> Response:
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return jsonify({"issuer": about.issuer, **{name: about.issuer + path for name, path in paths.items()}})

    @app.get("/keys")
    def keys() -> Response:
        return jsonify({"keys": [about.key.as_dict(private=False)]})

    @app.get("/authorize")
    def authorize() -> Any:
        assert request.args["code_challenge_method"] == "S256"
        grant = server.get_consent_grant(end_user=about.claims)
        return server.create_authorization_response(grant_user=about.claims, grant=grant)

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    listening = make_server("127.0.0.1", 0, app, threaded=True)
    about.issuer = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield about
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
