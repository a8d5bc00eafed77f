"""Owns reading SimpleTuner's configs: `config.json` (or `config.env`) and the list of data backends.

Facts from SimpleTuner's documentation and its field registry (2026-08): names, defaults, and how steps are counted.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError
from lorasmith.importing import simpletuner_keys
from lorasmith.importing.draft import Draft
from lorasmith.importing.epochs import simpletuner_steps
from lorasmith.importing.keys import Keys
from lorasmith.importing.optimizers import choose_optimizer, read_arguments, set_arguments
from lorasmith.importing.pictures import CaptionSource, PictureFolder, settle
from lorasmith.importing.reading import as_table, read_data, read_text, refuse_stranger
from lorasmith.importing.result import Imported

_SCHEDULES: Final = frozenset(
    {"constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"}
)
_CAPTIONS: Final[dict[str, CaptionSource]] = {
    "textfile": "sidecar",
    "filename": "file name",
    "instanceprompt": "prompt",
}
_FIXED_VAE: Final = "madebyollin/sdxl-vae-fp16-fix"


def import_simpletuner(files: Sequence[Path], gather_to: Path | None = None) -> Imported:
    """The config of a SimpleTuner run. Raises ConfigError for files that are not one's."""
    keys, backends = _read(files)
    if keys.text("model_family", "sdxl") != "sdxl":
        raise ConfigError(f"{keys.told('model_family')}: lorasmith trains bases of SDXL's kind")
    if keys.text("model_type", "full") != "lora":
        raise ConfigError(
            f"{keys.told('model_type', 'full')}: lorasmith trains LoRA and DoRA", remedy="Set model_type to lora."
        )
    draft = Draft("simpletuner")
    _base(draft, keys)
    _adapter(draft, keys)
    _optimizer(draft, keys)
    _objective(draft, keys)
    pictures = [one for one in backends if one.text("dataset_type", "image") == "image" and not one.switch("disabled")]
    _data(draft, keys, pictures, gather_to)
    _steps(draft, keys, pictures)
    _rhythm(draft, keys)
    draft.without_effect(keys, simpletuner_keys.WITHOUT_EQUIVALENT)
    _pass_over(keys, simpletuner_keys.PREFIXES)
    for one in backends:
        draft.without_effect(one, simpletuner_keys.OF_BACKENDS if one in pictures else simpletuner_keys.OF_OTHERS)
    return draft.finish(files, [*keys.left(), *(left for one in backends for left in one.left())])


# ---- reading


def _read(files: Sequence[Path]) -> tuple[Keys, tuple[Keys, ...]]:
    table: dict[str, object] | None = None
    backends: list[object] | None = None
    for file in files:
        if file.suffix == ".env":
            table = _environment(read_text(file))
            continue
        data = read_data(file)
        refuse_stranger(data, file, wanted="^a SimpleTuner", peer="simpletuner")
        if isinstance(data, list):
            backends = cast("list[object]", data)
        else:
            table = {name.removeprefix("--"): value for name, value in as_table(data, file).items()}
    if table is None:
        raise ConfigError("no SimpleTuner config was named, only data backends", remedy="Name its config.json too.")
    keys = Keys(table)
    named = keys.text("data_backend_config")
    if backends is None and named:
        backends = _beside(named, files[0])
    listed = [cast("dict[str, object]", one) for one in backends or [] if isinstance(one, dict)]
    return keys, tuple(Keys(one, inside=f"backend[{number}]") for number, one in enumerate(listed))


def _beside(name: str, file: Path) -> list[object]:
    for place in (Path(name), file.parent / name, file.parent / Path(name).name):
        if place.is_file():
            data = read_data(place)
            return cast("list[object]", data) if isinstance(data, list) else []
    return []


def _environment(text: str) -> dict[str, object]:
    """The lines `export NAME=value` of a config.env; names that SimpleTuner turns into others are turned here too."""
    found: dict[str, object] = {}
    for line in text.splitlines():
        said = re.fullmatch(r"\s*(?:export\s+)?([A-Z_][A-Z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s#]*)\s*(?:#.*)?", line)
        if said is not None:
            name = simpletuner_keys.OF_ENVIRONMENT.get(said[1], said[1].lower())
            found[name] = said[2].strip("\"'")
    return found


def _pass_over(keys: Keys, prefixes: Sequence[str]) -> None:
    for name in keys.names():
        if name.startswith(tuple(prefixes)):
            keys.take(name)


# ---- what is carried


def _base(draft: Draft, keys: Keys) -> None:
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    name = "pretrained_model_name_or_path"
    draft.carry("model.base", keys.text(name, base), keys.told(name, base))
    vae = "pretrained_vae_model_name_or_path"
    draft.carry("model.vae", keys.text(vae, _FIXED_VAE), keys.told(vae, _FIXED_VAE))
    for option in ("revision", "variant"):
        if keys.has(option):
            draft.carry(f"model.{option}", keys.text(option), keys.told(option))
    prediction = keys.text("prediction_type")
    if prediction in ("epsilon", "v_prediction"):
        draft.carry("model.prediction", prediction, keys.told("prediction_type"))
    elif prediction:
        draft.lose(keys.told("prediction_type"), "what the base's scheduler says")
    draft.carry("tokens.enabled", False, "SimpleTuner trains no new tokens")
    place = keys.text("output_dir", "simpletuner-results")
    draft.carry("output.folder", Path(place), keys.told("output_dir", "simpletuner-results"))
    precision = keys.text("mixed_precision", "bf16")
    if precision in ("no", "fp16", "bf16"):
        value = "fp32" if precision == "no" else precision
        draft.carry("runtime.precision", value, keys.told("mixed_precision", "bf16"))
    else:
        draft.lose(keys.told("mixed_precision"), "what runtime.precision = auto chooses")
    if keys.has("seed"):
        draft.carry("runtime.seed", keys.integer("seed", 0), keys.told("seed"), remark="draws other numbers from it")
    told = keys.told("gradient_checkpointing", default=True)
    draft.carry("runtime.gradient_checkpointing", keys.switch("gradient_checkpointing", default=True), told)


def _adapter(draft: Draft, keys: Keys) -> None:
    rank = keys.integer("lora_rank", 16, least=1)
    alpha = keys.number("lora_alpha", rank)
    draft.carry("adapter.rank", rank, keys.told("lora_rank", 16))
    draft.carry("adapter.alpha", alpha, keys.told("lora_alpha", f"the rank ({rank})"))
    if alpha != rank:
        told = f"{keys.told('lora_alpha')} at rank {rank} scales the LoRA by {alpha / rank:.4g}; carried over exactly"
        draft.avoid("alpha beside rank", told)
    dropout = keys.number("lora_dropout", 0.1)
    draft.carry("adapter.dropout", dropout, keys.told("lora_dropout", 0.1))
    if dropout and not keys.has("lora_dropout"):
        draft.avoid("dropout of 0.1 unless said", "SimpleTuner's adapters have it; carried over")
    if keys.switch("use_dora"):
        draft.carry("adapter.kind", "dora", keys.told("use_dora"))
    if keys.text("lora_type", "standard") != "standard":
        draft.avoid(
            "LyCORIS is another kind of adapter",
            f"{keys.told('lora_type')} ({keys.told('lycoris_config', 'config/lycoris_config.json')}) has no equal; a "
            "plain LoRA is trained instead, whose learning rate may have to be another",
        )
    keys.take("lycoris_config")
    draft.carry("adapter.targets", "attention", "SimpleTuner's LoRA of SDXL is on to_q, to_k, to_v and to_out")
    if keys.has("peft_lora_target_modules"):
        draft.lose(keys.told("peft_lora_target_modules"), "attention layers; adapter.targets and adapter.blocks choose")
    keys.take("peft_lora_target_modules")
    draft.carry("adapter.text_encoders", False, "SimpleTuner's LoRA leaves the text encoders alone")
    if keys.switch("train_text_encoder"):
        draft.lose(keys.told("train_text_encoder"), "it is for full training there; set adapter.text_encoders")


def _optimizer(draft: Draft, keys: Keys) -> None:
    name, told = keys.text("optimizer", "adamw_bf16"), keys.told("optimizer", "adamw_bf16")
    bare = name.lower().replace("_", "").replace("-", "")
    # What SimpleTuner calls prodigy is the schedule-free one.
    ours = choose_optimizer(draft, "prodigyplusschedulefree" if bare == "prodigy" else name, told)
    rate = keys.number("learning_rate", 4e-7)
    draft.carry("optimizer.learning_rate", rate, keys.told("learning_rate", 4e-7))
    if not keys.has("learning_rate"):
        draft.avoid("a learning rate for whole models", f"{rate:g} is SimpleTuner's default; a LoRA hardly moves at it")
    if keys.has("optimizer_config"):
        arguments = read_arguments(tuple(re.split(r",(?=\s*\w+=)", keys.text("optimizer_config"))))
        set_arguments(draft, ours, arguments, "optimizer_config")
    for theirs, option in (
        ("adam_beta1", "beta1"), ("adam_beta2", "beta2"), ("optimizer_beta1", "beta1"), ("optimizer_beta2", "beta2"),
        ("adam_weight_decay", "weight_decay"), ("adam_epsilon", "eps"),
    ):  # fmt: skip
        if keys.has(theirs):
            set_arguments(draft, ours, {option: keys.number(theirs, 0)}, theirs)
    if keys.text("grad_clip_method", "value") == "norm":
        draft.carry("runtime.max_grad_norm", keys.number("max_grad_norm", 2.0) or None, keys.told("max_grad_norm", 2.0))
    else:
        draft.lose(
            f"{keys.told('max_grad_norm', 2.0)}, clipped by {keys.told('grad_clip_method', 'value')}",
            "gradients are clipped by their length, runtime.max_grad_norm = 1",
        )
    keys.take("max_grad_norm")
    schedule, told = (
        keys.text("lr_scheduler", "constant_with_warmup"),
        keys.told("lr_scheduler", "constant_with_warmup"),
    )
    draft.carry("schedule.lr_schedule", schedule if schedule in _SCHEDULES else "cosine", told)
    if schedule not in _SCHEDULES:
        draft.lose(told, "cosine")
    if schedule == "polynomial":
        draft.carry("schedule.lr_power", keys.number("lr_power", 0.8), keys.told("lr_power", 0.8))
        draft.lose(keys.told("lr_end", 4e-7), "rates fall to zero")
    if schedule == "cosine_with_restarts":
        draft.carry("schedule.lr_cycles", keys.integer("lr_num_cycles", 1), keys.told("lr_num_cycles", 1))
    for unused in ("lr_power", "lr_end", "lr_num_cycles"):
        keys.take(unused)
    draft.carry("schedule.warmup_steps", keys.integer("lr_warmup_steps", 0), keys.told("lr_warmup_steps", 0))
    if schedule == "constant" and draft.value("schedule.warmup_steps"):
        draft.carry("schedule.lr_schedule", "constant_with_warmup", f"{told} with a warm-up")


def _objective(draft: Draft, keys: Keys) -> None:
    if keys.number("snr_gamma", 0):
        draft.carry("objective.snr_gamma", keys.number("snr_gamma", 0), keys.told("snr_gamma"))
    if keys.switch("offset_noise"):
        draft.carry("objective.noise_offset", keys.number("noise_offset", 0.1), keys.told("noise_offset", 0.1))
        draft.lose(keys.told("noise_offset_probability", 0.25), "on every picture, each time")
    elif keys.has("noise_offset"):
        draft.avoid("noise_offset without offset_noise", f"{keys.told('noise_offset')} has no effect there, nor here")
    for unused in ("noise_offset", "noise_offset_probability"):
        keys.take(unused)
    if keys.text("loss_type", "l2") != "l2":
        draft.lose(keys.told("loss_type"), "the squared error (l2)")
    share, told = keys.number("caption_dropout_probability", 0.1), keys.told("caption_dropout_probability", 0.1)
    if share:
        draft.carry("data.caption_dropout", share, told)


# ---- pictures and steps


def _data(draft: Draft, keys: Keys, backends: Sequence[Keys], gather_to: Path | None) -> None:
    instance = [one for one in backends if not one.switch("is_regularisation_data")]
    classes = [one for one in backends if one.switch("is_regularisation_data")]
    settle(draft, [_folder(draft, keys, one) for one in instance if _is_local(draft, one)], gather_to)
    for one in instance[:1]:
        _cut(draft, keys, one)
    for one in instance:
        if one.integer("repeats", 0):
            draft.avoid(
                "repeats begin at 0",
                f"{one.told('repeats')}: pictures are seen so many times more than once, {_times(one)} times in all",
            )
        if one.number("probability", 1.0) != 1:
            draft.lose(one.told("probability"), "all pictures are as likely")
    for one in classes:
        draft.lose(
            f"{one.told('is_regularisation_data')} ({shown(one.text('instance_data_dir'))})",
            "left out: prior.source = adapter_off teaches the same without pictures, prior.class_images with them",
        )


def _is_local(draft: Draft, one: Keys) -> bool:
    kind = one.text("type", "local")
    if kind != "local":
        draft.lose(
            f"{one.told('id')}: {one.told('type')}", "only folders are read: data.dataset names a data set of the hub"
        )
    return kind == "local"


def _times(one: Keys) -> int:
    return max(0, one.integer("repeats", 0)) + 1


def _folder(draft: Draft, keys: Keys, one: Keys) -> PictureFolder:
    own = "caption_strategy"
    strategy = one.text(own) or keys.text(own, "filename")
    split = not (one.switch("disable_multiline_split") or keys.switch("disable_multiline_split"))
    if strategy == "textfile" and split:
        draft.carry(
            "data.caption_lines", "several", one.told(own), remark="each line is a caption of its own, as there"
        )
    if strategy not in _CAPTIONS:
        draft.lose(one.told(own), "captions beside the pictures")
    prompt = one.text("instance_prompt") or keys.text("instance_prompt")
    if one.switch("only_instance_prompt") or keys.switch("only_instance_prompt"):
        strategy = "instanceprompt"
    elif one.switch("prepend_instance_prompt") or keys.switch("prepend_instance_prompt"):
        draft.lose(one.told("prepend_instance_prompt"), f"write {shown(prompt)!r} in front of the captions")
    place = one.text("instance_data_dir")
    return PictureFolder(
        Path(place),
        _times(one),
        prompt=prompt or None,
        captions=_CAPTIONS.get(strategy, "sidecar"),
        deep=True,
        theirs=f"{shown(place, limit=200)}, {one.told('repeats', 0)}",
    )


def _cut(draft: Draft, keys: Keys, one: Keys) -> None:
    for name in ("resolution", "resolution_type"):
        keys.take(name)  # known also where the backend says its own
    at = one if one.has("resolution") else keys
    kinds = one if one.has("resolution_type") else keys
    kind, size = kinds.text("resolution_type", "pixel_area"), at.number("resolution", 1024)
    side = math.sqrt(size * 1e6) if kind == "area" else size
    told = f"{at.told('resolution', 1024)}, {kinds.told('resolution_type', 'pixel_area')}"
    draft.carry("data.resolution", max(32, round(side / 32) * 32), told)
    square = _is_square(one)
    cropped = f"{one.told('crop', default=False)}, {one.told('crop_aspect', 'square')}"
    draft.carry("data.buckets", not square, cropped)
    if kind == "pixel" and not square:
        draft.lose(f"{told}: the shorter side", "buckets of about the square's area")
    if square and one.text("crop_style", "random") == "random":
        draft.carry("data.crop", "random", one.told("crop_style", "random"))
    one.take("crop_style")


def _is_square(one: Keys) -> bool:
    return one.switch("crop") and one.text("crop_aspect", "square") == "square"


def _steps(draft: Draft, keys: Keys, backends: Sequence[Keys]) -> None:
    batch, accumulation = keys.integer("train_batch_size", 4), keys.integer("gradient_accumulation_steps", 1)
    if min(batch, accumulation) < 1:
        raise ConfigError("train_batch_size and gradient_accumulation_steps must be at least 1")
    draft.carry("schedule.batch_size", batch, keys.told("train_batch_size", 4))
    draft.carry("schedule.gradient_accumulation", accumulation, keys.told("gradient_accumulation_steps", 1))
    steps, epochs = keys.integer("max_train_steps", 0), keys.number("num_train_epochs", 1)
    if steps > 0:
        draft.carry("schedule.steps", steps, keys.told("max_train_steps"))
        return
    told = keys.told("num_train_epochs", 1)
    if epochs <= 0:
        raise ConfigError("neither max_train_steps nor num_train_epochs is above 0")
    buckets = [_buckets(keys, one) for one in backends if not one.switch("is_regularisation_data")]
    if not buckets or not all(buckets):
        draft.carry("schedule.epochs", max(1, round(epochs)), told)
        draft.lose(told, "epochs are counted anew by lorasmith, because the pictures are not there to count")
        return
    # Data sets keep buckets of their own, so that equal shapes of two are not counted together.
    everything = Counter({(number, shape): count for number, one in enumerate(buckets) for shape, count in one.items()})
    made = simpletuner_steps(epochs, cast("Counter[float]", everything), batch, accumulation)
    draft.carry("schedule.steps", made, f"{told}: {counted(sum(everything.values()), 'sample')} an epoch")
    dropped = sum(count for count in everything.values() if count < batch)
    if dropped:
        draft.avoid(
            "shapes with fewer samples than a batch",
            f"SimpleTuner leaves {counted(dropped, 'sample')} of each epoch out; lorasmith fills the batch instead",
        )


def _buckets(keys: Keys, one: Keys) -> Counter[float]:
    """Samples by shape, as SimpleTuner rounds shapes (`aspect_bucket_rounding`, two places)."""
    folder = _folder(Draft("simpletuner"), keys, one)
    places = keys.integer("aspect_bucket_rounding", 2)
    square = _is_square(one)
    shapes = Counter(1.0 if square else round(size.width / size.height, places) for size in folder.sizes())
    return Counter({shape: count * folder.repeats for shape, count in shapes.items()})


def _rhythm(draft: Draft, keys: Keys) -> None:
    for name in ("checkpoint_step_interval", "checkpointing_steps"):
        if keys.has(name):
            draft.carry("checkpoint.every", keys.integer(name, 500), keys.told(name))
    if keys.integer("checkpoints_total_limit", 5) > 0:
        told = keys.told("checkpoints_total_limit", 5)
        draft.carry("checkpoint.keep", keys.integer("checkpoints_total_limit", 5), told)
    if keys.text("validation_prompt"):
        draft.carry("validation.prompts", (keys.text("validation_prompt"),), keys.told("validation_prompt"))
        for name in ("validation_step_interval", "validation_steps"):
            if keys.has(name):
                draft.carry("validation.every", keys.integer(name, 100), keys.told(name))
        guidance, steps = "validation_guidance", "validation_num_inference_steps"
        draft.carry("validation.guidance", keys.number(guidance, 7.5), keys.told(guidance, 7.5))
        draft.carry("validation.steps", keys.integer(steps, 30), keys.told(steps, 30))
