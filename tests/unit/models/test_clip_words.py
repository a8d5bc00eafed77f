"""The words that a single file leaves out are CLIP's own: 49,408 of them, padded as SDXL's two tokenizers pad."""

from lorasmith.models.sdxl import bundled


def test_ids_are_those_that_clip_gives() -> None:
    first, second = bundled.tokenizers()
    for tokenizer in (first, second):
        assert len(tokenizer) == 49_408
        assert tokenizer.model_max_length == 77
        assert tokenizer("a photo of a dog").input_ids == [49406, 320, 1125, 539, 320, 1929, 49407]
        assert tokenizer("Hello  World.").input_ids == [49406, 3306, 1002, 269, 49407]
        assert tokenizer.convert_ids_to_tokens([0, 255, 256, 511, 512, 49405, 49406, 49407]) == [
            *("!", "Ń", "!</w>", "Ń</w>", "in", "jekyll</w>", "<|startoftext|>", "<|endoftext|>"),
        ]


def test_the_first_pads_with_the_end_of_text_and_the_second_with_zeros() -> None:
    first, second = bundled.tokenizers()
    assert first("dog", padding="max_length").input_ids[2:5] == [49407] * 3
    assert second("dog", padding="max_length").input_ids[2:5] == [49407, 0, 0]


def test_two_tokenizers_share_nothing_that_new_tokens_change() -> None:
    first, second = bundled.tokenizers()
    first.add_tokens(["<s0>"])
    assert (len(first), len(second), len(bundled.tokenizers().first)) == (49_409, 49_408, 49_408)
