"""Who makes a request."""

from __future__ import annotations

from typing import NamedTuple

from modeldb_server.accounts.credentials import Means
from modeldb_server.routes import Policy  # noqa: TC001 - anyone who reads the types at run time


class Visitor(NamedTuple):
    """Who asks, where the server knows.

    Attributes:
        user: in whose name changes are recorded.
        granted: the most that they may call.
        user_id: of their account; empty where the token is one of the settings.
        is_admin: whether they administer the server with what they show.
        means: by what they said who they are.
        token_id: of the token that was shown.
        place_kind: workspace or project, where the token is for one alone.
        place_id: its identifier.
        revision: of who is who, when they were let in.
        is_provisional: nobody has looked at their password yet: this is only asked for whether a body is to be read.
    """

    user: str
    granted: Policy
    user_id: str = ""
    is_admin: bool = False
    means: Means = Means.TOKEN
    token_id: str = ""
    place_kind: str = ""
    place_id: str = ""
    revision: int = 0
    is_provisional: bool = False

    @property
    def is_browser(self) -> bool:
        """Whether a cookie says who asks, which a browser sends unasked."""
        return self.means is Means.SESSION
