"""What each program makes of a file, by its rules."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from made_loras import ALPHA, RANK, SPELLINGS, Lora, kohya, processors
from safetensors.torch import save, save_file
from torch import Tensor

from lorasmith.cli.app import main
from lorasmith.formats.opening import open_weights
from lorasmith.formats.readings import Reading, readings

SDXL = {"ss_base_model_version": "sdxl_base_v1-0"}
ROWS = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
Read = Callable[..., dict[str, Reading]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def by_program(tensors: Mapping[str, Tensor], header: Mapping[str, str] = SDXL) -> dict[str, Reading]:
        save_file(dict(tensors), tmp_path / "a.safetensors", dict(header))
        return {one.program: one for one in readings(open_weights(tmp_path / "a.safetensors"))}

    return by_program


def verdicts(found: dict[str, Reading]) -> dict[str, str]:
    return {program: one.verdict for program, one in found.items()}


def whole_attention(lora: Lora) -> Lora:
    """Without the one layer of the second text encoder that stands alone."""
    return {at: one for at, one in lora.items() if at[0] != "text_encoder_2"}


@pytest.mark.parametrize("spelling", ["kohya", "kohya-diffusers"])
def test_every_program_reads_kohyas_spellings_whole(spelling: str, lora: Lora, read: Read) -> None:
    found = read(SPELLINGS[spelling](whole_attention(lora)))
    assert set(verdicts(found).values()) == {"whole"}
    assert {one.difference for one in found.values()} == {0.0}


def test_a1111_wants_the_second_text_encoders_attention_whole(lora: Lora, read: Read) -> None:
    found = read(kohya(lora))
    assert verdicts(found) == dict.fromkeys(found, "whole") | {"A1111": "different"}
    assert (found["A1111"].layers, found["A1111"].of) == (6, 7)


def test_diffusers_keys_are_read_by_diffusers_alone_and_in_part_by_others(lora: Lora, read: Read) -> None:
    tensors = {name: tensor for name, tensor in SPELLINGS["diffusers"](lora).items() if not name.endswith("alpha")}
    found = read(tensors)
    assert verdicts(found) == {
        "diffusers": "whole", "ComfyUI": "different", "A1111": "not", "Forge": "different", "SD.Next": "different",
        "kohya": "not", "InvokeAI": "not",
    }  # fmt: skip
    assert (found["ComfyUI"].layers, found["SD.Next"].layers) == (4, 5)  # no to_q, to_k, to_out; no text encoders
    assert "to_q" in " ".join(found["ComfyUI"].reasons)


def test_names_of_2023_and_comfyuis_own(lora: Lora, read: Read) -> None:
    old = read(processors(lora, "unet."))
    assert verdicts(old)["ComfyUI"] == verdicts(old)["diffusers"] == "whole"
    own = read(SPELLINGS["comfyui"](lora))
    assert verdicts(own) == dict.fromkeys(own, "not") | {"ComfyUI": "whole", "Forge": "different"}


def test_forge_applies_nothing_of_a_file_with_more_than_a_dozen_strange_keys(read: Read) -> None:
    names = [f"unet.mid_block.attentions.0.transformer_blocks.{index}.attn1.to_q" for index in range(7)]
    halves = {f"{name}.lora_A.weight": torch.ones(2, 1280) for name in names}
    halves |= {f"{name}.lora_B.weight": torch.ones(1280, 2) for name in names}
    found = read(halves)
    assert (found["Forge"].verdict, found["ComfyUI"].verdict) == ("not", "not")
    assert "14 keys" in found["Forge"].reasons[0]


def test_diffusers_takes_one_alpha_for_all(lora: Lora, read: Read) -> None:
    tensors = kohya(whole_attention(lora))
    name = next(name for name in tensors if name.endswith("alpha"))
    found = read(tensors | {name: torch.tensor(1.0)})
    assert verdicts(found) == dict.fromkeys(found, "whole") | {"diffusers": "different"}
    assert found["diffusers"].difference == pytest.approx(1.0)  # 2 in place of 1


def test_an_alpha_in_the_header_is_heeded_by_diffusers_alone(lora: Lora, read: Read) -> None:
    tensors = {name: tensor for name, tensor in SPELLINGS["diffusers"](lora).items() if not name.endswith("alpha")}
    header = {"lora_adapter_metadata": f'{{"unet.lora_alpha": {ALPHA}, "unet.r": {RANK}}}'}
    found = read(tensors, header)
    assert found["diffusers"].verdict == "whole"
    assert found["SD.Next"].difference == pytest.approx(1.0)


def test_a_magnitude_for_each_output_is_read_by_nobody_else_and_one_for_each_input_by_most(
    lora: Lora, read: Read
) -> None:
    name = "lora_unet_middle_block_1_transformer_blocks_3_attn1_to_out_0"
    small = {at: one for at, one in lora.items() if at[1].startswith("mid_block")}
    tensors = {key: tensor * 0.1 if "up" in key else tensor for key, tensor in kohya(small).items()}
    outputs = read(tensors | {f"{name}.dora_scale": torch.full((1280, 1), 36.0)})
    assert verdicts(outputs) == dict.fromkeys(outputs, "different")
    for program in ("ComfyUI", "A1111", "kohya"):
        assert (outputs[program].difference or 0) > 0.001
    inputs = read(tensors | {f"{name}.dora_scale": torch.full((1, 1280), 36.0)})
    assert [program for program, verdict in verdicts(inputs).items() if verdict == "whole"] == [
        "ComfyUI", "A1111", "Forge", "InvokeAI",
    ]  # fmt: skip
    assert "alpha ÷ rank" in inputs["SD.Next"].reasons[0]
    assert "plain LoRA" in inputs["kohya"].reasons[0]


def test_a1111_hides_what_its_metadata_does_not_call_sdxl(lora: Lora, read: Read) -> None:
    found = read(kohya(whole_attention(lora)), {"ss_output_name": "x"})
    assert verdicts(found) == dict.fromkeys(found, "whole") | {"A1111": "different"}
    assert "hides it" in found["A1111"].reasons[0]


def test_bundles_and_embeddings(lora: Lora, read: Read) -> None:
    bundle = {f"bundle_emb.wolf.{name}": rows for name, rows in ROWS.items()}
    found = read(kohya(whole_attention(lora)) | bundle)
    assert (found["A1111"].verdict, found["diffusers"].verdict, found["ComfyUI"].verdict) == (
        "whole", "not", "different",
    )  # fmt: skip
    alone = read(ROWS)
    assert (alone["A1111"].verdict, alone["ComfyUI"].verdict) == ("whole", "whole")
    assert "eos_token_id" in alone["diffusers"].reasons[0]
    numbered = read({"text_encoders_0": ROWS["clip_l"], "text_encoders_1": ROWS["clip_g"]})
    assert (numbered["ComfyUI"].verdict, numbered["A1111"].verdict) == ("not", "not")


def test_verify_says_so_of_a_file(lora: Lora, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(kohya(whole_attention(lora)), tmp_path / "a.safetensors", SDXL)
    with pytest.raises(SystemExit) as left:
        main(["verify", str(tmp_path / "a.safetensors")])
    said = capsys.readouterr().out.splitlines()
    assert left.value.code == 0
    assert said[0].startswith("ok     a.safetensors: kohya format")
    assert said[1:] == [
        f"  {program:<9} reads it whole"
        for program in ("diffusers", "ComfyUI", "A1111", "Forge", "SD.Next", "kohya", "InvokeAI")
    ]


def test_verify_says_that_nothing_reads_cogs_archive_as_it_is(
    lora: Lora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = save(processors(lora, ""))
    with tarfile.open(tmp_path / "trained_model.tar", "w") as archive:
        member = tarfile.TarInfo("lora.safetensors")
        member.size = len(inside)
        archive.addfile(member, io.BytesIO(inside))
    with pytest.raises(SystemExit) as left:
        main(["verify", str(tmp_path / "trained_model.tar")])
    said = capsys.readouterr().out.splitlines()
    assert left.value.code == 0
    assert said[1] == "  the archive is for cog-sdxl alone; programs read the lora.safetensors in it:"
    assert "  ComfyUI   reads it whole" in said
