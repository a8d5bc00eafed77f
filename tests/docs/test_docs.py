"""What README and guides say is so: every command in them runs, every link resolves, every option they name exists."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from lorasmith import embedded
from lorasmith.cli.app import app, main
from lorasmith.cli.train_command import OWN_FLAGS
from lorasmith.config.flags import options, sections
from lorasmith.config.load import load_arguments
from lorasmith.config.reference_flags import REFERENCE_FLAGS
from lorasmith.config.train import OwnRecipe
from lorasmith.errors import StoppedError
from lorasmith.models import hub_files
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import train
from lorasmith.testing import pictures
from lorasmith.testing.fake_hub import FakeHub

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
GUIDES = [page for page in PAGES if page.name not in ("CHANGELOG.md", "README.zh.md")]
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

# Minutes become seconds; everything else is run as it stands.
SHORTER_TRAINING = ["--schedule.steps", "2", "--validation.steps", "1"]
SHORTER_DRAWING = ["--steps", "1"]


def by_name(page: Path) -> str:
    """A page's name as a test id."""
    return page.relative_to(ROOT).as_posix()


def commands_of(page: Path) -> list[str]:
    """Every line of the page's bash blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def reader(hub: FakeHub, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `pictures` in it, where the shipped base and the hub's are a tiny one, and a hub to push to."""
    del hub
    pictures(tmp_path / "pictures", 4)
    lay_other_trainers_configs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "path", lambda: tiny_base)
    monkeypatch.setattr(hub_files, "snapshot_download", partial(_downloaded, str(tiny_base)))
    return tmp_path


def lay_other_trainers_configs(folder: Path) -> None:
    """What somebody has who comes from another trainer."""
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    dataset = {"caption_ext": "txt", "folder_path": "pictures", "resolution": [64]}
    process = {"type": "sd_trainer", "network": {"linear": 4}, "datasets": [dataset], "train": {"steps": 4}}
    contents: dict[str, object] = {
        "onetrainer.json": {
            "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE", "base_model_name": base,
            "resolution": "64", "concepts": [{"path": "pictures"}],
        },
        "ai-toolkit.yaml": {"job": "extension", "config": {
            "name": "toolkit", "process": [{**process, "model": {"is_xl": True, "name_or_path": base}}],
        }},
        "config.json": {"model_family": "sdxl", "model_type": "lora", "max_train_steps": 4},
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "10_thing").symlink_to(folder / "pictures")
    (folder / "train.sh").write_text(
        f"accelerate launch sdxl_train_network.py --network_dim 4 --pretrained_model_name_or_path {base} "
        "--train_data_dir . --resolution 64 --max_train_steps 4 --output_name kohya --mixed_precision no\n",
        encoding="utf-8",
    )


def _downloaded(folder: str, name: str, **_: object) -> str:
    """Stands for the hub: every base is the one in `folder`, and every VAE its own."""
    if name == "madebyollin/sdxl-vae-fp16-fix":
        return str(Path(folder) / "vae")
    assert name == "stabilityai/stable-diffusion-xl-base-1.0"
    return folder


def run_as_written(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Do what a reader who types the line would do; fails when it fails."""
    words = shlex.split(line)
    match words:
        case ["make", *targets]:
            assert set(targets) <= MAKE_TARGETS
        case ["source", path]:
            assert path == ".venv/bin/activate"
        case ["OMP_NUM_THREADS=1", "lorasmith", *arguments]:
            run_lorasmith(arguments, capsys)
        case ["lorasmith", *arguments, ">", target]:
            Path(target).write_text(run_lorasmith(arguments, capsys), encoding="utf-8")
        case ["lorasmith", *arguments]:
            run_lorasmith(arguments, capsys)
        case _:
            pytest.fail(f"nobody checks this command: {line}")


def run_lorasmith(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run one lorasmith command to its end; what it said on stdout."""
    prepare_run_for(arguments)
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(shortened(arguments))
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    return said.out


def shortened(arguments: list[str]) -> list[str]:
    """The same command, done in a second."""
    match arguments:
        case ["train", *rest] if "--resume" not in rest:
            return [*arguments, *SHORTER_TRAINING]
        case ["generate", *_]:
            return [*arguments, *SHORTER_DRAWING]
        case ["evaluate", *_]:
            return [*arguments, "--quick", *SHORTER_DRAWING]
        case ["merge", *_]:
            return [*arguments, "--steps", "2", "--drawing-steps", "1", "--pictures", "1"]
        case ["bench", *_]:
            return [*arguments, "--base", str(embedded.path()), "--rounds", "1", "--warm-up", "0"]
        case _:
            return arguments


def prepare_run_for(arguments: list[str]) -> None:
    """A page may begin with a run that its reader has: a stopped one to resume, a finished one to use."""
    stop = StopSignal()
    match arguments:
        case ["train", "--resume", run]:
            stop.ask()
        case ["generate", _, option, *_] if option.startswith("--"):
            return  # no run is named
        case ["generate" | "verify" | "push" | "evaluate" | "best", run, *_]:
            pass
        case _:
            return
    if not Path(run).exists():
        words = ["--data.instance-images", "pictures", "--data.instance-prompt", "a photo of TOK"]
        config = load_arguments([*words, "--output.folder", run, *SHORTER_TRAINING]).config
        if stop.is_set():
            with pytest.raises(StoppedError):
                train(config, stop=stop)
        else:
            train(config)


@pytest.mark.parametrize("page", [page for page in GUIDES if commands_of(page)], ids=by_name)
@pytest.mark.usefixtures("reader")
def test_every_command_on_the_page_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in commands_of(page):
        run_as_written(line, capsys)


def test_the_readme_shows_the_two_commands_first() -> None:
    assert commands_of(ROOT / "README.md")[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"<!--.*?-->|```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not resolves(page, link)] == []


def resolves(page: Path, link: str) -> bool:
    """Whether there is such a file, and such a heading in it where one is named."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", GUIDES, ids=by_name)
def test_every_option_that_is_named_exists(page: Path) -> None:
    text = without_other_programs(page.read_text(encoding="utf-8"))
    flags = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))
    assert {flag for flag in flags if flag.replace("-", "_") not in known_flags()} == set()
    names = {group.name for group in sections() if group.name}
    dotted = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", text) if name.partition(".")[0] in names}
    assert {name for name in dotted if name not in options() and not name.endswith((".py", ".json"))} == set()


def without_other_programs(text: str) -> str:
    """The page without commands that are not lorasmith's: the hub's, and blocks that are not `bash`."""
    blocks = re.compile(r"^```(\w*)\n.*?^```$", re.DOTALL | re.MULTILINE)
    return re.sub(r"`hf [^`]*`", "", blocks.sub(lambda block: block.group() if block[1] == "bash" else "", text))


@cache
def known_flags() -> frozenset[str]:
    """Every flag of every command, ours and the reference script's, with underscores for dashes."""
    switches = {f"no_{path}" for path, option in options().items() if option.kind in ("switch", "section")}
    trained = {f"--{name}" for name in {*options(), *REFERENCE_FLAGS, *switches}} | set(OWN_FLAGS)
    return frozenset(flag.replace("-", "_") for flag in trained | set(flags_below(typer.main.get_command(app))))


def flags_below(command: Any) -> Iterator[str]:
    """The flags of a command of typer's (which brings its own click along) and of those below it."""
    for parameter in command.params:
        yield from parameter.opts + parameter.secondary_opts
    for below in getattr(command, "commands", dict[str, Any]()).values():
        yield from flags_below(below)


@pytest.mark.parametrize("name", get_args(OwnRecipe))
def test_a_recipe_loads_and_says_what_the_readme_says(name: str) -> None:
    config = load_arguments(["--recipe", name]).config
    row = re.search(rf"^\| `{name}` \|.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    assert f"rank {config.adapter.rank}, {config.schedule.steps_per_picture} steps for each picture" in row.group()
    assert ("class images" in row.group()) == (config.prior is not None)


def test_the_demo_trains_on_pictures_that_are_there_with_prompts_that_name_the_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_arguments(["examples/demo.toml"]).config
    folder = config.data.instance_images
    assert folder is not None
    captions = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
    assert len(captions) == len(list(folder.glob("*.png"))) == 8
    assert all("TOK" in text.split() for text in (*captions, *config.validation.prompts))


def test_every_difference_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "differences-from-diffusers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (C-\d+) \|.*\| (?:`(test_\w+)`|–) \|$", page, re.MULTILINE)
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert sorted(int(number.removeprefix("C-")) for number, _ in rows) == list(range(1, len(rows) + 1))
    assert len(rows) >= 29
    assert [number for number, name in rows if not name] == ["C-25"]
    assert [name for _, name in rows if name and f"def {name}(" not in tests] == []
