"""Owns reading OneTrainer's JSON: its training config, and the concepts inside or in a file of their own.

Facts from OneTrainer (config version 11, concepts version 2) and its data loader mgds.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError
from lorasmith.importing import onetrainer_keys
from lorasmith.importing.draft import Draft
from lorasmith.importing.epochs import onetrainer_bucket, onetrainer_steps
from lorasmith.importing.keys import Keys
from lorasmith.importing.optimizers import choose_optimizer, set_arguments
from lorasmith.importing.pictures import PictureFolder, settle
from lorasmith.importing.reading import as_table, read_data, refuse_stranger
from lorasmith.importing.result import Imported, Unknown
from lorasmith.sizes import Size

_PRECISIONS: Final = {"FLOAT_32": "fp32", "TFLOAT_32": "fp32", "FLOAT_16": "fp16", "BFLOAT_16": "bf16"}
_SCHEDULES: Final = {
    "CONSTANT": "constant_with_warmup", "LINEAR": "linear", "COSINE": "cosine",
    "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
}  # fmt: skip


@dataclass(frozen=True)
class _Concept:
    """One concept: where it is, of which kind, and how many samples of it an epoch has."""

    keys: Keys
    path: Path
    kind: str
    balancing: float
    by_samples: bool
    picture: Keys
    text: Keys

    @property
    def theirs(self) -> str:
        """For people."""
        what = f"{self.balancing:g} samples" if self.by_samples else f"balancing {self.balancing:g}"
        return f"concept {shown(self.path, limit=200)}, {what}"


def import_onetrainer(files: Sequence[Path], gather_to: Path | None = None) -> Imported:
    """The config of a OneTrainer run. Raises ConfigError for files that are not one's."""
    keys, concepts = _read(files)
    draft = Draft("onetrainer")
    _refuse_other_methods(keys)
    _base(draft, keys)
    _tokens(draft, keys)
    _adapter(draft, keys)
    _optimizer(draft, keys)
    _objective(draft, keys)
    _machine(draft, keys)
    standard = _concepts(draft, concepts, gather_to)
    steps, per_epoch = _steps(draft, keys, standard)
    _warm_up(draft, keys, steps)
    _rhythm(draft, keys, per_epoch)
    _pivot(draft, keys, steps, per_epoch)
    _stop_of_text_encoders(draft, keys, steps, per_epoch)
    draft.without_effect(keys, onetrainer_keys.WITHOUT_EQUIVALENT)
    for concept in concepts:
        draft.without_effect(concept.keys, onetrainer_keys.OF_CONCEPTS)
        draft.without_effect(concept.picture, onetrainer_keys.OF_PICTURES)
        draft.without_effect(concept.text, onetrainer_keys.OF_TEXTS)
    return draft.finish(files, list(_left(keys, concepts)))


def _left(keys: Keys, concepts: Sequence[_Concept]) -> Iterator[Unknown]:
    yield from keys.left()
    for concept in concepts:
        if not concept.keys.path("path").startswith("concepts["):  # those inside the config are in its keys already
            yield from concept.keys.left()


# ---- reading


def _read(files: Sequence[Path]) -> tuple[Keys, tuple[_Concept, ...]]:
    table: Mapping[str, object] | None = None
    concepts: list[object] = []
    for file in files:
        data = read_data(file)
        refuse_stranger(data, file, wanted="^a OneTrainer", peer="onetrainer")
        if isinstance(data, list):
            concepts = cast("list[object]", data)
        else:
            table = as_table(data, file)
    if table is None:
        raise ConfigError("no OneTrainer config was named, only concepts", remedy="Name its training config too.")
    keys = Keys(table)
    inside = keys.tables("concepts")
    named = keys.text("concept_file_name", "training_concepts/concepts.json")
    if not inside and not concepts:
        concepts = _concepts_beside(named, files[0])
    listed = inside or tuple(
        Keys(cast("dict[str, object]", one), inside=f"concept[{number}]")
        for number, one in enumerate(concepts)
        if isinstance(one, dict)
    )
    return keys, tuple(concept for one in listed if (concept := _concept(one)) is not None)


def _concepts_beside(name: str, file: Path) -> list[object]:
    for place in (Path(name), file.parent / name, file.parent.parent / name):
        if place.is_file():
            data = read_data(place)
            return cast("list[object]", data) if isinstance(data, list) else []
    return []


def _concept(keys: Keys) -> _Concept | None:
    enabled = keys.switch("enabled", default=True)
    old = keys.number("repeats", 1.0)  # before version 1
    kind = "VALIDATION" if keys.switch("validation_concept") else "STANDARD"  # before version 2
    concept = _Concept(
        keys,
        Path(keys.text("path")),
        keys.text("type", kind),
        keys.number("balancing", old),
        keys.text("balancing_strategy", "REPEATS") == "SAMPLES",
        keys.table("image"),
        keys.table("text"),
    )
    return concept if enabled else None


# ---- what is carried


def _refuse_other_methods(keys: Keys) -> None:
    method, family = keys.text("training_method", "FINE_TUNE"), keys.text("model_type", "STABLE_DIFFUSION_15")
    if method != "LORA":
        raise ConfigError(
            f"{keys.told('training_method', 'FINE_TUNE')}: lorasmith trains LoRA and DoRA",
            remedy="Set training_method to LORA in OneTrainer and export the config again.",
        )
    if not family.startswith("STABLE_DIFFUSION_XL"):
        raise ConfigError(
            f"{keys.told('model_type', 'STABLE_DIFFUSION_15')}: lorasmith trains bases of SDXL's kind",
            remedy="Import a config for STABLE_DIFFUSION_XL_10_BASE.",
        )


def _base(draft: Draft, keys: Keys) -> None:
    base = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    draft.carry("model.base", keys.text("base_model_name", base), keys.told("base_model_name", base))
    if keys.switch("force_v_prediction"):
        draft.carry("model.prediction", "v_prediction", keys.told("force_v_prediction"))
    if keys.switch("force_epsilon_prediction"):
        draft.carry("model.prediction", "epsilon", keys.told("force_epsilon_prediction"))
    if keys.switch("rescale_noise_scheduler_to_zero_terminal_snr"):
        told = keys.told("rescale_noise_scheduler_to_zero_terminal_snr")
        draft.lose(told, "zero terminal SNR is read from the base's scheduler or markers")
    vae = keys.table("vae")
    if vae.text("model_name"):
        draft.carry("model.vae", vae.text("model_name"), vae.told("model_name"))
    draft.without_effect(vae, onetrainer_keys.OF_PARTS)
    _clip_skip(draft, keys)
    place = Path(keys.text("output_model_destination", "models/model.safetensors"))
    told = keys.told("output_model_destination", "models/model.safetensors")
    draft.carry("output.folder", place.with_suffix(""), told, remark="a run folder, with the exports in it")
    draft.carry("output.name", place.stem, told)
    draft.carry("output.precision", _precision(keys, "output_dtype", "FLOAT_32"), keys.told("output_dtype", "FLOAT_32"))


def _clip_skip(draft: Draft, keys: Keys) -> None:
    first, second = keys.integer("text_encoder_layer_skip", 0), keys.integer("text_encoder_2_layer_skip", 0)
    told = f"{keys.told('text_encoder_layer_skip', 0)}, {keys.told('text_encoder_2_layer_skip', 0)}"
    if first or second:
        draft.carry("text.clip_skip", first, told)
        draft.avoid("clip skip counts differently", f"{told}: counted from SDXL's own last layer but one, as here")
    if first != second:
        draft.lose(told, f"text.clip_skip = {first} for both text encoders")


def _tokens(draft: Draft, keys: Keys) -> None:
    """Embeddings beside the LoRA are what lorasmith calls new tokens."""
    embeddings = [one for one in keys.tables("additional_embeddings") if one.switch("train", default=True)]
    if not embeddings:
        draft.carry("tokens.enabled", False, "no additional_embeddings are trained")
        return
    told = ", ".join(one.told("placeholder", "<embedding>") for one in embeddings)
    draft.carry("tokens.enabled", True, told)
    draft.carry("tokens.abstractions", tuple(one.text("placeholder", "<embedding>") for one in embeddings), told)
    counts = [one.integer("token_count", 1) for one in embeddings]
    counted_as = ", ".join(one.told("token_count", 1) for one in embeddings)
    draft.carry("tokens.per_abstraction", max(counts), counted_as)
    if len(set(counts)) > 1:
        draft.lose(counted_as, f"{max(counts)} new tokens for each")
    words = tuple(one.text("initial_embedding_text", "*") for one in embeddings)
    draft.carry("tokens.init", words, ", ".join(one.told("initial_embedding_text", "*") for one in embeddings))
    draft.carry(
        "tokens.keep_norm", keys.switch("preserve_embedding_norm"), keys.told("preserve_embedding_norm", default=False)
    )
    rate = "embedding_learning_rate" if keys.has("embedding_learning_rate") else "learning_rate"
    for part, encoder in enumerate(("text_encoder", "text_encoder_2"), start=1):
        trains = keys.table(encoder).switch("train_embedding", default=True)
        value = keys.number(rate, 3e-6) if trains else 0.0
        draft.carry(f"rates.new_tokens_{part}", value, keys.told(rate, 3e-6))
    for one in embeddings:
        draft.without_effect(one, onetrainer_keys.OF_EMBEDDINGS)
    draft.avoid(
        "pooling with added tokens",
        "SDXL's text encoders pool at the highest id unless told otherwise, which is an added token; "
        "lorasmith pools at "
        "the true end of the text, as ComfyUI and A1111 do",
    )


def _adapter(draft: Draft, keys: Keys) -> None:
    rank, alpha = keys.integer("lora_rank", 16, least=1), keys.number("lora_alpha", 1.0)
    draft.carry("adapter.rank", rank, keys.told("lora_rank", 16))
    draft.carry("adapter.alpha", alpha, keys.told("lora_alpha", 1.0))
    if alpha != rank:
        draft.avoid(
            "alpha beside rank",
            f"{keys.told('lora_alpha', 1.0)} at rank {rank} scales the LoRA by {alpha / rank:.4g}; it is carried over "
            "exactly, so the learning rates mean the same. Without an alpha lorasmith would scale by 1",
        )
    kind = keys.text("peft_type", "LORA")
    if kind != "LORA":
        draft.avoid(
            "another kind of adapter",
            f"{keys.told('peft_type')} has no equal; a LoRA of this rank and alpha is trained",
        )
    if keys.switch("lora_decompose"):
        draft.carry("adapter.kind", "dora", keys.told("lora_decompose"))
        if not keys.switch("lora_decompose_output_axis"):
            draft.lose(keys.told("lora_decompose_output_axis", default=False), "DoRA with a magnitude for each output")
    if keys.number("dropout_probability", 0):
        draft.carry("adapter.dropout", keys.number("dropout_probability", 0), keys.told("dropout_probability"))
    _targets(draft, keys)
    _text_encoders(draft, keys)


def _targets(draft: Draft, keys: Keys) -> None:
    preset, told = keys.text("layer_filter_preset", "full"), keys.told("layer_filter_preset", "full")
    draft.carry("adapter.targets", "attention" if preset == "attn-only" else "attention+feed-forward", told)
    if preset == "full":
        draft.lose(told, "attention and feed-forward layers alone, without convolutions and the rest")
    elif preset == "attn-mlp":
        draft.lose(f"{told}: proj_in and proj_out too", "no adapter on these two layers of each block")
    elif preset not in ("attn-only",):
        draft.lose(told, "attention and feed-forward layers; adapter.blocks chooses blocks")
    if keys.text("layer_filter") and preset not in ("full", "attn-mlp", "attn-only"):
        draft.lose(keys.told("layer_filter"), "adapter.blocks chooses blocks")
    keys.take("layer_filter_regex")


def _text_encoders(draft: Draft, keys: Keys) -> None:
    encoders = [keys.table("text_encoder"), keys.table("text_encoder_2")]
    train = [one.switch("train", default=True) for one in encoders]
    told = ", ".join(one.told("train", default=True) for one in encoders)
    draft.carry("adapter.text_encoders", any(train), told)
    if any(train) and not any(one.has("train") for one in encoders):
        draft.avoid(
            "text encoders train by default", f"{told}; set adapter.text_encoders = false if that was not meant"
        )
    for number, (one, trains) in enumerate(zip(encoders, train, strict=True), start=1):
        own = one.number("learning_rate", keys.number("learning_rate", 3e-6))
        said = one.told("learning_rate") if one.has("learning_rate") else keys.told("learning_rate", 3e-6)
        if any(train):
            draft.carry(f"rates.text_encoder_{number}", own if trains else 0.0, said if trains else one.told("train"))
        draft.without_effect(one, onetrainer_keys.OF_PARTS)
    if any(train):
        draft.lose("OneTrainer's LoRA of the text encoders is on all their linear layers", "on attention alone")
    unet = keys.table("unet")
    if not unet.switch("train", default=True):
        draft.lose(unet.told("train"), "the denoiser is trained: lorasmith has no run without it")
    if unet.has("learning_rate"):
        draft.carry("optimizer.learning_rate", unet.number("learning_rate", 0), unet.told("learning_rate"))
    draft.without_effect(unet, onetrainer_keys.OF_PARTS)


def _optimizer(draft: Draft, keys: Keys) -> None:
    table = keys.table("optimizer")
    name, told = table.text("optimizer", "ADAMW"), table.told("optimizer", "ADAMW")
    ours = choose_optimizer(draft, name, told)
    said = {option: table.take(option) for option in table.names() if option in onetrainer_keys.ARGUMENTS}
    pair = {"eps": (said.pop("eps"), said.pop("eps2"))} if {"eps", "eps2"} <= set(said) else {}
    set_arguments(draft, ours, {**said, **pair}, "optimizer")
    draft.without_effect(table, onetrainer_keys.OF_OPTIMIZERS)
    keys.take("optimizer_defaults")
    if draft.value("optimizer.learning_rate") is None:
        draft.carry("optimizer.learning_rate", keys.number("learning_rate", 3e-6), keys.told("learning_rate", 3e-6))
    keys.take("learning_rate")
    scaler = keys.text("learning_rate_scaler", "NONE")
    if scaler != "NONE":
        draft.lose(keys.told("learning_rate_scaler"), "the rates as they stand: multiply them yourself")
    norm = keys.number("clip_grad_norm", 1.0) if keys.has("clip_grad_norm") else 1.0
    draft.carry("runtime.max_grad_norm", norm or None, keys.told("clip_grad_norm", 1.0), remark="of each part")
    schedule = keys.text("learning_rate_scheduler", "CONSTANT")
    told = keys.told("learning_rate_scheduler", "CONSTANT")
    draft.carry("schedule.lr_schedule", _SCHEDULES.get(schedule, "cosine"), told)
    if schedule not in _SCHEDULES:
        draft.lose(told, "cosine")
    cycles = keys.number("learning_rate_cycles", 1.0)
    if cycles != 1:
        draft.carry("schedule.lr_cycles", max(1, round(cycles)), keys.told("learning_rate_cycles"))


def _objective(draft: Draft, keys: Keys) -> None:
    weighting, strength = keys.text("loss_weight_fn", "CONSTANT"), keys.number("loss_weight_strength", 5.0)
    if weighting == "MIN_SNR_GAMMA":
        told = f"{keys.told('loss_weight_fn')}, {keys.told('loss_weight_strength', 5.0)}"
        draft.carry("objective.snr_gamma", strength, told)
    elif weighting != "CONSTANT":
        draft.lose(keys.told("loss_weight_fn"), "no weighting; objective.snr_gamma is there")
    if keys.number("offset_noise_weight", 0):
        draft.carry("objective.noise_offset", keys.number("offset_noise_weight", 0), keys.told("offset_noise_weight"))
    for name, usual, instead in (
        ("mse_strength", 1.0, "the squared error at full strength"),
        ("mae_strength", 0.0, "the squared error alone"),
        ("log_cosh_strength", 0.0, "the squared error alone"),
        ("huber_strength", 0.0, "the squared error alone"),
        ("perturbation_noise_weight", 0.0, "no perturbation"),
        ("min_noising_strength", 0.0, "all timesteps are trained"),
        ("max_noising_strength", 1.0, "all timesteps are trained"),
    ):
        if keys.number(name, usual) != usual:
            draft.lose(keys.told(name), instead)
    if keys.text("timestep_distribution", "UNIFORM") != "UNIFORM":
        draft.lose(keys.told("timestep_distribution"), "timesteps are drawn evenly")
    _masks(draft, keys)


def _masks(draft: Draft, keys: Keys) -> None:
    masked, told = keys.switch("masked_training"), keys.told("masked_training", default=False)
    draft.carry("data.use_masks", masked, told)
    weight = keys.number("unmasked_weight", 0.1)
    if masked:
        told = keys.told("unmasked_weight", 0.1)
        draft.carry("objective.unmasked_weight", weight, told)
    normalized = keys.switch("normalize_masked_area_loss")
    if masked and not normalized:
        draft.avoid(
            "small masks teach slowly",
            f"{keys.told('normalize_masked_area_loss', default=False)}: OneTrainer divides by the picture's area; the "
            "loss here is a mean over the mask, so what is small is learnt as fast as what is large",
        )
    for name, usual in (("unmasked_probability", 0.1), ("masked_prior_preservation_weight", 0.0)):
        if keys.number(name, usual) and masked:
            draft.lose(keys.told(name, usual), "objective.unmasked_weight alone")


def _machine(draft: Draft, keys: Keys) -> None:
    draft.carry("runtime.precision", _precision(keys, "train_dtype", "FLOAT_16"), keys.told("train_dtype", "FLOAT_16"))
    if keys.text("train_dtype") == "TFLOAT_32":
        draft.carry("runtime.allow_tf32", True, keys.told("train_dtype"))
    unet = keys.table("unet")
    checkpointing = unet.text("gradient_checkpointing", "true").lower() not in ("false", "off")
    draft.carry("runtime.gradient_checkpointing", checkpointing, unet.told("gradient_checkpointing", default=True))
    said = keys.text("resolution", "512")
    sides = [int(part) for part in said.replace("x", ",").split(",") if part.strip().isdigit()]
    if not sides:
        raise ConfigError(f"{keys.told('resolution')} must be a side such as 1024")
    area = math.sqrt(sides[0] * sides[1]) if "x" in said and len(sides) == 2 else max(sides)
    draft.carry("data.resolution", round(area / 32) * 32, keys.told("resolution", "512"))
    if len(sides) > 1:
        draft.avoid(
            "several resolutions", f"{keys.told('resolution')}: one of them is drawn there; {area:.0f} is taken"
        )
    buckets = keys.switch("aspect_ratio_bucketing", default=True)
    draft.carry("data.buckets", buckets, keys.told("aspect_ratio_bucketing", default=True))
    draft.lose("no seed of the whole run: OneTrainer seeds each step with its number", "runtime.seed = 0")


def _precision(keys: Keys, name: str, default: str) -> str:
    said = keys.text(name, default)
    if said not in _PRECISIONS:
        raise ConfigError(f"{keys.told(name)} is not a precision that lorasmith trains or writes in")
    return _PRECISIONS[said]


# ---- concepts


def _concepts(draft: Draft, concepts: Sequence[_Concept], gather_to: Path | None) -> list[_Concept]:
    standard = [one for one in concepts if one.kind == "STANDARD"]
    for one in concepts:
        if one.kind == "VALIDATION":
            draft.lose(one.theirs, "left out: validation.held_out keeps some of the instance images for validation")
        elif one.kind == "PRIOR_PREDICTION":
            draft.lose(
                one.theirs, "left out: prior.source = adapter_off teaches what the base does, on the instance images"
            )
    settle(draft, [_folder(draft, one) for one in standard], gather_to)
    for one in standard:
        _picture(draft, one)
    return standard


def _folder(draft: Draft, one: _Concept) -> PictureFolder:
    source = one.text.text("prompt_source", "sample")
    prompt = _prompt_in(draft, one) if source == "concept" else None
    return PictureFolder(
        one.path,
        _repeats(draft, one),
        prompt=prompt,
        captions={"sample": "sidecar", "concept": "prompt"}.get(source, "file name"),  # pyright: ignore[reportArgumentType]
        deep=one.keys.switch("include_subdirectories"),
        theirs=one.theirs,
    )


def _repeats(draft: Draft, one: _Concept) -> int:
    if one.by_samples:
        draft.lose(one.theirs, "each picture once: schedule.steps has the number of steps all the same")
        return 1
    if one.balancing != int(one.balancing) or one.balancing < 1:
        draft.avoid(
            "repeats that are not whole",
            f"{one.theirs}: OneTrainer shows a share of the pictures in each epoch; here each is shown "
            f"{max(1, round(one.balancing))} times, and the number of steps is kept",
        )
    return max(1, round(one.balancing))


def _prompt_in(draft: Draft, one: _Concept) -> str | None:
    """A file of prompts, one a line, of which one is drawn."""
    file = Path(one.text.text("prompt_path"))
    if not file.is_file():
        draft.lose(one.text.told("prompt_path"), "the file is not there: set data.instance_prompt")
        return None
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if len(lines) > 1:
        draft.lose(f"{one.text.told('prompt_path')}: {len(lines)} prompts", "the first of them, for every picture")
    return lines[0] if lines else None


def _picture(draft: Draft, one: _Concept) -> None:
    if one.picture.switch("enable_crop_jitter", default=True):
        draft.avoid(
            "crop jitter is on unless switched off",
            f"{one.picture.told('enable_crop_jitter', default=True)}: pictures are cut a little differently each time; "
            "here they are cut in the middle, which can be cached (data.crop = random cuts anew)",
        )
    if one.picture.switch("enable_random_flip"):
        draft.carry("data.flip", True, one.picture.told("enable_random_flip"))
    if one.picture.switch("enable_resolution_override"):
        draft.lose(one.picture.told("resolution_override"), "data.resolution for all pictures")
    one.picture.take("resolution_override")
    if one.text.switch("enable_tag_shuffling"):
        draft.carry("data.shuffle_tags", True, one.text.told("enable_tag_shuffling"))
        if one.text.text("tag_delimiter", ",") != ",":
            draft.carry("data.tag_separator", one.text.text("tag_delimiter"), one.text.told("tag_delimiter"))
        keep = one.text.integer("keep_tags_count", 1)
        draft.carry("data.keep_tags", keep, one.text.told("keep_tags_count", 1))
    if one.text.switch("tag_dropout_enable"):
        share, told = one.text.number("tag_dropout_probability", 0), one.text.told("tag_dropout_probability", 0)
        draft.carry("data.tag_dropout", share, told)
    if one.keys.number("loss_weight", 1.0) != 1:
        draft.lose(one.keys.told("loss_weight"), "all pictures weigh the same")
    _lines(draft, one)


def _lines(draft: Draft, one: _Concept) -> None:
    files = list(one.path.glob("*.txt")) if one.path.is_dir() else []
    several = sum(1 for file in files if "\n" in file.read_text(encoding="utf-8-sig", errors="replace").strip())
    if several:
        told = f"{counted(several, 'caption file')} of several lines, of which one is drawn each time"
        draft.carry("data.caption_lines", "several", told)


# ---- how long


def _steps(draft: Draft, keys: Keys, concepts: Sequence[_Concept]) -> tuple[int | None, float | None]:
    """Updates by OneTrainer's own count, and how many of them an epoch has."""
    epochs, told = keys.integer("epochs", 100), keys.told("epochs", 100)
    batch, accumulation = keys.integer("batch_size", 1), keys.integer("gradient_accumulation_steps", 1)
    if min(epochs, batch, accumulation) < 1:
        raise ConfigError("epochs, batch_size and gradient_accumulation_steps must be at least 1")
    draft.carry("schedule.batch_size", batch, keys.told("batch_size", 1))
    draft.carry("schedule.gradient_accumulation", accumulation, keys.told("gradient_accumulation_steps", 1))
    buckets = Counter[Size]()
    for one in concepts:
        sizes = _folder(Draft("onetrainer"), one).sizes()
        if not sizes:
            draft.carry("schedule.epochs", epochs, told)
            draft.lose(told, "epochs are counted anew by lorasmith, because the pictures are not there to count")
            return None, None
        buckets += _samples(one, sizes, cast("int", draft.value("data.resolution")), bool(draft.value("data.buckets")))
    if not concepts:
        draft.carry("schedule.epochs", epochs, told)
        return None, None
    steps = onetrainer_steps(epochs, buckets, batch, accumulation)
    per_epoch = sum(count // batch for count in buckets.values())
    if steps < 1:
        raise ConfigError(
            f"OneTrainer would make no step: no bucket has {batch} pictures", remedy="Use a smaller batch_size."
        )
    draft.carry("schedule.steps", steps, f"{told}: {per_epoch} batches an epoch, {accumulation} an update")
    dropped = sum(count % batch for count in buckets.values())
    if dropped:
        draft.avoid(
            "short batches are dropped",
            f"OneTrainer leaves {counted(dropped, 'sample')} of each epoch out, so that every batch is "
            "full; its number "
            "of steps is kept, and lorasmith fills the batch instead",
        )
    return steps, per_epoch / accumulation


def _samples(one: _Concept, sizes: Sequence[Size], resolution: int, buckets: bool) -> Counter[Size]:
    """How many samples of each size the concept has in an epoch: a part of the pictures takes turns."""
    total = int(one.balancing) if one.by_samples else math.floor(len(sizes) * one.balancing)
    square = Size(resolution, resolution)
    cut = [onetrainer_bucket(size, resolution) if buckets else square for size in sizes]
    return Counter(cut[number % len(cut)] for number in range(total))


def _stop_of_text_encoders(draft: Draft, keys: Keys, steps: int | None, per_epoch: float | None) -> None:
    """OneTrainer stops the text encoders after 30 epochs unless told otherwise."""
    if not draft.value("adapter.text_encoders"):
        return
    one = keys.table("text_encoder")
    if not one.switch("train", default=True):
        one = keys.table("text_encoder_2")
    number, unit = one.number("stop_training_after", 30), one.text("stop_training_after_unit", "EPOCH")
    told = f"{one.told('stop_training_after', 30)} {unit}"
    stop = _in_steps(number, unit, per_epoch, cast("int", draft.value("schedule.gradient_accumulation")))
    if unit == "NEVER" or not number:
        return
    if stop is None or steps is None:
        draft.lose(told, "the text encoders' adapters train to the end: set schedule.text_encoder_fraction")
    elif stop < steps:
        draft.carry("schedule.text_encoder_fraction", stop / steps, told)
        draft.avoid("text encoders that stop", f"{told}: they stop after {stop} of {steps} steps here too")


def _warm_up(draft: Draft, keys: Keys, steps: int | None) -> None:
    said, told = keys.number("learning_rate_warmup_steps", 200.0), keys.told("learning_rate_warmup_steps", 200)
    accumulation = cast("int", draft.value("schedule.gradient_accumulation"))
    if said > 1:
        draft.carry("schedule.warmup_steps", int(said / accumulation), f"{told}, ÷ {accumulation} batches an update")
    elif said > 0 and steps is not None:
        draft.carry("schedule.warmup_steps", int(said * steps), f"{told} of {steps} steps")
    elif said > 0:
        draft.lose(told, "no warm-up, because a share needs the steps: set schedule.warmup_steps")
    if not keys.has("learning_rate_warmup_steps"):
        draft.avoid("200 steps of warm-up unless said", f"{told}; carried over, also with a constant rate")


def _rhythm(draft: Draft, keys: Keys, per_epoch: float | None) -> None:
    samples = [one.text("prompt") for one in keys.tables("samples") if one.switch("enabled", default=True)]
    if not samples:
        samples = _samples_beside(keys.text("sample_definition_file_name", "training_samples/samples.json"))
    if samples:
        draft.carry("validation.prompts", tuple(one for one in samples if one), "samples")
    defaults = {"sample": (10, "MINUTE"), "backup": (30, "MINUTE")}
    for what, ours in (("backup", "checkpoint.every"), ("sample", "validation.every")):
        number, unit = defaults[what]
        every = keys.number(f"{what}_after", number)
        unit = keys.text(f"{what}_after_unit", unit)
        told = f"{keys.told(f'{what}_after', number)} {unit}"
        steps = _in_steps(every, unit, per_epoch, cast("int", draft.value("schedule.gradient_accumulation")))
        if steps is not None:
            draft.carry(ours, steps, told)
        elif unit not in ("NEVER", "ALWAYS"):
            draft.lose(told, f"{ours} counts steps and stays as it is")


def _in_steps(number: float, unit: str, per_epoch: float | None, accumulation: int) -> int | None:
    match unit:
        case "STEP":
            return max(1, round(number / accumulation))
        case "EPOCH" if per_epoch is not None:
            return max(1, round(number * per_epoch))
        case _:
            return None


def _samples_beside(name: str) -> list[str]:
    file = Path(name)
    if not file.is_file():
        return []
    data: Any = read_data(file)
    rows = cast("list[object]", data) if isinstance(data, list) else []
    return [str(cast("dict[str, object]", row).get("prompt", "")) for row in rows if isinstance(row, dict)]


def _pivot(draft: Draft, keys: Keys, steps: int | None, per_epoch: float | None) -> None:
    """When the new tokens stop training."""
    if not draft.value("tokens.enabled"):
        return
    one = next(one for one in keys.tables("additional_embeddings") if one.switch("train", default=True))
    unit, number = one.text("stop_training_after_unit", "NEVER"), one.number("stop_training_after", 0)
    told = f"{one.told('stop_training_after', 'nothing')} {unit}"
    stop = _in_steps(number, unit, per_epoch, cast("int", draft.value("schedule.gradient_accumulation")))
    if unit == "NEVER" or not number:
        draft.carry("schedule.pivot", 1.0, told)
    elif stop is not None and steps is not None:
        draft.carry("schedule.pivot_step", min(stop, steps), told)
    else:
        draft.carry("schedule.pivot", 1.0, told)
        draft.lose(told, "the new tokens train to the end; set schedule.pivot_step")
