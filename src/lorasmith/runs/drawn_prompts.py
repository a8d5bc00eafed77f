"""Owns prompts as they were typed becoming prompts that can be drawn: LoRAs and embeddings found, new tokens put in."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Emit, Notice
from lorasmith.inference.additions import Strength
from lorasmith.inference.prompt_language import LoraTag, TaggedPrompt, has_editing, replace_embeddings, without_tags
from lorasmith.runs.addition_files import EmbeddingFile, has_bundle, read_embeddings
from lorasmith.runs.export_source import ExportSource
from lorasmith.runs.generate_request import GenerateRequest
from lorasmith.runs.named_files import NamedFiles
from lorasmith.tokens.vocabulary import TokenVocabulary

_TOKEN = re.compile(r"<s(\d+)>")


@dataclass(frozen=True)
class DrawnPrompt:
    """A prompt as typed, as the base alone reads it, as the concept's pipeline reads it, and the LoRAs it names."""

    typed: str
    plain: str
    written_out: str
    loras: Mapping[Path, Strength]


@dataclass
class PromptWriter:
    """Writes prompts out, reading the embeddings they name as it goes; `own` are files that are there already."""

    vocabulary: TokenVocabulary
    loras: NamedFiles
    embeddings: NamedFiles
    emit: Emit
    syntax: str = "a1111"
    own: Mapping[Path, tuple[str, ...]] = field(default_factory=dict[Path, tuple[str, ...]])
    read: dict[Path, tuple[EmbeddingFile, ...]] = field(default_factory=dict[Path, tuple[EmbeddingFile, ...]])

    @property
    def used(self) -> tuple[EmbeddingFile, ...]:
        """Every embedding whose rows are needed, in the order of their tokens."""
        return tuple(file for files in self.read.values() for file in files)

    def write(self, typed: str) -> DrawnPrompt:
        """A prompt, with LoRAs named in it. ConfigError when it names what is not there."""
        if self.syntax == "plain":
            return DrawnPrompt(typed, typed, self.vocabulary.expand(typed), {})
        tagged = self._without_tags(typed)
        strengths = self._strengths(tagged.loras)
        for path in strengths:
            self.read_bundle(path)
        return self._written(typed, tagged.words, strengths)

    def write_negative(self, typed: str) -> DrawnPrompt:
        """A negative prompt: LoRAs are not named in it, as in A1111, which reads them as words there."""
        if self.syntax != "plain" and "<lora:" in typed:
            self.emit(Notice("The negative prompt names a LoRA, which is read as words there; name it in the prompt."))
        return self.write(typed) if self.syntax == "plain" else self._written(typed, typed, {})

    def read_given(self, files: Iterable[Path]) -> None:
        """Read files that were named outside of prompts, so that their tokens are the first."""
        for path in files:
            self._tokens_of(path)

    def read_bundle(self, lora: Path) -> None:
        """Read the embeddings that A1111 bundles in a LoRA, if this one has any; prompts can name them then."""
        if lora not in self.read and has_bundle(lora):
            self._tokens_of(lora)

    def _strengths(self, tags: Sequence[LoraTag]) -> dict[Path, Strength]:
        """A1111 keeps one LoRA a name, whose strength is the last one named, and applies it once a mention."""
        strengths: dict[Path, Strength] = {}
        mentions = Counter[Path]()
        for tag in tags:
            path = self.loras.find(tag.name)
            mentions[path] += 1
            strengths[path] = Strength(tag.denoiser * mentions[path], tag.text_encoders * mentions[path])
        return strengths

    def _without_tags(self, typed: str) -> TaggedPrompt:
        try:
            tagged = without_tags(typed)
        except ValueError as wrong:
            raise ConfigError(
                f"{shown(str(wrong))} has a strength that is no number from −10 to 10",
                where="prompt",
                remedy="Write it as <lora:name:0.8>.",
            ) from None
        for tag in tagged.unknown[:5]:
            self.emit(Notice(f"{shown(tag)} means nothing here and is left out of the prompt, as A1111 does."))
        if has_editing(tagged.words):
            self.emit(Notice("[from:to:when] and [one|other] are read as words: prompts do not change between steps."))
        return tagged

    def _written(self, typed: str, words: str, loras: Mapping[Path, Strength]) -> DrawnPrompt:
        written = replace_embeddings(words, lambda name: "".join(self._tokens_called(name)))
        written = self.vocabulary.expand(self._names_written_out(written))
        self._refuse_unknown_tokens(written)
        return DrawnPrompt(typed, words, written, loras)

    def _names_written_out(self, words: str) -> str:
        """Each bare name of an embedding's file as its tokens, whatever case it is typed in, as in A1111."""
        by_name = self.embeddings.words
        bundled = {file.name.lower(): "".join(file.rows.tokens) for file in self.used}
        if not by_name and not bundled:
            return words
        longest_first = sorted({*by_name, *bundled}, key=len, reverse=True)
        names = re.compile(
            rf"{_TOKEN.pattern}|(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE
        )

        def write_out(match: re.Match[str]) -> str:
            if _TOKEN.fullmatch(match.group()):
                return match.group()
            name = match.group().lower()
            try:
                return bundled[name] if name in bundled else "".join(self._tokens_of(by_name[name]))
            except DataError as unusable:
                # Folders are full of other bases' files, and a file may be called like any word.
                self.emit(Notice(f"{shown(match.group())} is read as a word: {unusable.problems[0].what}."))
                return match.group()

        return names.sub(write_out, words)

    def _tokens_called(self, name: str) -> tuple[str, ...]:
        bundled = [file for file in self.used if file.name == name]
        return bundled[-1].rows.tokens if bundled else self._tokens_of(self.embeddings.find(name))

    def _tokens_of(self, path: Path) -> tuple[str, ...]:
        if path in self.own:
            return self.own[path]
        if path not in self.read:
            self.read[path] = read_embeddings(path, first_token=self._next_token())
        return tuple(token for file in self.read[path] for token in file.rows.tokens)

    def _next_token(self) -> int:
        taken = [match for token in self._tokens() if (match := _TOKEN.fullmatch(token))]
        return max((int(match[1]) + 1 for match in taken), default=0)

    def _tokens(self) -> list[str]:
        return [*self.vocabulary.tokens, *(token for file in self.used for token in file.rows.tokens)]

    def _refuse_unknown_tokens(self, written: str) -> None:
        known = set(self._tokens())
        unknown = [match.group() for match in _TOKEN.finditer(written) if match.group() not in known]
        if unknown:
            there = f"There are {counted(len(known), 'new token')}: {', '.join(sorted(known)[:8])}." if known else (
                "Give the embeddings with --embedding FILE, or a run."
            )  # fmt: skip
            raise ConfigError(f"no embeddings have the new token {unknown[0]}", where="prompt", remedy=there)


def files_of(request: GenerateRequest, source: ExportSource | None) -> tuple[NamedFiles, NamedFiles]:
    """The LoRAs and the embeddings that prompts can name; an export's own and the given ones come first."""
    own = sorted(source.export.glob("*.safetensors")) if source else []
    own_embeddings = list(own_tokens(source))
    loras = [path for path in own if path not in own_embeddings]
    program = request.program
    return (
        NamedFiles.of("LoRA", given=[*loras, *request.lora_files()], folders=request.lora_folder, program=program),
        NamedFiles.of(
            "embedding", given=[*own_embeddings, *request.embedding], folders=request.embedding_folder, program=program
        ),
    )


def own_tokens(source: ExportSource | None) -> dict[Path, tuple[str, ...]]:
    """The tokens of an export's own embeddings files."""
    concepts = source.manifest.abstractions.values() if source else ()
    return {source.export / concept.file: concept.tokens for concept in concepts} if source else {}
