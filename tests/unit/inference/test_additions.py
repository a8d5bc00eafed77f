# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' modules are only partly typed.
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lorasmith.errors import DataError
from lorasmith.inference.additions import NewRows, Strength, let_act, with_adapters, with_new_tokens

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@dataclass(frozen=True)
class Change:
    down: Tensor
    up: Tensor
    magnitude: Tensor | None = None


def layer_of(pipeline: Any) -> Any:
    return pipeline.unet.get_submodule(LAYER)


def change(pipeline: Any, rank: int, *, seed: int, dora: bool = False) -> Change:
    outputs, inputs = layer_of(pipeline).weight.shape
    torch.manual_seed(seed)
    magnitude = torch.rand(outputs) + 0.5 if dora else None
    return Change(torch.randn(rank, inputs), torch.randn(outputs, rank), magnitude)


def state(pipeline: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in pipeline.unet.state_dict().items()}


def test_adapters_of_several_ranks_act_together_each_at_its_strength_and_leave_no_trace(open_tiny: Any) -> None:
    pipeline = open_tiny()
    before, weight = state(pipeline), layer_of(pipeline).weight.detach().clone()
    first, second = change(pipeline, 2, seed=1), change(pipeline, 5, seed=2)
    given = torch.randn(3, weight.shape[1])
    with (
        torch.no_grad(),
        with_adapters(pipeline, {"a": {"denoiser": {LAYER: first}}, "b": {"denoiser": {LAYER: second}}}),
    ):
        assert torch.equal(layer_of(pipeline)(given), given @ weight.T)
        let_act(pipeline, {"a": Strength(0.5, 0.0), "b": Strength(-0.25, 1.0)})
        merged = weight + 0.5 * first.up @ first.down - 0.25 * second.up @ second.down
        torch.testing.assert_close(layer_of(pipeline)(given), given @ merged.T, atol=1e-4, rtol=1e-4)
        let_act(pipeline, {"b": Strength(0.0, 1.0)})
        assert torch.equal(layer_of(pipeline)(given), given @ weight.T)
    after = state(pipeline)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not hasattr(pipeline.unet, "peft_config")


def test_a_dora_brings_each_row_to_its_magnitude_and_none_at_strength_zero(open_tiny: Any) -> None:
    pipeline = open_tiny()
    weight = layer_of(pipeline).weight.detach().clone()
    dora = change(pipeline, 3, seed=3, dora=True)
    assert dora.magnitude is not None
    given = torch.randn(2, weight.shape[1])
    with torch.no_grad(), with_adapters(pipeline, {"d": {"denoiser": {LAYER: dora}}}):
        let_act(pipeline, {"d": Strength()})
        merged = weight + dora.up @ dora.down
        merged = merged * (dora.magnitude / merged.norm(dim=1))[:, None]
        torch.testing.assert_close(layer_of(pipeline)(given), given @ merged.T, atol=1e-4, rtol=1e-4)
        let_act(pipeline, {"d": Strength(0.0)})
        assert torch.equal(layer_of(pipeline)(given), given @ weight.T)


def test_new_tokens_are_there_inside_the_block_alone(open_tiny: Any) -> None:
    pipeline = open_tiny()
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    tables = [encoder.get_input_embeddings() for encoder in encoders]
    widths = [table.weight.shape[1] for table in tables]
    rows = NewRows(("<s0>", "<s1>"), torch.randn(2, widths[0]), torch.randn(2, widths[1]))
    with with_new_tokens(pipeline, rows):
        for tokenizer, encoder, wanted in zip(
            (pipeline.tokenizer, pipeline.tokenizer_2), encoders, (rows.first, rows.second), strict=True
        ):
            ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(rows.tokens)))
            assert torch.equal(encoder.get_input_embeddings()(ids[None])[0], wanted)
    assert [encoder.get_input_embeddings() for encoder in encoders] == tables
    assert "<s0>" not in pipeline.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("part", "layer", "complaint"),
    [
        ("denoiser", "down_blocks.7.attn", "no such layer"),
        ("denoiser", "down_blocks.0", "no layer that takes one"),
        ("text_encoder_1", "text_model.encoder.layers.0.self_attn.q_proj", "is for 3→3"),
    ],
)
def test_an_adapter_for_another_base_is_refused_and_leaves_no_trace(
    open_tiny: Any, part: str, layer: str, complaint: str
) -> None:
    pipeline = open_tiny()
    before = state(pipeline)
    small = Change(torch.ones(1, 3), torch.ones(3, 1))
    good = {"denoiser": {LAYER: change(pipeline, 2, seed=1)}}
    with (
        pytest.raises(DataError, match=rf"LoRA bad does not fit the base: .*{complaint}"),
        with_adapters(pipeline, {"good": good, "bad": {part: {layer: small}}}),
    ):
        pytest.fail("nothing is drawn with it")
    assert state(pipeline).keys() == before.keys()
