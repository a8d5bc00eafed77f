"""Owns taking secrets out of a text that other people may read; finds only what looks like one."""

import re

# Tokens of hubs, clouds and trackers, and what stands before the `@` of an address.
_SECRETS = re.compile(r"\b(?:hf|gh[a-z]|github_pat|sk|pk|wandb)[-_][\w-]{16,}|(?<=//)[^/\s@]+(?=@)")


def without_secrets(text: str) -> str:
    """The text with `***` in place of tokens and passwords."""
    return _SECRETS.sub("***", text)
