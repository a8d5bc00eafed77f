"""What a single file is, is told from its names and shapes, and what is no SDXL base is named and refused."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError
from lorasmith.models.sdxl import cost, single_file
from lorasmith.models.sdxl.components import check_base, describe, locate_base
from lorasmith.sizes import Size
from lorasmith.testing import real_sdxl_text_encoders, real_sdxl_unet, real_sdxl_vae, sgm_tensors

Shapes = dict[str, tuple[int, ...]]
Change = Callable[[Shapes], Shapes]

UNET = "model.diffusion_model."
FIRST_KEY = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


def hollow_file(path: Path, shapes: Mapping[str, tuple[int, ...]], *, dtype: str = "F16") -> Path:
    """A file with a header and a hole for its numbers: whole sizes, no disk."""
    width = {"F16": 2, "I8": 1, "F8_E4M3": 1}[dtype]
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * width
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (end, end + size)}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with path.open("r+b") as file:
        file.truncate(8 + len(text) + end)
    return path


@pytest.fixture(scope="module")
def sdxl() -> Shapes:
    """Names and shapes of SDXL base 1.0's single file."""
    encoders = real_sdxl_text_encoders()
    pipeline = SimpleNamespace(
        unet=real_sdxl_unet(), vae=real_sdxl_vae(), text_encoder=encoders.first, text_encoder_2=encoders.second
    )
    return {name: tuple(tensor.shape) for name, tensor in sgm_tensors(pipeline).items()}


def test_a_real_sdxl_file_is_known_and_planned_with_from_its_header_alone(
    sdxl: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hollow_file(tmp_path / "realistic.safetensors", sdxl)
    assert path.stat().st_size == pytest.approx(6.94e9, rel=0.01), "as large as sd_xl_base_1.0.safetensors"
    monkeypatch.setattr(single_file, "read_tensors", None)
    check_base(ModelConfig(base=str(path)), path)
    spent = cost.step_cost(path, Size(1024, 1024))
    assert spent.denoiser_parameters == 2_567_463_684
    assert spent.token_widths == (768, 1280)
    assert cost.native_size(path) == Size(1024, 1024)
    assert cost.latent_scale(path) == 8
    assert describe(path).scheduler["prediction_type"] == "epsilon"


def only(*prefixes: str) -> Change:
    return lambda shapes: {name: shape for name, shape in shapes.items() if name.startswith(prefixes)}


def bare(prefix: str) -> Change:
    return lambda shapes: {
        name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)
    }


def text_of(width: int) -> Change:
    """The denoiser of a family that reads text of another width, with one text encoder at `cond_stage_model`."""

    def change(shapes: Shapes) -> Shapes:
        kept = {name: shape for name, shape in shapes.items() if name.startswith((UNET, "first_stage_model."))}
        return {
            name: (*shape[:-1], width) if ".attn2.to_k." in name or ".attn2.to_v." in name else shape
            for name, shape in kept.items()
        } | {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (width,)}

    return change


def refiner(shapes: Shapes) -> Shapes:
    """Text encoder 2 alone, in the first place, and its 1280-wide text."""
    seconds = {
        name.replace("embedders.1", "embedders.0"): shape
        for name, shape in shapes.items()
        if name.startswith("conditioner.embedders.1.")
    }
    return {**{name: shape for name, shape in text_of(1280)(shapes).items() if "cond_stage" not in name}, **seconds}


def inpainting(shapes: Shapes) -> Shapes:
    return {**shapes, f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}


def pruned(shapes: Shapes) -> Shapes:
    return {
        name: shape
        for name, shape in shapes.items()
        if not any(f".transformer_blocks.{deep}." in name for deep in range(4, 10))
    }


def holding(**shapes: tuple[int, ...]) -> Change:
    return lambda _: {name.replace("__", "."): shape for name, shape in shapes.items()}


KINDS: dict[str, tuple[Change, str, str]] = {
    "SD 1.5": (text_of(768), "is Stable Diffusion 1 (its denoiser reads text of width 768", "such as an SDXL 1.0"),
    "SD 2": (text_of(1024), "is Stable Diffusion 2 (", "SDXL-class"),
    "refiner": (refiner, "is the SDXL refiner (its denoiser reads text of width 1280", "Train on the base"),
    "inpainting": (inpainting, "for inpainting (9 input channels where the base has 4)", "it was made from"),
    "pruned": (pruned, "a smaller relative of SDXL, such as SSD-1B", "as a folder"),
    "bare denoiser": (only(UNET), "without the first text encoder and the second text encoder", "whole checkpoint"),
    "bare denoiser without prefix": (bare(UNET), "without the first text encoder", "whole checkpoint"),
    "one text encoder": (
        only(UNET, "first_stage_model.", "conditioner.embedders.0."),
        "without the second text encoder",
        "whole checkpoint",
    ),
    "VAE": (bare("first_stage_model."), "is a VAE alone", "Name it with model.vae"),
    "VAE with prefix": (only("first_stage_model."), "is a VAE alone", "Name it with model.vae"),
    "text encoder": (bare("conditioner.embedders.0.transformer."), "is a text encoder alone", "whole checkpoint"),
    "diffusers' denoiser": (
        lambda _: {name: tuple(tensor.shape) for name, tensor in real_sdxl_unet().state_dict().items()},
        "is a denoiser alone, in diffusers' names",
        "the whole folder",
    ),
    "Flux": (holding(double_blocks__0__img_attn__qkv__weight=(9216, 3072)), "is Flux", "SDXL-class"),
    "Flux checkpoint": (
        holding(model__diffusion_model__double_blocks__0__img_attn__qkv__weight=(9216, 3072)), "is Flux", "SDXL-class",
    ),
    "SD 3": (
        holding(model__diffusion_model__joint_blocks__0__x_block__attn__qkv__weight=(9, 3)),
        "is Stable Diffusion 3",
        "SDXL-class",
    ),
    "LoRA": (
        holding(lora_unet_input_blocks_4_1_proj_in__lora_down__weight=(8, 640)), "is a LoRA, not", "Name the base",
    ),
    "LoRA of diffusers": (holding(unet__down_blocks__1__to_q__lora_A__weight=(8, 640)), "is a LoRA", "Name the base"),
    "embedding": (holding(clip_l=(2, 768), clip_g=(2, 1280)), "is an embedding", "Name the base"),
    "ControlNet": (holding(control_model__input_blocks__0__0__weight=(320, 4, 3, 3)), "is a ControlNet", "Name a base"),
    "something else": (holding(layers__0__weight=(3, 3)), "nothing known: it has 1 tensors (layers.0.weight)", "whole"),
    "nothing": (lambda _: {}, "nothing known: it has 0 tensors", "whole checkpoint"),
    "strange shapes": (
        lambda shapes: {**shapes, FIRST_KEY: (), f"{UNET}input_blocks.0.0.weight": (3,)}, "is nothing known", "whole",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_sdxl_base_is_named_and_refused(sdxl: Shapes, tmp_path: Path, name: str) -> None:
    change, says, remedy = KINDS[name]
    path = hollow_file(tmp_path / "other.safetensors", change(sdxl))
    with pytest.raises(DataError) as refused:
        check_base(ModelConfig(base=str(path)), path)
    (problem,) = refused.value.problems
    assert problem.what.startswith("other.safetensors is ")
    assert says in problem.what
    assert problem.where == "model.base"
    assert problem.remedy is not None
    assert remedy in problem.remedy


@pytest.mark.parametrize("dtype", ["I8", "F8_E4M3"])
def test_quantized_weights_are_refused(sdxl: Shapes, tmp_path: Path, dtype: str) -> None:
    path = hollow_file(tmp_path / "small.safetensors", sdxl, dtype=dtype)
    with pytest.raises(DataError, match=rf"is quantized .* is {dtype}.*Take the same checkpoint in fp16"):
        check_base(ModelConfig(base=str(path)), path)


def test_weights_with_scales_beside_them_are_refused(sdxl: Shapes, tmp_path: Path) -> None:
    path = hollow_file(tmp_path / "small.safetensors", {**sdxl, f"{UNET}out.2.scale_weight": (1,)})
    with pytest.raises(DataError, match="is quantized"):
        check_base(ModelConfig(base=str(path)), path)


def test_a_name_made_to_fool_a_terminal_reaches_nobody(sdxl: Shapes, tmp_path: Path) -> None:
    path = hollow_file(tmp_path / "odd.safetensors", {f"\x1b[2J{'x' * 9000}": (1,)})
    with pytest.raises(DataError) as refused:
        check_base(ModelConfig(base=str(path)), path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "named", ["https://hub.example/x/model.safetensors", "x/y/model.safetensors", "gone.safetensors"]
)
def test_a_file_that_is_not_there_is_said_to_be_fetched_first(named: str) -> None:
    with pytest.raises(DataError, match=r"there is no base at .*Fetch the file first"):
        locate_base(ModelConfig(base=named))
