"""Identities differ where they say, are seen where the object is, and private ones are kept apart."""

from collections import Counter

import numpy as np
import pytest

from lorasmith.world import (
    COATS,
    OBJECTS,
    PATTERNS,
    SHIPPED_STYLES,
    TRAITS,
    Identity,
    Scene,
    Trait,
    all_identities,
    differing_traits,
    random_identities,
    render,
    shipped_sprites,
    siblings,
)
from lorasmith.world.dressing import dressed

DOG = Identity("dog", "lime", "dots", "blue")


def drawn(identity: Identity | None, style: str = "3d", background: str = "white"):
    scene = Scene("dog", style, background, jitter=4, identity=identity)
    return np.asarray(render(scene, shipped_sprites())).astype(np.int32)


@pytest.mark.parametrize("identity", [DOG, Identity("dog", "cyan")], ids=lambda identity: identity.name)
def test_siblings_differ_in_exactly_one_trait_and_from_one_another(identity: Identity) -> None:
    found = siblings(identity)
    assert all(len(differing_traits(identity, sibling)) == 1 for sibling in found)
    assert len(set(found)) == len(found) >= 10


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_has_several_siblings(trait: Trait) -> None:
    found = siblings(DOG, trait=trait)
    assert len(found) >= 3
    assert {differing_traits(DOG, sibling) for sibling in found} == {(trait,)}


@pytest.mark.parametrize("style", SHIPPED_STYLES)
def test_every_sibling_is_seen_inside_the_object_and_nowhere_else(style: str) -> None:
    both = np.concatenate([drawn(None, style, background) for background in ("white", "black")], axis=-1)
    outside = (both == both[0, 0]).all(axis=-1)  # where both plain backgrounds show through
    original = drawn(DOG, style)
    for sibling in (*siblings(DOG), None):
        changed = np.abs(drawn(sibling, style) - original).max(axis=-1)
        assert changed[outside].max() <= 2  # an edge that hides a two-hundredth of what is behind it
        assert (changed[~outside] > 60).mean() > 0.08, sibling


def test_an_identity_keeps_the_sprites_shape() -> None:
    plain = shipped_sprites().of("dog", "noto")
    worn = dressed(plain, DOG, "noto")
    assert np.array_equal(np.asarray(worn.getchannel("A")), np.asarray(plain.getchannel("A")))


def test_pixel_art_stays_pixel_art() -> None:
    worn = np.asarray(dressed(shipped_sprites().of("dog", "pixel"), DOG, "pixel"))
    cells = worn.reshape(worn.shape[0] // 8, 8, worn.shape[1] // 8, 8, 4)
    assert (cells == cells[:, :1, :, :1]).all()


def test_the_same_identity_is_always_drawn_the_same() -> None:
    assert np.array_equal(drawn(DOG), drawn(Identity("dog", "lime", "dots", "blue")))


def test_every_identity_has_a_name_of_its_own() -> None:
    names = [identity.name for identity in all_identities()]
    assert len(set(names)) == len(names) > 5_000


def test_random_identities_repeat_for_a_seed_and_cover_objects_and_traits() -> None:
    found = random_identities(1, 800)
    assert found == random_identities(1, 800)
    assert found != random_identities(2, 800)
    assert len(set(found)) == 800
    assert {identity.thing for identity in found} == {thing.name for thing in OBJECTS}
    assert {identity.coat for identity in found} == set(COATS)
    assert {identity.pattern for identity in found} == set(PATTERNS)


def test_private_identities_are_never_among_those_to_learn_from() -> None:
    assert not any(identity.is_private for identity in random_identities(0, 3_000))
    assert all(identity.is_private for identity in random_identities(0, 300, private=True))
    shares = Counter(identity.is_private for identity in all_identities())
    assert 0.2 < shares[True] / shares.total() < 0.3


@pytest.mark.parametrize(
    ("traits", "reason"),
    [
        (("teddy bear", "lime", "plain", None), "'teddy bear' is held out"),
        (("dog", "lime", "plain", "red"), "only plain has none"),
        (("dog", "lime", "dots", None), "only plain has none"),
        (("dog", "indigo", "dots", "blue"), "blue on indigo cannot be seen"),
    ],
)
def test_what_cannot_be_seen_is_refused(traits: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Identity(*traits)  # pyright: ignore[reportArgumentType]


def test_identities_of_different_objects_have_no_traits_to_compare() -> None:
    with pytest.raises(ValueError, match="a dog and a car"):
        differing_traits(DOG, Identity("car", "lime", "dots", "red"))


def test_a_scene_refuses_an_identity_of_another_object() -> None:
    with pytest.raises(ValueError, match="shows a car, its identity is a dog"):
        Scene("car", identity=DOG)
