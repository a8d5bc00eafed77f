"""Which names a repository can have, before the hub is asked."""

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lorasmith.config.hub import HubConfig, repo_name_from, repo_problem

NAMES = st.text(st.sampled_from("ab9-_./ü"), min_size=1, max_size=8) | st.text("a-", min_size=90, max_size=100)


def library_takes(name: str) -> bool:
    """Whether the hub's library lets the name through."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(NAMES)
def test_a_name_that_passes_here_passes_in_the_hubs_library(name: str) -> None:
    if repo_problem(name) is None:
        assert library_takes(name)


@pytest.mark.parametrize("name", ["me/dog", "dog", "me/SDXL_dog-v1.2", "9/9", "me/_dog_"])
def test_usual_names_pass(name: str) -> None:
    assert repo_problem(name) is None
    assert library_takes(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "me/", "/dog", "a/b/c", "me/dog.git", "a--b", "a..b", "-dog", "dog.", "me/my dog", "hub.co/me/dog",
     "https://huggingface.co/me/dog", "müll", "a" * 97],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_with_what_it_must_be(name: str) -> None:
    with pytest.raises(ValidationError, match=r"must be (`user/name`|no longer|without)"):
        HubConfig(repo=name)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120))
def test_any_exports_name_gives_a_name_that_can_be(text: str) -> None:
    assert repo_problem(repo_name_from(text)) is None


def test_a_tame_exports_name_stays_as_it_is() -> None:
    assert repo_name_from("wolf_v1.2") == "wolf_v1.2"
    assert repo_name_from("My dog -- v2.git") == "My-dog-v2"
