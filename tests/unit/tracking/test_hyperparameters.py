"""What a public tracker learns of a run: its options, and nothing of the machine, its user or their secrets."""

from pathlib import Path

import pytest

from lorasmith.config.flags import options
from lorasmith.config.train import TrainConfig
from lorasmith.tracking.concealing import without_secrets
from lorasmith.tracking.hyperparameters import hyperparameters

HOME = "/home/jane.doe"


def config(**sections: object) -> TrainConfig:
    """A config as `train` works with it: with the absolute paths of somebody's home in it."""
    plain: dict[str, object] = {
        "data": {"instance_images": f"{HOME}/holiday", "cache_folder": f"{HOME}/.cache", "instance_prompt": "a TOK"},
        "prior": {"class_prompt": "a dog", "class_images": f"{HOME}/dogs"},
        "output": {"folder": f"{HOME}/runs/wolf"},
    }
    return TrainConfig.model_validate(plain | sections)


def test_options_go_by_their_dotted_names_and_numbers_stay_numbers() -> None:
    told = hyperparameters(config(adapter={"rank": 32}, tokens={"abstractions": ("TOK", "MIX")}))
    assert told["adapter.rank"] == 32
    assert told["optimizer.learning_rate"] == 1.0
    assert told["tokens.abstractions"] == "TOK,MIX"
    assert told["schedule.steps"] == "none"
    assert set(told) <= set(options())


def test_no_path_of_the_machine_is_told() -> None:
    told = hyperparameters(config(model={"base": f"{HOME}/models/my base.safetensors", "vae": "C:\\Users\\jane\\vae"}))
    assert "jane" not in str(told)
    assert (told["model.base"], told["model.vae"]) == ("my base.safetensors", "vae")


def test_a_base_in_a_folder_below_is_told_by_its_own_name_and_one_of_the_hub_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret-client" / "base").mkdir(parents=True)
    assert hyperparameters(config(model={"base": "secret-client/base"}))["model.base"] == "base"
    assert hyperparameters(config(model={"base": "stabilityai/sdxl"}))["model.base"] == "stabilityai/sdxl"


@pytest.mark.parametrize(
    "secret",
    [
        "hf_AbCdEfGhIjKlMnOpQrSt",
        "github_pat_11ABCDEFG0123456789abc",
        "wandb_v1_0123456789abcdefghij",
        "https://jane:pw@x",
    ],
)
def test_a_token_or_password_in_an_option_is_not_told(secret: str) -> None:
    told = hyperparameters(config(validation={"prompts": (f"a TOK {secret}",)}))
    hidden = "jane" if "jane" in secret else secret
    assert hidden not in str(told)
    assert "***" in str(told["validation.prompts"])


def test_prompts_and_hashes_are_left_as_they_are() -> None:
    for text in ("a photo of a <s0><s1> dog, task_force style", "462165984030d82259a11f4367a4eed129e94a7b", "a@b"):
        assert without_secrets(text) == text
