# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# huggingface_hub answers with untyped JSON.
"""Owns who is logged in to the hub and what the login may do, as far as the hub says; keeps no token."""

from dataclasses import dataclass
from typing import Any

from lorasmith.hub.client import Hub


@dataclass(frozen=True)
class Account:
    """Who is logged in; `may_write` is false only for a token that says of itself that it can only read."""

    name: str
    organisations: frozenset[str]
    may_write: bool

    def full_name(self, repo: str) -> str:
        """`user/name` for a bare name."""
        return repo if "/" in repo else f"{self.name}/{repo}"

    def may_own(self, repo: str) -> bool:
        """Whether a repository is the user's or one of their organisations'."""
        owner = self.full_name(repo).partition("/")[0].lower()
        return owner in {name.lower() for name in (self.name, *self.organisations)}


def read_account(hub: Hub) -> Account:
    """Ask the hub. HubTroubleError when the login is refused or the hub cannot be asked."""
    with hub.asked_about("the account"):
        answer: dict[str, Any] = hub.api.whoami()
        organisations = [str(one.get("name")) for one in answer.get("orgs") or ()]
        role = ((answer.get("auth") or {}).get("accessToken") or {}).get("role")
        return Account(str(answer["name"]), frozenset(organisations), may_write=role != "read")
