"""Owns the examination of the small CLIP: do pictures find their prompts; refuses to call it an oracle."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..world import OBJECTS, prompt_of
from .oracle_examination import any_scene, draw_scenes
from .tiny_clip import TinyClip


@dataclass(frozen=True, slots=True)
class ClipMarks:
    """Of `pictures`, the shares that lie nearest to their own prompt, and to one that names their object."""

    pictures: int
    own_prompt: float
    right_object: float


def examine_tiny_clip(clip: TinyClip, count: int, *, seed: int) -> ClipMarks:
    """Fresh true renders of known objects against the prompts of all of them."""
    rng = random.Random(f"small CLIP/{seed}")
    scenes = [any_scene(rng, OBJECTS[place % len(OBJECTS)].name) for place in range(count)]
    prompts = [prompt_of(scene) for scene in scenes]
    nearest = (clip.pictures(draw_scenes(scenes)) @ clip.texts(prompts).T).argmax(axis=1)
    own = [prompts[int(found)] == prompt for found, prompt in zip(nearest, prompts, strict=True)]
    same = [scenes[int(found)].thing == scene.thing for found, scene in zip(nearest, scenes, strict=True)]
    return ClipMarks(count, sum(own) / count, sum(same) / count)
