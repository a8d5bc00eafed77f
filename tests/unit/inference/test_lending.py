# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A base that is lent to exports is the same after each, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorasmith.errors import DataError
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.lending import with_concept
from lorasmith.testing.random_export import random_export

ONE = DrawRequest("a photo of TOK", 3, settings=DrawSettings(2))


@pytest.fixture
def export(tmp_path: Path, tiny_base: Path) -> Path:
    return random_export(tmp_path / "export", tiny_base, abstractions={"TOK": ("<s0>", "<s1>")})


def state_of(pipeline: Any) -> dict[str, torch.Tensor]:
    parts = (pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2)
    return {f"{place}.{name}": value for place, part in enumerate(parts) for name, value in part.state_dict().items()}


def test_the_base_is_the_same_to_the_bit_after_an_export(open_tiny: Callable[[], Any], export: Path) -> None:
    pipeline = open_tiny()
    before = {name: value.clone() for name, value in state_of(pipeline).items()}
    words = len(pipeline.tokenizer)
    picture = draw(pipeline, [ONE])[0].tobytes()
    with with_concept(pipeline, export) as vocabulary:
        assert vocabulary.expand("TOK") == "<s0><s1>"
        assert draw(pipeline, [ONE])[0].tobytes() != picture
    after = state_of(pipeline)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(pipeline.tokenizer) == words
    assert draw(pipeline, [ONE])[0].tobytes() == picture


def test_one_export_after_another_draws_as_on_a_fresh_base(
    open_tiny: Callable[[], Any], export: Path, tmp_path: Path, tiny_base: Path
) -> None:
    second = random_export(tmp_path / "second", tiny_base, abstractions={"TOK": ("<s0>",)}, seed=1)

    def drawn(pipeline: Any, folder: Path) -> bytes:
        with with_concept(pipeline, folder) as vocabulary:
            return draw(pipeline, [DrawRequest(vocabulary.expand(ONE.prompt), 3, settings=ONE.settings)])[0].tobytes()

    lent = open_tiny()
    drawn(lent, export)
    assert drawn(lent, second) == drawn(open_tiny(), second)


def test_an_export_that_does_not_fit_leaves_the_base_as_it_was(open_tiny: Callable[[], Any], export: Path) -> None:
    rows = load_file(export / "TOK_emb.safetensors")
    save_file({**rows, "clip_g": rows["clip_g"][:, :3].contiguous()}, export / "TOK_emb.safetensors")
    pipeline = open_tiny()
    picture = draw(pipeline, [ONE])[0].tobytes()
    with pytest.raises(DataError), with_concept(pipeline, export):
        pass
    assert draw(pipeline, [ONE])[0].tobytes() == picture
