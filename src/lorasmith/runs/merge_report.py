"""Owns measuring and drawing merges beside their parents: who is kept, in numbers and in pictures; merges nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from lorasmith.config.objective import ObjectiveConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.evaluation.oracle import Reading, open_oracle
from lorasmith.evaluation.shipped_weights import ORACLE, weights_folder
from lorasmith.evaluation.world_scores import PictureReader
from lorasmith.events import Emit, WorkDone, ignore
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.pipeline import pipeline_from_components
from lorasmith.merging.into_base import networks_of
from lorasmith.merging.layerwise import merge_layers
from lorasmith.merging.on_base import with_layers
from lorasmith.merging.parents import Layers
from lorasmith.merging.report import Candidate, MergeReport, PictureRow, write_report
from lorasmith.merging.zip_fit import ZipTraining
from lorasmith.merging.zip_layers import ZippedDenoiser
from lorasmith.models.sdxl.components import SdxlComponents
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.objectives.choice import objective_for
from lorasmith.reports.wording import bytes_words
from lorasmith.run_folder import RunFolder
from lorasmith.runs.merge_bench import Bench, MadeMerge, on_text_alone
from lorasmith.runs.merge_material import material_of
from lorasmith.runs.merge_request import MergeRequest
from lorasmith.runs.stored_config import read_config
from lorasmith.sizes import Size
from lorasmith.world import BACKGROUNDS, Concept, Scene, prompt_of
from lorasmith.world.recorded_concepts import recorded_concept

_SHARES = ("subject right", "style right", "both right", "background right")
_GUIDANCE = 5.0
_MANY_PIXELS = 512 * 512


@dataclass(frozen=True)
class _Voice:
    """Who draws: a label, what is known of them, and what they add to the base."""

    label: str
    facts: str
    layers: Layers


@dataclass(frozen=True)
class _Asked:
    """A prompt in the merge's words, and in the emoji world what a right picture shows."""

    prompt: str
    scene: Scene | None = None


def write_merge_report(
    bench: Bench, made: Sequence[MadeMerge], path: Path, emit: Emit = ignore, *, reader: PictureReader | None = None
) -> Path:
    """Measure and draw merges beside their base and parents, and write the page.

    `reader` stands in for the shipped oracle, which reads the embedded base's pictures of recorded concepts.
    """
    components = bench.opened_components()
    family = bench.family(components)
    voices = [*_before(bench), *(_Voice(one.method, _facts(one), one.layers) for one in made)]
    distances, notes = _distances(bench, family, components, voices)
    asked = _asked(bench)
    drawn = _drawn(bench, components, voices, asked, emit)
    shares, right = _read(asked, drawn, reader or _shipped_reader(asked))
    report = MergeReport(
        title=bench.name,
        parents=[parent.name for parent in bench.plain],
        candidates=[
            Candidate(voice.label, voice.facts, distances[place] if distances else (), shares[place] if shares else ())
            for place, voice in enumerate(voices)
        ],
        rows=[
            PictureRow(one.prompt, [by_voice[place] for by_voice in drawn],
                       [by_voice[place] for by_voice in right] if right else ())
            for place, one in enumerate(asked)
        ],
        share_names=_SHARES if shares else (),
        read_by="the oracle" if shares else "",
        notes=notes,
        words=_words(bench),
    )  # fmt: skip
    return write_report(report, path)


def _before(bench: Bench) -> list[_Voice]:
    """The base, which has the new tokens and nothing else, and each parent alone."""
    has_tokens = any(one.rows.concepts for one in bench.renamed)
    base = _Voice("base", "with the new tokens, without any adapter" if has_tokens else "as it is", {})
    return [
        base,
        *(_Voice(f"{one.name} alone", f"weight {one.weight:g}", one.weighted) for one in bench.whole),
    ]


def _facts(made: MadeMerge) -> str:
    size = sum(file.path.stat().st_size for file in made.files if file.path.name == "pytorch_lora_weights.safetensors")
    lost = f", off by {made.lost:.1%} for its rank" if made.losses else ""
    ranks = " and ".join(map(str, made.ranks))
    return f"rank {ranks}{lost}, {bytes_words(size)}, merged in {made.seconds:.1f} s"


def _words(bench: Bench) -> list[str]:
    return [
        f"{concept.abstraction} is {''.join(concept.tokens)}, of {parent.name}"
        for parent, renamed in zip(bench.plain, bench.renamed, strict=True)
        for concept in renamed.rows.concepts
    ]


def _distances(
    bench: Bench, family: Sdxl, components: SdxlComponents, voices: Sequence[_Voice]
) -> tuple[list[tuple[float, ...]], list[str]]:
    """Each voice's distance from each parent; none, and why, where the parents' pictures are not known."""
    try:
        pictured = bench.pictured()
    except (DataError, ConfigError) as missing:
        return [], [f"Distances are not measured: {missing.problems[0].what}"]
    if not all(one.examples for one in pictured):
        return [], ["Distances are not measured, as not all adapters' instance images are known."]
    on_text = merge_layers([on_text_alone(one) for one in bench.plain], "concat", bench.request.layerwise).layers
    material = material_of(family, pictured, bench.vocabulary, on_text, size=family.native_size)
    parents = [one.weighted.get("denoiser", {}) for one in bench.whole]
    zipped = ZippedDenoiser(components.unet, [*parents, *(voice.layers.get("denoiser", {}) for voice in voices)])
    try:
        training = ZipTraining(
            family, objective_for(family.noise_schedule, ObjectiveConfig()), zipped, material, bench.request.zip
        )
        return [training.distances(len(parents) + place) for place in range(len(voices))], []
    finally:
        zipped.detach()


def _asked(bench: Bench) -> list[_Asked]:
    """Prompts that were given; else the subject in the style in every background; else every word."""
    if bench.request.prompts:
        return [_Asked(prompt) for prompt in bench.request.prompts]
    pair = _subject_and_style(bench)
    if pair is not None:
        return pair
    words = [concept.abstraction for one in bench.renamed for concept in one.rows.concepts]
    return [_Asked(f"a photo of {' '.join(words)}"), *(_Asked(f"a photo of {word}") for word in words)]


def _subject_and_style(bench: Bench) -> list[_Asked] | None:
    """Of an object and a style of the emoji world, recorded beside their runs: the one in the other."""
    found = dict[str, tuple[Concept, str]]()
    for opened, renamed in zip(bench.opened, bench.renamed, strict=True):
        concept = _concept_of(opened.run)
        if concept is not None and renamed.rows.concepts:
            kind = "style" if concept.kind == "style" else "subject"
            found[kind] = concept, renamed.rows.concepts[0].abstraction
    if found.keys() != {"style", "subject"} or bench.shared.config is None or bench.shared.config.base != "embedded":
        return None
    (subject, noun), (style, manner) = found["subject"], found["style"]
    scenes = [style.shown_in(subject.shown_in(Scene("dog", background=background))) for background in BACKGROUNDS]
    return [_Asked(prompt_of(replace(scene, style=manner), noun=f"{noun} emoji"), scene) for scene in scenes]


def _concept_of(run: RunFolder | None) -> Concept | None:
    """What is recorded beside a run, or beside the pictures it was trained on."""
    if run is None or not run.config_file.is_file():
        return None
    images = read_config(run).data.instance_images
    return recorded_concept(run.path, run.export, *([images] if images else []))


def _drawn(
    bench: Bench, components: SdxlComponents, voices: Sequence[_Voice], asked: Sequence[_Asked], emit: Emit
) -> list[list[list[Image.Image]]]:
    """Each voice's pictures by prompt, all from the same seeds."""
    family = bench.family(components)
    pipeline = pipeline_from_components(components, device=family.device)
    settings = DrawSettings(bench.request.drawing_steps, _GUIDANCE, text=family.reading)
    requests = [
        DrawRequest(bench.vocabulary.expand(one.prompt), seed, settings=settings)
        for place, one in enumerate(asked)
        for seed in _seeds(bench.request, place)
    ]
    total, drawn = len(voices) * len(requests), list[list[list[Image.Image]]]()
    for place, voice in enumerate(voices):
        done = place * len(requests)
        with with_layers(networks_of(components), voice.layers):
            pictures = draw(
                pipeline, requests, batch_size=_at_once(family.native_size),
                on_picture=lambda count, done=done: emit(WorkDone("drawing pictures", done + count, total)),
            )  # fmt: skip
        drawn.append([pictures[start : start + bench.request.pictures]
                      for start in range(0, len(pictures), bench.request.pictures)])  # fmt: skip
    return drawn


def _seeds(request: MergeRequest, place: int) -> range:
    """The seeds of a prompt, other ones than any other prompt's and the same for every voice."""
    first = request.seed + place * request.pictures
    return range(first, first + request.pictures)


def _at_once(size: Size) -> int:
    """Small pictures are drawn several at a time."""
    return 1 if math.prod(size) >= _MANY_PIXELS else 8


def _shipped_reader(asked: Sequence[_Asked]) -> PictureReader | None:
    """The oracle, where the prompts are of its world and it is there."""
    knows = all(one.scene is not None for one in asked) and (weights_folder() / ORACLE).is_file()
    return open_oracle() if knows else None


def _read(
    asked: Sequence[_Asked], drawn: Sequence[Sequence[Sequence[Image.Image]]], reader: PictureReader | None
) -> tuple[list[tuple[float, ...]], list[list[list[bool | None]]]]:
    """Each voice's shares of right pictures, and for each picture whether subject and style are; nothing unread."""
    if reader is None or any(one.scene is None for one in asked):
        return [], []
    shares, right = list[tuple[float, ...]](), list[list[list[bool | None]]]()
    for by_prompt in drawn:
        seen = [
            [_seen(reading, one.scene) for reading in reader.read(pictures)]
            for one, pictures in zip(asked, by_prompt, strict=True)
            if one.scene is not None
        ]
        every = [one for of_prompt in seen for one in of_prompt]
        shares.append(tuple(sum(one[name] for one in every) / len(every) for name in range(len(_SHARES))))
        right.append([[one[_BOTH] for one in of_prompt] for of_prompt in seen])
    return shares, right


_BOTH = _SHARES.index("both right")


def _seen(reading: Reading, scene: Scene) -> tuple[bool, ...]:
    """What is right in one picture, in the order of the shares."""
    subject, style = reading.agrees(scene, "thing"), reading.agrees(scene, "style")
    return subject, style, subject and style, reading.agrees(scene, "background")
