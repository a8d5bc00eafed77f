"""Use cases: what a user asks for, wired together from the layers below."""
