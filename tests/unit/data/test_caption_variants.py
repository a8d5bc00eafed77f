"""Captions are worded anew by seed, epoch, copy and picture alone: shares, orders and choices are counted here."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from made_pictures import example
from PIL import Image

from lorasmith.data.caption_variants import (
    AS_WRITTEN,
    CaptionOptions,
    caption_of,
    longest_captions,
    possible_captions,
    read_variants,
    without_words,
)
from lorasmith.data.examples import Example, Role
from lorasmith.data.order import BatchOrder, OrderSettings
from lorasmith.data.read import read_examples
from lorasmith.data.token_check import captions_missing_token
from lorasmith.data.views import AS_IT_IS
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Size

TAGS = "TOK, red, round, shiny, small"


def worded(one: Example, options: CaptionOptions, times: int = 400) -> list[str]:
    """The captions of the first epochs."""
    return [caption_of(one, options, epoch=epoch, copy=0) for epoch in range(times)]


def read(caption: str, folder: Path | None = None, *, wildcards: bool = True) -> Example:
    (one,) = read_variants([example(caption=caption)], lines=False, wildcards=wildcards, folder=folder)
    return one


def test_the_asked_for_share_of_captions_is_empty_and_the_others_are_whole() -> None:
    said = Counter(worded(example(caption="a TOK"), CaptionOptions(dropout=0.25), 4000))
    assert said.keys() == {"", "a TOK"}
    assert 0.22 < said[""] / 4000 < 0.28
    assert set(worded(example(caption="a TOK"), CaptionOptions(dropout=1.0))) == {""}


def test_asking_again_gives_the_same_and_other_seeds_epochs_copies_and_pictures_others() -> None:
    options = CaptionOptions(shuffle_tags=True, dropout=0.1)
    one = example(caption=TAGS)
    assert worded(one, options) == worded(one, options)
    assert worded(one, options) != worded(one, replace(options, seed=1))
    assert worded(one, options) != worded(example("b.png", caption=TAGS), options)
    assert worded(one, options) != [caption_of(one, options, epoch=epoch, copy=1) for epoch in range(400)]


def test_one_option_does_not_change_what_another_draws() -> None:
    one = example(caption=TAGS)
    shuffled = worded(one, CaptionOptions(shuffle_tags=True))
    with_dropout = worded(one, CaptionOptions(shuffle_tags=True, dropout=0.3))
    assert [new for new in with_dropout if new] == [old for old, new in zip(shuffled, with_dropout, strict=True) if new]
    assert "" in with_dropout


def test_shuffled_tags_are_the_same_tags_in_every_order_with_the_first_ones_kept() -> None:
    said = Counter(worded(example(caption=TAGS), CaptionOptions(shuffle_tags=True, keep_tags=1), 2400))
    assert len(said) == math.factorial(4)
    assert all(one.startswith("TOK, ") and sorted(one.split(", ")) == sorted(TAGS.split(", ")) for one in said)
    assert min(said.values()) > 60, "each of the 24 orders about 100 times"


def test_tags_are_left_out_at_their_share_but_never_kept_ones_or_the_token() -> None:
    options = CaptionOptions(tag_dropout=0.5, keep_tags=1, kept_words=("TOK",))
    said = worded(example(caption="first, a TOK, red, round"), options, 2000)
    assert all(one.startswith("first, a TOK") for one in said)
    assert 0.45 < sum("red" in one for one in said) / 2000 < 0.55
    assert 0.2 < sum("red" in one and "round" in one for one in said) / 2000 < 0.3


def test_other_separators_stand_between_tags_as_well() -> None:
    options = CaptionOptions(shuffle_tags=True, separator=" ; ")
    assert set(worded(example(caption="a,b ; c"), options)) == {"a,b; c", "c; a,b"}
    with pytest.raises(ConfigError, match=r"data\.tag_separator"):
        CaptionOptions(separator=" ")


def test_wildcards_become_each_of_their_choices_evenly_also_inside_each_other() -> None:
    one = read("a {red|green|{dark|light} blue} TOK")
    assert one.caption == "a red TOK"
    said = Counter(worded(one, AS_WRITTEN, 3000))
    assert said.keys() == {"a red TOK", "a green TOK", "a dark blue TOK", "a light blue TOK"}
    assert said["a red TOK"] > 900
    assert 400 < said["a dark blue TOK"] < 600


def test_without_the_option_braces_are_braces() -> None:
    one = read("a {red|green} TOK __colour__", wildcards=False)
    assert set(worded(one, AS_WRITTEN)) == {"a {red|green} TOK __colour__"}


def test_files_of_wildcards_are_read_line_by_line_and_may_name_others(tmp_path: Path) -> None:
    (tmp_path / "colour.txt").write_text("# colours\nred\n\n{pale|deep} green\n")
    (tmp_path / "thing.txt").write_text("__colour__ hat\nscarf\n")
    one = read("TOK with a __thing__", tmp_path)
    assert set(worded(one, AS_WRITTEN)) == {
        "TOK with a red hat", "TOK with a pale green hat", "TOK with a deep green hat", "TOK with a scarf",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("a {red|green TOK", "character 3 is not closed"),
        ("a red} TOK", "a } too many at character 6"),
        ("{" * 40 + "TOK" + "}" * 40, "more than 8 deep"),
        ("a __colour__ TOK", "no folder of wildcards"),
    ],
)
def test_wildcards_that_cannot_be_read_are_refused(caption: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(caption)


def test_files_of_wildcards_that_are_missing_empty_or_endless_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").write_text("__loop__ and __loop__")
    (tmp_path / "none.txt").write_text("# nothing\n")
    for name, said in (("loop", "without end"), ("none", "no line to choose"), ("gone", "cannot be read")):
        with pytest.raises(DataError, match=said):
            read(f"__{name}__ TOK", tmp_path)
    assert read("__../secret__ TOK", tmp_path).caption == "__../secret__ TOK", "names are no paths"


def test_every_wording_must_hold_the_token() -> None:
    told = {
        "a {red|green} TOK": True,
        "a {TOK|dog}": False,
        "{a TOK|the TOK}": True,
        "a {TOK|{TOK|dog}}": False,
        "TOK {TOK|dog}": True,
    }
    for caption, holds in told.items():
        assert (captions_missing_token([read(caption)], ["TOK"]) == []) is holds, caption
    assert without_words(read("a {TOK|TOK2|dog}"), ["TOK", "TOK2"]) == ["a dog"]


def test_possible_captions_are_counted_and_bounded() -> None:
    shuffled = CaptionOptions(shuffle_tags=True, keep_tags=1)
    assert possible_captions(example(caption=TAGS), AS_WRITTEN) == 1
    assert possible_captions(example(caption=TAGS), shuffled) == 24
    assert possible_captions(example(caption=TAGS), replace(shuffled, dropout=0.1)) == 25
    assert possible_captions(example(caption="a, b, c"), CaptionOptions(tag_dropout=0.5)) == 8
    assert possible_captions(read("{a|b} {c|d|e}"), AS_WRITTEN) == 6
    assert possible_captions(example(caption=",".join("x" * 500)), shuffled) == 10**9
    assert longest_captions(read("a {b|long one|c}")) == ["a long one"]


def test_several_captions_come_from_lines_lists_and_columns(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "0.txt").write_text("a TOK\n\nthe TOK\n")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "1.png", "text": ["TOK one", "TOK two"], "more": ""}\n'
        '{"file_name": "2.png", "text": "TOK three", "more": "TOK four"}\n'
    )

    def said(column: str | None, *, lines: bool) -> list[set[str]]:
        reading = read_examples(
            tmp_path, prompt=None, caption_column=column, role=Role.INSTANCE, pixel_limit=100, background="white"
        )
        read = read_variants(reading.examples, lines=lines, wildcards=False, folder=None)
        return [set(worded(one, AS_WRITTEN, 40)) for one in read]

    assert said(None, lines=False) == [{"a TOK the TOK"}, {"TOK one", "TOK two"}, {"TOK three"}]
    assert said("text, more", lines=True) == [{"a TOK", "the TOK"}, {"TOK one", "TOK two"}, {"TOK three", "TOK four"}]
    with pytest.raises(DataError, match="no column 'nothing'"):
        said("text, nothing", lines=False)


def test_batches_see_the_worded_captions_and_twins_the_written_ones() -> None:
    options = CaptionOptions(dropout=0.5)
    settings = OrderSettings(
        batch_size=2, repeats=1, targets=(Size(64, 64),), views=AS_IT_IS, class_captions={"a TOK": "a dog"},
        captions=options,
    )  # fmt: skip
    order = BatchOrder([example("a", caption="a TOK"), example("b", caption="a TOK")], settings=settings)
    seen = [order.captions_at(step) for step in range(100)]
    assert {captions[2:] for captions in seen} == {("a dog", "a dog")}
    dropped = [caption == "" for captions in seen for caption in captions[:2]]
    assert 70 < sum(dropped) < 130
    assert seen == [order.captions_at(step) for step in range(100)]
