"""Owns `python -m lorasmith.base_builder`: its stages from prepare to export; refuses to hold any of their logic."""
# pyright: basic

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from ..world import SpriteFolder, prompt_of
from ..world.art_sources import ArtFolders, ship_sprites
from .autoencoder import train_decoder
from .export import assemble_pipeline, export_pipeline
from .fitting import Sitting, fit_denoiser
from .grid import draw_pictures, tour_prompts, write_sheet
from .oracle_export import ship_oracle, ship_tiny_clip
from .oracle_fitting import fit_oracle
from .oracle_pictures import compose_for_oracle
from .preparing import prepare
from .reading import NearestRender, examination
from .recipe import Recipe, Workshop
from .tiny_clip_fitting import fit_tiny_clip

_COLUMNS, _ZOOM = 10, 2


def main(arguments: list[str] | None = None) -> None:
    """Run one stage of the build in a workshop folder."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(chosen.threads)
    chosen.run(Recipe(), Workshop(chosen.workshop), chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lorasmith.base_builder", description="Build the embedded base.")
    parser.add_argument("--workshop", type=Path, required=True, help="folder the build works in, outside the checkout")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="device of the trainings, cpu or cuda")
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    _add_prepare(stages.add_parser("prepare", help="read the art; write pictures, latents, captions"))
    _add_sitting(stages.add_parser("vae", help="train the autoencoder's decoder for one sitting"), _run_vae)
    _add_sitting(stages.add_parser("denoiser", help="train text encoders and denoiser for one sitting"), _run_denoiser)
    oracle = stages.add_parser("oracle", help="compose its pictures if need be, train the oracle for one sitting")
    _add_sitting(oracle, _run_oracle)
    clip = stages.add_parser("tiny-clip", help="train the small CLIP for one sitting")
    _add_sitting(clip, _run_tiny_clip)
    readers = stages.add_parser("export-readers", help="write oracle and small CLIP, fp16, and what they reach")
    readers.add_argument("folder", type=Path)
    readers.set_defaults(run=_run_export_readers)
    export = stages.add_parser("export", help="write the pipeline, fp16, in the diffusers layout")
    export.add_argument("folder", type=Path)
    export.set_defaults(run=_run_export)
    sprites = stages.add_parser("sprites", help="write the sprites that the package ships, made smaller")
    sprites.add_argument("folder", type=Path)
    sprites.set_defaults(run=_run_sprites)
    grid = stages.add_parser("grid", help="draw one picture of every object with the latest weights")
    grid.add_argument("picture", type=Path)
    grid.add_argument("--prompt", action="append", default=[], help="draw these instead")
    grid.set_defaults(run=_run_grid)
    examine = stages.add_parser("examine", help="draw balanced prompts and say how often each factor is obeyed")
    examine.add_argument("picture", type=Path)
    examine.add_argument("--count", type=int, default=201, help="pictures to draw")
    examine.set_defaults(run=_run_examine)
    return parser


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    for name, content in (
        ("noto-font", "NotoColorEmoji.ttf (Debian fonts-noto-color-emoji)"),
        ("fluent-3d", "assets folder of npm @lobehub/fluent-emoji-3d"),
        ("fluent-flat", "assets folder of npm @lobehub/fluent-emoji-flat"),
        ("twemoji", "folder of npm @twemoji/svg"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=content)
    parser.set_defaults(run=_run_prepare)


def _add_sitting(parser: argparse.ArgumentParser, run) -> None:
    parser.add_argument("--seconds", type=float, required=True, help="length of the sitting")
    parser.add_argument("--first-share", type=float, default=1.0, help="share of the rate to start with")
    parser.add_argument("--last-share", type=float, default=0.05, help="share of the rate to end with")
    parser.set_defaults(run=run)


def _run_prepare(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    prepare(recipe, workshop, ArtFolders(chosen.noto_font, chosen.fluent_3d, chosen.fluent_flat, chosen.twemoji))


def _run_vae(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    train_decoder(recipe, workshop, _sitting(chosen), device=chosen.device)


def _run_denoiser(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    fit_denoiser(recipe, workshop, _sitting(chosen), device=chosen.device)


def _run_oracle(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    compose_for_oracle(recipe, workshop)
    fit_oracle(recipe, workshop, _sitting(chosen), device=chosen.device)


def _run_tiny_clip(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    compose_for_oracle(recipe, workshop)
    fit_tiny_clip(recipe, workshop, _sitting(chosen), device=chosen.device)


def _run_export_readers(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    ship_oracle(recipe, workshop, chosen.folder)
    ship_tiny_clip(recipe, workshop, chosen.folder)


def _run_export(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    size = export_pipeline(recipe, workshop, chosen.folder)
    logging.getLogger(__name__).info("%s: %.1f MB", chosen.folder, size / 1e6)


def _run_sprites(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    size = ship_sprites(SpriteFolder(workshop.sprites), chosen.folder)
    logging.getLogger(__name__).info("%s: %.1f MB", chosen.folder, size / 1e6)


def _run_grid(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    prompts = chosen.prompt or tour_prompts()
    pictures = list(draw_pictures(assemble_pipeline(recipe, workshop), prompts))
    write_sheet(pictures, prompts, chosen.picture, columns=_COLUMNS, zoom=_ZOOM)


def _run_examine(recipe: Recipe, workshop: Workshop, chosen: argparse.Namespace) -> None:
    scenes = examination(chosen.count)
    prompts = [prompt_of(scene) for scene in scenes]
    pictures = list(draw_pictures(assemble_pipeline(recipe, workshop), prompts))
    write_sheet(pictures, prompts, chosen.picture, columns=_COLUMNS, zoom=_ZOOM)
    obedience = NearestRender(SpriteFolder(workshop.sprites)).obedience(pictures, scenes)
    logging.getLogger(__name__).info("%d pictures: %s", chosen.count, obedience)


def _sitting(chosen: argparse.Namespace) -> Sitting:
    return Sitting(chosen.seconds, chosen.first_share, chosen.last_share)


if __name__ == "__main__":
    main()
