# pyright: reportUnknownMemberType=false
# diffusers' pipelines are only partly typed.
"""Owns `lorasmith evaluate`: how good exports are, on a base opened once; trains nothing, does no arithmetic."""

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from PIL import Image

from lorasmith import embedded
from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.errors import ConfigError
from lorasmith.evaluation.any_examination import UNKNOWN_CLASS, any_examination, in_class_words
from lorasmith.evaluation.any_scores import AnyScores, Readers
from lorasmith.evaluation.drawing import Brush, Easel, PictureCache, Pictures, default_picture_folder
from lorasmith.evaluation.examination import Examination, Shot, curve_shots, shots
from lorasmith.evaluation.features import latent_features
from lorasmith.evaluation.held_out_loss import STRATA, held_out_losses
from lorasmith.evaluation.intervals import Estimate
from lorasmith.evaluation.material import InstanceImages, Losses, Material
from lorasmith.evaluation.oracle import Oracle, open_oracle
from lorasmith.evaluation.scores import CurvePoint, Evaluation, PictureRow, Score
from lorasmith.evaluation.shared_scores import Space
from lorasmith.evaluation.tiny_clip import open_tiny_clip
from lorasmith.evaluation.trained_readers import open_clip, open_dino
from lorasmith.evaluation.world_examination import WorldSubject, world_examination
from lorasmith.evaluation.world_scores import PictureReader, WorldJudge, WorldScores, true_pictures
from lorasmith.events import Emit, Notice, ignore
from lorasmith.inference.draw import native_size
from lorasmith.inference.lending import with_concept
from lorasmith.inference.pipeline import pipeline_from_components, text_reader
from lorasmith.models.sdxl.components import locate_base, open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs.examinee import EvaluationSettings, Examinee, find_source, fingerprint_of
from lorasmith.runs.export_source import ExportSource
from lorasmith.sizes import Size
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.precision import resolve_device, resolve_precision
from lorasmith.world import Concept

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

__all__ = ["EvaluationSettings", "OpenedBase", "evaluate_all", "evaluate_untrained", "evaluate_run", "open_base"]

_SMALL: Final = 256 * 256
"""Up to this area pictures are drawn many at a time."""
_EMBEDDED_STEPS: Final = 16


@dataclass
class OpenedBase:
    """A base ready to draw and to measure losses, for as many exports as one likes."""

    config: ModelConfig
    pipeline: "StableDiffusionXLPipeline"
    family: Sdxl
    own_losses: dict[tuple[Concept, TextConfig], list[float]] = field(
        default_factory=dict[tuple[Concept, TextConfig], list[float]], init=False
    )
    """Its losses on the true renders of concepts' prompts, measured once for all exports of a concept."""

    @property
    def is_embedded(self) -> bool:
        """Whether it is the one whose world is known."""
        return locate_base(self.config, with_weights=False) == embedded.path()

    @property
    def name(self) -> str:
        """What people call it; of a local one the name alone."""
        return Path(self.config.base).name if Path(self.config.base).is_absolute() else self.config.base

    @property
    def size(self) -> Size:
        """What it draws at."""
        return native_size(self.pipeline)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of its weights and its noise."""
        parts = [self.family.fingerprint(part) for part in ("vae", "text_encoders", "denoiser")]
        facts = [*parts, {name: str(value) for name, value in self.family.components.scheduler_config.items()}]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def open_base(config: ModelConfig, *, device: str = "auto") -> OpenedBase:
    """Open a base once for many evaluations. DataError or HubError when it cannot be opened."""
    place = resolve_device(device, where="device")
    components = open_components(config, dtype=resolve_precision("auto", place).dtype)
    prediction = None if config.prediction == "auto" else config.prediction
    if prediction is not None:
        components.scheduler_config = {**components.scheduler_config, "prediction_type": prediction}
    family = Sdxl(components, device=place, prediction=prediction)
    return OpenedBase(config, pipeline_from_components(components, device=place), family)


def evaluate_run(
    source: Path,
    settings: EvaluationSettings = EvaluationSettings(),
    *,
    base: OpenedBase | None = None,
    reader: PictureReader | None = None,
    emit: Emit = ignore,
) -> Evaluation:
    """Measure one run, export folder or LoRA file; `base` lends a base that is open already and gets it back as it was.

    `reader` stands in for the shipped oracle. ConfigError for options that cannot be meant, DataError for exports,
    bases and readers that cannot be used.
    """
    found = find_source(source, base=base.config.base if base else None)
    opened = base or open_base(found.model)
    return _Examiner(opened, settings, _examinee(found, opened, settings, emit), reader, emit).evaluate()


def evaluate_untrained(
    settings: EvaluationSettings,
    *,
    base: OpenedBase,
    instance: InstanceImages | None = None,
    reader: PictureReader | None = None,
    emit: Emit = ignore,
) -> Evaluation:
    """Measure a base without training, the class word in place of the token: what every export starts from."""
    given = Examinee.base_alone(base.name, settings, size=base.size, instance=instance)
    return _Examiner(base, settings, given, reader, emit).evaluate()


def evaluate_all(
    sources: Sequence[Path],
    settings: EvaluationSettings,
    *,
    base: str | None = None,
    device: str = "auto",
    emit: Emit = ignore,
) -> list[Evaluation]:
    """Measure several, each base opened once. Everything is looked up before anything is drawn."""
    found = [find_source(source, base=base) for source in sources]
    opened: dict[str, OpenedBase] = {}
    evaluations = list[Evaluation]()
    for source, path in zip(found, sources, strict=True):
        key = source.model.model_dump_json()
        if key not in opened:
            opened.clear()  # one base at a time: memory is what runs out
            opened[key] = open_base(source.model, device=device)
        emit(Notice(f"evaluating {path}"))
        given = _examinee(source, opened[key], settings, emit)
        evaluations.append(_Examiner(opened[key], settings, given, None, emit).evaluate())
    return evaluations


def _examinee(source: ExportSource, base: OpenedBase, settings: EvaluationSettings, emit: Emit) -> Examinee:
    given = Examinee.of(source, settings, size=base.size, is_embedded=base.is_embedded)
    for note in given.notes:
        emit(Notice(note))
    return given


class _Scores(Protocol):
    """Scores of either kind of base."""

    def all(self) -> list[Score]: ...
    def factors(self) -> list[tuple[str, Estimate]]: ...
    def rows(self) -> list[PictureRow]: ...
    def curve_point(self, pictures: Sequence[tuple[Shot, Image.Image]], scale: float) -> CurvePoint: ...


@dataclass
class _Examiner:
    """One evaluation from its first picture to its last score."""

    base: OpenedBase
    settings: EvaluationSettings
    given: Examinee
    reader: PictureReader | None
    emit: Emit
    started: float = field(default_factory=time.monotonic)

    def evaluate(self) -> Evaluation:
        """Draw, read, measure."""
        examination = self._examination()
        scales = self.settings.curve_scales if self.given.source else ()
        cache = self._cache()
        base_losses = self._base_losses(examination)
        with self._loaded() as vocabulary:
            drawn = self._draw(examination, vocabulary, cache, scales)
            losses = self._losses(examination, vocabulary) if vocabulary is not None else base_losses
        easel = self._easel(cache)
        alone = [shot for shot in self._shots(examination) if shot.scale is None]
        apart = self._loss_pictures(examination)
        material = Material(
            examination,
            easel.draw(alone).joined(drawn),
            self._scale if self.given.source else None,
            self.given.instance,
            Losses(losses, base_losses, apart) if losses else None,
        )
        return self._evaluation(material, self._scores(material), scales, cache)

    def _evaluation(
        self, material: Material, scores: _Scores, scales: Sequence[float], cache: PictureCache
    ) -> Evaluation:
        curve = [
            scores.curve_point(self._curve_pictures(material, scale), scale)
            for scale in (scales if self.given.source else ())
        ]
        return Evaluation(
            name=self.given.name,
            base=self.base.name,
            concept=None if self.given.concept is None else self.given.concept.name,
            scale=self._scale,
            scores=scores.all(),
            factors=scores.factors(),
            curve=curve,
            rows=scores.rows(),
            read_by=self._read_by,
            notes=self.given.notes,
            drawn=cache.drawn,
            kept=cache.kept,
            seconds=time.monotonic() - self.started,
        )

    @property
    def _scale(self) -> float:
        if self.settings.scale is not None:
            return self.settings.scale
        return self.given.source.manifest.recommended_scale if self.given.source else 1.0

    @property
    def _token(self) -> str:
        words = list(self.given.source.manifest.abstractions) if self.given.source else []
        return self.settings.token or (words[0] if words else "TOK")

    @property
    def _class_word(self) -> str:
        return self.settings.class_word or self.given.class_word or UNKNOWN_CLASS

    @property
    def _subject(self) -> WorldSubject:
        concept = self.given.concept
        own = concept.class_word if concept else "emoji"
        return WorldSubject(concept, self._token, self.settings.class_word or self.given.class_word or own)

    @property
    def _read_by(self) -> str:
        return "the oracle of the emoji world" if self.base.is_embedded else self._readers.names

    @cached_property
    def _readers(self) -> Readers:
        settings = self.settings
        return Readers(
            Space(lambda pictures: latent_features(self.base.family, pictures), "in the VAE's latents"),
            open_clip(settings.clip, download=settings.download),
            open_dino(settings.dino, download=settings.download),
        )

    def _examination(self) -> Examination:
        captions = self.given.instance.captions
        if self.base.is_embedded:
            if self.settings.prompts:
                raise ConfigError(
                    "the embedded base is asked its own 25 prompts, since their truth is known",
                    where="--prompt",
                    remedy="Leave the prompts out; `lorasmith generate` draws any prompt.",
                )
            return world_examination(self._subject, captions=captions)
        prompts = self.settings.prompts or self.given.prompts
        return any_examination(token=self._token, class_word=self._class_word, prompts=prompts, captions=captions)

    def _scores(self, material: Material) -> _Scores:
        if not self.base.is_embedded:
            return AnyScores(self._readers, material)
        judge = WorldJudge(self._subject, self.reader) if self.reader else _shipped_judge(self._subject)
        return WorldScores(judge, material)

    def _shots(self, examination: Examination) -> list[Shot]:
        return shots(examination, self.settings.how_many, scale=self._scale, seed=self.settings.seed)

    def _curve_pictures(self, material: Material, scale: float) -> list[tuple[Shot, Image.Image]]:
        wanted = curve_shots(material.examination, self.settings.how_many, scale=scale, seed=self.settings.seed)
        return [(shot, material.pictures.by_shot[shot]) for shot in wanted]

    def _draw(
        self, examination: Examination, vocabulary: TokenVocabulary | None, cache: PictureCache, scales: Sequence[float]
    ) -> Pictures:
        """What is drawn with the concept; nothing for the base alone."""
        if vocabulary is None or self.given.source is None:
            return Pictures({})
        wanted = [shot for shot in self._shots(examination) if shot.scale is not None]
        for scale in scales:
            wanted += curve_shots(examination, self.settings.how_many, scale=scale, seed=self.settings.seed)
        return self._easel(cache).draw(wanted, vocabulary=vocabulary, export=fingerprint_of(self.given.source))

    def _easel(self, cache: PictureCache) -> Easel:
        area = self.base.size.height * self.base.size.width
        quickly = self.base.is_embedded
        brush = Brush(
            steps=self.settings.steps or (_EMBEDDED_STEPS if quickly else 25),
            guidance=self.settings.guidance if self.settings.guidance is not None else (4.0 if quickly else 5.0),
            batch_size=32 if area <= _SMALL else 1,
            text=self._reading,
        )
        return Easel(self.base.pipeline, self.base.fingerprint, cache, brush, self.emit)

    @property
    def _reading(self) -> TextConfig:
        manifest = self.given.source.manifest if self.given.source else None
        return (
            TextConfig(clip_skip=manifest.clip_skip, long_prompts=manifest.long_prompts) if manifest else TextConfig()
        )

    def _cache(self) -> PictureCache:
        return PictureCache((self.settings.cache_folder or default_picture_folder()) if self.settings.cache else None)

    @contextmanager
    def _loaded(self) -> Generator[TokenVocabulary | None]:
        """The base with the export in it; as it is when there is none."""
        source = self.given.source
        if source is None:
            yield None
            return
        with with_concept(self.base.pipeline, source.export, source.manifest) as vocabulary:
            yield vocabulary

    def _base_losses(self, examination: Examination) -> list[float]:
        concept = self.given.concept
        if concept is None:  # other pictures are held out of each run
            return self._losses(examination, None)
        key = (concept, self._reading)
        if key not in self.base.own_losses:
            self.base.own_losses[key] = self._losses(examination, None)
        return self.base.own_losses[key]

    def _losses(self, examination: Examination, vocabulary: TokenVocabulary | None) -> list[float]:
        """Of each hidden picture; with the concept loaded its prompt names the token, else the class word."""
        pictures, prompts = self._hidden(examination, with_token=vocabulary is not None)
        if not pictures:
            return []
        written_out = [vocabulary.expand(prompt) if vocabulary else prompt for prompt in prompts]
        reader = text_reader(self.base.pipeline, self._reading)
        return held_out_losses(self.base.family, pictures, [reader.read([prompt]) for prompt in written_out])

    def _hidden(self, examination: Examination, *, with_token: bool) -> tuple[list[Image.Image], list[str]]:
        if self.base.is_embedded and self.given.concept is not None:
            return true_pictures(self.given.concept), [
                asked.text if with_token else asked.base_text for asked in examination.prompts
            ]
        captions = self.given.instance.held_out_captions
        word = self._subject.class_word if self.base.is_embedded else self._class_word
        said = captions if with_token else [in_class_words(one, token=self._token, class_word=word) for one in captions]
        return list(self.given.instance.held_out), list(said)

    def _loss_pictures(self, examination: Examination) -> str:
        pictures, _ = self._hidden(examination, with_token=True)
        of = "true renders of the prompts" if self.given.concept else "pictures that were held out"
        return f"{len(pictures)} {of}, {STRATA} noise levels each"


@lru_cache(maxsize=16)
def _shipped_judge(subject: WorldSubject) -> WorldJudge:
    """The oracle's judge of a subject, with the gallery it has read, for the next export of the same."""
    return WorldJudge(subject, _oracle().among(subject.styles), open_tiny_clip())


@lru_cache(maxsize=1)
def _oracle() -> Oracle:
    return open_oracle()
