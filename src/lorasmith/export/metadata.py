"""Owns the headers of exported files: `ss_*` for WebUIs and modelspec 1.0.1; refuses paths, times and machine names.

WebUIs hide a LoRA whose header does not say `sdxl_` (A1111 issue 13134), and show tag counts as hints for prompts.
"""

import json
from collections import Counter

from lorasmith import __version__
from lorasmith.data.wording import shown
from lorasmith.export.adapter_files import AdapterFile
from lorasmith.export.file_names import embeddings_files, stem_of, tame
from lorasmith.export.info import ExportInfo
from lorasmith.export.weights import AdapterWeights, NewTokenRows, PartAdapter
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary

_MOST_TAGS = 100
"""A1111 grew slow on headers with thousands of tags (sd-scripts issue 1380)."""
_LONGEST_TEXT = 300
_IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"


def lora_metadata(info: ExportInfo, file: AdapterFile, rows: NewTokenRows, tensors_hash: str) -> dict[str, str]:
    """The header of a WebUI file."""
    return {
        **adapter_metadata(file.weights),
        **(_merging(info) if info.merged_by else _training(info)),
        **_model_spec(info, rows, kind="lora", title=stem_of(file.name)),
        **_what_is_in_it(file),
        "ss_output_name": stem_of(file.name),
        "ss_tag_frequency": _as_json({tame(info.name): tag_counts(info, rows)}),
        "sshs_model_hash": tensors_hash,
        "modelspec.hash_sha256": f"0x{tensors_hash}",
    }


def embeddings_metadata(info: ExportInfo, rows: NewTokenRows, file: str) -> dict[str, str]:
    """The header of an embeddings file."""
    return _model_spec(info, rows, kind="textual-inversion", title=stem_of(file))


def webui_vocabulary(info: ExportInfo, rows: NewTokenRows) -> TokenVocabulary:
    """How prompts are written in a WebUI: each abstraction becomes its embeddings file's name."""
    files = embeddings_files(info.name, [concept.abstraction for concept in rows.concepts])
    return TokenVocabulary(
        tuple(
            TokenAbstraction(concept.abstraction, (stem_of(file),), concept.look_alike)
            for concept, file in zip(rows.concepts, files, strict=True)
        )
    )


def tag_counts(info: ExportInfo, rows: NewTokenRows) -> dict[str, int]:
    """How often each comma-separated tag stands in the captions, the commonest hundred, as typed in a WebUI."""
    words = webui_vocabulary(info, rows)
    tags = Counter(
        shown(tag.strip(), limit=100) for caption in info.captions for tag in words.expand(caption).split(",")
    )
    commonest_first = sorted(tags.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict([(tag, count) for tag, count in commonest_first if tag][:_MOST_TAGS])


def adapter_metadata(weights: AdapterWeights) -> dict[str, str]:
    """What kind of network it is, and that it is SDXL's; the denoiser's size stands for all, as WebUIs expect one.

    Kohya's own `networks.lora` knows no DoRA; LyCORIS does, and calls a magnitude per row `wd_on_output`.
    """
    adapter: PartAdapter = weights.parts.get("denoiser") or next(iter(weights.parts.values()))
    is_dora = adapter.kind == "dora"
    on_output = str(all(module.magnitude_axis == "output" for module in adapter.modules.values()))
    return {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_v2": "False",
        "ss_network_module": "lycoris.kohya" if is_dora else "networks.lora",
        "ss_network_dim": str(adapter.rank),
        "ss_network_alpha": str(float(adapter.alpha)),
        "ss_network_args": _as_json({"algo": "lora", "dora_wd": "True", "wd_on_output": on_output} if is_dora else {}),
    }


def _what_is_in_it(file: AdapterFile) -> dict[str, str]:
    """What sets a file apart from the whole: the one block in it, and what baking lost."""
    said: dict[str, str] = {}
    if file.role is not None:
        said["lorasmith.role"] = file.role
    if file.baked is not None:
        layer, worst = file.baked.worst
        shares = {"error": file.baked.total_error, "mean_error": file.baked.mean_error, "worst_error": worst}
        rounded = {name: round(share, 6) for name, share in shares.items()}
        said["lorasmith.baked"] = _as_json({**rounded, "worst_layer": layer})
    return said


def _training(info: ExportInfo) -> dict[str, str]:
    """How it was trained, in kohya's words."""
    text_rates = {part: rate for part, rate in info.rates.items() if part != "denoiser"}
    skipped = info.text.clip_skip
    values: dict[str, object] = {
        # Kohya counts from the last layer, which is its 1: SDXL's own is 2 there.
        "ss_clip_skip": skipped + 2 if skipped else None,
        "ss_steps": info.steps,
        "ss_max_train_steps": info.steps,
        "ss_optimizer": info.optimizer or None,
        "ss_learning_rate": info.rates.get("denoiser"),
        "ss_unet_lr": info.rates.get("denoiser"),
        "ss_text_encoder_lr": _as_json(text_rates) if text_rates else None,
        "ss_num_train_images": info.pictures,
        "ss_num_reg_images": info.class_images,
        "ss_total_batch_size": info.batch_size * info.accumulation,
        "ss_gradient_accumulation_steps": info.accumulation,
        "ss_seed": info.seed,
        "ss_sd_model_name": info.base_name,
        "ss_resolution": f"({info.resolution.width}, {info.resolution.height})",
        "ss_training_comment": _as_json({"lorasmith": __version__, "pivot_step": info.pivot_step, **info.settings}),
    }
    return {name: _plain(str(value)) for name, value in values.items() if value is not None}


def _merging(info: ExportInfo) -> dict[str, str]:
    """What it was merged from; a merge has no steps and no pictures of its own."""
    parents = [{"name": tame(one.name), "weight": one.weight, "sha256": one.sha256} for one in info.parents]
    said = {"lorasmith": __version__, "merged_by": info.merged_by, "parents": parents, **info.settings}
    return {"ss_sd_model_name": _plain(info.base_name), "ss_training_comment": _as_json(said)}


def _model_spec(info: ExportInfo, rows: NewTokenRows, *, kind: str, title: str) -> dict[str, str]:
    """modelspec 1.0.1; its date is left out, so that equal runs give equal bytes."""
    values = {
        "sai_model_spec": "1.0.1",
        "architecture": f"stable-diffusion-xl-v1-base/{kind}",
        "implementation": _IMPLEMENTATION,
        "title": title,
        "description": f"{'Merged' if info.merged_by else 'Trained'} with lorasmith {__version__} on {info.base_name}",
        "resolution": f"{info.resolution.width}x{info.resolution.height}",
        "prediction_type": "epsilon" if info.prediction_type == "epsilon" else "v",
        "trigger_phrase": webui_vocabulary(info, rows).expand(info.instance_prompt),
    }
    return {f"modelspec.{name}": _plain(value) for name, value in values.items() if value}


def _plain(text: str) -> str:
    """Text from users without control characters, and not long."""
    return shown(text, limit=_LONGEST_TEXT)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=False)
