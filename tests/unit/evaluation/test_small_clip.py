"""The small CLIP puts pictures near their captions, and takes any text."""

from pathlib import Path

import numpy as np
import pytest

from lorasmith.errors import DataError
from lorasmith.evaluation import TinyClip, open_tiny_clip
from lorasmith.evaluation.oracle_examination import draw_scenes
from lorasmith.evaluation.shipped_weights import ORACLE, TINY_CLIP, weights_folder
from lorasmith.evaluation.tiny_clip_examination import examine_tiny_clip
from lorasmith.world import Scene, prompt_of


@pytest.fixture(scope="module")
def clip() -> TinyClip:
    """The one that ships."""
    return open_tiny_clip()


def test_pictures_find_their_captions(clip: TinyClip) -> None:
    marks = examine_tiny_clip(clip, 200, seed=1)
    assert marks.right_object >= 0.7
    assert marks.own_prompt >= 0.4


def test_pictures_of_one_scene_are_more_alike_than_of_two(clip: TinyClip) -> None:
    one, again, other = clip.pictures(
        draw_scenes(
            [Scene("dog", "3d", "red", jitter=1), Scene("dog", "3d", "red", jitter=2), Scene("bus", "noto", "snow")]
        )
    )
    assert one @ again > one @ other


def test_embeddings_have_length_one(clip: TinyClip) -> None:
    embeddings = np.concatenate((clip.pictures(draw_scenes([Scene("dog")])), clip.texts([prompt_of(Scene("dog"))])))
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["", "TOK", "a dog " * 100, "\x1b[31mün\u00efcode"])
def test_any_text_is_taken(clip: TinyClip, text: str) -> None:
    assert np.isfinite(clip.texts([text])).all()


def test_a_caption_is_embedded_alike_alone_and_among_others(clip: TinyClip) -> None:
    captions = ["a dog emoji in 3d style on a red background", "a bus"]
    assert np.allclose(clip.texts(captions)[0], clip.texts(captions[:1])[0], atol=1e-5)


def test_it_is_small_and_other_files_are_refused(tmp_path: Path) -> None:
    assert (weights_folder() / TINY_CLIP).stat().st_size <= 1_500_000
    with pytest.raises(DataError, match="small CLIP"):
        open_tiny_clip(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="small CLIP"):
        open_tiny_clip(weights_folder() / ORACLE)
