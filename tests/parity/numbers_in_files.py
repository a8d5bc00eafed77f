"""Both numbers of what is read and written: pictures, flags, exports, uploads."""

# diffusers, safetensors and PIL are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from itertools import product
from typing import Any

import script_formulae as script
import torch
from diffusers.utils import convert_state_dict_to_kohya
from measured import Bench, Difference
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from lorasmith.adapters.shape import AdapterShape, adapted_ranks, denoiser_targets, text_encoder_targets
from lorasmith.config.adapter import AdapterConfig
from lorasmith.config.data import DataConfig
from lorasmith.config.load import load_config
from lorasmith.config.objective import ObjectiveConfig
from lorasmith.config.optimizer import ProdigyConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.decode import decode, probe
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import ignore
from lorasmith.export import (
    AdapterWeights,
    ConceptRows,
    ExportInfo,
    ModuleAdapter,
    NewTokenRows,
    Part,
    PartAdapter,
    write_exports,
)
from lorasmith.formats.diffusers_format import diffusers_tensors
from lorasmith.formats.kohya_format import kohya_tensors
from lorasmith.hub.shared_files import shared_files
from lorasmith.models.family import EdmSchedule
from lorasmith.objectives.choice import objective_for
from lorasmith.runs import pictures as run_pictures
from lorasmith.sizes import Size
from lorasmith.testing import open_pipeline, real_sdxl_unet
from lorasmith.training.plan import rate_of

IN_MANNER = ["--instance_data_dir=pictures", "--instance_prompt=a TOK", "--train_text_encoder_ti"]
PIXEL_LIMIT = 10**8
ONE_BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"


def embeddings_of_a_nested_run(bench: Bench) -> list[Difference]:
    """C-5. The output folder is `deep/nested`, by its whole path."""
    folder = bench.folder / "deep" / "nested"
    exported = _exported(bench, "deep/nested", _concepts("TOK"))
    ours = len(list(exported.glob("*_emb.safetensors")))
    theirs = script.save_embeddings({"clip_l": torch.ones(2, 32)}, folder)
    what = "embeddings files at the end of a run whose output folder is nested"
    return [Difference("C-5", what, int(theirs), ours)]


def vectors_of_a_file_name(bench: Bench) -> list[Difference]:
    """C-28. Two concepts of two new tokens each; A1111 and ComfyUI put all vectors of a file in its name's place."""
    rows = _concepts("TOK", "TOK2")
    folder = bench.folder / "two"
    folder.mkdir()
    stacked = {"clip_l": torch.cat([concept.text_encoder_1 for concept in rows.concepts])}
    exported = _exported(bench, "two-concepts", rows)
    ours = [len(load_file(file)["clip_l"]) for file in sorted(exported.glob("*_emb.safetensors"))]
    assert len(set(ours)) == 1
    what = "vectors that an embeddings file's name comes to in a prompt, of two concepts of two each"
    return [Difference("C-28", what, len(stacked["clip_l"]), ours[0])]


def _concepts(*words: str) -> NewTokenRows:
    names = iter(f"<s{number}>" for number in range(2 * len(words)))
    return NewTokenRows(
        tuple(ConceptRows(word, (next(names), next(names)), torch.ones(2, 32), torch.ones(2, 48)) for word in words)
    )


def _exported(bench: Bench, name: str, rows: NewTokenRows) -> Any:
    folder = bench.folder / name
    info = ExportInfo("a-dog", "someone/base", "epsilon", Size(64, 64), 8, instance_prompt="a photo of TOK")
    write_exports(folder, AdapterWeights({}), rows=rows, info=info)
    return folder


def broken_pictures_named(bench: Bench) -> list[Difference]:
    """C-23. Two of four pictures are cut off."""
    config = bench.config()
    assert config.data.instance_images is not None
    paths = sorted(config.data.instance_images.glob("*.png"))
    for path in paths[1:3]:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    ours = ""
    try:
        run_pictures.instance_images(config, ignore)
    except DataError as error:
        ours = str(error.problems)
    told = [sum(path.name in said for path in paths) for said in (script.error_of_reading(paths), ours)]
    return [Difference("C-23", "broken pictures named before training, of two", *told)]


def refusals_of_min_snr_with_edm(bench: Bench) -> list[Difference]:
    """C-24. EDM by flag, and by the base's own scheduler."""
    del bench
    theirs = [script.refuses_min_snr(edm_asked_for=asked, base_is_edm=not asked) for asked in (True, False)]
    ours = [_is_refused(by_flag=by_flag) for by_flag in (True, False)]
    what = "of two ways to EDM (flag, base), refused with `--snr_gamma` before training"
    return [Difference("C-24", what, sum(theirs), sum(ours))]


def _is_refused(*, by_flag: bool) -> bool:
    schedule = EdmSchedule(torch.tensor([0.1, 1.0, 10.0]), 0.5, "epsilon")
    try:
        if by_flag:
            TrainConfig.model_validate({"objective": {"edm_style": True, "snr_gamma": 5.0}})
        else:
            objective_for(schedule, ObjectiveConfig(snr_gamma=5.0))
    except (ConfigError, ValueError):
        return True
    return False


def magnitudes_with_a_name_that_is_read(bench: Bench) -> list[Difference]:
    """C-26. A DoRA on one block of SDXL's denoiser, in the WebUI's file."""
    del bench
    paths = [
        f"{ONE_BLOCK}.{attention}.{leaf}"
        for attention, leaf in product(("attn1", "attn2"), denoiser_targets("attention"))
    ]
    weights = _weights("denoiser", paths, magnitude=torch.ones(6))
    theirs, ours = convert_state_dict_to_kohya(diffusers_tensors(weights)), kohya_tensors(weights)
    found = [sum(name.endswith(".dora_scale") for name in names) for names in (theirs, ours)]
    return [Difference("C-26", f"magnitudes called `dora_scale` in the WebUI's file, of {len(paths)}", *found)]


def text_layers_with_a_name_that_is_read(bench: Bench) -> list[Difference]:
    """C-27. A LoRA on the tiny base's first text encoder, through the converter that the script uses."""
    encoder: Any = open_pipeline(bench.base).text_encoder
    paths = [path for path, _ in encoder.named_modules() if path.endswith(text_encoder_targets())]
    weights = _weights("text_encoder_1", paths)
    plain = {
        f"text_encoder.{path}.{name}.weight": tensor
        for path, module in weights.parts["text_encoder_1"].modules.items()
        for name, tensor in (("lora_A", module.down), ("lora_B", module.up))
    }
    theirs, ours = convert_state_dict_to_kohya(plain), kohya_tensors(weights)
    known = [
        len({name.partition(".")[0] for name in names if name.startswith("lora_te1_text_model_")})
        for names in (theirs, ours)
    ]
    return [
        Difference("C-27", f"layers of the first text encoder under the name readers know, of {len(paths)}", *known)
    ]


def _weights(part: Part, paths: list[str], magnitude: Tensor | None = None) -> AdapterWeights:
    module = ModuleAdapter(torch.ones(2, 4), torch.ones(6, 2), magnitude)
    adapter = PartAdapter(dict.fromkeys(paths, module), 2, 2.0, "lora" if magnitude is None else "dora")
    return AdapterWeights({part: adapter})


def what_is_uploaded(bench: Bench) -> list[Difference]:
    """C-30. A checkpoint and a log lie beside the export."""
    exported = _exported(bench, "shared", _concepts("TOK"))
    private = ["checkpoint-500/optimizer.bin", "logs/events.out"]
    for name in private:
        (exported / name).parent.mkdir()
        (exported / name).write_bytes(b"private")
    there = [path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()]
    ours = [file.path.relative_to(exported).as_posix() for file in shared_files(exported)]
    found = [sum(name in private for name in names) for names in (script.uploaded(there), ours)]
    return [Difference("C-30", "of a checkpoint and a log beside the export, uploaded", *found)]


def layers_of_a_block(bench: Bench) -> list[Difference]:
    """C-29. `--lora_unet_blocks mid_block`, without `unet.` in front."""
    del bench
    unet: Any = real_sdxl_unet()
    linears = [path for path, module in unet.named_modules() if isinstance(module, torch.nn.Linear)]
    shape = AdapterShape(
        "lora", 4, 4.0, 0.0, denoiser_targets("attention"), AdapterConfig(blocks=("mid_block",)).blocks
    )
    theirs = script.adapted_layers("mid_block", unet.attn_processors)
    what = "layers of SDXL with an adapter under `--lora_unet_blocks mid_block`, which has 80"
    return [Difference("C-29", what, theirs, len(adapted_ranks(linears, shape)))]


def zeros_that_are_said(bench: Bench) -> list[Difference]:
    """C-31. A weight decay and a rate of 0 beside the script's own defaults."""
    del bench
    said = [*IN_MANNER, "--adam_weight_decay_text_encoder=0", "--text_encoder_lr=0"]
    config = load_config([], said).config
    decay = config.optimizer.text_weight_decay
    assert decay is not None
    return [
        Difference(
            "C-31",
            "weight decay of the embeddings under `--adam_weight_decay_text_encoder 0`",
            script.said_or_else(0.0, config.optimizer.weight_decay),
            decay,
            digits=4,
        ),
        Difference(
            "C-31",
            "rate of the embeddings under `--text_encoder_lr 0`",
            script.said_or_else(0.0, config.optimizer.learning_rate),
            rate_of("new_tokens_1", config),
            digits=4,
        ),
    ]


def switches_that_are_off(bench: Bench) -> list[Difference]:
    """C-32. Prodigy's three switches, each said to be False."""
    del bench
    names = ("decouple", "use_bias_correction", "safeguard_warmup")
    said = [*IN_MANNER, "--optimizer=prodigy", *(f"--prodigy_{name}=False" for name in names)]
    optimizer = load_config([], said).config.optimizer
    assert isinstance(optimizer, ProdigyConfig)
    ours = [optimizer.decouple, optimizer.use_bias_correction, optimizer.safeguard_warmup]
    what = "of Prodigy's three switches, on after each was said to be `False`"
    return [Difference("C-32", what, sum(script.switch("False") for _ in names), sum(ours))]


def the_only_picture(bench: Bench) -> list[Difference]:
    """C-34. A phone's picture of 96 × 64 px that EXIF says to turn by a quarter, alone in its folder."""
    path = bench.folder / "phone.jpg"
    lying = Image.new("RGB", (96, 64), "navy")
    exif = lying.getexif()
    exif[274] = 6
    lying.save(path, exif=exif)
    with Image.open(path) as opened:
        (theirs,) = script.upright([opened])
    ours = probe(path, pixel_limit=PIXEL_LIMIT)
    return [Difference("C-34", "height of the only picture, an upright one of 64 × 96 px", theirs.height, ours.height)]


def a_transparent_background(bench: Bench) -> list[Difference]:
    """C-35. A cut-out's surroundings, which are black behind their transparency."""
    path = bench.folder / "cut-out.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
    with Image.open(path) as opened:
        theirs = opened.convert("RGB").getpixel((0, 0))
    ours = decode(path, background=DataConfig().background, pixel_limit=PIXEL_LIMIT).getpixel((0, 0))
    assert isinstance(theirs, tuple)
    assert isinstance(ours, tuple)
    return [Difference("C-35", "brightness (0 to 255) of what is transparent in a cut-out", theirs[0], ours[0])]
