"""Owns finding an export and the base it belongs to, from a run folder or an export folder; opens no weights."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lorasmith.config.base import ModelConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.export_manifest import ExportManifest, is_export_folder, read_manifest
from lorasmith.run_folder import RunFolder


@dataclass(frozen=True)
class ExportSource:
    """Where an export is, what it says, and which base it belongs to, and its run where there is one."""

    export: Path
    manifest: ExportManifest
    model: ModelConfig
    run: RunFolder | None

    @property
    def name(self) -> str:
        """What WebUIs call the adapter: its file's name there, else the folder's."""
        manifest = self.manifest
        others = {manifest.lora, *(concept.file for concept in manifest.abstractions.values())}
        stems = [name.removesuffix(".safetensors") for name in manifest.files if name.endswith(".safetensors")]
        own = [stem for stem in stems if f"{stem}.safetensors" not in others]
        return min(own, key=len, default=(self.run.path if self.run else self.export).resolve().name)


def find_export(path: Path, *, base: str | None = None) -> ExportSource:
    """The export in a run folder or in a folder of its own; `base` overrides the base it was trained on.

    ConfigError when nothing is there, DataError when it is no export, or a run that has none yet.
    """
    if is_export_folder(path):
        run = RunFolder(path.parent) if RunFolder(path.parent).export == path else None
        export = path
    else:
        run, export = RunFolder(path), RunFolder(path).export
        _refuse_without_exports(run)
    manifest = read_manifest(export)
    return ExportSource(export, manifest, _model(base, manifest, run), run)


def _refuse_without_exports(run: RunFolder) -> None:
    if is_export_folder(run.export):
        return
    if not run.path.exists():
        raise ConfigError(f"there is no folder {run.path}", where="source", remedy="Name a run's folder.")
    if run.config_file.is_file() or run.state() != "new":
        raise DataError(
            f"the run in {run.path} has no exports yet (at step {run.last_step()})",
            where="source",
            remedy=f"`lorasmith train --resume {run.path}` goes on to its end and writes them.",
        )
    raise DataError(
        f"{run.path} is neither a run folder nor an export folder",
        where="source",
        remedy="Name the folder that `lorasmith train` wrote to (its output.folder), or an `export` folder.",
    )


def _model(base: str | None, manifest: ExportManifest, run: RunFolder | None) -> ModelConfig:
    """The base that was asked for, else the one the run was trained on, else the one the export names."""
    if base is not None:
        return ModelConfig(base=base)
    return _model_of_run(run) or ModelConfig(base=manifest.base, revision=manifest.revision)


def _model_of_run(run: RunFolder | None) -> ModelConfig | None:
    if run is None or not run.config_file.is_file():
        return None
    try:
        return ModelConfig.model_validate(json.loads(run.config_file.read_bytes())["model"])
    except (ValueError, KeyError, TypeError, ValidationError) as invalid:
        raise DataError(
            f"{run.config_file} does not say which base the run was trained on",
            remedy="Name the base (--base), or copy the run folder again.",
        ) from invalid
