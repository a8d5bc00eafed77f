"""The reference script's flags, and the article's own command lines."""

from pathlib import Path

import pytest

from lorasmith.config.data import PriorConfig
from lorasmith.config.flags import options
from lorasmith.config.load import load_config
from lorasmith.config.optimizer import AdamWConfig, ProdigyConfig
from lorasmith.config.reference import without_secrets
from lorasmith.config.reference_flags import REFERENCE_FLAGS, ReferenceFlag
from lorasmith.errors import ConfigError

RECORDED_NAMES = Path(__file__).with_name("script_flags.txt")
IN_MANNER = ["--instance_data_dir", "pictures", "--instance_prompt", "a photo of TOK"]
ARTICLE_ADAMW = """
--pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0
--pretrained_vae_model_name_or_path=madebyollin/sdxl-vae-fp16-fix
--dataset_name=./huggy_clean
--instance_prompt=a TOK emoji
--validation_prompt=a TOK emoji dressed as Yoda
--caption_column=prompt
--mixed_precision=bf16
--resolution=1024
--train_batch_size=4
--repeats=1
--report_to=wandb
--gradient_accumulation_steps=1
--gradient_checkpointing
--learning_rate=1e-4
--text_encoder_lr=3e-4
--optimizer=adamw
--train_text_encoder_ti
--lr_scheduler=constant
--lr_warmup_steps=0
--rank=32
--max_train_steps=1000
--checkpointing_steps=2000
--seed=0
""".strip().splitlines()


def test_all_81_flags_of_the_script_are_in_the_table() -> None:
    recorded = RECORDED_NAMES.read_text(encoding="utf-8").split()
    assert len(recorded) == 81
    assert sorted(REFERENCE_FLAGS) == recorded


@pytest.mark.parametrize("flag", REFERENCE_FLAGS.values(), ids=list(REFERENCE_FLAGS))
def test_every_flag_leads_to_an_option_or_says_what_to_do(flag: ReferenceFlag) -> None:
    assert all(path in options() for path in flag.paths)
    assert bool(flag.paths) == (flag.status not in ("secret", "advice", "command"))
    assert flag.paths or len(flag.note) > 30


def test_the_articles_adamw_command_line_means_what_it_says() -> None:
    loaded = load_config([], ARTICLE_ADAMW)
    config = loaded.config
    assert config.model.base == "stabilityai/stable-diffusion-xl-base-1.0"
    assert config.model.vae == "madebyollin/sdxl-vae-fp16-fix"
    assert config.data.dataset == "./huggy_clean"
    assert (config.data.caption_column, config.data.resolution, config.data.crop) == ("prompt", 1024, "random")
    assert config.validation.prompts == ("a TOK emoji dressed as Yoda",)
    assert config.optimizer == AdamWConfig(learning_rate=1e-4)
    assert (config.rates.new_tokens_1, config.rates.new_tokens_2) == (3e-4, 3e-4)
    assert config.rates.text_encoder_1 is None
    assert (config.tokens.enabled, config.tokens.abstractions, config.adapter.text_encoders) == (True, ("TOK",), False)
    assert (config.adapter.rank, config.adapter.alpha) == (32, None)
    assert (config.schedule.steps, config.schedule.batch_size, config.schedule.pivot) == (1000, 4, 0.5)
    assert (config.schedule.warmup_steps, config.schedule.lr_schedule) == (0, "constant")
    assert (config.runtime.precision, config.runtime.gradient_checkpointing, config.runtime.seed) == ("bf16", True, 0)
    assert config.checkpoint.every == 2000
    assert config.tracking.report_to == ("wandb",)


def test_the_articles_second_command_line_means_what_it_says() -> None:
    dropped = ("--learning_rate", "--text_encoder_lr", "--optimizer")
    kept = [flag for flag in ARTICLE_ADAMW if not flag.startswith(dropped)]
    config = load_config([], [*kept, "--output_dir=huggy_v11", "--snr_gamma=5.0"]).config
    assert (config.output.folder, config.objective.snr_gamma) == (Path("huggy_v11"), 5.0)
    assert config.optimizer == AdamWConfig()
    assert (config.rates.new_tokens_1, config.rates.new_tokens_2) == (5e-6, 5e-6)


def test_the_articles_prodigy_advice_means_what_it_says() -> None:
    advice = ["--optimizer=prodigy", "--learning_rate=1.0", "--text_encoder_lr=1.0", "--adam_beta1=0.9",
              "--prodigy_safeguard_warmup=True", "--prodigy_use_bias_correction=True", "--adam_beta2=0.99",
              "--adam_weight_decay=0.01", "--train_text_encoder_ti", "--train_text_encoder_ti_frac=0.5",
              "--token_abstraction=TOK", "--num_new_tokens_per_abstraction=2"]  # fmt: skip
    config = load_config([], [*IN_MANNER, *advice]).config
    assert config.optimizer == ProdigyConfig()
    assert config.rates.new_tokens_1 == 1.0
    assert config.schedule.pivot == 0.5


def test_the_articles_text_encoder_line_trains_adapters_and_no_tokens() -> None:
    loaded = load_config([], [*IN_MANNER, "--train_text_encoder", "--learning_rate=1e-4", "--text_encoder_lr=5e-5"])
    config = loaded.config
    assert (config.tokens.enabled, config.adapter.text_encoders) == (False, True)
    assert (config.rates.text_encoder_1, config.rates.text_encoder_2, config.rates.new_tokens_1) == (5e-5, 5e-5, None)
    assert any("--train_text_encoder_ti" in notice for notice in loaded.notices)


def test_the_articles_prior_preservation_lines_mean_what_they_say() -> None:
    flags = ["--with_prior_preservation", "--class_data_dir=people", "--num_class_images=150",
             "--class_prompt=a photo of a person"]  # fmt: skip
    prior = load_config([], [*IN_MANNER, *flags]).config.prior
    assert prior == PriorConfig(class_images=Path("people"), num_class_images=150, class_prompt="a photo of a person")


def test_the_scripts_defaults_hold_in_its_manner_and_ours_elsewhere() -> None:
    theirs = load_config([], IN_MANNER)
    assert theirs.config.optimizer == AdamWConfig()
    assert (theirs.config.adapter.rank, theirs.config.schedule.batch_size, theirs.config.data.crop) == (4, 4, "random")
    assert theirs.config.tokens.enabled is False
    assert (theirs.config.schedule.warmup_steps, theirs.config.checkpoint.every) == (500, 500)
    assert theirs.config.validation.count == 4
    assert str(theirs.origins["adapter.rank"]) == "default of the reference script"
    ours = load_config([], ["--rank", "8", "--center_crop"])
    assert isinstance(ours.config.optimizer, ProdigyConfig)
    assert (ours.config.tokens.enabled, ours.config.adapter.rank) == (True, 8)
    assert str(ours.origins["adapter.rank"]) == "--rank"


def test_a_recipe_and_a_file_win_over_the_scripts_defaults(tmp_path: Path) -> None:
    file = tmp_path / "wolf.toml"
    file.write_text("[schedule]\nbatch_size = 1", encoding="utf-8")
    config = load_config([file], [*IN_MANNER, "--recipe=style"]).config
    assert (config.adapter.rank, config.schedule.batch_size) == (32, 1)


def test_prodigy_in_the_scripts_manner_keeps_a_rate_that_learns() -> None:
    optimizer = load_config([], [*IN_MANNER, "--optimizer", "Prodigy"]).config.optimizer
    assert optimizer == ProdigyConfig(beta2=0.999, weight_decay=1e-4)
    assert optimizer.learning_rate == 1.0


def test_text_rates_follow_the_parts_that_train() -> None:
    both = load_config([], [*IN_MANNER, "--train_text_encoder_ti", "--train_text_encoder"]).config.rates
    assert {both.new_tokens_1, both.new_tokens_2, both.text_encoder_1, both.text_encoder_2} == {5e-6}
    zero = load_config([], [*IN_MANNER, "--train_text_encoder_ti", "--text_encoder_lr=0"]).config.rates
    assert zero.new_tokens_1 == 0
    same = load_config([], [*IN_MANNER, "--train_text_encoder_ti", "--text_encoder_lr=None", "--learning_rate=2e-4"])
    assert same.config.rates.new_tokens_1 == 2e-4
    neither = load_config([], [*IN_MANNER, "--text_encoder_lr=1e-5"])
    assert any("--text_encoder_lr has no effect" in notice for notice in neither.notices)


def test_false_is_false_for_the_scripts_booleans() -> None:
    flags = ["--optimizer=prodigy", "--prodigy_decouple=False", "--prodigy_safeguard_warmup", "false"]
    optimizer = load_config([], [*IN_MANNER, *flags]).config.optimizer
    assert isinstance(optimizer, ProdigyConfig)
    assert (optimizer.decouple, optimizer.safeguard_warmup, optimizer.use_bias_correction) == (False, False, True)
    config = load_config([], [*IN_MANNER, "--train_text_encoder_ti=False", "--use_dora=False"]).config
    assert (config.tokens.enabled, config.adapter.kind) == (False, "lora")


def test_a_boolean_of_the_script_that_is_neither_is_refused() -> None:
    with pytest.raises(ConfigError, match="'maybe' and must be true or false"):
        load_config([], [*IN_MANNER, "--use_dora=maybe"])


def test_a_weight_decay_of_zero_switches_the_text_parts_decay_off() -> None:
    assert load_config([], ["--adam_weight_decay_text_encoder=0"]).config.optimizer.text_weight_decay == 0


def test_flags_without_effect_are_told_not_dropped_silently() -> None:
    loaded = load_config([], [*IN_MANNER, "--class_prompt=a dog", "--prodigy_beta3=0.9", "--local_rank=-1"])
    assert loaded.config.prior is None
    told = " ".join(loaded.notices)
    for flag in ("--class_prompt", "--prodigy_beta3", "--local_rank"):
        assert flag in told


def test_class_flags_update_prior_preservation_that_a_recipe_switched_on() -> None:
    prior = load_config([], ["--recipe=face", "--class_prompt=a man"]).config.prior
    assert prior == PriorConfig(class_prompt="a man", num_class_images=150)


def test_scaled_rates_multiply_once() -> None:
    flags = [
        *IN_MANNER,
        "--scale_lr",
        "--learning_rate=1e-4",
        "--train_batch_size=2",
        "--gradient_accumulation_steps=3",
    ]
    loaded = load_config([], flags)
    assert loaded.config.optimizer.learning_rate == pytest.approx(6e-4)
    assert str(loaded.origins["optimizer.learning_rate"]) == "--scale_lr"


@pytest.mark.parametrize(
    ("text", "value"), [("no", "fp32"), ("fp16", "fp16"), ("bf16", "bf16")]
)  # fmt: skip
def test_mixed_precision_no_is_full_precision(text: str, value: str) -> None:
    assert load_config([], ["--mixed_precision", text]).config.runtime.precision == value


@pytest.mark.parametrize(
    ("said", "found"), [("latest", "latest"), ("checkpoint-400", "checkpoint-400"), ("None", None)]
)
def test_the_checkpoint_to_go_on_from_travels_beside_the_config(said: str, found: str | None) -> None:
    assert load_config([], [*IN_MANNER, f"--resume_from_checkpoint={said}"]).resume_from == found


@pytest.mark.parametrize("name", ["LinoyTsaban/3d_icon", "./huggy_clean"])
def test_a_data_set_is_named_with_its_config_its_columns_and_its_cache(name: str) -> None:
    words = ["--dataset_name", name, "--dataset_config_name=dog", "--image_column=picture", "--caption_column=prompt"]
    data = load_config([], [*words, "--cache_dir=big"]).config.data
    assert (data.dataset, data.dataset_config, data.dataset_split) == (name, "dog", "train")
    assert (data.image_column, data.caption_column) == ("picture", "prompt")
    assert (data.download_folder, data.cache_folder) == (Path("big"), Path("big"))


def test_a_folder_and_a_data_set_exclude_each_other_and_both_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([], [*IN_MANNER, "--dataset_name", "LinoyTsaban/3d_icon"])
    (problem,) = caught.value.problems
    assert problem.what == (
        "data.instance_images (pictures) and data.dataset (LinoyTsaban/3d_icon) exclude each other; keep one"
    )
    assert problem.where == "--instance_data_dir, --dataset_name"


@pytest.mark.parametrize("words", [["--hub_token", "hf_secret"], ["--hub-token=hf_secret"]])
def test_a_token_travels_beside_the_config_and_is_repeated_nowhere(words: list[str]) -> None:
    loaded = load_config([], [*IN_MANNER, "--push_to_hub", *words, "--hub_model_id=me/dog"])
    assert (loaded.config.hub.push, loaded.config.hub.repo) == (True, "me/dog")
    assert loaded.hub_token is not None
    assert loaded.hub_token.get_secret_value() == "hf_secret"
    assert any("hf auth login" in notice for notice in loaded.notices)
    assert "hf_secret" not in repr(loaded) + str(loaded.origins) + loaded.config.model_dump_json()
    assert "hf_secret" not in " ".join(without_secrets(["--rank", "4", *words]))


@pytest.mark.parametrize("text", ["none", "None", ""])
def test_no_token_is_no_token(text: str) -> None:
    loaded = load_config([], [*IN_MANNER, f"--hub_token={text}"])
    assert loaded.hub_token is None
    assert not [notice for notice in loaded.notices if "hub_token" in notice]


def test_several_abstractions_of_the_script_are_several_words() -> None:
    assert load_config([], ["--token_abstraction", "TOK, TOK2"]).config.tokens.abstractions == ("TOK", "TOK2")
