"""Owns how trials are scored: the oracle's measures of an export, on a base opened once; refuses to train."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from lorasmith.config.base import ModelConfig
from lorasmith.evaluation.examination import TRIAL, Amounts
from lorasmith.evaluation.oracle import open_oracle
from lorasmith.evaluation.scores import Evaluation, ScoreName
from lorasmith.evaluation.shipped_weights import weights_folder
from lorasmith.runs.evaluate import EvaluationSettings, OpenedBase, evaluate_run, evaluate_untrained, open_base
from lorasmith.runs.trials import Scores, Trial, second_drawing
from lorasmith.world import Concept

PROTOCOL: Final = 1
"""Raised when the same export would get other scores; trials of an older one are done again."""
STEPS: Final = 10
GUIDANCE: Final = 4.0
KEPT: Final[tuple[ScoreName, ...]] = (
    "joint", "fidelity", "prompt_following", "product", "embedding_drift", "unrelated_drift", "class_word_identity",
    "class_word_drift", "leakage", "copied_share", "copy_gap", "variety", "entropy_change", "held_out_loss",
    "instance_similarity", "text_similarity",
)  # fmt: skip
"""What is kept of an evaluation."""
_KEPT_OF_SECOND: Final[tuple[ScoreName, ...]] = ("joint", "product")
_PROMPTS_ALONE: Final = Amounts(1, 0, 0, 0, 0, 0, 0)
_SEEDS_OF_SECOND: Final = 1_000_000


@dataclass
class WorldExaminer:
    """Scores exports by the oracle of the emoji world; the base's own pictures are drawn once and kept."""

    folder: Path
    amounts: Amounts = TRIAL
    _open: dict[str, OpenedBase] = field(default_factory=dict[str, OpenedBase], init=False)

    @property
    def protocol(self) -> str:
        """Everything that a score depends on besides base and export. DataError when there is no oracle to read by."""
        facts = [PROTOCOL, STEPS, GUIDANCE, asdict(self.amounts), self._oracle]
        return json.dumps(facts, sort_keys=True)

    @cached_property
    def _oracle(self) -> str:
        open_oracle()
        weights = hashlib.sha256()
        for path in sorted(weights_folder().glob("*.safetensors")):
            weights.update(path.read_bytes())
        return weights.hexdigest()[:16]

    def base(self, config: ModelConfig) -> str:
        """A hash of the base's weights and noise."""
        return self._opened(config).fingerprint

    def examine(self, export: Path | None, trial: Trial, instance_images: Path) -> Scores:
        """All scores that could be taken, and joint of each half of the prompts; or those of prompts drawn twice."""
        settings = self._settings(trial.concept, trial.seed, instance_images)
        if trial.set_up.examined_twice:
            return self._twice(export, trial, replace(settings, amounts=_PROMPTS_ALONE))
        return _scores(self._evaluate(export, trial, settings))

    def _evaluate(self, export: Path | None, trial: Trial, settings: EvaluationSettings) -> Evaluation:
        base = self._opened(trial.config.model)
        if export is None:
            return evaluate_untrained(settings, base=base)
        return evaluate_run(export, settings, base=base)

    def _twice(self, export: Path | None, trial: Trial, settings: EvaluationSettings) -> Scores:
        """The prompts and nothing else, since checkpoints are many; the second time with other noise."""
        first = self._evaluate(export, trial, settings)
        again = self._evaluate(export, trial, replace(settings, seed=settings.seed + _SEEDS_OF_SECOND))
        return {**_scores(first), **{second_drawing(name): again.value(name) for name in _KEPT_OF_SECOND}}

    def _settings(self, concept: Concept, seed: int, instance_images: Path | None) -> EvaluationSettings:
        return EvaluationSettings(
            concept=concept,
            scales=(),
            scale=1.0,
            seed=seed,
            steps=STEPS,
            guidance=GUIDANCE,
            token="TOK",
            instance_images=instance_images,
            cache_folder=self.folder / "drawn",
            amounts=self.amounts,
        )

    def _opened(self, config: ModelConfig) -> OpenedBase:
        name = config.model_dump_json()
        if name not in self._open:
            self._open[name] = open_base(config)
        return self._open[name]


def _scores(evaluation: Evaluation) -> dict[str, float]:
    found = {score.name: score.estimate.value for score in evaluation.scores if score.name in KEPT}
    return {**{name: value for name, value in found.items() if math.isfinite(value)}, **_halves(evaluation)}


def _halves(evaluation: Evaluation) -> dict[str, float]:
    """The joint score of even and of odd prompts: one to choose by, the other to judge by."""
    verdicts = [[bool(verdict) for verdict in row.verdicts] for row in evaluation.rows]
    halves = {"joint_of_even_prompts": verdicts[::2], "joint_of_odd_prompts": verdicts[1::2]}
    flat = {name: [one for row in rows for one in row] for name, rows in halves.items()}
    return {name: sum(row) / len(row) for name, row in flat.items() if row}
