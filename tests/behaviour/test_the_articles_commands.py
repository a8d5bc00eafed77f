"""Every command line of the article: it parses, is what its recipe says, plans its number of steps, and trains.

The command lines stand in the recipes' own files, as comments. Base and resolution are swapped for the tiny base's.
"""

import shlex
from pathlib import Path
from typing import get_args

import pytest

from lorasmith.config.load import Loaded, load_config
from lorasmith.config.recipes import recipe_file
from lorasmith.config.train import ArticleRecipe, TrainConfig
from lorasmith.events import Event, StepDone
from lorasmith.runs.plan import plan_run
from lorasmith.runs.train import train
from lorasmith.sizes import Size
from lorasmith.testing import pictures

RECIPES: tuple[str, ...] = get_args(ArticleRecipe)
RUNS = tuple(name for name in RECIPES if "stabilityai" in recipe_file(name).read_text(encoding="utf-8"))
SNIPPETS = tuple(name for name in RECIPES if name not in RUNS)
STEPS = dict(zip([f"article/y2k-v{number}" for number in range(1, 9)], [1500] * 3 + [1000] * 5, strict=True)) | {
    "article/face-75": 450,
    "article/face-100": 600,
    "article/face-120": 720,
}


def flags_of(name: str) -> list[str]:
    """The command line in a recipe's opening comment, as a shell would hand it over."""
    lines = recipe_file(name).read_text(encoding="utf-8").splitlines()
    return shlex.split(" ".join(line.removeprefix("#") for line in lines if line.startswith("#     --")))


def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders the article names, each with six pictures and their captions, where the run starts."""
    monkeypatch.chdir(tmp_path)
    for name in ("huggy_clean", "web_y2k", "face_pictures"):
        pictures(tmp_path / name, 6)
    lines = [f'{{"file_name": "{path.name}", "prompt": "a TOK emoji"}}' for path in Path("huggy_clean").glob("*.png")]
    Path("huggy_clean/metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pictures(tmp_path / "class_images", 4, size=Size(64, 64))
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_says_what_the_articles_command_line_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, monkeypatch)
    said = load_config([], flags_of(name))
    recipe = load_config([], ["--data.instance-images=x"], recipe=name)
    ours, theirs = comparable(recipe.config), comparable(said.config)
    if name.startswith("article/face"):  # steps a picture there, six pictures' steps here
        ours["schedule"] = theirs["schedule"] = {}
    assert ours == theirs
    assert said.notices == ()


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippets_recipe_says_what_the_snippet_says(name: str) -> None:
    pictures_named = "--dataset_name" in " ".join(flags_of(name))
    flags = flags_of(name) if pictures_named else [*flags_of(name), "--instance_data_dir=x"]
    said, recipe = load_config([], flags), load_config([], [], recipe=name)
    spoken = {path for path, origin in said.origins.items() if origin.kind == "flag"}
    spoken -= {"data.instance_images", "data.dataset", "prior.class_images"}
    assert spoken, "the snippet sets something"
    assert {path: values(said)[path] for path in spoken} == {path: values(recipe)[path] for path in spoken}


@pytest.mark.parametrize("name", RUNS)
def test_the_articles_command_line_plans_its_number_of_steps(
    name: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, monkeypatch)
    said = plan_run(load_config([], replaced(flags_of(name), on(tiny_base))).config)
    source = "huggy_clean" if "huggy" in name else "face_pictures"
    with_pictures = {"data.instance-images": source, **in_our_words(tiny_base)}
    recipe = plan_run(
        load_config([], [f"--{path}={value}" for path, value in with_pictures.items()], recipe=name).config
    )
    assert said.steps == recipe.steps == STEPS.get(name, 1000)
    assert said.pivot_step == recipe.pivot_step == said.steps // 2


@pytest.mark.parametrize("name", RECIPES)
def test_the_articles_command_line_trains(
    name: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, monkeypatch)
    short = {
        "max_train_steps": "2",
        "output_dir": "out",
        "report_to": "none",
        "validation_prompt": "a TOK",
        "num_validation_images": "1",
        "validation.steps": "1",
    }
    if "--with_prior_preservation" in flags_of(name):
        short |= {"class_data_dir": "class_images", "num_class_images": "4"}
    if name in SNIPPETS:  # which say nothing of pictures, or name a data set of the hub
        short |= {"dataset_name": "huggy_clean", "instance_prompt": "a TOK", "caption_column": "prompt"}
    config = load_config([], replaced(flags_of(name), on(tiny_base) | short)).config
    events: list[Event] = []
    folder = train(config, emit=events.append)
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2]
    assert (folder / "export" / "pytorch_lora_weights.safetensors").exists()
    assert bool(list((folder / "export").glob("out_emb*.safetensors"))) == config.tokens.enabled


def replaced(flags: list[str], others: dict[str, str]) -> list[str]:
    """A command line with other values; the same thing said twice differently would be refused."""
    kept = [flag for flag in flags if flag.removeprefix("--").split("=")[0] not in others]
    return [*kept, *(f"--{name}={value}" for name, value in others.items())]


def on(base: Path) -> dict[str, str]:
    """The tiny base in SDXL's place, in the script's words."""
    return {
        "pretrained_model_name_or_path": str(base),
        "pretrained_vae_model_name_or_path": "none",
        "resolution": "64",
        "mixed_precision": "no",
    }


def in_our_words(base: Path) -> dict[str, str]:
    """The same in our words."""
    return {"model.base": str(base), "model.vae": "none", "data.resolution": "64", "runtime.precision": "fp32"}


def values(loaded: Loaded) -> dict[str, object]:
    """Every value of a config by its dotted path."""
    found: dict[str, object] = {}
    for section, content in loaded.config.model_dump(mode="json").items():
        if isinstance(content, dict):
            found |= {f"{section}.{name}": value for name, value in content.items()}  # pyright: ignore[reportUnknownVariableType]
    return found


def comparable(config: TrainConfig) -> dict[str, object]:
    """A config without what belongs to the user: which pictures, and where the run goes."""
    dumped = config.model_dump(mode="json", exclude={"recipe": True, "output": True})
    for path in ("instance_images", "dataset"):
        dumped["data"].pop(path)
    return dumped


@pytest.mark.parametrize(("epochs", "due"), [(1, (3, 6, 8)), (2, (6, 8))])
def test_validation_epochs_are_counted_in_epochs(
    epochs: int, due: tuple[int, ...], tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, monkeypatch)
    said = {"validation_epochs": str(epochs), "max_train_steps": "8", "train_batch_size": "2", "report_to": "none"}
    plan = plan_run(load_config([], replaced(flags_of("article/y2k-v1"), on(tiny_base) | said)).config)
    assert plan.steps_per_epoch == 3
    assert plan.validation_steps == due
