"""Signing in through an OpenID provider: the authorization code flow with PKCE, state and nonce (OpenID Connect Core 1.0)."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from modeldb_core.commands.people import check_user_name, create_user
from modeldb_core.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    MissingDependencyError,
    PermissionDeniedError,
    StoreUnavailableError,
)
from modeldb_server.accounts.secrets import new_secret
from modeldb_server.accounts.vault import SignIn

if TYPE_CHECKING:
    from joserfc.jwk import KeySetSerialization

    from modeldb_core.model.access import User
    from modeldb_server.accounts.accounts import Accounts

TIMEOUT_S = 10
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
"""Of signatures that a provider makes with a key of its own: neither none, nor one made with the secret of the client."""
_LEEWAY_S = 60
_WELL_KNOWN = "/.well-known/openid-configuration"


class Provider(NamedTuple):
    """A provider, and as which it knows the server."""

    issuer: str
    client_id: str
    client_secret: str
    creates_users: bool


class OpenID:
    """Signs users in through one provider.

    Args:
        accounts: of the server.
        provider: through which.

    Raises:
        MissingDependencyError: a package is not installed.
    """

    def __init__(self, accounts: Accounts, provider: Provider) -> None:
        try:
            import authlib.integrations.requests_client
            import joserfc.jwt  # noqa: F401 - used below
        except ImportError as error:
            msg = f"signing in through OpenID needs a package that is not installed ({error}); pip install 'modeldb-core[oidc]'"
            raise MissingDependencyError(msg) from error
        self._new_session = authlib.integrations.requests_client.OAuth2Session
        self._accounts, self._provider = accounts, provider
        self._lock = threading.Lock()
        self._known: dict[str, Any] | None = None

    def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """Begin a sign-in; returns the address to send the browser to, and the state that its cookie is to hold.

        Args:
            redirect_uri: where the provider sends it back.
            target: the path where it goes then.

        Raises:
            StoreUnavailableError: the provider cannot be reached.
        """
        nonce, verifier, state = secrets.token_urlsafe(24), secrets.token_urlsafe(48), new_secret()
        with self._session(redirect_uri) as session:
            address, _ = session.create_authorization_url(
                self._metadata()["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        self._accounts.vault.begin_sign_in(state, SignIn(nonce, verifier, target))
        return str(address), state

    def finish(self, redirect_uri: str, state: str, code: str) -> tuple[User, str]:
        """Return who signed in, and where they go.

        Args:
            redirect_uri: as at the beginning.
            state: that the browser's cookie and the address hold.
            code: that the provider gave.

        Raises:
            PermissionDeniedError: the sign-in was not begun here, took too long, or the provider's answer does not prove who it is; or they
                are no user.
            StoreUnavailableError: the provider cannot be reached.
        """
        kept = self._accounts.vault.take_sign_in(state)
        if kept is None:
            msg = "this sign-in was not begun here, or took too long: begin again"
            raise PermissionDeniedError(msg)
        claims = self._claims(self._fetch_token(redirect_uri, code, kept.verifier), kept.nonce)
        return self._user(claims), kept.target

    def _fetch_token(self, redirect_uri: str, code: str, verifier: str) -> str:
        from authlib.common.errors import AuthlibBaseError

        try:
            with self._session(redirect_uri) as session:
                token = session.fetch_token(
                    self._metadata()["token_endpoint"], code=code, code_verifier=verifier, timeout=TIMEOUT_S
                )
        except AuthlibBaseError as error:
            msg = f"the provider refused the sign-in ({error.error}): begin again"
            raise PermissionDeniedError(msg) from error
        except (OSError, ValueError) as error:  # those of requests are OSErrors
            raise self._unreachable(error) from error
        return str(token.get("id_token") or "")

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Return what a token says, once it has shown that it is of this provider, for this server and this sign-in."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(cast("KeySetSerialization", self._get(self._metadata()["jwks_uri"])))
            decoded = jwt.decode(id_token, keys, algorithms=_ALGORITHMS)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self._provider.issuer},
                aud={"essential": True, "value": self._provider.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            msg = f"the provider's answer does not prove who signed in ({type(error).__name__})"
            raise PermissionDeniedError(msg) from error
        claims = decoded.claims
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audience) > 1 and claims.get("azp") != self._provider.client_id:
            msg = "the provider's answer is for others too"
            raise PermissionDeniedError(msg)
        return dict(claims)

    def _user(self, claims: dict[str, Any]) -> User:
        """Return the user whom a provider knows: by its subject, once by a verified address, or a new one."""
        issuer, subject = self._provider.issuer, str(claims["sub"])
        vault, directory = self._accounts.vault, self._accounts.directory()
        known = vault.user_of_identity(issuer, subject)
        user = directory.users.get(known) if known else None
        if user is None:
            user = self._linked(claims) or self._created(claims)
            vault.add_identity(issuer, subject, user.entity_id)
        if user.is_disabled or user.is_service:
            raise self._no_user()
        return user

    def _linked(self, claims: dict[str, Any]) -> User | None:
        email = str(claims.get("email") or "")
        if not email or claims.get("email_verified") is not True:
            return None
        user = self._accounts.directory().named(email)
        if (
            user is None
            or user.email != email.lower()
            or self._accounts.vault.has_identity(self._provider.issuer, user.entity_id)
        ):
            return None
        return user

    def _created(self, claims: dict[str, Any]) -> User:
        if not self._provider.creates_users:
            raise self._no_user()
        email = str(claims.get("email") or "") if claims.get("email_verified") is True else ""
        name = str(claims.get("preferred_username") or email or "")
        try:
            operation = create_user(
                self._accounts.store, check_user_name(name), email=email, full_name=str(claims.get("name") or "")[:256]
            )
            self._accounts.execute(operation, name)
        except (AlreadyExistsError, InvalidArgumentError) as error:
            msg = f"nobody can be made a user of what the provider says ({error}): ask an administrator"
            raise PermissionDeniedError(msg) from error
        return self._accounts.directory().users[operation.entity_id]

    def _no_user(self) -> PermissionDeniedError:
        return PermissionDeniedError("the provider knows you, and this server does not: ask an administrator")

    # The provider

    def _session(self, redirect_uri: str) -> Any:  # noqa: ANN401 - of Authlib, which has no types
        provider = self._provider
        return self._new_session(
            provider.client_id,
            provider.client_secret,
            scope="openid email profile",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )

    def _metadata(self) -> dict[str, Any]:
        with self._lock:
            if self._known is None:
                found = self._get(self._provider.issuer.rstrip("/") + _WELL_KNOWN)
                if found.get("issuer") != self._provider.issuer:
                    msg = f"the provider calls itself {str(found.get('issuer'))[:200]!r}, and server.oidc_issuer {self._provider.issuer!r}"
                    raise StoreUnavailableError(msg)
                self._known = found
            return self._known

    def _get(self, url: str) -> dict[str, Any]:
        try:
            with self._session("") as session:
                answer = session.get(url, timeout=TIMEOUT_S, withhold_token=True, allow_redirects=False)
                answer.raise_for_status()
                found = answer.json()
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error
        if not isinstance(found, dict):
            raise self._unreachable(ValueError("no JSON object"))
        return found

    def _unreachable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the OpenID provider {self._provider.issuer} cannot be reached ({type(error).__name__})"
        )
