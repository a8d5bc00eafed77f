"""Owns the whole config of a training run and the rules that span sections; each rule raises or passes."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from lorasmith.config.adapter import AdapterConfig
from lorasmith.config.base import ModelConfig
from lorasmith.config.data import DataConfig, PriorConfig
from lorasmith.config.hub import HubConfig
from lorasmith.config.objective import ObjectiveConfig
from lorasmith.config.optimizer import OptimizerConfig, ProdigyConfig, RatesConfig
from lorasmith.config.runtime import CheckpointConfig, OutputConfig, RuntimeConfig, ValidationConfig
from lorasmith.config.schedule import ScheduleConfig
from lorasmith.config.section import Section
from lorasmith.config.text import TextConfig
from lorasmith.config.tokens import TokensConfig
from lorasmith.config.tracking import TrackingConfig

ArticleRecipe = Literal[
    "article/huggy-v1", "article/huggy-v2", "article/huggy-adamw", "article/huggy-prodigy",
    "article/y2k-v1", "article/y2k-v2", "article/y2k-v3", "article/y2k-v4",
    "article/y2k-v5", "article/y2k-v6", "article/y2k-v7", "article/y2k-v8",
    "article/face-75", "article/face-100", "article/face-120",
    "article/pivotal-tuning", "article/prodigy", "article/text-encoder", "article/captions",
    "article/min-snr", "article/repeats", "article/prior-preservation",
]  # fmt: skip
"""The runs and snippets of the article "LoRA training scripts of the world, unite!", with its own numbers."""

OwnRecipe = Literal["object", "style", "character", "face"]
"""What one may want to learn, with the numbers lorasmith proposes."""

RecipeName = Literal[OwnRecipe, ArticleRecipe]


class TrainConfig(Section):
    """Everything a training run is told."""

    recipe: RecipeName | None = None
    """The recipe whose values were used as defaults."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """Onto which base."""

    data: DataConfig = Field(default_factory=DataConfig)
    """From which pictures."""

    prior: PriorConfig | None = None
    """Prior preservation with class images; None switches it off."""

    text: TextConfig = Field(default_factory=TextConfig)
    """How its captions and prompts are read."""

    tokens: TokensConfig = Field(default_factory=TokensConfig)
    """Which new words are learnt."""

    adapter: AdapterConfig = Field(default_factory=AdapterConfig)
    """With how much capacity."""

    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig)
    """Towards what."""

    optimizer: OptimizerConfig = Field(default_factory=ProdigyConfig)
    """How fast."""

    rates: RatesConfig = Field(default_factory=RatesConfig)
    """How fast the other parts train."""

    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    """For how long and in what order."""

    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)
    """On which machine and how."""

    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    """What is kept to go on from."""

    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    """What is drawn and measured while the run goes on."""

    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    """Where else its curves and pictures are shown."""

    output: OutputConfig = Field(default_factory=OutputConfig)
    """What comes out and where."""

    hub: HubConfig = Field(default_factory=HubConfig)
    """Whether and where the exports are uploaded."""

    @model_validator(mode="after")
    def pictures_come_from_one_place(self) -> Self:
        """A folder or a data set: with both, one of them would be left out without a word."""
        if self.data.instance_images is not None and self.data.dataset is not None:
            raise ValueError(
                f"data.instance_images ({self.data.instance_images}) and data.dataset ({self.data.dataset}) "
                "exclude each other; keep one"
            )
        return self

    @model_validator(mode="after")
    def masks_come_from_one_place(self) -> Self:
        """A folder of masks and the pictures' own transparency may say different things."""
        data = self.data
        named = [f"data.{name}" for name in ("masks", "alpha_mask", "mask_words") if getattr(data, name)]
        if data.masks is not None and data.alpha_mask:
            raise ValueError("data.masks and data.alpha_mask exclude each other; keep one")
        if named and not data.use_masks:
            raise ValueError(f"{named[0]} has no effect with data.use_masks = false; leave one of them out")
        return self

    @model_validator(mode="after")
    def prior_preservation_needs_a_class_prompt(self) -> Self:
        """Class images without a prompt would teach the base an empty class."""
        if self.prior is None or self.prior.class_prompt.strip():
            return self
        if self.prior.source == "class_images":
            raise ValueError("prior preservation needs prior.class_prompt, such as `a photo of a dog`")
        if not (self.prior.class_word or "").strip():
            raise ValueError("prior preservation with the adapter off needs prior.class_word, such as `dog`")
        return self

    @model_validator(mode="after")
    def prior_options_belong_to_its_source(self) -> Self:
        """A folder that is never read, or a word that is never put anywhere, was not meant."""
        if self.prior is None:
            return self
        if self.prior.source == "adapter_off" and self.prior.class_images is not None:
            raise ValueError("prior.class_images are not read with prior.source = adapter_off; leave one of them out")
        if self.prior.source == "class_images" and self.prior.class_word is not None:
            raise ValueError("prior.class_word has an effect only with prior.source = adapter_off")
        return self

    @model_validator(mode="after")
    def min_snr_and_edm_style_exclude_each_other(self) -> Self:
        """Both weight the timesteps, each in its own way."""
        if self.objective.edm_style and self.objective.snr_gamma is not None:
            raise ValueError("objective.snr_gamma and objective.edm_style cannot both be used; leave one out")
        return self

    @model_validator(mode="after")
    def validation_is_due_by_steps_or_by_epochs(self) -> Self:
        """One of the two would be ignored."""
        if self.validation.every and self.validation.every_epochs is not None:
            raise ValueError("validation.every and validation.every_epochs cannot both be used; leave one out")
        return self

    @model_validator(mode="after")
    def init_words_match_the_abstractions(self) -> Self:
        """One entry of words per token abstraction, or none at all."""
        given, wanted = len(self.tokens.init), len(self.tokens.abstractions)
        if given and given != wanted:
            raise ValueError(
                f"tokens.init has {given} entries for {wanted} token abstractions; give one entry for each"
            )
        return self

    @model_validator(mode="after")
    def one_option_names_the_blocks(self) -> Self:
        """Two answers to which blocks are trained would leave one of them out."""
        if self.adapter.b_lora and self.adapter.blocks:
            raise ValueError("adapter.b_lora names its two blocks itself; leave adapter.blocks out, or adapter.b_lora")
        return self

    @model_validator(mode="after")
    def look_alikes_match_the_abstractions(self) -> Self:
        """One entry of words per token abstraction, or none at all; words that the base knows."""
        given, wanted = self.tokens.look_alike, len(self.tokens.abstractions)
        if not given:
            return self
        if not self.tokens.enabled:
            raise ValueError("tokens.look_alike stands behind new tokens; without them write it into the captions")
        if len(given) != wanted:
            raise ValueError(f"tokens.look_alike has {len(given)} entries for {wanted} token abstractions")
        for name in given:
            if not name.isprintable() or set(re.findall(r"\w+", name)) & set(self.tokens.abstractions):
                raise ValueError(f"tokens.look_alike must be plain words without a token abstraction, not {name!r}")
        return self

    @model_validator(mode="after")
    def abstractions_are_different_words(self) -> Self:
        """Each abstraction is one word without white space, and none is named twice."""
        words = self.tokens.abstractions
        if self.tokens.enabled and (not words or len(set(words)) != len(words)):
            raise ValueError(f"tokens.abstractions must be different words, not {', '.join(words) or 'none'}")
        for word in words:
            if not word or any(character.isspace() for character in word):
                raise ValueError(f"the token abstraction {word!r} must be one word without white space")
        return self
