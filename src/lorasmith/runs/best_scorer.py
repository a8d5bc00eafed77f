"""Owns the evaluator that `lorasmith best` chooses by on the embedded base; refuses to choose."""

from __future__ import annotations

from pathlib import Path

from lorasmith.config.base import ModelConfig
from lorasmith.errors import ConfigError
from lorasmith.run_folder import RunFolder
from lorasmith.runs.best import Scorer
from lorasmith.runs.evaluate import EvaluationSettings, OpenedBase, evaluate_run, open_base
from lorasmith.runs.stored_config import read_config
from lorasmith.world import Concept, find_concept
from lorasmith.world.recorded_concepts import recorded_concept


def scorer_of(path: Path, *, concept: str | None = None) -> Scorer | None:
    """What scores the run's checkpoints: the oracle, if the run's concept is said, or recorded beside its pictures.

    None where nobody knows what is right. ConfigError for a concept that is named for another base than the embedded.
    """
    folder = RunFolder(path.expanduser().resolve())
    folder.refuse_if_not_a_run()
    config = read_config(folder)
    if config.model.base != "embedded":
        if concept is not None:
            raise ConfigError("only the embedded base's concepts are known", where="--concept", remedy="Leave it out.")
        return None
    pictures = config.data.instance_images
    recorded = recorded_concept(folder.path, *([pictures] if pictures is not None else []))
    known = find_concept(concept) if concept is not None else recorded
    return None if known is None else _scorer(config.model, known, pictures)


def _scorer(base: ModelConfig, concept: Concept, pictures: Path | None) -> Scorer:
    opened: OpenedBase = open_base(base)
    settings = EvaluationSettings(concept=concept, quick=True, instance_images=pictures)

    def scored(export: Path) -> float:
        return evaluate_run(export, settings, base=opened).score("product").estimate.value

    return scored
