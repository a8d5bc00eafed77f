"""Each flag of the reference script that is the same, renamed or split changes the options it is said to change."""

from pathlib import Path

import pytest

from lorasmith.config.flags import options
from lorasmith.config.load import Loaded, load_config
from lorasmith.config.reference_flags import REFERENCE_FLAGS, ReferenceFlag

MANNER = ["--instance_data_dir=pictures", "--instance_prompt=a photo of TOK"]
BESIDE = {
    "prior.": ["--with_prior_preservation", "--class_prompt=a photo of a dog"],
    "rates.": ["--train_text_encoder_ti", "--train_text_encoder"],
}
VALUES = {
    "pretrained_model_name_or_path": "someone/base",
    "dataset_name": "someone/pictures",
    "instance_data_dir": "others",
    "instance_prompt": "a TOK",
    "class_prompt": "a cat",
    "image_interpolation_mode": "bicubic",
    "lora_unet_blocks": "unet.up_blocks.0.attentions.0",
    "optimizer": "prodigy",
    "lr_scheduler": "cosine",
    "mixed_precision": "fp16",
    "report_to": "tensorboard",
    "token_abstraction": "CAT",
    "num_train_epochs": "7",
    "hub_model_id": "someone/lora",
    "train_text_encoder_ti_frac": "0.3",
    "train_text_encoder_frac": "0.3",
    "lora_dropout": "0.3",
    "noise_offset": "0.3",
    "prodigy_beta3": "0.7",
    "adam_beta1": "0.7",
    "adam_beta2": "0.7",
    "resolution": "512",
}
"""What is said where neither a number nor a word would do."""

SAID = [flag for flag in REFERENCE_FLAGS.values() if flag.status in ("same", "renamed", "split")]


@pytest.mark.parametrize("flag", SAID, ids=[flag.name for flag in SAID])
def test_a_flag_changes_the_options_it_names_and_no_others(flag: ReferenceFlag) -> None:
    beside = words_beside(flag)
    without = [word for word in beside if word.split("=")[0] != f"--{flag.name}"]
    before = load_config([], beside)
    after = load_config([], [*without, said(flag, before=before)])
    changed = {path for path in options() if value_at(before, path) != value_at(after, path)}
    named = {path for path in changed if any(path == one or path.startswith(f"{one}.") for one in flag.paths)}
    assert named, f"--{flag.name} changes nothing"
    others = {path for path in changed - named if path in after.origins and after.origins[path].kind == "flag"}
    assert others == set(), "what else changes is a default that follows"


def words_beside(flag: ReferenceFlag) -> list[str]:
    """What has to be said for a flag to have an effect at all."""
    if flag.name in ("dataset_name", "instance_data_dir"):
        return ["--instance_prompt=a TOK", "--pretrained_model_name_or_path=someone/base"]
    if flag.name == "with_prior_preservation":
        return [*MANNER, "--class_prompt=a photo of a dog"]
    if flag.name == "scale_lr":
        return [*MANNER, "--gradient_accumulation_steps=2"]
    if flag.name.startswith("prodigy_"):
        return [*MANNER, "--optimizer=prodigy"]
    if flag.name in ("dataset_config_name", "image_column", "cache_dir"):
        return ["--dataset_name=someone/pictures"]
    return [*MANNER, *(word for prefix, words in BESIDE.items() if flag.paths[0].startswith(prefix) for word in words)]


def said(flag: ReferenceFlag, *, before: Loaded) -> str:
    if not flag.is_switch:
        return f"--{flag.name}={VALUES.get(flag.name, '3')}"
    was_on = value_at(before, flag.paths[0]) is True
    return f"--{flag.name}={'false' if was_on else 'true'}"


def value_at(loaded: Loaded, path: str) -> object:
    """The value of an option; None where its section is off or of another kind."""
    found: object = loaded.config
    for name in path.split("."):
        found = getattr(found, name, None)
    return Path(found) if isinstance(found, Path) else found
