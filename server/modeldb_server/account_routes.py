"""The routes of accounts, which a server without accounts does not have. ``docs/access.md`` explains them."""

from __future__ import annotations

from functools import cache, partial

from modeldb_core.model.access import ROLES
from modeldb_server.accounts.secrets import MAX_PASSWORD
from modeldb_server.entity_routes import PREFIX
from modeldb_server.handlers import accounts, oidc
from modeldb_server.routes import Parameter, Policy, Route

_of_accounts = partial(Route, policy=Policy.READ, tag="accounts", errors=(400, 401, 403, 404))
_TEXT = partial(Parameter, type="text", required=True, is_raw=True)
_PASSWORD = partial(_TEXT, max_length=MAX_PASSWORD)


@cache
def account_routes(*, with_openid: bool) -> tuple[Route, ...]:
    """Return the routes. What changes something asks by itself where the request comes from.

    Args:
        with_openid: whether the server has an OpenID provider.
    """
    session, tokens = f"{PREFIX}/session", f"{PREFIX}/session/tokens"
    return (
        Route(
            "POST",
            session,
            accounts.sign_in,
            "Sign in: begin a session of a browser",
            policy=Policy.PUBLIC,
            answer="Visitor",
            body=(_TEXT(name="user", description="name or address"), _PASSWORD(name="password", description="theirs")),
            tag="accounts",
            errors=(400, 401, 403, 429),
        ),
        _of_accounts("GET", session, accounts.show_visitor, "Say who asks", answer="Visitor"),
        _of_accounts("DELETE", session, accounts.sign_out, "Sign out: end the session", answer="SignedOut"),
        _of_accounts(
            "PUT",
            f"{session}/password",
            accounts.change_password,
            "Change one's own password",
            answer="PasswordChanged",
            body=(
                _PASSWORD(name="password", description="the one so far"),
                _PASSWORD(name="new_password", description="at least 12 characters"),
            ),
        ),
        _of_accounts("GET", tokens, accounts.list_own_tokens, "List one's own tokens", answer="Tokens"),
        _of_accounts(
            "POST",
            tokens,
            accounts.create_own_token,
            "Make a token, which is shown this once",
            answer="NewToken",
            status=201,
            body=(
                Parameter(name="name", type="text", required=True, max_length=256, description="what it is for"),
                Parameter(
                    name="allows",
                    type="text",
                    default="write",
                    choices=("read", "write", "erase"),
                    description="what it may do",
                ),
                Parameter(
                    name="place_kind",
                    type="text",
                    default="",
                    choices=("", "workspace", "project"),
                    description="for one alone",
                    is_raw=True,
                ),
                Parameter(name="place_id", type="text", default="", description="its identifier", is_raw=True),
                Parameter(name="days", type="number", description="until it expires"),
            ),
        ),
        _of_accounts(
            "DELETE",
            f"{tokens}/<token_id>",
            accounts.revoke_own_token,
            "End a token, at once and for good",
            answer="TokenRevoked",
        ),
        *(_of_openid(session) if with_openid else ()),
        *(route for kind in ("workspace", "project") for route in _of_members(kind)),
    )


def _of_members(kind: str) -> tuple[Route, Route]:
    path = f"{PREFIX}/{kind}s/<entity_id>/members"
    return (
        _of_accounts(
            "GET",
            path,
            accounts.list_members,
            f"List who has a role on a {kind}",
            answer="Members",
            name=f"list_{kind}_members",
            fixed={"kind": kind},
        ),
        _of_accounts(
            "PUT",
            path,
            accounts.set_member,
            f"Give a role on a {kind}, or take it away",
            answer="MemberSet",
            name=f"set_{kind}_member",
            fixed={"kind": kind},
            body=(
                Parameter(
                    name="holder_kind", type="text", default="user", choices=("user", "team"), description="who gets it"
                ),
                Parameter(name="name", type="text", required=True, max_length=256, description="of the user or team"),
                Parameter(
                    name="role",
                    type="text",
                    required=True,
                    choices=("", *ROLES),
                    is_raw=True,
                    description="empty: none",
                ),
            ),
        ),
    )


def _of_openid(session: str) -> tuple[Route, Route]:
    return (
        Route(
            "GET",
            f"{session}/oidc",
            oidc.begin,
            "Sign in through the OpenID provider",
            policy=Policy.PUBLIC,
            name="begin_oidc",
            parameters=(
                Parameter(name="next", type="text", default="/", max_length=2000, description="path to go to then"),
            ),
            answer="text/html",
            status=302,
            tag="accounts",
            errors=(404, 503),
        ),
        Route(
            "GET",
            f"{session}/oidc/callback",
            oidc.finish,
            "Come back from the OpenID provider",
            policy=Policy.PUBLIC,
            name="finish_oidc",
            parameters=tuple(
                Parameter(
                    name=name, type="text", default="", max_length=4096, is_raw=True, description="of the provider"
                )
                for name in ("state", "code", "error", "error_description", "iss", "session_state", "scope")
            ),
            answer="text/html",
            status=302,
            tag="accounts",
            errors=(400, 403, 404, 503),
        ),
    )
