"""Owns what an adapter is and where it sits, from module names alone; refuses blocks that are not there; no peft."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorasmith.errors import ConfigError, DataError

AdapterKind = Literal["lora", "dora"]
DenoiserTargets = Literal["attention", "attention+feed-forward"]

# The reference's set: every attention's four linears (560 in SDXL's UNet).
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
_TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
_INSIDE_A_BLOCK = ".transformer_blocks."


@dataclass(frozen=True)
class AdapterShape:
    """What an adapter is: its kind, size, scale and where it sits.

    `blocks` are dotted beginnings of module names (none: everywhere). `block_ranks` gives blocks a rank of their own,
    the longest name that fits winning; alpha follows, so that alpha ÷ rank is the same in every layer.
    """

    kind: AdapterKind
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    blocks: tuple[str, ...] = ()
    block_ranks: Mapping[str, int] = field(default_factory=dict[str, int])


def denoiser_targets(targets: DenoiserTargets) -> tuple[str, ...]:
    """The endings of the denoiser's module names that get an adapter."""
    return _ATTENTION if targets == "attention" else (*_ATTENTION, *_FEED_FORWARD)


def text_encoder_targets() -> tuple[str, ...]:
    """The endings of a text encoder's module names that get an adapter."""
    return _TEXT_ATTENTION


def is_inside(path: str, block: str) -> bool:
    """Whether a module is a block or in it; `up_blocks.1` does not hold `up_blocks.10`."""
    return path == block or path.startswith(f"{block}.")


def adapted_ranks(linears: Iterable[str], shape: AdapterShape, *, name: str = "the denoiser") -> dict[str, int]:
    """The rank of each linear layer that gets an adapter, in the order given.

    ConfigError for a block that holds none of them, DataError when no name ends in one of the targets.
    """
    endings = tuple(f".{target}" for target in shape.targets)
    candidates = [path for path in linears if f".{path}".endswith(endings)]
    if not candidates:
        raise DataError(f"no module of {name} is called {', '.join(shape.targets)}", remedy="Choose other targets.")
    _refuse_unknown(shape.blocks, candidates, where="adapter.blocks")
    chosen = [path for path in candidates if not shape.blocks or _fitting(path, shape.blocks)]
    _refuse_unknown(tuple(shape.block_ranks), chosen, where="adapter.block_ranks")
    return {path: _rank_of(path, shape) for path in chosen}


def rank_patterns(ranks: Mapping[str, int], *, usual: int) -> dict[str, int]:
    """peft's patterns for layers whose rank is not the usual one: one for each block of one rank, never one a layer.

    peft tries every pattern on every layer, so hundreds of them would take it minutes.
    """
    return dict(_patterns(ranks, usual, depth=1))


def _patterns(ranks: Mapping[str, int], usual: int, *, depth: int) -> Iterable[tuple[str, int]]:
    groups: dict[str, dict[str, int]] = {}
    for path, rank in ranks.items():
        groups.setdefault(".".join(path.split(".")[:depth]), {})[path] = rank
    for block, inside in groups.items():
        found = set(inside.values())
        if len(found) > 1:
            yield from _patterns(inside, usual, depth=depth + 1)
        elif found != {usual}:
            yield f"^{re.escape(block)}" + ("" if block in inside else r"\..+"), found.pop()


def _fitting(path: str, blocks: Iterable[str]) -> list[str]:
    """The blocks that hold a module."""
    return [block for block in blocks if is_inside(path, block)]


def _rank_of(path: str, shape: AdapterShape) -> int:
    fitting = _fitting(path, shape.block_ranks)
    return shape.block_ranks[max(fitting, key=len)] if fitting else shape.rank


def _refuse_unknown(blocks: Sequence[str], paths: Sequence[str], *, where: str) -> None:
    """ConfigError naming the first block that holds none of the layers, and those there are."""
    for block in blocks:
        if not any(is_inside(path, block) for path in paths):
            raise ConfigError(
                f"{block!r} is no block with layers that get an adapter",
                where=where,
                remedy=_blocks_there(block, paths),
            )


def _blocks_there(block: str, paths: Sequence[str]) -> str:
    every = dict.fromkeys(path[: match.start()] for path in paths for match in re.finditer(r"\.", path))
    near = difflib.get_close_matches(block, list(every), n=1, cutoff=0.75)
    there = dict.fromkeys(path.partition(_INSIDE_A_BLOCK)[0] for path in paths)
    nearest = f"Did you mean {near[0]}? " if near else ""
    return f"{nearest}There are {', '.join(there)}, and whatever these begin with, and what is in them."
