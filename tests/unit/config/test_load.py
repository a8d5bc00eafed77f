"""Where a config's values come from, and what wins over what."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from lorasmith.config.flags import flatten
from lorasmith.config.load import Loaded, load_arguments, load_config
from lorasmith.config.optimizer import AdamWConfig, ProdigyConfig
from lorasmith.config.recipes import recipe_file, recipe_names
from lorasmith.config.train import OwnRecipe, TrainConfig


def written(folder: Path, text: str, name: str = "wolf.toml") -> Path:
    """A TOML file with the text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def origin(loaded: Loaded, path: str) -> str:
    """The origin's label of an option."""
    return str(loaded.origins[path])


def test_nothing_said_gives_the_defaults_and_says_so() -> None:
    loaded = load_config([])
    assert loaded.config == TrainConfig()
    assert {str(place) for place in loaded.origins.values()} == {"default"}


def test_default_recipe_file_and_flag_win_in_that_order(tmp_path: Path) -> None:
    first = written(tmp_path, "[adapter]\nrank = 8\ndropout = 0.1\nalpha = 3", "first.toml")
    second = written(tmp_path, "\n[adapter]\ndropout = 0.2\nalpha = 4", "second.toml")
    loaded = load_config([first, second], ["--adapter.alpha", "5"], recipe="style")
    adapter, schedule = loaded.config.adapter, loaded.config.schedule
    assert (adapter.kind, schedule.steps_per_picture, adapter.rank, adapter.dropout, adapter.alpha) == (
        "lora", 120, 8, 0.2, 5.0,
    )  # fmt: skip
    assert origin(loaded, "adapter.kind") == "default"
    assert origin(loaded, "schedule.steps_per_picture") == "recipe style"
    assert origin(loaded, "adapter.rank") == f"{first}:2"
    assert origin(loaded, "adapter.dropout") == f"{second}:3"
    assert origin(loaded, "adapter.alpha") == "--adapter.alpha"


def test_every_leaf_of_the_config_has_an_origin() -> None:
    loaded = load_config([], ["--prior.class_prompt", "a dog", "--optimizer.name", "adamw"])
    assert set(loaded.origins) == {path for path, _ in flatten(loaded.config)}


@pytest.mark.parametrize(("said", "rank"), [("file", 16), ("flag", 32), ("caller", 32)])
def test_a_recipe_is_named_by_a_file_a_flag_or_the_caller(tmp_path: Path, said: str, rank: int) -> None:
    file = written(tmp_path, 'recipe = "object"')
    flags = ["--recipe", "style"] if said == "flag" else []
    loaded = load_config([file], flags, recipe="character" if said == "caller" else None)
    assert loaded.config.adapter.rank == rank
    assert loaded.config.recipe == {"file": "object", "flag": "style", "caller": "character"}[said]


def test_the_recipes_have_their_promised_numbers() -> None:
    numbers = {
        name: (config.adapter.rank, config.schedule.steps_per_picture, config.prior and config.prior.num_class_images)
        for name in get_args(OwnRecipe)
        for config in [load_config([], recipe=name).config]
    }
    assert numbers == {
        "object": (16, 50, None),
        "style": (32, 120, None),
        "character": (32, 180, None),
        "face": (32, 120, 150),
    }


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_opens_with_what_it_is_for(name: str) -> None:
    opening = recipe_file(name).read_text(encoding="utf-8")
    if name.startswith("article/"):
        assert "# As the article writes it" in opening
    else:
        assert opening.startswith("# For ")


def test_fields_of_the_optimizer_update_the_variant_there_is(tmp_path: Path) -> None:
    file = written(tmp_path, '[optimizer]\nname = "adamw"\nbeta1 = 0.8')
    loaded = load_config([file], ["--optimizer.learning-rate", "3e-4"])
    assert loaded.config.optimizer == AdamWConfig(beta1=0.8, learning_rate=3e-4)


def test_naming_an_optimizer_starts_from_its_own_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, '[optimizer]\nname = "adamw"\nlearning_rate = 3e-4\nbeta1 = 0.8')
    loaded = load_config([file], ["--optimizer.d_coef=2", "--optimizer.name=prodigy"])
    assert loaded.config.optimizer == ProdigyConfig(d_coef=2)
    assert origin(loaded, "optimizer.learning_rate") == "default"


def test_any_field_of_prior_switches_it_on_and_none_switches_it_off(tmp_path: Path) -> None:
    assert load_config([]).config.prior is None
    on = load_config([], ["--prior.class-prompt", "a dog"])
    assert on.config.prior is not None
    assert on.config.prior.class_prompt == "a dog"
    off = load_config([], ["--prior", "none"], recipe="face")
    assert off.config.prior is None
    assert origin(off, "prior") == "--prior"
    assert load_config([written(tmp_path, "prior = false")], recipe="face").config.prior is None


def test_zero_is_a_value_and_never_unset() -> None:
    loaded = load_config(
        [], ["--rates.new-tokens-1", "0", "--optimizer.text-weight-decay", "0", "--schedule.pivot", "0"]
    )
    assert loaded.config.rates.new_tokens_1 == 0
    assert loaded.config.optimizer.text_weight_decay == 0
    assert loaded.config.schedule.pivot == 0


def test_none_is_a_value() -> None:
    assert load_config([], ["--runtime.max-grad-norm", "none"]).config.runtime.max_grad_norm is None


@pytest.mark.parametrize(
    ("flags", "flip"),
    [
        (["--data.flip"], True),
        (["--data.flip", "true"], True),
        (["--data.flip", "false"], False),
        (["--data.flip=False"], False),
        (["--no-data.flip"], False),
        (["--no_data.flip"], False),
    ],
)
def test_switches_are_real_booleans(flags: list[str], flip: bool) -> None:
    for before in ([], ["--adapter.rank", "4"]):
        assert load_config([], [*before, *flags]).config.data.flip is flip


def test_a_switch_does_not_swallow_the_file_after_it(tmp_path: Path) -> None:
    file = written(tmp_path, "[adapter]\nrank = 8")
    loaded = load_arguments(["--data.flip", str(file)])
    assert (loaded.config.data.flip, loaded.config.adapter.rank) == (True, 8)


def test_dashes_and_underscores_are_the_same_in_flags() -> None:
    for flag in ("--adapter.text-encoder-rank", "--adapter.text_encoder_rank"):
        assert load_config([], [flag, "3"]).config.adapter.text_encoder_rank == 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tokens.abstractions", "TOK"], ("TOK",)),
        (["--tokens.abstractions", "TOK,TOK2"], ("TOK", "TOK2")),
        (["--tokens.abstractions", "TOK", "--tokens.abstractions", "TOK2"], ("TOK", "TOK2")),
    ],
)
def test_lists_take_one_text_a_comma_list_or_several_flags(flags: list[str], words: tuple[str, ...]) -> None:
    assert load_config([], flags).config.tokens.abstractions == words


def test_a_prompt_may_hold_commas() -> None:
    flags = ["--validation.prompts", "TOK, on a beach", "--validation.prompts", "TOK"]
    assert load_config([], flags).config.validation.prompts == ("TOK, on a beach", "TOK")


def test_a_list_in_toml_may_be_a_single_text(tmp_path: Path) -> None:
    file = written(tmp_path, '[tokens]\nabstractions = "TOK"\ninit = ["red backpack"]')
    tokens = load_config([file]).config.tokens
    assert (tokens.abstractions, tokens.init) == (("TOK",), ("red backpack",))


def test_a_value_of_several_lines_is_found_at_its_first_line(tmp_path: Path) -> None:
    file = written(tmp_path, '\n[validation]\nprompts = [\n  "[adapter]",\n  "b",\n]\nsteps = 3\nadapter.x = 1')
    with pytest.raises(Exception, match=r"wolf\.toml:8") as caught:
        load_config([file])
    assert "validation.adapter" in str(caught.value)
    good = written(tmp_path, '\n[validation]\nprompts = [\n  "[adapter]",\n  "b",\n]\nsteps = 3')
    loaded = load_config([good])
    assert origin(loaded, "validation.prompts").endswith(":3")
    assert origin(loaded, "validation.steps").endswith(":7")


def test_loading_a_config_brings_in_nothing_heavy() -> None:
    script = "import sys, lorasmith.config.load; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"torch", "diffusers", "peft", "transformers", "accelerate", "numpy", "PIL", "typer", "rich"}
    assert not heavy & set(done.stdout.split())
