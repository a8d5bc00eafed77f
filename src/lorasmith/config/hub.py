"""Owns whether and where a run's exports are uploaded; knows no secret: a login is never an option."""

import re

from pydantic import field_validator

from lorasmith.config.section import Section

_LONGEST = 96
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")


class HubConfig(Section):
    """Whether and where the exports are uploaded."""

    push: bool = False
    """Upload the exports and the model card, and nothing else, at the end of the run."""

    repo: str | None = None
    """The repository to upload to: `user/name`, or `name` for one of your own; None means the export's name."""

    private: bool = False
    """Make the repository private when it is made; one that is there and public is refused."""

    @field_validator("repo")
    @classmethod
    def repo_can_be_one(cls, repo: str | None) -> str | None:
        """A name that cannot be would be found out only after the training."""
        problem = repo_problem(repo) if repo is not None else None
        if problem:
            raise ValueError(f"must be {problem}")
        return repo


def repo_problem(name: str) -> str | None:
    """What a repository's name must be and this one is not; None when it can be one. The hub has the last word."""
    parts = name.split("/")
    if len(parts) > 2 or any(not _PART.fullmatch(part) for part in parts):
        return "`user/name` or `name`, of letters, digits, `-`, `_` and `.`, not beginning or ending with `-` or `.`"
    if any(len(part) > _LONGEST for part in parts):
        return f"no longer than {_LONGEST} characters"
    if "--" in name or ".." in name or name.endswith(".git"):
        return "without `--` and `..`, and not end with `.git`"
    return None


def repo_name_from(text: str) -> str:
    """A repository's name made of any text, as near to it as the hub allows."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    name = re.sub(r"([-.])[-.]+", r"\1", name)[:_LONGEST].strip("-.")
    name = re.sub(r"(\.git)+$", "", name).strip("-.")
    return name or "lora"
