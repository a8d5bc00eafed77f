"""Owns reading ai-toolkit's YAML (or JSON): the process of the kind `sd_trainer`, for bases of SDXL's kind.

Facts from ai-toolkit 0.10 (`toolkit/config_modules.py`, `toolkit/lora_special.py`, `BaseSDTrainProcess.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError
from lorasmith.importing import ai_toolkit_keys
from lorasmith.importing.draft import Draft
from lorasmith.importing.keys import Keys
from lorasmith.importing.optimizers import choose_optimizer, set_arguments
from lorasmith.importing.pictures import PictureFolder, settle
from lorasmith.importing.reading import as_table, read_data, refuse_stranger
from lorasmith.importing.result import Imported

_PRECISIONS: Final = {
    "fp32": "fp32", "float32": "fp32", "float": "fp32", "tf32": "fp32", "fp16": "fp16", "float16": "fp16",
    "bf16": "bf16", "bfloat16": "bf16",
}  # fmt: skip
_SCHEDULES: Final = frozenset({"constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts"})
_KINDS: Final = frozenset({"sd_trainer", "ui_trainer", "diffusion_trainer"})


def import_ai_toolkit(files: Sequence[Path], gather_to: Path | None = None) -> Imported:
    """The config of an ai-toolkit run. Raises ConfigError for files that are not one's."""
    if len(files) != 1:
        raise ConfigError(f"ai-toolkit has one file for a run, and {len(files)} were named")
    data = read_data(files[0])
    refuse_stranger(data, files[0], wanted="^an ai-toolkit", peer="ai-toolkit")
    keys = Keys(as_table(data, files[0]))
    outer = keys.table("config")
    process = _process(outer)
    name = outer.text("name", "lorasmith-run")
    draft = Draft("ai-toolkit")
    _base(draft, process)
    _place(draft, process, name)
    _tokens(draft, process)
    _adapter(draft, process)
    _training(draft, process)
    _data(draft, process, name, gather_to)
    _rhythm(draft, process)
    for where, reasons in ai_toolkit_keys.WITHOUT_EQUIVALENT.items():
        draft.without_effect(process if where == "process" else process.table(where), reasons)
    draft.without_effect(keys, ai_toolkit_keys.OF_FILES)
    draft.without_effect(outer, ai_toolkit_keys.OF_FILES)
    return draft.finish(files, list(keys.left()))


def _process(outer: Keys) -> Keys:
    every = outer.tables("process")
    trains = [one for one in every if one.text("type") in _KINDS]
    if not trains:
        kinds = ", ".join(shown(one.text("type", "nothing")) for one in every) or "nothing"
        raise ConfigError(f"config.process has no process that trains a LoRA, but {kinds}", remedy="Name another file.")
    if len(trains) > 1:
        raise ConfigError(f"config.process has {len(trains)} trainings", remedy="Import one at a time.")
    return trains[0]


# ---- what is carried


def _base(draft: Draft, process: Keys) -> None:
    table = process.table("model")
    family = table.text("arch") or ("sdxl" if table.switch("is_xl") else "something else")
    if family not in ("sdxl", "ssd", "vega"):
        raise ConfigError(
            f"{table.told('arch', 'is_xl = false')}: lorasmith trains bases of SDXL's kind",
            remedy="Set model.is_xl: true if it is one.",
        )
    table.take("is_xl")
    draft.carry("model.base", table.text("name_or_path"), table.told("name_or_path"))
    if table.has("vae_path"):
        draft.carry("model.vae", table.text("vae_path"), table.told("vae_path"))
    if table.switch("is_v_pred"):
        draft.carry("model.prediction", "v_prediction", table.told("is_v_pred"))


def _place(draft: Draft, process: Keys, name: str) -> None:
    told = f"{process.told('training_folder', 'output')}, config.name = {shown(name)}"
    draft.carry("output.folder", Path(process.text("training_folder", "output")) / name, told)
    draft.carry("output.name", name, told)
    kept = process.table("save")
    draft.carry("output.precision", _precision(kept, "float16"), kept.told("dtype", "float16"))
    draft.carry("checkpoint.every", kept.integer("save_every", 1000), kept.told("save_every", 1000))
    most = kept.integer("max_step_saves_to_keep", 5)
    draft.carry("checkpoint.keep", max(1, most), kept.told("max_step_saves_to_keep", 5))


def _precision(table: Keys, default: str) -> str:
    said = table.text("dtype", default)
    if said not in _PRECISIONS:
        raise ConfigError(f"{table.told('dtype', default)} is not a precision that lorasmith trains or writes in")
    return _PRECISIONS[said]


def _tokens(draft: Draft, process: Keys) -> None:
    if not process.has("embedding"):
        draft.carry("tokens.enabled", False, "there is no embedding")
        return
    table = process.table("embedding")
    abstraction = table.text("trigger", "custom_embedding")
    draft.carry("tokens.enabled", True, table.told("trigger", "custom_embedding"))
    draft.carry("tokens.abstractions", (abstraction,), table.told("trigger", "custom_embedding"))
    draft.carry("tokens.per_abstraction", table.integer("tokens", 4), table.told("tokens", 4))
    draft.carry("tokens.init", (table.text("init_words", "*"),), table.told("init_words", "*"))
    draft.carry("schedule.pivot", 1.0, "ai-toolkit trains its embedding to the end")
    train = process.table("train")
    rate = "embedding_lr" if train.has("embedding_lr") else "lr"
    for part in (1, 2):
        draft.carry(f"rates.new_tokens_{part}", train.number(rate, 1e-6), train.told(rate, 1e-6))


def _adapter(draft: Draft, process: Keys) -> None:
    table = process.table("network")
    if not process.has("network"):
        raise ConfigError("there is no network: ai-toolkit would train all weights", remedy="lorasmith trains LoRA.")
    own = "rank" if table.has("rank") else "linear"
    rank = table.integer(own, 4, least=1)
    alpha_key = "linear_alpha" if table.has("linear_alpha") else "alpha"
    alpha = table.number(alpha_key, 1.0) or rank  # 0 stands for the rank there
    draft.carry("adapter.rank", rank, table.told(own, 4))
    draft.carry("adapter.alpha", alpha, table.told(alpha_key, 1.0))
    if alpha != rank:
        draft.avoid(
            "alpha beside rank",
            f"{table.told(alpha_key, 1.0)} at rank {rank} scales the LoRA by {alpha / rank:.4g}; it is carried over "
            "exactly, so the learning rates mean the same. Without an alpha lorasmith would scale by 1",
        )
    for unused in ("linear", "alpha", "linear_alpha"):
        table.take(unused)
    kind = table.text("type", "lora").lower()
    if kind == "dora":
        draft.carry("adapter.kind", "dora", table.told("type"))
    elif kind != "lora":
        draft.avoid("another kind of adapter", f"{table.told('type')} has no equal; a LoRA of this rank is trained")
    if table.has("conv"):
        draft.lose(table.told("conv"), "no adapter on 3×3 convolutions: attention and feed-forward layers alone")
    for name in ("conv", "conv_alpha"):
        table.take(name)
    if table.number("dropout", 0):
        draft.carry("adapter.dropout", table.number("dropout", 0), table.told("dropout"))
    draft.carry("adapter.targets", "attention+feed-forward", "ai-toolkit's LoRA is on nearly all linear layers")
    draft.lose("ai-toolkit's LoRA is on proj_in, proj_out and the time layers too", "attention and feed-forward alone")
    _blocks(draft, table)


def _blocks(draft: Draft, table: Keys) -> None:
    for name in table.table("network_kwargs").names():
        told = table.table("network_kwargs").told(name)
        table.table("network_kwargs").take(name)
        draft.lose(told, "all blocks; adapter.blocks names those that are to be trained alone")


def _training(draft: Draft, process: Keys) -> None:
    train = process.table("train")
    ours = choose_optimizer(draft, train.text("optimizer", "adamw"), train.told("optimizer", "adamw"))
    rate = train.number("lr", 1e-6)
    draft.carry("optimizer.learning_rate", rate, train.told("lr", 1e-6))
    arguments = train.table("optimizer_params")
    set_arguments(draft, ours, {name: arguments.take(name) for name in arguments.names()}, arguments.path("…"))
    _text_encoders(draft, train, rate)
    schedule, told = train.text("lr_scheduler", "constant"), train.told("lr_scheduler", "constant")
    draft.carry("schedule.lr_schedule", schedule if schedule in _SCHEDULES else "constant", told)
    if schedule not in _SCHEDULES:
        draft.lose(told, "constant")
    for name in train.table("lr_scheduler_params").names():
        table = train.table("lr_scheduler_params")
        if name in ("warmup_steps", "num_warmup_steps"):
            draft.carry("schedule.warmup_steps", table.integer(name, 0), table.told(name))
        elif table.take(name) is not None:
            draft.lose(table.told(name), "schedule.lr_schedule as it is")
    _objective(draft, train)
    draft.carry("runtime.precision", _precision(train, "fp32"), train.told("dtype", "fp32"))
    checkpointing = train.switch("gradient_checkpointing", default=True)
    told = train.told("gradient_checkpointing", default=True)
    draft.carry("runtime.gradient_checkpointing", checkpointing, told)
    norm = train.number("max_grad_norm", 1.0)
    draft.carry("runtime.max_grad_norm", norm or None, train.told("max_grad_norm", 1.0), remark="of each part")
    draft.lose("ai-toolkit has no seed for training", "runtime.seed = 0")
    _steps(draft, train)


def _text_encoders(draft: Draft, train: Keys, rate: float) -> None:
    trains = train.switch("train_text_encoder")
    draft.carry("adapter.text_encoders", trains, train.told("train_text_encoder", default=False))
    if trains:
        for part in (1, 2):
            draft.carry(f"rates.text_encoder_{part}", rate, train.told("lr", 1e-6))
    if not train.switch("train_unet", default=True):
        draft.lose(train.told("train_unet"), "the denoiser is trained: lorasmith has no run without it")
    for name in ("unet_lr", "text_encoder_lr"):
        if train.has(name):
            train.take(name)
            draft.avoid(
                "rates that are read and not used",
                f"{train.told(name)}: ai-toolkit accepts it and trains everything at lr = {rate:g}; that "
                "is carried over",
            )


def _objective(draft: Draft, train: Keys) -> None:
    if train.text("noise_scheduler", "ddpm") != "ddpm":
        draft.lose(train.told("noise_scheduler"), "the base's own noise")
    if train.number("min_snr_gamma", 0):
        draft.carry("objective.snr_gamma", train.number("min_snr_gamma", 0), train.told("min_snr_gamma"))
    elif train.number("snr_gamma", 0):
        draft.carry("objective.snr_gamma", train.number("snr_gamma", 0), train.told("snr_gamma"))
        draft.lose(train.told("snr_gamma"), "min-SNR: ai-toolkit's own, normed weight is another")
    if train.number("noise_offset", 0):
        draft.carry("objective.noise_offset", train.number("noise_offset", 0), train.told("noise_offset"))
    if train.text("loss_type", "mse") not in ("mse", "l2"):
        draft.lose(train.told("loss_type"), "the squared error (mse)")
    if train.text("content_or_style", "balanced") != "balanced":
        draft.lose(train.told("content_or_style"), "timesteps are drawn evenly")
    if train.switch("diff_output_preservation"):
        told = train.told("diff_output_preservation")
        draft.carry("prior.source", "adapter_off", told)
        draft.carry("prior.class_prompt", train.text("diff_output_preservation_class"), told)
        draft.carry("prior.weight", train.number("diff_output_preservation_multiplier", 1.0), told)
    for name in ("diff_output_preservation_class", "diff_output_preservation_multiplier"):
        train.take(name)
    ema = train.table("ema_config")
    if ema.switch("use_ema"):
        draft.lose(ema.told("use_ema"), "no moving average of the weights")
    for name in ("ema_decay", "use_feedback", "param_multiplier"):
        ema.take(name)


def _steps(draft: Draft, train: Keys) -> None:
    """Steps are updates, whatever the pictures; only the old key for accumulation counts passes."""
    steps, told = train.integer("steps", 1000), train.told("steps", 1000)
    passes, together = train.integer("gradient_accumulation_steps", 1), train.integer("gradient_accumulation", 1)
    if min(steps, together) < 1:
        raise ConfigError("train.steps and train.gradient_accumulation must be at least 1")
    if passes > 1:
        draft.avoid(
            "two keys for accumulation",
            f"{train.told('gradient_accumulation_steps')}: with this one ai-toolkit's {steps} steps are "
            "passes, of which "
            f"{passes} make an update: {steps // passes} updates; with gradient_accumulation they are updates",
        )
        steps, together = max(1, steps // passes), passes
    draft.carry("schedule.steps", steps, told)
    named = "gradient_accumulation_steps" if passes > 1 else "gradient_accumulation"
    draft.carry("schedule.gradient_accumulation", together, train.told(named, 1))
    draft.carry("schedule.batch_size", train.integer("batch_size", 1), train.told("batch_size", 1))


# ---- pictures


def _data(draft: Draft, process: Keys, name: str, gather_to: Path | None) -> None:
    sets = process.tables("datasets")
    instance = [one for one in sets if not one.switch("is_reg")]
    swaps = {"[name]": name, **({"[trigger]": process.text("trigger_word")} if process.has("trigger_word") else {})}
    settle(draft, [_folder(one, swaps) for one in instance], gather_to)
    for one in instance:
        _cut(draft, one)
        _captions(draft, one)
    for one in sets:
        _resolutions(draft, one)
        draft.without_effect(one, ai_toolkit_keys.OF_DATA_SETS)
    classes = [one for one in sets if one.switch("is_reg")]
    if classes:
        _prior(draft, classes, process)
    if process.has("trigger_word"):
        word = process.text("trigger_word")
        draft.avoid(
            "the word that stands for what is learnt",
            f"{process.told('trigger_word')}: ai-toolkit puts it in place of [trigger]; it is an ordinary "
            "word here, and "
            f"tokens.enabled = true with tokens.abstractions = [{shown(word)!r}] would learn it as a new one",
        )


def _folder(one: Keys, swaps: dict[str, str]) -> PictureFolder:
    suffix = one.text("caption_ext", ".txt")
    own = {"[trigger]": one.text("trigger_word")} if one.has("trigger_word") else {}
    repeats = max(1, one.integer("num_repeats", 1))
    place = one.text("folder_path") or one.text("dataset_path")
    for unused in ("folder_path", "dataset_path"):
        one.take(unused)
    return PictureFolder(
        Path(place),
        repeats,
        prompt=one.text("default_caption") or None,
        suffix=suffix if suffix.startswith(".") else f".{suffix}",
        swaps={**swaps, **own},
        theirs=f"{shown(place, limit=200)}, {repeats} repeats",
    )


def _cut(draft: Draft, one: Keys) -> None:
    draft.carry("data.buckets", one.switch("buckets", default=True), one.told("buckets", default=True))
    if one.switch("flip_x"):
        draft.carry("data.flip", True, one.told("flip_x"))
    if one.switch("random_crop"):
        draft.carry("data.crop", "random", one.told("random_crop"))
    draft.avoid(
        "ai-toolkit never enlarges a picture",
        "lorasmith makes small pictures as large as their bucket; leave those out that are too small",
    )
    if one.number("loss_multiplier", 1.0) != 1:
        draft.lose(one.told("loss_multiplier"), "all pictures weigh the same")
    if one.number("network_weight", 1.0) != 1:
        draft.lose(one.told("network_weight"), "adapters at their full strength")
    for name, ours in (("mask_path", "data.masks"), ("alpha_mask", "data.alpha_mask")):
        if one.has(name) and one.take(name):
            value = one.text(name) if name == "mask_path" else True
            draft.carry(ours, value, one.told(name))
    if one.number("mask_min_value", 0):
        value = one.number("mask_min_value", 0)
        draft.carry("objective.unmasked_weight", value, one.told("mask_min_value"))


def _captions(draft: Draft, one: Keys) -> None:
    for name, ours in (("caption_dropout_rate", "data.caption_dropout"), ("token_dropout_rate", "data.tag_dropout")):
        if one.number(name, 0):
            draft.carry(ours, one.number(name, 0), one.told(name))
    if one.switch("shuffle_tokens"):
        draft.carry("data.shuffle_tags", True, one.told("shuffle_tokens"))
    if one.integer("keep_tokens", 0):
        draft.carry("data.keep_tags", one.integer("keep_tokens", 0), one.told("keep_tokens"))


def _resolutions(draft: Draft, one: Keys) -> None:
    sides = [side for text in one.texts("resolution") if (side := _side(text)) is not None] or [512]
    largest = max(sides)
    draft.carry("data.resolution", max(round(largest / 32) * 32, 32), one.told("resolution", 512))
    if len(sides) > 1:
        draft.avoid(
            "each resolution is a copy of the data set",
            f"{one.told('resolution')}: ai-toolkit trains {counted(len(sides), 'copy').replace('copys', 'copies')} of "
            f"the pictures, one a resolution; they are trained at {largest} alone here, and the steps are the same, so "
            f"each picture is seen {len(sides)} times as often at {largest}",
        )


def _side(text: str) -> int | None:
    return int(text) if text.strip().isdigit() and int(text) >= 16 else None


def _prior(draft: Draft, classes: Sequence[Keys], process: Keys) -> None:
    first, *more = [_folder(one, {}) for one in classes]
    draft.carry("prior.class_images", first.path, first.theirs)
    draft.carry("prior.class_prompt", first.prompt or first.path.name, first.theirs)
    there = len(first.pictures())
    if there:
        draft.carry("prior.num_class_images", there, f"{counted(there, 'picture')} in {shown(first.path)}")
    train = process.table("train")
    draft.carry("prior.weight", train.number("reg_weight", 1.0), train.told("reg_weight", 1.0))
    draft.avoid(
        "steps with reg images",
        "ai-toolkit gives every second step to the reg set; each step here has as many class images "
        "beside its instance "
        "images. The number of steps is kept, so that instance images are seen twice as often",
    )
    for other in more:
        draft.lose(other.theirs, "one folder of class images: this one is left out")


def _rhythm(draft: Draft, process: Keys) -> None:
    table = process.table("sample")
    prompts = table.texts("prompts") or tuple(one.text("prompt") for one in table.tables("samples"))
    word = process.text("trigger_word")
    if prompts and not process.table("train").switch("disable_sampling"):
        told = ", ".join(table.path(name) for name in ("prompts", "samples") if table.has(name))
        draft.carry("validation.prompts", tuple(one.replace("[trigger]", word) for one in prompts if one), told)
        draft.carry("validation.every", table.integer("sample_every", 100), table.told("sample_every", 100))
        draft.carry("validation.steps", table.integer("sample_steps", 20), table.told("sample_steps", 20))
        draft.carry("validation.guidance", table.number("guidance_scale", 7), table.told("guidance_scale", 7))
    for name in ("prompts", "samples", "sample_every", "sample_steps", "guidance_scale"):
        table.take(name)
