"""Owns the `lorasmith` command: its subcommands, and which exit code each ending has; does no work itself."""

import errno
import logging
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from lorasmith import __version__
from lorasmith.cli import (
    base_commands,
    bench_command,
    best_command,
    cache_command,
    caption_command,
    check_command,
    config_commands,
    convert_command,
    doctor_command,
    evaluate_command,
    experiments_command,
    generate_command,
    import_command,
    inspect_command,
    merge_command,
    push_command,
    train_command,
    verify_command,
    world_command,
)
from lorasmith.cli.talk import clean, give, quieten_libraries, report_refusal, report_unexpected
from lorasmith.errors import LorasmithError, ResourceError

_DEBUG = "--debug"

app = typer.Typer(
    name="lorasmith",
    help="A handful of pictures in, a LoRA for SDXL-class models out.",
    epilog="--debug, anywhere, shows the traceback of a failure.",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train_command.add_to(app)
check_command.add_to(app)
generate_command.add_to(app)
caption_command.add_to(app)
evaluate_command.add_to(app)
merge_command.add_to(app)
verify_command.add_to(app)
inspect_command.add_to(app)
convert_command.add_to(app)
push_command.add_to(app)
config_commands.add_to(app)
base_commands.add_to(app)
bench_command.add_to(app)
world_command.add_to(app)
best_command.add_to(app)
experiments_command.add_to(app)
cache_command.add_to(app)
import_command.add_to(app)
doctor_command.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave with its exit code (see `lorasmith.errors`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _write_any_file_name()
    _log_to_stderr()
    quieten_libraries()
    debug = _DEBUG in words
    try:
        app(args=[word for word in words if word != _DEBUG], prog_name="lorasmith")
    except LorasmithError as error:
        report_refusal(error)
        raise SystemExit(error.exit_code) from None
    except Exception as error:  # noqa: BLE001  # the last stop: whatever comes here becomes a sentence and exit code 1
        raise SystemExit(_leave_after(error, debug=debug)) from None
    raise SystemExit(0)


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """A handful of pictures in, a LoRA for SDXL-class models out."""
    if version:
        give(f"lorasmith {__version__}")
        raise typer.Exit


def _leave_after(error: Exception, *, debug: bool) -> int:
    """Report what the use cases did not foresee; the exit code."""
    # torch's own class is named here, not imported: a refusal of `lorasmith config` must not load torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        report_refusal(ResourceError("there is not enough memory", remedy=_LESS_MEMORY))
        return ResourceError.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        report_refusal(ResourceError(f"the disk is full: {error.filename or 'a file could not be written'}"))
        return ResourceError.exit_code
    report_unexpected(error, debug=debug)
    return LorasmithError.exit_code


_LESS_MEMORY = (
    "Use --runtime.gradient-checkpointing, a smaller --schedule.batch-size (with --schedule.gradient-accumulation) "
    "or a smaller --data.resolution."
)


class _Talk(logging.Handler):
    """Shows log lines on whatever stderr is at the time, so that a progress bar stays below them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(clean(self.format(record)) + "\n")


def _log_to_stderr() -> None:
    logger = logging.getLogger("lorasmith")
    if not logger.handlers:
        logger.addHandler(_Talk())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _write_any_file_name() -> None:
    """File names that are not UTF-8 must not end a command when they are shown."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
