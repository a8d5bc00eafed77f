"""Owns what must be the same when a run goes on: base, pictures, captions; compares them and names what changed."""

import hashlib
from collections.abc import Mapping, Sequence

from lorasmith.config.train import TrainConfig
from lorasmith.data.examples import Example
from lorasmith.errors import DataError
from lorasmith.models.family import DiffusionFamily

_PICTURE = "picture "


def resume_facts(config: TrainConfig, family: DiffusionFamily, examples: Sequence[Example]) -> dict[str, str]:
    """A hash of each thing that the run's result depends on. Take it before anything is attached to the base."""
    base = {part: family.fingerprint(part)[:16] for part in ("vae", "text_encoders", "denoiser")}
    pictures = {f"{_PICTURE}{example.role} {example.id}": _short_hash(_decides(example)) for example in examples}
    text = f"clip_skip {config.text.clip_skip}, long_prompts {config.text.long_prompts}"
    return {"base": config.model.base, **base, "text": text, **pictures}


def refuse_changes(then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise DataError naming everything that differs between the checkpoint and what is there now."""
    changed = [name for name in then if name in now and then[name] != now[name]]
    gone, added = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    told = [
        f"{word}: {', '.join(name.removeprefix(_PICTURE) for name in names)}"
        for word, names in (("changed", changed), ("gone", gone), ("new", added))
        if names
    ]
    if told:
        raise DataError(
            f"the run cannot go on, since what it trains on is not what it was ({'; '.join(told)})",
            remedy="Put it back as it was, or start a new run.",
        )


def _decides(example: Example) -> str:
    """All that decides what is learnt of a picture; plain ones are hashed as they were before there was more."""
    wordings = repr(example.wordings) if example.wordings else ""
    mask = f"{example.mask.kind} {example.mask.content}" if example.mask else ""
    return example.content + example.caption + wordings + mask


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
