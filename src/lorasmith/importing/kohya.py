"""Owns reading sd-scripts' configs (kohya): a command line, its two TOML files, folders named `10_token class`.

Facts from sd-scripts 0.10 (`train_network.py`, `library/train_util.py`, `library/config_util.py`, `networks/lora.py`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError
from lorasmith.importing import kohya_keys
from lorasmith.importing.draft import Draft
from lorasmith.importing.keys import Keys, as_text
from lorasmith.importing.kohya_data import DataSet, data_sets, settle_data
from lorasmith.importing.optimizers import choose_optimizer, read_arguments, set_arguments
from lorasmith.importing.reading import Table, as_table, read_data, read_text, refuse_stranger, words_of
from lorasmith.importing.result import Imported, Unknown

_PROGRAM: Final = r"train_network\.py"
_SEVERAL_VALUES: Final = frozenset(
    {
        "text_encoder_lr",
        "network_args",
        "optimizer_args",
        "lr_scheduler_args",
        "base_weights",
        "base_weights_multiplier",
    }
)
_SCHEDULES: Final = frozenset(
    {"constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"}
)
_PRECISIONS: Final = {"no": "fp32", "fp16": "fp16", "bf16": "bf16", "float": "fp32", "fp32": "fp32"}


@dataclass(frozen=True)
class _Read:
    """What the files say: training options, and the data set's file where there is one."""

    training: Keys
    data: Keys | None


def import_kohya(files: Sequence[Path], gather_to: Path | None = None) -> Imported:
    """The config of a kohya run. Raises ConfigError for files that are not one's."""
    read = _read(files)
    keys, draft = read.training, Draft("kohya")
    _base(draft, keys)
    _adapter(draft, keys)
    _optimizer(draft, keys)
    _objective(draft, keys)
    _machine(draft, keys)
    sets = data_sets(keys, read.data)
    batches = settle_data(draft, sets, keys, gather_to)
    steps = _steps(draft, keys, batches, sets)
    _warm_up(draft, keys, steps)
    _rhythm(draft, keys, _per_epoch(keys, batches))
    draft.without_effect(keys, kohya_keys.WITHOUT_EQUIVALENT)
    return draft.finish(files, list(_left(read)))


def _left(read: _Read) -> Iterator[Unknown]:
    yield from read.training.left()
    if read.data is not None:
        yield from read.data.left()


# ---- reading


def _read(files: Sequence[Path]) -> _Read:
    training: dict[str, object] = {}
    data: Table | None = None
    for file in files:
        if file.is_dir():
            training["train_data_dir"] = str(file)
            continue
        table = _table_of(file)
        if {"datasets", "general"} & set(table):
            data = table
        else:
            training |= _flat(table)
    if not training and data is None:
        raise ConfigError("no kohya config was named", remedy="Name a command line, a TOML file or a folder.")
    nested = training.pop("config_file", None)
    if nested is not None:
        file = _beside(str(nested) if str(nested).endswith(".toml") else f"{nested}.toml", files[0])
        training = {**_flat(as_table(read_data(file), file)), **training}
    named = training.pop("dataset_config", None)
    if named is not None and data is None:
        file = _beside(str(named), files[0])
        data = as_table(read_data(file), file)
    return _Read(Keys(training), None if data is None else Keys(data))


def _beside(name: str, file: Path) -> Path:
    """A file as the config names it: from here, or else from beside the config."""
    here = Path(name).expanduser()
    return here if here.exists() or here.is_absolute() else file.parent / here


def _table_of(file: Path) -> Table:
    if file.suffix.lower() in (".toml", ".json", ".yaml", ".yml"):
        data = read_data(file)
        refuse_stranger(data, file, wanted="^a kohya (config|data set)|^a table of", peer="kohya")
        table = as_table(data, file)
        if not set(_flat(table)) & (kohya_keys.KNOWN | {"datasets", "general"}):
            raise ConfigError(f"{shown(file)} is not a config of kohya: none of its keys is one of kohya's")
        return table
    table = _flags(words_of(read_text(file), file, program=_PROGRAM))
    if not set(table) & kohya_keys.KNOWN:
        raise ConfigError(
            f"{shown(file)} is not a config of kohya: there is no command line with its flags",
            remedy="Name a script that runs `sdxl_train_network.py`, its TOML file, or a folder of `10_token` folders.",
        )
    return table


def _flags(words: Sequence[str]) -> dict[str, object]:
    """Flags with their values; those alone are switches."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = [value] if equals else []
        elif name:
            found[name].append(word)
    return {name: _flag_value(name, values) for name, values in found.items()}


def _flag_value(name: str, values: list[str]) -> object:
    if name in _SEVERAL_VALUES:
        return values
    return " ".join(values) if values else True


def _flat(table: Table) -> dict[str, object]:
    """A training TOML's sections are for reading only: sd-scripts throws them together."""
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict) and name not in ("general",):
            flat |= cast("dict[str, object]", value)
        else:
            flat[name] = value
    return flat


# ---- what is carried


def _base(draft: Draft, keys: Keys) -> None:
    base = keys.text("pretrained_model_name_or_path")
    if base:
        draft.carry("model.base", base, keys.told("pretrained_model_name_or_path"))
        if base.endswith((".ckpt", ".pt")):
            draft.lose(keys.told("pretrained_model_name_or_path"), "refused: no pickles; convert it to .safetensors")
    else:
        draft.lose("no base is named", "the embedded base would be taken: set model.base")
    if keys.has("vae"):
        draft.carry("model.vae", keys.text("vae"), keys.told("vae"))
    if keys.switch("v_parameterization"):
        draft.carry("model.prediction", "v_prediction", keys.told("v_parameterization"))
    if keys.switch("zero_terminal_snr"):
        draft.lose(keys.told("zero_terminal_snr"), "zero terminal SNR is read from the base's scheduler or markers")
    draft.carry("tokens.enabled", False, "sd-scripts trains no new tokens beside a LoRA")
    if keys.has("clip_skip"):
        draft.avoid(
            "clip skip counts differently",
            f"{keys.told('clip_skip')}: sd-scripts says that it does not work for SDXL; A1111's 2 is what SDXL always "
            "reads and is text.clip_skip = 0 here, which is kept",
        )
        keys.take("clip_skip")
    if keys.integer("max_token_length", 75) > 75:
        draft.carry("text.long_prompts", "chunks", keys.told("max_token_length"))
    output, name = keys.text("output_dir"), keys.text("output_name")
    if output or name:
        told = f"{keys.told('output_dir', '.')}, {keys.told('output_name', 'last')}"
        draft.carry("output.folder", Path(output) / (name or "lorasmith-run"), told)
    if name:
        draft.carry("output.name", name, keys.told("output_name"))


def _adapter(draft: Draft, keys: Keys) -> None:
    rank, alpha = keys.integer("network_dim", 4, least=1), keys.number("network_alpha", 1.0)
    draft.carry("adapter.rank", rank, keys.told("network_dim", 4))
    draft.carry("adapter.alpha", alpha, keys.told("network_alpha", 1))
    if alpha != rank:
        draft.avoid(
            "alpha beside rank",
            f"{keys.told('network_alpha', 1)} at rank {rank} scales the LoRA by {alpha / rank:.4g}; it is carried over "
            "exactly, so the learning rates mean the same. Without an alpha lorasmith would scale by 1",
        )
    if keys.number("network_dropout", 0):
        told = keys.told("network_dropout")
        draft.carry("adapter.dropout", keys.number("network_dropout", 0), told, remark="on the adapter's inputs")
    draft.carry("adapter.targets", "attention+feed-forward", "sd-scripts' LoRA is on attention and feed-forward layers")
    draft.lose("sd-scripts' LoRA is on proj_in and proj_out of each block too", "no adapter on these two layers")
    _kind(draft, keys)
    _text_encoders(draft, keys)


def _kind(draft: Draft, keys: Keys) -> None:
    module = keys.text("network_module", "networks.lora")
    arguments = read_arguments(keys.texts("network_args"))
    told = f"network_args: {', '.join(f'{name}={as_text(value)}' for name, value in arguments.items())}"
    if module.startswith("lycoris"):
        algorithm = str(arguments.pop("algo", "locon"))
        draft.avoid(
            "LyCORIS is another kind of adapter",
            f"{keys.told('network_module')} with algo={algorithm} has no equal; a plain LoRA of the same "
            "rank and alpha "
            "is trained instead, whose learning rate may have to be another",
        )
        if str(arguments.pop("dora_wd", False)) == "True":
            draft.carry("adapter.kind", "dora", told)
    elif module != "networks.lora":
        draft.lose(keys.told("network_module"), "a plain LoRA")
    conv = {name: arguments.pop(name) for name in ("conv_dim", "conv_alpha") if name in arguments}
    if conv:
        draft.lose(", ".join(f"{name} = {as_text(value)}" for name, value in conv.items()), _NO_CONVOLUTIONS)
    for name, value in arguments.items():
        draft.lose(
            f"network_args: {name} = {as_text(value)}", "no such argument; adapter.block_ranks has ranks by block"
        )


_NO_CONVOLUTIONS: Final = "no adapter on 3×3 convolutions (LoCon): attention and feed-forward layers alone"


def _text_encoders(draft: Draft, keys: Keys) -> None:
    """On unless switched off: the commonest surprise of this program."""
    rates = tuple(_rate(text, keys) for text in keys.texts("text_encoder_lr"))
    only_denoiser, only_text = keys.switch("network_train_unet_only"), keys.switch("network_train_text_encoder_only")
    rate = rates[0] if rates else keys.number("learning_rate", 2e-6)
    told = keys.told("text_encoder_lr") if rates else f"{keys.told('learning_rate', 2e-6)}; no text_encoder_lr is said"
    trains = not only_denoiser and rate > 0
    draft.carry("adapter.text_encoders", trains, keys.told("network_train_unet_only") if only_denoiser else told)
    if only_text or (keys.has("unet_lr") and keys.number("unet_lr", 0) == 0):
        draft.lose("the denoiser is not trained", "it is trained: lorasmith has no run without it")
    if not trains:
        if rates and rate == 0 and not only_denoiser:
            draft.avoid("a rate of 0 for the text encoders", "they get no adapter at all, as there")
        return
    draft.carry("rates.text_encoder_1", rate, told)
    draft.carry("rates.text_encoder_2", rate, told)
    draft.lose("sd-scripts' LoRA of the text encoders is on their feed-forward layers too", "on attention alone")
    if not only_denoiser and not rates:
        draft.avoid(
            "text encoders train by default",
            f"neither network_train_unet_only nor text_encoder_lr is said, so both text encoders train at {rate:g}; "
            "set adapter.text_encoders = false if that was not meant",
        )
    if len(rates) > 1 and rates[1] != rates[0]:
        draft.avoid(
            "a second text encoder rate",
            f"{keys.told('text_encoder_lr')}: sd-scripts drops the second for SDXL (issue 1748), so both train at "
            f"{rate:g}, as there; set rates.text_encoder_2 = {rates[1]:g} if it was meant",
        )


def _rate(text: str, keys: Keys) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{keys.told('text_encoder_lr')} must be numbers") from None


def _optimizer(draft: Draft, keys: Keys) -> None:
    name = keys.text("optimizer_type")
    if not name:
        name = "AdamW8bit" if keys.switch("use_8bit_adam") else "Lion" if keys.switch("use_lion_optimizer") else "AdamW"
    ours = choose_optimizer(draft, name, f"optimizer_type = {shown(name)}")
    own = "unet_lr" if keys.has("unet_lr") else "learning_rate"
    rate = keys.number(own, 2e-6)
    keys.take("learning_rate")
    arguments = read_arguments(keys.texts("optimizer_args"))
    relative = ours == "adafactor" and arguments.get("relative_step", True) is not False
    if relative:
        draft.lose(
            "Adafactor finds its own rate (relative_step is its default), and the learning rates are ignored",
            "a fixed rate of 1e-4, the one lorasmith proposes",
        )
        rate = 1e-4
    if rate > 0:
        draft.carry("optimizer.learning_rate", rate, keys.told(own, 2e-6))
    set_arguments(draft, ours, arguments, "optimizer_args")
    different = draft.value("rates.text_encoder_1") not in (None, rate)
    if ours in ("prodigy", "schedule_free_prodigy") and different:
        draft.avoid(
            "Prodigy with several rates",
            "sd-scripts' Prodigy uses one of them for all parts (issues 1926, 1929); here each part has a Prodigy of "
            "its own, and its rate multiplies the step size that one finds: 1.0 is meant",
        )
    norm = keys.number("max_grad_norm", 1.0)
    draft.carry("runtime.max_grad_norm", norm or None, keys.told("max_grad_norm", 1.0), remark="of each part")
    _schedule(draft, keys)


def _schedule(draft: Draft, keys: Keys) -> None:
    name, told = keys.text("lr_scheduler", "constant"), keys.told("lr_scheduler", "constant")
    if name in _SCHEDULES:
        draft.carry("schedule.lr_schedule", name, told)
    else:
        nearest = "cosine" if "cosine" in name else "constant_with_warmup"
        draft.carry("schedule.lr_schedule", nearest, told)
        draft.lose(told, nearest)
    if keys.has("lr_scheduler_num_cycles"):
        draft.carry(
            "schedule.lr_cycles", keys.integer("lr_scheduler_num_cycles", 1), keys.told("lr_scheduler_num_cycles")
        )
    if keys.has("lr_scheduler_power"):
        draft.carry("schedule.lr_power", keys.number("lr_scheduler_power", 1), keys.told("lr_scheduler_power"))


def _objective(draft: Draft, keys: Keys) -> None:
    gamma = keys.number("min_snr_gamma", 0)
    if gamma:
        draft.carry("objective.snr_gamma", gamma, keys.told("min_snr_gamma"))
        if draft.value("model.prediction") == "v_prediction":
            draft.avoid(
                "min-SNR on a base that predicts velocity",
                "the weight is min(SNR, gamma) ÷ (SNR + 1) there and here, not ÷ SNR as for noise",
            )
    offset = keys.number("noise_offset", 0)
    if offset:
        draft.carry("objective.noise_offset", offset, keys.told("noise_offset"))
    loss = keys.text("loss_type", "l2")
    if loss != "l2":
        draft.lose(keys.told("loss_type"), "the squared error (l2)")
    draft.carry("data.use_masks", keys.switch("masked_loss"), keys.told("masked_loss", default=False))


def _machine(draft: Draft, keys: Keys) -> None:
    precision = keys.text("mixed_precision", "no")
    draft.carry("runtime.precision", _precision(precision), keys.told("mixed_precision", "no"))
    if keys.has("save_precision"):
        draft.carry("output.precision", _precision(keys.text("save_precision")), keys.told("save_precision"))
    draft.carry(
        "runtime.gradient_checkpointing",
        keys.switch("gradient_checkpointing"),
        keys.told("gradient_checkpointing", default=False),
    )
    if keys.has("seed"):
        draft.carry("runtime.seed", keys.integer("seed", 0), keys.told("seed"), remark="draws other numbers from it")
    else:
        draft.lose("no seed: sd-scripts draws another one each time", "seed 0, the same each time; set runtime.seed")


def _precision(name: str) -> str:
    if name not in _PRECISIONS:
        raise ConfigError(f"{shown(name)!r} is not a precision of sd-scripts")
    return _PRECISIONS[name]


# ---- how long


def _steps(draft: Draft, keys: Keys, batches: int | None, sets: Sequence[DataSet]) -> int | None:
    """Updates, by sd-scripts' own count; `max_train_epochs` overrides `max_train_steps`."""
    accumulation = keys.integer("gradient_accumulation_steps", 1, least=1)
    draft.carry("schedule.gradient_accumulation", accumulation, keys.told("gradient_accumulation_steps", 1))
    if not keys.has("max_train_epochs"):
        steps = keys.integer("max_train_steps", 1600)
        draft.carry("schedule.steps", steps, keys.told("max_train_steps", 1600))
        return steps
    epochs, told = keys.integer("max_train_epochs", 1, least=1), keys.told("max_train_epochs")
    keys.take("max_train_steps")
    if batches is None:
        draft.carry("schedule.epochs", epochs, told)
        draft.lose(told, "epochs are counted anew by lorasmith, because the pictures are not there to count")
        return None
    steps = epochs * math.ceil(batches / accumulation)
    draft.carry("schedule.steps", steps, f"{told}: {batches} batches an epoch, {accumulation} an update")
    if any(folder.is_class for one in sets for folder in one.folders):
        draft.avoid(
            "reg images double an epoch",
            f"sd-scripts shows as many reg images as instance images, so an epoch has twice the batches; the {steps} "
            "steps that it would have made are kept",
        )
    return steps


def _per_epoch(keys: Keys, batches: int | None) -> int | None:
    return None if batches is None else math.ceil(batches / keys.integer("gradient_accumulation_steps", 1))


def _warm_up(draft: Draft, keys: Keys, steps: int | None) -> None:
    said = keys.number("lr_warmup_steps", 0)
    if not said:
        return
    told = keys.told("lr_warmup_steps")
    if said >= 1:
        draft.carry("schedule.warmup_steps", int(said), told)
    elif steps is None:
        draft.lose(told, "no warm-up, because a share needs the steps: set schedule.warmup_steps")
    else:
        draft.carry("schedule.warmup_steps", int(said * steps), f"{told} of {steps} steps")
    if draft.value("schedule.lr_schedule") == "constant":
        draft.avoid("a warm-up with lr_scheduler = constant", "it has no effect there, nor here")


def _rhythm(draft: Draft, keys: Keys, per_epoch: int | None) -> None:
    """How often something is kept and drawn."""
    for what, ours in (("save", "checkpoint.every"), ("sample", "validation.every")):
        steps, epochs = f"{what}_every_n_steps", f"{what}_every_n_epochs"
        if keys.has(epochs) and per_epoch is not None:
            draft.carry(ours, keys.integer(epochs, 1) * per_epoch, f"{keys.told(epochs)} of {per_epoch} steps")
        elif keys.has(steps):
            draft.carry(ours, keys.integer(steps, 1), keys.told(steps))
        elif keys.has(epochs):
            draft.lose(keys.told(epochs), f"{ours} stays as it is, because the steps of an epoch are not known here")
        for name in (steps, epochs):
            keys.take(name)
    if keys.has("sample_prompts"):
        _prompts(draft, keys)


def _prompts(draft: Draft, keys: Keys) -> None:
    file, told = Path(keys.text("sample_prompts")), keys.told("sample_prompts")
    if file.suffix != ".txt" or not file.is_file():
        draft.lose(told, "no validation pictures: only a .txt file that is there is read; set validation.prompts")
        return
    lines = [line.strip() for line in read_text(file).splitlines()]
    prompts = tuple(line.partition(" --")[0] for line in lines if line and not line.startswith("#"))
    if prompts:
        draft.carry("validation.prompts", prompts, told)
    if any(" --" in line for line in lines):
        draft.lose(
            f"{told}: sizes, seeds and guidance in its lines", "validation.guidance and validation.steps for all"
        )
