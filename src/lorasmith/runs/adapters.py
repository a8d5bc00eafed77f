"""Owns planning a run's adapters from its config and the base's layer names; refuses blocks that are not there."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lorasmith.adapters.shape import AdapterShape, adapted_ranks, is_inside
from lorasmith.config.adapter import CONTENT_BLOCK, STYLE_BLOCK
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import Emit, Notice
from lorasmith.models.sdxl.linears import LinearSize, PartWithLinears, is_laid_out_as_sdxl, linears
from lorasmith.training.assemble import adapter_shape
from lorasmith.training.plan import PlannedAdapter, trained_parts

_PARTS: tuple[PartWithLinears, ...] = ("denoiser", "text_encoder_1", "text_encoder_2")


def planned_adapters(config: TrainConfig, base_folder: Path) -> tuple[PlannedAdapter, ...]:
    """The adapter of each part that gets one. ConfigError for blocks that the base does not have."""
    trained = trained_parts(config)
    return tuple(
        _planned(part, adapter_shape(config, part), linears(base_folder, part)) for part in _PARTS if part in trained
    )


def check_b_lora(config: TrainConfig, base_folder: Path, emit: Emit) -> None:
    """Refuse B-LoRA on a base without its two blocks, and say so where they are not those the paper looked at."""
    if not config.adapter.b_lora:
        return
    missing = _missing((CONTENT_BLOCK, STYLE_BLOCK), linears(base_folder, "denoiser"))
    if missing:
        raise ConfigError(
            f"the base has no {' and no '.join(missing)}, where B-LoRA keeps content and style apart",
            where="adapter.b_lora",
            remedy="Train on a base of SDXL's layout, or choose blocks with adapter.blocks.",
        )
    if not is_laid_out_as_sdxl(base_folder):
        emit(
            Notice(
                f"adapter.b_lora: that {CONTENT_BLOCK} holds content and {STYLE_BLOCK} style was found on SDXL; this "
                "base's blocks are laid out otherwise, so look whether it is so here."
            )
        )


def _planned(part: PartWithLinears, shape: AdapterShape, sizes: Mapping[str, LinearSize]) -> PlannedAdapter:
    ranks = adapted_ranks(sizes, shape, name=part)
    magnitudes = sum(sizes[path].outputs for path in ranks) if shape.kind == "dora" else 0
    return PlannedAdapter(
        part=part,
        kind=shape.kind,
        ranks=tuple(sorted(set(ranks.values()))),
        layers=len(ranks),
        parameters=sum(rank * sum(sizes[path]) for path, rank in ranks.items()) + magnitudes,
    )


def _missing(blocks: Iterable[str], paths: Iterable[str]) -> list[str]:
    there = tuple(paths)
    return [block for block in blocks if not any(is_inside(path, block) for path in there)]
