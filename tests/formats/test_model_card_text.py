"""The model card says what hubs ask for, and no name or caption can break out of its place."""

# huggingface_hub and markdown-it are only partly typed.
# pyright: reportUnknownMemberType=false

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from lorasmith.export import AdapterKind, AdapterWeights, CardPicture, ExportInfo, NewTokenRows, write_exports
from lorasmith.testing import pictures

Trained = Callable[[AdapterKind], tuple[Any, AdapterWeights]]
HOSTILE = (
    "TOK\n---\nlicense: mit\n# <script>alert(1)</script> ![x](http://evil.example/x.png) [click](javascript:x) "
    "`code` ``` ~~~ \"quote' \\ <img src=x onerror=y> | www.evil.example \x1b[31m\u202eback {{ 7*7 }} 😀 " + '"""'
)


def _front_matter(text: str) -> Any:
    return ModelCard(text).data


def _body_html(text: str) -> str:
    return MarkdownIt("gfm-like", {"linkify": False}).render(text.split("---\n", 2)[2])


def test_the_front_matter_has_what_hubs_read(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    drawn = [CardPicture(path, "a photo of TOK in snow") for path in pictures(tmp_path / "drawn", 2)]
    write_exports(tmp_path / "export", weights, rows=rows, info=info, pictures=drawn)
    card = (tmp_path / "export" / "README.md").read_text()
    data = _front_matter(card)
    assert data.base_model == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (data.base_model_relation, data.license, data.library_name) == ("adapter", "openrail++", "diffusers")
    assert data.instance_prompt == "a photo of <s0><s1>"
    assert {"text-to-image", "stable-diffusion-xl", "lora", "template:sd-lora", "diffusers-training"} <= set(data.tags)
    assert data.widget[1] == {"text": "a photo of <s0><s1> in snow", "output": {"url": "image_1.png"}}
    assert (tmp_path / "export" / "image_1.png").read_bytes() == drawn[1].path.read_bytes()
    assert re.findall(r'<img src="(.*?)"', _body_html(card)) == ["image_0.png", "image_1.png"]


def test_the_card_tells_how_to_write_prompts_in_three_programs(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    card = (tmp_path / "README.md").read_text()
    assert "a photo of my-dog_emb <lora:my-dog:0.8>" in card
    assert "a photo of embedding:my-dog_emb" in card
    assert "pipe('a photo of <s0><s1>', cross_attention_kwargs={\"scale\": 0.8})" in card
    assert "rank 4, alpha 3" in card
    assert "New tokens trained until step: 20" in card


def test_a_dora_says_who_draws_it_exactly(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("dora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    card = (tmp_path / "README.md").read_text()
    assert "dora" in _front_matter(card).tags
    assert "diffusers draws it exactly" in card


def test_a_base_that_is_no_hub_id_is_not_named_as_one(tmp_path: Path, rows: NewTokenRows, info: ExportInfo) -> None:
    for base in ("embedded", "/models/own"):
        write_exports(tmp_path, AdapterWeights({}), rows=rows, info=replace(info, base=base))
        data = _front_matter((tmp_path / "README.md").read_text())
        assert data.base_model is None
        assert data.license == "other"
    assert "/models" not in (tmp_path / "README.md").read_text()


def test_a_card_of_a_run_without_a_prompt_names_none(tmp_path: Path, rows: NewTokenRows, info: ExportInfo) -> None:
    write_exports(tmp_path, AdapterWeights({}), rows=rows, info=replace(info, instance_prompt=""))
    assert "instance_prompt" not in _front_matter((tmp_path / "README.md").read_text()).to_dict()


def test_hostile_names_and_captions_stay_text(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    drawn = [CardPicture(path, HOSTILE) for path in pictures(tmp_path / "drawn", 1)]
    hostile = replace(
        info, name=HOSTILE, base=f"x/{HOSTILE}", instance_prompt=HOSTILE, optimizer=HOSTILE, captions=(HOSTILE,),
        settings={HOSTILE: HOSTILE},
    )  # fmt: skip
    write_exports(tmp_path / "export", weights, rows=rows, info=hostile, pictures=drawn)
    card = (tmp_path / "export" / "README.md").read_text()
    data = _front_matter(card)
    assert (data.license, data.base_model, len(data.widget)) == ("other", None, 1)
    assert "😀" in data.widget[0]["text"]
    assert "\x1b" not in card
    assert "\u202e" not in card
    assert "49" not in card
    body = _body_html(card)
    assert "<script" not in body
    assert "<a " not in body
    assert re.findall(r"<img [^>]*?src=\"(.*?)\"", body) == ["image_0.png"]
    assert "onerror" not in re.sub(r"&lt;img src=x onerror=y&gt;", "", re.sub(r'alt=".*?"', "", body))
    headings = re.findall(r"<h(\d)>(.*?)</h\d>", body)
    assert [level for level, _ in headings] == ["1", *"222222"]
    (snippet,) = re.findall(r"(`{3,})python\n(.*?)\n\1", card, flags=re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(snippet[1])) if isinstance(node, ast.Call)]
    assert {ast.unparse(call.func) for call in calls} <= {
        "torch.cuda.is_available", "DiffusionPipeline.from_pretrained", "DiffusionPipeline.from_pretrained(x).to",
        "getattr", "load_file", "pipe.load_textual_inversion", "pipe.load_lora_weights", "pipe", "image.save",
        ast.unparse(next(call.func for call in calls if ast.unparse(call.func).endswith(").to"))),
    }  # fmt: skip
