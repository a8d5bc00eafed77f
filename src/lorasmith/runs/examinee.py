"""Owns whom an evaluation looks at: the export, its base, its instance images, its concept; refuses to draw."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from lorasmith.config.base import ModelConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.decode import decode
from lorasmith.data.examples import Example, Role
from lorasmith.data.order import held_out
from lorasmith.data.read import read_examples
from lorasmith.errors import ConfigError, DataError
from lorasmith.evaluation.examination import FULL, QUICK, Amounts
from lorasmith.evaluation.features import fitted
from lorasmith.evaluation.material import InstanceImages
from lorasmith.events import ignore
from lorasmith.export_manifest import ExportManifest, is_export_folder, sha256_of
from lorasmith.runs.export_source import ExportSource, find_export
from lorasmith.runs.pictures import held_out_count, instance_images
from lorasmith.runs.stored_config import read_config
from lorasmith.sizes import Size
from lorasmith.world import Concept, find_concept
from lorasmith.world.recorded_concepts import recorded_concept

CURVE: Final = (0.4, 0.6, 0.8, 1.0, 1.2)
"""Adapter scales of the curve."""
_MOST_INSTANCE_IMAGES: Final = 40
"""Instance images that pictures are compared with; of more, the first by name."""
_PIXEL_LIMIT: Final = 64_000_000


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure and on how much. None means: what the export, the run or the kind of base says."""

    concept: Concept | str | None = None
    """Which concept of the emoji world it is; else as recorded beside the run or its pictures."""
    quick: bool = False
    """About a third of the pictures and no curve."""
    scale: float | None = None
    scales: tuple[float, ...] | None = None
    """Adapter scales of the curve; empty for none."""
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    token: str | None = None
    class_word: str | None = None
    prompts: tuple[str, ...] = ()
    """On bases other than the embedded one: the prompts, with the token; else common ones."""
    instance_images: Path | None = None
    clip: str | None = None
    """Folder or hub id; `none` for none; None takes the usual one where it is on this machine."""
    dino: str | None = None
    download: bool = False
    cache: bool = True
    """Keep drawn pictures, so that measuring again draws nothing."""
    cache_folder: Path | None = None
    amounts: Amounts | None = None

    @property
    def how_many(self) -> Amounts:
        """How much is drawn."""
        return self.amounts or (QUICK if self.quick else FULL)

    @property
    def curve_scales(self) -> tuple[float, ...]:
        """The curve's scales."""
        return self.scales if self.scales is not None else () if self.quick else CURVE


def find_source(path: Path, *, base: str | None = None) -> ExportSource:
    """The export at a run, an export folder or one of its files; a LoRA file of another program needs a `base`."""
    if not path.is_file():
        return find_export(path, base=base)
    if is_export_folder(path.parent):
        return find_export(path.parent, base=base)
    if path.suffix != ".safetensors":
        raise DataError(f"{path} is no safetensors file", remedy="Name a run, an export folder or a LoRA file.")
    if base is None:
        raise ConfigError(
            f"{path.name} does not say which base it belongs to", where="--base", remedy="Name it with --base."
        )
    manifest = ExportManifest(base=Path(base).name, lora=path.name)
    return ExportSource(path.parent, manifest, ModelConfig(base=base), None)


@dataclass(frozen=True)
class Examinee:
    """Who is examined: a name, an export (None: the base alone), its instance images, and the concept if known."""

    name: str
    source: ExportSource | None
    instance: InstanceImages
    concept: Concept | None
    class_word: str | None = None
    prompts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def base_alone(
        cls, name: str, settings: EvaluationSettings, *, size: Size, instance: InstanceImages | None = None
    ) -> "Examinee":
        """No export at all."""
        found, notes = (instance, ()) if instance else _instance(settings, None, size)
        return cls(f"{name} alone", None, found, _concept(settings, None, settings.instance_images), notes=notes)

    @classmethod
    def of(cls, source: ExportSource, settings: EvaluationSettings, *, size: Size, is_embedded: bool) -> "Examinee":
        """Everything that is known of an export on a base that draws at a size."""
        config = read_config(source.run) if source.run and source.run.config_file.is_file() else None
        instance, notes = _instance(settings, config, size)
        folder = settings.instance_images or (config.data.instance_images if config else None)
        return cls(
            name=_name(source),
            source=source,
            instance=instance,
            concept=_concept(settings, source, folder) if is_embedded else None,
            class_word=config.prior.class_word if config and config.prior else None,
            prompts=config.validation.prompts if config else (),
            notes=notes,
        )


def report_place(sources: Sequence[Path], *, base: str | None = None, out: Path | None = None) -> Path:
    """Where the report goes: as asked, into the run if it is one, else into the working folder."""
    if out is not None:
        return out
    run = find_source(sources[0], base=base).run if len(sources) == 1 else None
    return run.evaluation_file if run is not None else Path("evaluation.html")


def fingerprint_of(source: ExportSource) -> str:
    """A hash over an export's files and what its manifest says of drawing."""
    names = [one.file for one in source.manifest.abstractions.values()]
    names += [source.manifest.lora] if source.manifest.lora else []
    hashes = [sha256_of(source.export / name) for name in names]
    said = source.manifest.model_dump(mode="json", include={"abstractions", "clip_skip", "long_prompts"})
    return hashlib.sha256(json.dumps([hashes, said], sort_keys=True).encode()).hexdigest()


def _name(source: ExportSource) -> str:
    if source.run is not None:
        return source.run.path.resolve().name
    return source.export.resolve().name


def _concept(settings: EvaluationSettings, source: ExportSource | None, folder: Path | None) -> Concept | None:
    """What was said, else what is recorded beside the run, the export or the instance images."""
    if settings.concept is not None:
        return find_concept(settings.concept) if isinstance(settings.concept, str) else settings.concept
    places = [source.run.path] if source and source.run else []
    places += [source.export] if source else []
    return recorded_concept(*places, *([folder] if folder else []))


def _instance(
    settings: EvaluationSettings, config: TrainConfig | None, size: Size
) -> tuple[InstanceImages, tuple[str, ...]]:
    """The instance images, and what cannot be measured without them where they cannot be had."""
    try:
        return _read_instance(settings, config, size), ()
    except (DataError, ConfigError) as missing:
        return InstanceImages(), (f"{_WITHOUT_IMAGES}: {missing.problems[0].what}",)


_WITHOUT_IMAGES: Final = "leakage and copies are not measured, as there are no instance images"


def _read_instance(settings: EvaluationSettings, config: TrainConfig | None, size: Size) -> InstanceImages:
    if settings.instance_images is not None:
        return _opened(_in_folder(settings.instance_images.expanduser()), (), size)
    if config is None:
        raise DataError("the export is not in a run's folder", remedy="Name their folder with --instance-images.")
    examples = instance_images(config, ignore)
    return _opened(*held_out(examples, held_out_count(config, len(examples)), config.runtime.seed), size)


def _in_folder(folder: Path) -> tuple[Example, ...]:
    return read_examples(
        folder, prompt="", caption_column=None, role=Role.INSTANCE, pixel_limit=_PIXEL_LIMIT, background="white"
    ).examples


def _opened(trained: tuple[Example, ...], apart: tuple[Example, ...], size: Size) -> InstanceImages:
    def pictures(examples: tuple[Example, ...]) -> list[Image.Image]:
        return [fitted(decode(one.path, background="white", pixel_limit=_PIXEL_LIMIT), size) for one in examples]

    shown = trained[:_MOST_INSTANCE_IMAGES]
    return InstanceImages(
        pictures(shown),
        list(dict.fromkeys(one.caption for one in shown if one.caption)),
        pictures(apart),
        [one.caption for one in apart],
    )
