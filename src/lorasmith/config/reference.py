"""Owns reading the reference script's flags as settings of ours; the table itself is in `reference_flags`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from lorasmith.config.arguments import COMMAND_LINE, Flag
from lorasmith.config.flags import options
from lorasmith.config.layers import Layers
from lorasmith.config.origin import REFERENCE_DEFAULT, Origin, Setting
from lorasmith.config.reference_flags import (
    MANNER_DEFAULTS,
    MANNER_FLAGS,
    PRODIGY_MANNER_DEFAULTS,
    REFERENCE_FLAGS,
    TEXT_RATE_IN_MANNER,
    ReferenceFlag,
)
from lorasmith.config.values import FALSE_WORDS, TRUE_WORDS, UnreadableValueError, from_texts, is_switch_word
from lorasmith.errors import Problem


@dataclass(frozen=True)
class Reading:
    """What flags came to: settings of ours, things to tell, and things that are wrong."""

    settings: tuple[Setting, ...] = ()
    notices: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __add__(self, other: "Reading") -> "Reading":
        """Both readings, in order."""
        return Reading(self.settings + other.settings, self.notices + other.notices, self.problems + other.problems)


@dataclass(frozen=True)
class ReferenceUse:
    """One flag of the script as it was said."""

    flag: ReferenceFlag
    spelled: str
    text: str

    @property
    def origin(self) -> Origin:
        """The flag as people wrote it."""
        return Origin("flag", self.spelled)


def uses_of(flags: Sequence[Flag]) -> tuple[ReferenceUse, ...]:
    """The script's flags among all flags."""
    return tuple(
        ReferenceUse(flag.target, flag.spelled, flag.text) for flag in flags if isinstance(flag.target, ReferenceFlag)
    )


def is_in_the_scripts_manner(uses: Sequence[ReferenceUse]) -> bool:
    """Whether base or pictures are named as the script does, so that its defaults are meant."""
    return any(use.flag.name in MANNER_FLAGS for use in uses)


def secret_of(uses: Sequence[ReferenceUse]) -> SecretStr | None:
    """The login on the command line, which goes to no config; the last one when there are several."""
    given = [use.text.strip() for use in uses if use.flag.status == "secret" and _is_given(use)]
    return SecretStr(given[-1]) if given else None


def checkpoint_of(uses: Sequence[ReferenceUse]) -> str | None:
    """The checkpoint that the script's command line goes on from; None for a run from the beginning."""
    given = [use.text.strip() for use in uses if use.flag.name == "resume_from_checkpoint" and not _is_none(use.text)]
    return given[-1] if given else None


def without_secrets(words: Sequence[str]) -> tuple[str, ...]:
    """The words of a command line as they may be shown: a secret's value is `***`."""
    shown = list[str]()
    hides_next = False
    for word in words:
        spelled, equals, _ = word.partition("=")
        flag = REFERENCE_FLAGS.get(spelled.removeprefix("--").replace("-", "_"))
        is_secret = flag is not None and flag.status == "secret"
        shown.append("***" if hides_next else f"{spelled}=***" if is_secret and equals else word)
        hides_next = is_secret and not equals
    return tuple(shown)


def manner_defaults() -> tuple[Setting, ...]:
    """The script's defaults, to lie below recipes and files."""
    return _defaults(MANNER_DEFAULTS)


def read_plain(uses: Sequence[ReferenceUse]) -> Reading:
    """The flags whose meaning depends on nothing else."""
    return sum((_plain(use) for use in uses if _is_plain(use)), Reading())


def read_conditional(uses: Sequence[ReferenceUse], layers: Layers) -> Reading:
    """The flags that have an effect only beside others, judged by what the `layers` say."""
    return sum((_conditional(use, layers) for use in uses if not _is_plain(use)), Reading())


def late_manner_defaults(layers: Layers) -> tuple[Setting, ...]:
    """The script's defaults that depend on the optimizer and on which text parts train."""
    match layers.variant("optimizer"):
        case "adamw":
            return _defaults(dict.fromkeys(_text_rate_paths(layers), TEXT_RATE_IN_MANNER))
        case "prodigy":
            return _defaults(PRODIGY_MANNER_DEFAULTS)
        case _:  # optimizers the script does not have
            return ()


def scaled_rate(uses: Sequence[ReferenceUse], layers: Layers) -> tuple[Setting, ...]:
    """`--scale_lr`: the main rate times batch size and gradient accumulation."""
    asked = [use for use in uses if use.flag.name == "scale_lr" and use.text.lower() in TRUE_WORDS]
    if not asked:
        return ()
    factors = [layers.value(f"schedule.{name}") for name in ("batch_size", "gradient_accumulation")]
    rate = layers.value("optimizer.learning_rate")
    for factor in factors:
        rate = rate * factor if isinstance(rate, int | float) and isinstance(factor, int) else rate
    return (Setting("optimizer.learning_rate", rate, asked[0].origin),)


def token_notice(layers: Layers) -> tuple[str, ...]:
    """Says so when the script's manner leaves the new tokens out."""
    if layers.value("tokens.enabled") or layers.origins()["tokens.enabled"].kind != "reference":
        return ()
    return ("No new tokens are trained, as in the reference script; --train_text_encoder_ti trains them.",)


def _is_plain(use: ReferenceUse) -> bool:
    return use.flag.condition == "always"


def _plain(use: ReferenceUse) -> Reading:
    match use.flag.status:
        case "command":
            return Reading()
        case "secret":
            return Reading(notices=(f"{use.spelled}: {use.flag.note}",)) if _is_given(use) else Reading()
        case "advice":
            return Reading() if _says_no(use) else Reading(notices=(f"{use.spelled} has no effect: {use.flag.note}",))
        case _ if use.flag.name == "scale_lr":
            return _check_switch(use)
        case _:
            return _settings(use, use.flag.paths)


def _conditional(use: ReferenceUse, layers: Layers) -> Reading:
    match use.flag.condition:
        case "prior" if not layers.is_on("prior"):
            return _without_effect(use, "prior preservation is off; --with_prior_preservation switches it on")
        case "optimizer" if not _has_it(layers.variant("optimizer"), use.flag.paths[0]):
            return _without_effect(use, f"the optimizer is {layers.variant('optimizer')}")
        case "blocks" if layers.value("adapter.b_lora"):
            return _without_effect(use, "B-LoRA names its blocks itself")
        case "text parts":
            return _text_rate(use, layers)
        case _:
            return _settings(use, use.flag.paths)


def _has_it(variant: str, path: str) -> bool:
    return not options()[path].variants or variant in options()[path].variants


def _text_rate(use: ReferenceUse, layers: Layers) -> Reading:
    paths = _text_rate_paths(layers)
    if not paths:
        return _without_effect(use, "neither new tokens nor text encoders are trained")
    if use.text.strip().lower() == "none":
        rate = layers.value("optimizer.learning_rate")
        return Reading(tuple(Setting(path, rate, use.origin) for path in paths))
    return _settings(use, paths)


def _text_rate_paths(layers: Layers) -> tuple[str, ...]:
    tokens = ("rates.new_tokens_1", "rates.new_tokens_2") if layers.value("tokens.enabled") else ()
    encoders = ("rates.text_encoder_1", "rates.text_encoder_2") if layers.value("adapter.text_encoders") else ()
    return tokens + encoders


def _settings(use: ReferenceUse, paths: Sequence[str]) -> Reading:
    checked = _check_switch(use)
    if checked.problems:
        return checked
    try:
        return Reading(tuple(_read(use, paths)))
    except UnreadableValueError as error:
        return Reading(problems=(Problem(str(error), use.spelled, error.hint),))


def _read(use: ReferenceUse, paths: Sequence[str]) -> Iterator[Setting]:
    for path in paths:
        yield Setting(path, from_texts(options()[path], [_translated(use)]), use.origin)


def _translated(use: ReferenceUse) -> str:
    text = use.text
    if use.flag.is_switch:
        text = "true" if text.lower() in TRUE_WORDS else "false"
    return use.flag.words.get(text.lower(), text)


def _check_switch(use: ReferenceUse) -> Reading:
    if not use.flag.is_switch or is_switch_word(use.text):
        return Reading()
    return Reading(problems=(Problem(f"{use.spelled} is {use.text!r} and must be true or false", COMMAND_LINE),))


def _says_no(use: ReferenceUse) -> bool:
    return use.text.strip().lower() in FALSE_WORDS | {"none"} if use.flag.is_switch else _is_none(use.text)


def _is_given(use: ReferenceUse) -> bool:
    return bool(use.text.strip()) and not _is_none(use.text)


def _is_none(text: str) -> bool:
    return text.strip().lower() == "none"


def _without_effect(use: ReferenceUse, reason: str) -> Reading:
    return Reading(notices=(f"{use.spelled} has no effect: {reason}.",))


def _defaults(values: Mapping[str, object]) -> tuple[Setting, ...]:
    return tuple(Setting(path, value, REFERENCE_DEFAULT) for path, value in values.items())
