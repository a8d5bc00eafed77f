"""The rows of new tokens: all that trains, beside a table that nobody touches."""

# transformers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError
from lorasmith.models.sdxl.components import SdxlComponents
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.tokens.attach import AttachedTokens, attach_new_tokens
from lorasmith.tokens.embedding import NewTokenEmbedding, random_rows, rows_from_words, table_spread
from lorasmith.tokens.vocabulary import TokenVocabulary

Opened = Callable[[ModelConfig, torch.dtype], SdxlComponents]


@pytest.fixture
def open_family(opened: Opened, tiny_base: Any) -> Callable[..., Sdxl]:
    def make(dtype: torch.dtype = torch.float32) -> Sdxl:
        return Sdxl(opened(ModelConfig(base=str(tiny_base)), dtype), device=torch.device("cpu"))

    return make


def attach(family: Sdxl, *words: str, init: Sequence[str] = (), seed: int = 0) -> tuple[AttachedTokens, ...]:
    vocabulary = TokenVocabulary.of(words or ("TOK",), per_abstraction=2)
    return attach_new_tokens(family.text_encoders, vocabulary, init=init, seed=seed)


def test_only_the_new_rows_are_parameters_that_can_train(open_family: Callable[..., Sdxl]) -> None:
    """C-10: the script trains 49,410 rows of each table to learn two."""
    family = open_family()
    attached = attach(family)
    for tokens, named in zip(attached, family.text_encoders, strict=True):
        trainable = [p for p in named.encoder.parameters() if p.requires_grad]
        assert [p.numel() for p in trainable] == [2 * named.encoder.config.hidden_size]
        assert trainable[0] is tokens.rows


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_are_fp32_beside_a_table_of_half_precision(open_family: Callable[..., Sdxl], dtype: torch.dtype) -> None:
    for tokens in attach(open_family(dtype)):
        assert tokens.rows.dtype == torch.float32
        assert tokens.embedding.weight.dtype == dtype
        vectors = tokens.embedding(torch.tensor([[0, tokens.embedding.first_id]]))
        assert vectors.dtype == dtype


def test_rows_start_at_the_tables_spread_and_differ_by_seed_encoder_and_word(
    open_family: Callable[..., Sdxl],
) -> None:
    first, second = attach(open_family(), "TOK", "DOG")
    again, _ = attach(open_family(), "TOK", "DOG")
    other, _ = attach(open_family(), "TOK", "DOG", seed=1)
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, other.rows)
    assert not torch.equal(first.rows[:2], first.rows[2:])
    assert not torch.equal(first.rows[:, :32], second.rows[:, :32])
    table = torch.randn(500, 64) * 0.37
    rows = random_rows(200, table, seed=0, encoder="text_encoder_1", word="TOK")
    assert rows.std().item() == pytest.approx(table_spread(table), rel=0.03)
    assert rows.mean().item() == pytest.approx(0.0, abs=0.01)


def test_an_abstractions_rows_do_not_depend_on_its_neighbours(open_family: Callable[..., Sdxl]) -> None:
    alone, _ = attach(open_family(), "TOK")
    beside, _ = attach(open_family(), "DOG", "TOK")
    assert torch.equal(alone.rows, beside.rows[2:])


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ([3, 7], [[3], [7]]),
        ([3, 7, 5, 9], [[3, 7], [5, 9]]),
        ([3, 7, 5], [[3, 7], [5]]),
        ([4], [[4], [4]]),
    ],
)
def test_rows_start_from_as_many_more_or_fewer_words(ids: list[int], wanted: list[list[int]]) -> None:
    table = torch.randn(10, 6)
    rows = rows_from_words(2, table, ids)
    torch.testing.assert_close(rows, torch.stack([table[share].mean(0) for share in wanted]))


def test_words_that_start_a_row_are_those_of_the_base(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    first, _ = attach(family, init=["dog red"])
    ids = family.components.tokenizer_1("dog red", add_special_tokens=False).input_ids
    assert len(ids) == 2
    assert torch.equal(first.rows, first.embedding.weight[ids])


def test_an_abstraction_without_words_starts_at_random_beside_one_with_them(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    mixed, _ = attach(family, "TOK", "DOG", init=["dog red", " "])
    random, _ = attach(open_family(), "TOK", "DOG")
    assert torch.equal(mixed.rows[2:], random.rows[2:])
    assert not torch.equal(mixed.rows[:2], random.rows[:2])


def test_new_tokens_are_read_whole_beside_words_and_punctuation(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    attached = attach(family)
    for tokens, named in zip(attached, family.text_encoders, strict=True):
        first = tokens.embedding.first_id
        for prompt in ("<s0><s1>", "a <s0><s1> dog", "dog<s0><s1>dog", "(<s0><s1>),", "<s0> <s1>", "the'<s0><s1>'s"):
            ids: list[int] = named.tokenizer(prompt).input_ids
            assert [i for i in ids if i >= first] == [first, first + 1], prompt
            words: list[int] = named.tokenizer(prompt.replace("<s0>", " ").replace("<s1>", " ")).input_ids
            assert [i for i in ids if i < first] == words, prompt


def test_tokens_the_base_knows_already_are_refused(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    family.components.tokenizer_1.add_tokens(["<s1>"])
    with pytest.raises(DataError, match="already knows <s1>"):
        attach(family)


def test_tokens_are_attached_once_only(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    attach(family)
    with pytest.raises(DataError, match="already has new tokens"):
        attach(family, "OTHER")


def test_a_tokenizer_of_another_size_than_its_table_is_refused(open_family: Callable[..., Sdxl]) -> None:
    family = open_family()
    family.components.tokenizer_2.add_tokens(["<other>"])
    with pytest.raises(DataError, match="531 tokens and its text encoder 530 rows"):
        attach(family)


def embedding(rows: torch.Tensor | None = None) -> NewTokenEmbedding:
    return NewTokenEmbedding(nn.Embedding(10, 4), torch.randn(2, 4) if rows is None else rows, first_id=10)


def test_known_ids_read_the_table_and_new_ones_the_rows() -> None:
    tokens = embedding()
    found = tokens(torch.tensor([[0, 10, 9, 11]]))[0]
    wanted = torch.stack([tokens.weight[0], tokens.rows[0], tokens.weight[9], tokens.rows[1]])
    assert torch.equal(found, wanted)


def test_gradients_reach_the_rows_that_were_read_and_nothing_else() -> None:
    tokens = embedding()
    tokens(torch.tensor([[0, 11, 3]])).sum().backward()
    assert tokens.rows.grad is not None
    assert tokens.rows.grad.tolist() == [[0] * 4, [1] * 4]
    assert tokens.frozen.weight.grad is None


def test_the_norm_pull_takes_a_tenth_of_the_way_back() -> None:
    """The script's rule: 1.80 of the table's spread is 1.24 after 10 pulls, 1.06 after 22 and 1.006 after 44."""
    tokens = embedding()
    rows = tokens.rows.data
    rows.mul_(1.8 * tokens.spread / rows.std())
    ratios: list[float] = []
    for _ in range(44):
        rows.mul_(tokens.norm_pull())
        ratios.append(rows.std().item() / tokens.spread)
    assert [ratios[n - 1] for n in (10, 22, 44)] == pytest.approx([1.23, 1.06, 1.006], abs=0.01)


def test_the_norm_pull_leaves_rows_without_spread_alone() -> None:
    assert embedding(torch.zeros(2, 4)).norm_pull() == 1.0
