"""The reference script's optimizer flags, with its optimizers and with those it does not have."""

import pytest

from lorasmith.config.load import load_config
from lorasmith.config.optimizer import AdafactorConfig, AdamWConfig, ProdigyConfig, ScheduleFreeProdigyConfig
from lorasmith.errors import ConfigError

IN_MANNER = ["--pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0", "--instance_data_dir=pictures"]


def test_8bit_adam_is_adamw_with_8_bit_state_and_everything_else_as_it_was() -> None:
    flags = ["--optimizer=AdamW", "--use_8bit_adam", "--learning_rate=3e-4", "--adam_beta2=0.95"]
    for words in (flags, [*IN_MANNER, *flags], list(reversed(flags))):
        config = load_config([], words).config
        assert config.optimizer == AdamWConfig(eight_bit=True, learning_rate=3e-4, beta2=0.95)
    assert load_config([], [*IN_MANNER, "--use_8bit_adam=False"]).config.optimizer == AdamWConfig()


@pytest.mark.parametrize("optimizer", ["prodigy", "adafactor"])
def test_8bit_adam_with_another_optimizer_is_told_and_left_out_as_in_the_script(optimizer: str) -> None:
    loaded = load_config([], [f"--optimizer={optimizer}", "--use_8bit_adam"])
    assert loaded.config.optimizer.name == optimizer
    assert loaded.notices == (f"--use_8bit_adam has no effect: the optimizer is {optimizer}.",)


def test_our_own_option_for_8_bits_with_another_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.eight_bit belongs to adamw, and optimizer\.name is prodigy"):
        load_config([], ["--optimizer.name=prodigy", "--optimizer.eight-bit"])


def test_optimizers_the_script_does_not_have_take_none_of_its_defaults() -> None:
    """Its rate for text parts, 5e-6, is AdamW's; a Prodigy with it would learn nothing."""
    manner = [*IN_MANNER, "--train_text_encoder_ti"]
    for name, wanted in (("adafactor", AdafactorConfig()), ("schedule-free-prodigy", ScheduleFreeProdigyConfig())):
        config = load_config([], [*manner, f"--optimizer={name}"]).config
        assert config.optimizer == wanted
        assert config.rates.new_tokens_1 is None
    assert load_config([], manner).config.rates.new_tokens_1 == 5e-6


def test_prodigys_flags_hold_where_the_optimizer_has_them() -> None:
    flags = ["--prodigy_beta3=0.97", "--prodigy_decouple=False"]
    both = load_config([], ["--optimizer=prodigy", *flags])
    assert both.config.optimizer == ProdigyConfig(beta3=0.97, decouple=False)
    assert both.notices == ()
    some = load_config([], ["--optimizer=schedule_free_prodigy", *flags])
    assert some.config.optimizer == ScheduleFreeProdigyConfig(beta3=0.97)
    assert some.notices == ("--prodigy_decouple has no effect: the optimizer is schedule_free_prodigy.",)


def test_adams_flags_that_adafactor_does_not_have_are_refused() -> None:
    """Its second moment has no fixed decay, and what it adds to squares is not what Adam adds to roots."""
    kept = load_config([], ["--optimizer=adafactor", "--adam_beta1=0.9", "--adam_weight_decay=0.02"]).config.optimizer
    assert kept == AdafactorConfig(beta1=0.9, weight_decay=0.02)
    for flag in ("--adam_beta2=0.99", "--adam_epsilon=1e-8"):
        with pytest.raises(ConfigError, match="belongs to adamw and prodigy and schedule_free_prodigy"):
            load_config([], ["--optimizer=adafactor", flag])
