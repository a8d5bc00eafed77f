"""A converted file makes the same change as its source, in every spelling, or is not written."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from made_loras import ALPHA, RANK, SPELLINGS, Lora, kohya, processors
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lorasmith.cli.app import main
from lorasmith.errors import ConfigError, DataError
from lorasmith.formats.adapters import adapters_in
from lorasmith.formats.embeddings_format import embeddings_in
from lorasmith.formats.inspection import inspect
from lorasmith.formats.opening import open_weights
from lorasmith.runs import convert as converting
from lorasmith.runs.convert import ConvertRequest, convert

SDXL = {"ss_base_model_version": "sdxl_base_v1-0", "ss_dataset_dirs": '{"/home/someone": {}}', "ss_seed": "7"}
ROWS = {"clip_l": torch.arange(2 * 768.0).reshape(2, 768), "clip_g": torch.arange(2 * 1280.0).reshape(2, 1280)}


@pytest.fixture
def source(lora: Lora, tmp_path: Path) -> Path:
    save_file(kohya(lora), tmp_path / "in.safetensors", SDXL)
    return tmp_path / "in.safetensors"


@pytest.mark.parametrize("to", ["diffusers", "kohya", "kohya-diffusers", "comfyui"])
@pytest.mark.parametrize("spelling", ["kohya", "peft", "comfyui"])
def test_every_target_makes_the_same_change(spelling: str, to: Any, lora: Lora, tmp_path: Path) -> None:
    path, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(SPELLINGS[spelling](lora), path)
    done = convert(ConvertRequest(path, out, to))
    assert (done.files, done.layers, done.lost, done.ranks) == ((out,), 7, None, (RANK,))
    assert done.largest_difference < 1e-6
    file = open_weights(out)
    assert file.format == to
    for part, modules in adapters_in(file).items():
        for name, module in modules.items():
            torch.testing.assert_close(module.change(), lora[part, name].change() * (ALPHA / RANK))


def test_kohyas_keys_come_out_as_they_went_in_with_their_alpha(lora: Lora, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    convert(ConvertRequest(source, tmp_path / "between.safetensors", "kohya-diffusers"))
    convert(ConvertRequest(tmp_path / "between.safetensors", out, "kohya"))
    wanted, found = kohya(lora), load_file(out)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    with safe_open(out, framework="pt") as file:
        header: dict[str, str] = file.metadata()
    assert (header["ss_seed"], header["ss_network_alpha"]) == ("7", "2.0")
    assert "ss_dataset_dirs" not in header
    assert inspect(out).problems == ()


def test_precision_strength_and_rank_are_what_was_asked_for(lora: Lora, source: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    assert convert(ConvertRequest(source, half, "kohya", dtype="bf16")).largest_difference > 1e-4
    assert {tensor.dtype for name, tensor in load_file(half).items() if "alpha" not in name} == {torch.bfloat16}
    weaker = tmp_path / "weaker.safetensors"
    convert(ConvertRequest(source, weaker, "diffusers", strength=0.5))
    at = ("denoiser", "mid_block.attentions.0.transformer_blocks.3.attn1.to_out.0")
    change = adapters_in(open_weights(weaker))["denoiser"][at[1]].change()
    torch.testing.assert_close(change, lora[at].change() * (ALPHA / RANK) / 2)  # pyright: ignore[reportArgumentType]
    small = tmp_path / "small.safetensors"
    done = convert(ConvertRequest(source, small, "kohya", rank=2))
    found = adapters_in(open_weights(small))["denoiser"][at[1]]
    wanted = lora[at].change() * (ALPHA / RANK)  # pyright: ignore[reportArgumentType]
    left, values, right = torch.linalg.svd(wanted, full_matrices=False)
    torch.testing.assert_close(found.change(), left[:, :2] * values[:2] @ right[:2], rtol=1e-3, atol=1e-3)
    assert done.ranks == (2,)
    assert done.lost is not None
    assert 0.2 < done.lost < 0.8


def test_an_energy_keeps_no_more_than_it_takes(tmp_path: Path) -> None:
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
    down, up = torch.eye(1280)[:4], torch.eye(1280)[:, :4] * torch.tensor([10.0, 1.0, 0.1, 0.01])
    save_file({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}, tmp_path / "in.safetensors")
    done = convert(ConvertRequest(tmp_path / "in.safetensors", tmp_path / "out.safetensors", "kohya", energy=0.999))
    assert done.ranks == (2,)
    assert done.lost == pytest.approx((0.1**2 + 0.01**2) ** 0.5 / 101.0101**0.5, rel=1e-3)


def test_a_bundle_is_made_and_taken_apart(source: Path, tmp_path: Path) -> None:
    save_file(ROWS, tmp_path / "wolf_emb.safetensors")
    bundle = tmp_path / "bundle.safetensors"
    convert(ConvertRequest(source, bundle, "a1111-bundle", join=(tmp_path / "wolf_emb.safetensors",)))
    assert {name for name in load_file(bundle) if name.startswith("bundle_emb.")} == {
        "bundle_emb.wolf_emb.clip_l",
        "bundle_emb.wolf_emb.clip_g",
    }
    with pytest.raises(ConfigError, match="--split"):
        convert(ConvertRequest(bundle, tmp_path / "out.safetensors", "diffusers"))
    done = convert(ConvertRequest(bundle, tmp_path / "out.safetensors", "diffusers", split=True))
    assert [path.name for path in done.files] == ["out.safetensors", "out_emb.safetensors"]
    found = load_file(tmp_path / "out_emb.safetensors")
    assert all(torch.equal(found[name], rows) for name, rows in ROWS.items())


def test_cogs_archive_is_written_and_read(lora: Lora, tmp_path: Path) -> None:
    path, tar, back = tmp_path / "in.safetensors", tmp_path / "cog.tar", tmp_path / "back.safetensors"
    save_file(processors(lora, "unet."), path)
    save_file(ROWS, tmp_path / "TOK.safetensors")
    convert(ConvertRequest(path, tar, "cog", join=(tmp_path / "TOK.safetensors",)))
    with tarfile.open(tar) as archive:
        assert set(archive.getnames()) == {"lora.safetensors", "embeddings.pti", "special_params.json"}
        params: Any = archive.extractfile("special_params.json")
        assert json.load(params) == {"TOK": "<s0><s1>"}
    convert(ConvertRequest(tar, back, "diffusers", split=True))
    found = adapters_in(open_weights(back))["denoiser"]
    assert len(found) == 3
    for name, module in found.items():
        torch.testing.assert_close(module.change(), lora["denoiser", name].change() * (ALPHA / RANK))
    (rows,) = embeddings_in(open_weights(tmp_path / "back_emb.safetensors").tensors)
    assert torch.equal(rows.first, ROWS["clip_l"])
    save_file(kohya(lora), tmp_path / "more.safetensors")
    with pytest.raises(ConfigError, match="attention alone"):
        convert(ConvertRequest(tmp_path / "more.safetensors", tmp_path / "no.tar", "cog"))


def test_a_dora_keeps_its_magnitudes_axis_or_is_refused(lora: Lora, tmp_path: Path) -> None:
    name = "lora_unet_middle_block_1_transformer_blocks_3_attn1_to_out_0"
    tensors = kohya({at: one for at, one in lora.items() if at[1].startswith("mid_block")})
    for axis, shape in (("output", (1280, 1)), ("input", (1, 1280))):
        path, out = tmp_path / f"{axis}.safetensors", tmp_path / f"{axis}-out.safetensors"
        scales = torch.rand(shape) + 1
        save_file(tensors | {f"{name}.dora_scale": scales}, path)
        convert(ConvertRequest(path, out, "comfyui"))
        assert torch.equal(
            load_file(out)["diffusion_model.middle_block.1.transformer_blocks.3.attn1.to_out.0.dora_scale"], scales
        )
    convert(ConvertRequest(tmp_path / "output.safetensors", tmp_path / "peft.safetensors", "diffusers"))
    magnitude = next(tensor for key, tensor in load_file(tmp_path / "peft.safetensors").items() if "magnitude" in key)
    assert magnitude.shape == (1280,)
    for refused in ({"to": "diffusers"}, {"to": "cog"}, {"to": "kohya", "strength": 0.5}, {"to": "kohya", "rank": 2}):
        options: Any = refused
        with pytest.raises(ConfigError, match="--bake"):
            convert(ConvertRequest(tmp_path / "input.safetensors", tmp_path / "no.safetensors", **options))
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("axis", ["output", "input"])
def test_a_dora_is_baked_with_its_bases_weights(axis: str, tiny_base: Path, tmp_path: Path) -> None:
    unet = load_file(next((tiny_base / "unet").glob("*.safetensors")))
    path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    weight = unet[f"{path}.weight"].float()
    width = len(weight)
    down, up = torch.randn(2, width) * 0.1, torch.randn(width, 2) * 0.1
    over = 1 if axis == "output" else 0
    scales = weight.norm(dim=over, keepdim=True) * (1 + torch.rand(1))
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
    halves = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.dora_scale": scales}
    save_file(halves, tmp_path / "in.safetensors")
    out = tmp_path / "out.safetensors"
    request = ConvertRequest(tmp_path / "in.safetensors", out, "kohya", rank=width, bake=True, base=str(tiny_base))
    assert (convert(request).lost or 1) < 1e-5
    merged = weight + up @ down
    wanted = scales * merged / merged.norm(dim=over, keepdim=True) - weight
    torch.testing.assert_close(adapters_in(open_weights(out))["denoiser"][path].change(), wanted, rtol=1e-3, atol=1e-4)
    assert inspect(out).kind == "lora"


def test_what_would_differ_is_not_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = converting.bytes_of

    def spoilt(target: Any, content: Any) -> bytes:
        written = bytearray(whole(target, content))
        written[-1] ^= 0x10
        return bytes(written)

    monkeypatch.setattr(converting, "bytes_of", spoilt)
    with pytest.raises(DataError, match="would differ"):
        convert(ConvertRequest(source, tmp_path / "out.safetensors", "kohya"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.safetensors"]


def test_numbers_that_half_precision_cannot_hold_are_refused(lora: Lora, tmp_path: Path) -> None:
    tiny = {name: tensor * 1e-8 if "up" in name else tensor for name, tensor in kohya(lora).items()}
    save_file(tiny, tmp_path / "in.safetensors")
    with pytest.raises(DataError, match="--dtype fp32"):
        convert(ConvertRequest(tmp_path / "in.safetensors", tmp_path / "out.safetensors", "kohya", dtype="fp16"))
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_that_is_there_is_never_written_over(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = source.read_bytes()
    with pytest.raises(SystemExit) as left:
        main(["convert", str(source), str(source), "--to", "diffusers"])
    assert left.value.code == 2
    assert "is there already" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_a_bundles_name_that_is_a_path_stays_in_the_folder(lora: Lora, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    rows = {f"bundle_emb.{name}.{key}": rows.clone() for name in ("/../../x", "y/z") for key, rows in ROWS.items()}
    save_file(kohya(lora) | rows, folder / "in.safetensors")
    try:
        convert(ConvertRequest(folder / "in.safetensors", folder / "out.safetensors", "kohya", split=True))
    except DataError:
        assert [path.name for path in folder.iterdir()] == ["in.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert all(path.parent == folder and path.suffix == ".safetensors" for path in folder.rglob("*"))


def test_the_archive_members_of_a_stranger_are_refused(tmp_path: Path) -> None:
    for name, kind in (
        ("../lora.safetensors", tarfile.REGTYPE),
        ("/etc/passwd", tarfile.REGTYPE),
        ("lora.safetensors", tarfile.SYMTYPE),
    ):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
        with pytest.raises(DataError, match="no plain file at its top"):
            open_weights(tmp_path / "a.tar")
