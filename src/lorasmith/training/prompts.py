"""Owns the embeddings of a run's prompts: encoded again only while something that changes them trains."""

from collections.abc import Sequence

import torch
from torch import nn

from lorasmith.models.family import DiffusionFamily, PromptEmbeddings, stack_prompts
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.phases import NEW_TOKENS, TEXT_ENCODERS, Phase

MOST_KEPT = 1024
"""Prompts kept where captions are drawn anew: some 0.6 GB of SDXL's embeddings in fp32."""


class PromptBook:
    """Prompts to embeddings, each kept as soon as nothing that trains can change it any more.

    While new tokens train, only prompts that name one are encoded at each step; after the pivot each prompt is encoded
    once. While an adapter on a text encoder trains, all are encoded at each step. Kept by the prompt's own text.
    """

    def __init__(self, family: DiffusionFamily, vocabulary: TokenVocabulary, *, forgets: bool = False) -> None:
        """With `forgets`, the captions are too many to keep all: at most `MOST_KEPT` are, the latest."""
        self._family = family
        self._forgets = forgets
        self._vocabulary = vocabulary
        self._kept: dict[str, PromptEmbeddings] = {}

    def embeddings(self, captions: Sequence[str], phase: Phase) -> PromptEmbeddings:
        """Embeddings of captions [B] in their order; token abstractions are written out first."""
        prompts = [self._vocabulary.expand(caption) for caption in captions]
        settled = [prompt for prompt in dict.fromkeys(prompts) if self._is_settled(prompt, phase)]
        self._keep(settled)
        if self._forgets and phase.trains_text:
            self._forget(but=settled)
        moving = [prompt for prompt in dict.fromkeys(prompts) if prompt not in settled]
        encoded = self._encode(moving)
        return stack_prompts([encoded.get(prompt) or self._kept[prompt] for prompt in prompts])

    def keep_all(self, captions: Sequence[str], phase: Phase) -> None:
        """Encode and keep every caption that is settled in this phase, ahead of its first use."""
        prompts = dict.fromkeys(self._vocabulary.expand(caption) for caption in captions)
        self._keep([prompt for prompt in prompts if self._is_settled(prompt, phase)])

    def keep_only(self, captions: Sequence[str], phase: Phase) -> None:
        """The same, and forget what was kept of others. The text encoders are at the family's device meanwhile.

        What was encoded elsewhere would differ in its last bits, and a run that goes on encodes at other times.
        """
        wanted = {self._vocabulary.expand(caption) for caption in captions}
        self._kept = {prompt: kept for prompt, kept in self._kept.items() if prompt in wanted}
        if not wanted <= self._kept.keys():
            for named in self._family.text_encoders:
                _put(named.encoder, self._family.device)
            self.keep_all(captions, phase)
        self._family.release_text_encoders()

    @property
    def kept(self) -> int:
        """How many prompts' embeddings take up memory."""
        return len(self._kept)

    def _is_settled(self, prompt: str, phase: Phase) -> bool:
        if phase.trains & TEXT_ENCODERS:
            return False
        return not (phase.trains & NEW_TOKENS and self._vocabulary.is_mentioned_in(prompt))

    @torch.no_grad()
    def _keep(self, prompts: Sequence[str]) -> None:
        missing = [prompt for prompt in prompts if prompt not in self._kept]
        for prompt in missing:
            self._kept[prompt] = self._family.encode_prompts([prompt]).detached()

    def _forget(self, *, but: Sequence[str]) -> None:
        """The longest kept go first, so that captions drawn anew at each step do not pile up."""
        spare = [prompt for prompt in self._kept if prompt not in but]
        for prompt in spare[: max(0, len(self._kept) - MOST_KEPT)]:
            del self._kept[prompt]

    def _encode(self, prompts: Sequence[str]) -> dict[str, PromptEmbeddings]:
        if not prompts:
            return {}
        return dict(zip(prompts, self._family.encode_prompts(prompts).split(), strict=True))


def _put(module: nn.Module, device: torch.device) -> None:
    module.to(device)
