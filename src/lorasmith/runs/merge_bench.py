"""Owns one merge's work: parents in their new words, the base where anything needs it, and what is written."""

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, assert_never

from lorasmith.atomic import naming_write_failures
from lorasmith.config.objective import ObjectiveConfig
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError
from lorasmith.events import Emit, ExportWritten, Notice
from lorasmith.export.info import ExportInfo, MergedParent
from lorasmith.export.write import ExportedFile
from lorasmith.export.write_all import write_exports
from lorasmith.formats.weights import AdapterWeights, BakingLoss, NewTokenRows, Part, PartAdapter
from lorasmith.merging.into_base import (
    DTYPES,
    add_new_tokens,
    is_single_file,
    networks_of,
    put_into_base,
    refuse_unwritable,
    write_base,
)
from lorasmith.merging.layerwise import Merged, merge_layers
from lorasmith.merging.on_base import baked, refuse_layers_unknown_to, undivided_on
from lorasmith.merging.parents import Layers, Parent, every_layer, refuse_misfits
from lorasmith.merging.words import Renamed, namespaced, together
from lorasmith.merging.zip_fit import ZipTerms, ZipTraining
from lorasmith.merging.zip_layers import ZippedDenoiser
from lorasmith.models.family import PredictionType
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.models.sdxl.description import BaseDescription, latent_scale
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.models.sdxl.noise import noise_schedule
from lorasmith.objectives.choice import objective_for
from lorasmith.runs.exports import in_precision
from lorasmith.runs.merge_material import Pictured, material_of, pictures_of, refuse_without_pictures
from lorasmith.runs.merge_request import MergeMethod, MergeRequest
from lorasmith.runs.merge_sources import OpenedParent, SharedBase
from lorasmith.sizes import Size
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary
from lorasmith.training.precision import resolve_device

_KEPT_WHOLE: Final = ("svd", "ties", "dare")
"""Methods whose result is cut anyway: a DoRA goes into them as it is, and is not cut twice."""
_USUAL_SIZE: Final = Size(1024, 1024)


@dataclass(frozen=True)
class MadeMerge:
    """One method's merge: its folder with the files in it, its layers, what was lost and how long it took."""

    method: MergeMethod
    folder: Path
    files: tuple[ExportedFile, ...]
    layers: Layers
    losses: Mapping[str, BakingLoss]
    seconds: float
    terms: tuple[ZipTerms, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """Every rank there is."""
        return tuple(sorted({layer.module.rank for layer in every_layer(self.layers)}))

    @property
    def lost(self) -> float:
        """What was lost of all changes that were cut together, as a share of them."""
        return total_share(self.losses)


@dataclass(frozen=True)
class MergedInMemory:
    """A merge in memory."""

    method: MergeMethod
    merged: Merged
    seconds: float
    terms: tuple[ZipTerms, ...] = ()


@dataclass(frozen=True)
class Bench:
    """All that is merged, opened once: parents in their new words, and the base where anything needs it.

    `whole` are the parents without any loss, a DoRA in full rank; in `plain` it is baked to a small one.
    """

    request: MergeRequest
    opened: tuple[OpenedParent, ...]
    shared: SharedBase
    renamed: tuple[Renamed, ...]
    plain: tuple[Parent, ...]
    whole: tuple[Parent, ...]
    components: SdxlComponents | None
    baking: Mapping[str, BakingLoss]

    @classmethod
    def open(cls, request: MergeRequest, opened: tuple[OpenedParent, ...], shared: SharedBase, emit: Emit) -> "Bench":
        """Read the base if need be, bake what is a DoRA, and give concepts words of their own."""
        parents = [one.parent for one in opened]
        refuse_misfits(parents)
        renamed = namespaced([one.rows for one in parents], request.words)
        for parent, names in zip(parents, renamed, strict=True):
            for old, new in names.changed:
                emit(Notice(f"{old} of {shown(parent.name)} is now {new}: another has that word."))
        if any(one.text != opened[0].text for one in opened):
            emit(
                Notice(
                    f"Prompts are read as for {shown(parents[0].name)}; the others were trained to read them otherwise."
                )
            )
        components = _components(request, parents, shared)
        if components is not None:
            for parent in parents:
                refuse_layers_unknown_to(networks_of(components), parent.layers)
        plain, whole, losses = _without_magnitudes(parents, components, rank=request.bake_rank, emit=emit)
        if components is not None:
            add_new_tokens(components, together(renamed))
        return cls(request, opened, shared, renamed, plain, whole, components, losses)

    @property
    def name(self) -> str:
        """What the merge is called."""
        return self.request.name or self.request.output.resolve().name

    @property
    def vocabulary(self) -> TokenVocabulary:
        """The merge's words and new tokens."""
        return TokenVocabulary(
            tuple(
                TokenAbstraction(one.abstraction, one.tokens, one.look_alike) for one in together(self.renamed).concepts
            )
        )

    def merged(self, method: MergeMethod, emit: Emit, should_stop: Callable[[], bool]) -> MergedInMemory:
        """Merge by one method."""
        started = time.monotonic()
        if method == "zip":
            merged, terms = self._zipped(emit, should_stop)
            return MergedInMemory(method, merged, time.monotonic() - started, tuple(terms))
        keeps_all = method in _KEPT_WHOLE
        parents = self.whole if keeps_all else self.plain
        found = merge_layers(parents, method, self.request.layerwise)
        losses = found.losses if keeps_all else {**self.baking, **found.losses}
        return MergedInMemory(method, Merged(found.layers, losses), time.monotonic() - started)

    def _zipped(self, emit: Emit, should_stop: Callable[[], bool]) -> tuple[Merged, list[ZipTerms]]:
        """Mergers for the denoiser, trained on the parents' pictures; text encoders' adapters are added up."""
        components = self.opened_components()
        pictured = self.pictured()
        refuse_without_pictures(pictured)
        on_text = merge_layers([on_text_alone(one) for one in self.plain], "concat", self.request.layerwise).layers
        family = self.family(components)
        material = material_of(family, pictured, self.vocabulary, on_text, size=family.native_size)
        zipped = ZippedDenoiser(components.unet, [one.weighted.get("denoiser", {}) for one in self.plain])
        try:
            objective = objective_for(family.noise_schedule, ObjectiveConfig())
            settings = replace(self.request.zip, seed=self.request.seed)
            training = ZipTraining(family, objective, zipped, material, settings)
            terms = training.fit(emit=emit, should_stop=should_stop)
            return Merged({"denoiser": zipped.merged(), **on_text}, self.baking), terms
        finally:
            zipped.detach()

    def pictured(self) -> tuple[Pictured, ...]:
        """The parents with their pictures."""
        folders = self.request.instance_images or (None,) * len(self.opened)
        return tuple(
            Pictured(parent, renamed, pictures_of(opened, folder))
            for parent, renamed, opened, folder in zip(self.plain, self.renamed, self.opened, folders, strict=True)
        )

    def opened_components(self) -> SdxlComponents:
        """The open base, with the merge's new tokens."""
        if self.components is None:
            raise ConfigError("no base is known", where="base", remedy=_NAME_THE_BASE)
        return self.components

    def family(self, components: SdxlComponents) -> Sdxl:
        """The open base on the device, reading prompts as the parents do."""
        prediction = None if self.shared.config is None else self.shared.config.prediction
        device = resolve_device(self.request.device, where="device")
        return Sdxl(
            components,
            device=device,
            prediction=None if prediction == "auto" else prediction,
            reading=self.opened[0].text,
        )

    def written(self, made: MergedInMemory, emit: Emit) -> MadeMerge:
        """Write one merge as an export into its own folder, whole or not at all."""
        folder = self.request.output / made.method if self.request.has_several else self.request.output
        weights = in_precision(_as_weights(made.merged.layers, self.shared), DTYPES[self.request.precision])
        info = self._info(made)
        beside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            with naming_write_failures(folder):
                files = write_exports(beside, weights, rows=together(self.renamed), info=info)
                if folder.exists():
                    folder.rmdir()  # empty, or nothing would have begun
                beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        files = tuple(replace(file, path=folder / file.path.name) for file in files)
        for file in files:
            emit(ExportWritten(file.path, file.readers))
        layers, losses = made.merged.layers, made.merged.losses
        return MadeMerge(made.method, folder, files, layers, losses, made.seconds, made.terms)

    def written_base(self, made: MergedInMemory, emit: Emit) -> Path:
        """Put a merge into a base of its own and write it; there a DoRA goes whole, as its rank costs nothing."""
        place = self.request.into_base
        if place is None or self.shared.config is None:
            raise ConfigError("no base is known", where="base", remedy=_NAME_THE_BASE)
        components = open_components(self.shared.config, dtype=DTYPES[self.request.precision])
        rows = NewTokenRows() if is_single_file(place) else together(self.renamed)
        put_into_base(components, self._undivided(made), rows)
        written = write_base(components, place, precision=self.request.precision)
        emit(ExportWritten(written.path, _READERS_OF_A_BASE))
        return written.path

    def _undivided(self, made: MergedInMemory) -> Layers:
        """A merge's layers without what baking lost, where the method needs no small rank."""
        if made.method == "zip" or not self.baking:
            return made.merged.layers
        return merge_layers(self.whole, made.method, self.request.layerwise).layers

    def _info(self, made: MergedInMemory) -> ExportInfo:
        """What the card and the headers say: what was merged from what, and nothing of where."""
        base = self.shared.config
        name = self.name
        words = [tuple(concept.abstraction for concept in one.rows.concepts) for one in self.renamed]
        return ExportInfo(
            name=f"{name}-{made.method}" if self.request.has_several else name,
            base=base.base if base else "unknown",
            revision=base.revision if base else None,
            prediction_type=_prediction_of(self.shared.description),
            resolution=_size_of(self.shared.description),
            steps=0,
            recommended_scale=1.0,
            settings=_settings_of(made, self.request),
            text=self.opened[0].text,
            merged_by=made.method,
            parents=tuple(
                MergedParent(one.parent.name, one.parent.weight, one.sha256, said)
                for one, said in zip(self.opened, words, strict=True)
            ),
        )


_NAME_THE_BASE: Final = "Name it with --base: `embedded`, a folder in the diffusers layout, a checkpoint or a hub id."
_READERS_OF_A_BASE: Final = ("diffusers", "lorasmith")


def _components(request: MergeRequest, parents: Sequence[Parent], shared: SharedBase) -> SdxlComponents | None:
    """The base with room for nothing yet, where something needs it; ConfigError when nobody knows which."""
    reasons = {
        "zip trains on the base": "zip" in request.methods,
        "a DoRA is baked on it": any(parent.is_dora for parent in parents),
        "the merge goes into it": request.into_base is not None,
        "the report draws with it": request.report is not None,
    }
    needed = [reason for reason, is_so in reasons.items() if is_so]
    if not needed:
        return None
    if shared.config is None:
        raise ConfigError(f"the base is not known, and {needed[0]}", where="base", remedy=_NAME_THE_BASE)
    components = open_components(shared.config, dtype=DTYPES["fp32"])
    if request.into_base is not None:
        refuse_unwritable(request.into_base, components)
    return components


def _without_magnitudes(
    parents: Sequence[Parent], components: SdxlComponents | None, *, rank: int | None, emit: Emit
) -> tuple[tuple[Parent, ...], tuple[Parent, ...], dict[str, BakingLoss]]:
    """The parents as plain LoRAs, small and whole, and what making a DoRA small lost."""
    if components is None:
        return tuple(parents), tuple(parents), {}
    networks, losses = networks_of(components), dict[str, BakingLoss]()
    plain = list[Parent]()
    for parent in parents:
        if not parent.is_dora:
            plain.append(parent)
            continue
        small, lost = baked(parent, networks, rank=rank)
        plain.append(small)
        losses |= {f"{parent.name}: {name}": loss for name, loss in lost.items()}
        emit(Notice(f"{shown(parent.name)} is a DoRA and was baked on the base: off by {total_share(lost):.1%}."))
    whole = tuple(undivided_on(parent, networks) if parent.is_dora else parent for parent in parents)
    return tuple(plain), whole, losses


def total_share(losses: Mapping[str, BakingLoss]) -> float:
    """What was lost of all changes together, as a share of them."""
    changed, lost = (math.hypot(*(getattr(loss, name) for loss in losses.values())) for name in ("change", "lost"))
    return BakingLoss(changed, lost).share


def on_text_alone(parent: Parent) -> Parent:
    """What a parent does in the text encoders."""
    return parent.with_layers({part: modules for part, modules in parent.layers.items() if part != "denoiser"})


def _as_weights(layers: Layers, shared: SharedBase) -> AdapterWeights:
    """Layers as an export's adapters, of scale 1; a part's usual rank is its commonest."""
    parts: dict[Part, PartAdapter] = {}
    for part, modules in layers.items():
        if modules:
            rank, _ = Counter(module.rank for module in modules.values()).most_common(1)[0]
            parts[part] = PartAdapter(modules, rank, float(rank))
    return AdapterWeights(parts, layers_per_block=shared.layers_per_block)


def _settings_of(made: MergedInMemory, request: MergeRequest) -> dict[str, str | int | float]:
    """What decided the result, for the card."""
    match made.method:
        case "sum" | "concat":
            return {}
        case "svd":
            return {"lost by the smaller rank": f"{total_share(made.merged.losses):.2%}"}
        case "ties" | "dare":
            seed = {"merge seed": request.seed} if made.method == "dare" else {}
            lost = {"lost by the smaller rank": f"{total_share(made.merged.losses):.2%}"}
            return {"density": request.density, **seed, **lost}
        case "null-space":
            strength = "infinite" if request.strength is None else f"{request.strength:g}"
            place = len(request.sources) if request.protect is None else request.protect
            return {"null-space strength": strength, "protected adapter": place}
        case "zip":
            settings = request.zip
            return {
                "merger steps": settings.steps,
                "merger learning rate": settings.learning_rate,
                "similarity weight": settings.similarity_weight,
                "merge seed": request.seed,
            }
        case _:
            assert_never(made.method)


def _prediction_of(description: BaseDescription | None) -> PredictionType:
    return "epsilon" if description is None else noise_schedule(description.scheduler).prediction_type


def _size_of(description: BaseDescription | None) -> Size:
    """The square that the base was made for; SDXL's where nothing is known."""
    if description is None:
        return _USUAL_SIZE
    side = int(description.configs["unet"]["sample_size"]) * latent_scale(description.configs["vae"])
    return Size(side, side)
