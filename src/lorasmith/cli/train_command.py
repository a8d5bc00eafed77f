"""Owns `lorasmith train`: hands words to the config and the config to the run; trains nothing itself."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lorasmith.cli.talk import give, give_exactly, say, tell_notice
from lorasmith.config.explain import with_origins
from lorasmith.config.flags import flag_help
from lorasmith.config.load import Loaded, load_arguments
from lorasmith.config.reference import without_secrets
from lorasmith.errors import ConfigError, LorasmithError

TAKES_CONFIG = {"ignore_unknown_options": True, "help_option_names": list[str]()}

USAGE = """Usage: lorasmith train [FILES.toml…] [OPTIONS]
       lorasmith train --resume RUN

Train a LoRA on a folder of pictures. Values are taken from the defaults, then the recipe, then the files from left to
right, then the flags; `lorasmith config show --origins` says where each came from.

Examples:
  lorasmith train --data.instance-images pictures --data.instance-prompt "a photo of TOK" --output.folder wolf
  lorasmith train wolf.toml --recipe character --adapter.rank 64 --dry-run
  lorasmith train --pretrained_model_name_or_path stabilityai/stable-diffusion-xl-base-1.0 \\
      --instance_data_dir pictures --instance_prompt "a photo of TOK" --train_text_encoder_ti --output_dir wolf

The flags of diffusers' advanced DreamBooth script work too: `lorasmith config flags` lists them.

This command:
  --dry-run         Print what would be done, without loading any weights, and leave.
  --resume RUN      Go on with a stopped run, exactly, with its own options.
  --leave-out NAME  Train without these: the .json of `lorasmith check`, or a picture's name (several times).
  --json            Print the plan or the result as JSON.
  --debug           Show the traceback of a failure.
  --help            Show this help and leave.

Lists take a comma list or the flag several times; `none` unsets; switches take true or false, or --no-….
"""

OWN_FLAGS = ("--dry-run", "--resume", "--leave-out", "--json", "--debug", "--help")

Words = Annotated[list[str] | None, typer.Argument(metavar="[FILES] [OPTIONS]")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", context_settings=TAKES_CONFIG, add_help_option=False)(train)


def _show_help(asked: bool) -> None:
    if asked:
        give(f"{USAGE}\n{flag_help()}")
        raise typer.Exit


def train(
    words: Words = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run")] = False,
    resume: Annotated[Path | None, typer.Option("--resume")] = None,
    leave_out: Annotated[list[str] | None, typer.Option("--leave-out", "--leave_out")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    show_help: Annotated[bool, typer.Option("--help", is_eager=True, callback=_show_help)] = False,
) -> None:
    """Train a LoRA on a folder of pictures."""
    del show_help
    words = [*(words or []), *(f"--data.leave-out={name}" for name in leave_out or ())]
    if resume is not None:
        _resume(resume, words, dry_run=dry_run, as_json=as_json)
        return
    loaded = load(words)
    with _naming_origins(loaded):
        if dry_run:
            _show_what_would_be_done(loaded, as_json=as_json)
        else:
            _train(loaded, as_json=as_json)


def load(words: Sequence[str]) -> Loaded:
    """The config that files and flags say; its notices are told."""
    loaded = load_arguments(words, also_known=OWN_FLAGS)
    for notice in loaded.notices:
        tell_notice(notice)
    return loaded


@contextmanager
def _naming_origins(loaded: Loaded) -> Generator[None]:
    """Refusals that name an option say as well who set it."""
    try:
        yield
    except LorasmithError as error:
        error.problems = with_origins(error.problems, loaded.origins)
        raise


# The use cases bring torch and diffusers along, which takes seconds; `--help` and a mistyped flag must not wait for
# them. That is why this package alone imports inside functions.


def _train(loaded: Loaded, *, as_json: bool) -> None:
    from lorasmith.cli.progress_bar import showing

    origins = {path: str(origin) for path, origin in loaded.origins.items()}
    token = loaded.hub_token
    with showing() as emit:
        if loaded.resume_from is None:
            from lorasmith.runs.train import train as train_run

            folder = train_run(loaded.config, origins=origins, emit=emit, hub_token=token)
        else:
            from lorasmith.runs.going_on import go_on_or_train

            folder = go_on_or_train(loaded.config, loaded.resume_from, origins=origins, emit=emit, hub_token=token)
    _tell_where_it_is(folder, as_json=as_json)


def _resume(folder: Path, words: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    if words or dry_run:
        extra = " ".join([*without_secrets(words), *(["--dry-run"] if dry_run else [])])
        raise ConfigError(
            f"--resume goes on with the run's own options, and these were given too: {extra}",
            where="command line",
            remedy="Leave them out, or start another run in another folder.",
        )
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.train import resume as resume_run

    with showing() as emit:
        done = resume_run(folder, emit=emit)
    _tell_where_it_is(done, as_json=as_json)


def _show_what_would_be_done(loaded: Loaded, *, as_json: bool) -> None:
    from lorasmith.cli.plan_table import show_plan
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.plan import plan_run

    with showing() as emit:
        plan = plan_run(loaded.config, emit)
    if as_json:
        give_exactly(json.dumps(plan.as_json(), indent=2))
    else:
        show_plan(plan)


def _tell_where_it_is(folder: Path, *, as_json: bool) -> None:
    if as_json:
        give_exactly(json.dumps({"run": str(folder), "export": str(folder / "export")}))
        return
    say(f"Done. Exports: {folder / 'export'}; report: {folder / 'report.html'}; the run:")
    give(str(folder))
