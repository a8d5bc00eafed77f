"""Owns which of our optimizers stands for a peer's, with the peer's own defaults written out where ours differ."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from lorasmith.importing.draft import Draft
from lorasmith.importing.keys import as_text

Ours = Literal["adamw", "prodigy", "adafactor", "schedule_free_prodigy"]


@dataclass(frozen=True)
class Choice:
    """One of ours, the values that the peer's library defaults to, and what is not the same."""

    name: Ours
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    instead: str = ""


_ADAMW: Final = {"weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
_PRODIGY: Final = {
    "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "decouple": True, "use_bias_correction": False,
    "safeguard_warmup": False, "d0": 1e-6, "d_coef": 1.0,
}  # fmt: skip
_ADAFACTOR: Final = {"weight_decay": 0.0, "scale_parameter": True}
_SCHEDULE_FREE: Final = {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "d0": 1e-6, "d_coef": 1.0}
_EIGHT_BIT: Final = {**_ADAMW, "eight_bit": True}

CHOICES: Final[Mapping[str, Choice]] = {
    "adam": Choice("adamw", _ADAMW, "AdamW"),
    "adamw": Choice("adamw", _ADAMW),
    "torchadamw": Choice("adamw", _ADAMW),
    "adamwbf16": Choice("adamw", {**_ADAMW, "eps": 1e-6}, "AdamW with fp32 weights and state"),
    "bnbadamw": Choice("adamw", {**_ADAMW, "eps": 1e-6}),
    "pagedadamw": Choice("adamw", _ADAMW, "AdamW whose state stays on the device"),
    "pagedadamw32bit": Choice("adamw", _ADAMW, "AdamW whose state stays on the device"),
    "bnbadamwpaged": Choice("adamw", {**_ADAMW, "eps": 1e-6}, "AdamW whose state stays on the device"),
    "adam8bit": Choice("adamw", _EIGHT_BIT, "AdamW in 8 bits"),
    "adamw8bit": Choice("adamw", _EIGHT_BIT),
    "bnbadamw8bit": Choice("adamw", {**_EIGHT_BIT, "eps": 1e-6}),
    "aoadamw8bit": Choice("adamw", {**_EIGHT_BIT, "eps": 1e-6}, "bitsandbytes' 8-bit AdamW"),
    "pagedadamw8bit": Choice("adamw", _EIGHT_BIT, "8-bit AdamW whose state stays on the device"),
    "prodigy": Choice("prodigy", _PRODIGY),
    "prodigy8bit": Choice("prodigy", _PRODIGY, "Prodigy in fp32"),
    "adafactor": Choice("adafactor", _ADAFACTOR),
    "prodigyplusschedulefree": Choice("schedule_free_prodigy", _SCHEDULE_FREE),
}
"""By the peers' names in small letters, without signs."""


def choose_optimizer(draft: Draft, name: str, theirs: str, *, default: str = "adamw") -> Ours:
    """Set the optimizer that stands for the one called `name`."""
    bare = "".join(sign for sign in name.rpartition(".")[2].lower() if sign.isalnum()) or default
    choice = CHOICES.get(bare)
    if choice is None and bare.startswith(("dadapt", "prodigy")):
        choice = Choice("prodigy", _PRODIGY, "Prodigy, which finds its step size in a similar way")
    if choice is None:
        choice = Choice("adamw", _ADAMW, "AdamW at the same learning rate: check it, it may want another one")
    draft.carry("optimizer.name", choice.name, theirs)
    for option, value in choice.values.items():
        draft.carry(f"optimizer.{option}", value, f"{theirs}: its default")
    if choice.instead:
        draft.lose(theirs, choice.instead)
    return choice.name


_PLAIN_ARGUMENTS: Final[Mapping[Ours, frozenset[str]]] = {
    "adamw": frozenset({"beta1", "beta2", "eps", "weight_decay"}),
    "prodigy": frozenset(
        {"beta1", "beta2", "beta3", "eps", "weight_decay", "decouple", "use_bias_correction", "safeguard_warmup", "d0",
         "d_coef", "growth_rate"}
    ),
    "adafactor": frozenset({"beta1", "clip_threshold", "decay_rate", "scale_parameter", "weight_decay"}),
    "schedule_free_prodigy": frozenset(
        {"beta1", "beta2", "beta3", "eps", "weight_decay", "d0", "d_coef", "d_limiter", "use_stableadamw"}
    ),
}  # fmt: skip


def set_arguments(draft: Draft, ours: Ours, arguments: Mapping[str, object], theirs: str) -> None:
    """Carry an optimizer's own arguments: betas as a pair, and everything of the same name."""
    for name, value in arguments.items():
        told = f"{theirs}: {name} = {as_text(value)}"
        if value is None or (name == "growth_rate" and str(value) == "inf"):
            continue
        pair = _pair(value)
        if name in _PLAIN_ARGUMENTS[ours]:
            draft.carry(f"optimizer.{name}", value, told)
        elif name == "betas" and len(pair) >= 2:
            for at, beta in enumerate(pair[:2], start=1):
                if f"beta{at}" in _PLAIN_ARGUMENTS[ours]:
                    draft.carry(f"optimizer.beta{at}", beta, told)
        elif name == "eps" and ours == "adafactor" and len(pair) == 2:
            draft.carry("optimizer.square_floor", pair[0], told)
            draft.carry("optimizer.scale_floor", pair[1], told)
        elif name in ("relative_step", "warmup_init"):
            if value:
                draft.lose(told, "a fixed learning rate; set optimizer.learning_rate (1e-4, say)")
        elif name == "optimizer" or value is False:
            continue
        else:
            draft.lose(told, "no such argument of ours; what it does is left as it is here")


def _pair(value: object) -> tuple[object, ...]:
    return tuple(cast("list[object]", value)) if isinstance(value, tuple | list) else ()


def read_arguments(texts: tuple[str, ...]) -> dict[str, object]:
    """`weight_decay=0.1`, `betas=0.9,0.99`: names and values; what is not a number stays a text."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals:
            found[name.strip()] = _literal(value.strip())
    return found


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False}.get(text.lower(), text)
