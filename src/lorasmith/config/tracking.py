"""Owns which trackers a run is shown in, besides its own files; imports none of them."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import field_validator

from lorasmith.config.section import Section
from lorasmith.run_folder import names_in_a_run

TRACKERS = ("tensorboard", "wandb", "trackio")
ALL_INSTALLED = "all"


class TrackingConfig(Section):
    """Where else its curves and pictures are shown."""

    report_to: tuple[str, ...] = ()
    """Trackers besides the run's own files: tensorboard, wandb, trackio, or all that are installed."""

    project: str = "lorasmith"
    """Under which project Weights & Biases and trackio list the run."""

    folder: Path = Path("tracking")
    """Folder of the trackers' files; a relative path lies inside the run folder."""

    @field_validator("report_to")
    @classmethod
    def trackers_are_ones_we_know(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """A misspelled tracker would be missed only when somebody looks for its curves."""
        told = tuple(dict.fromkeys(name.strip().lower() for name in names))
        if "comet_ml" in told:
            raise ValueError(
                f"comet_ml is not supported: it needs an account and keeps nothing here; take {_listed(TRACKERS)}"
            )
        unknown = [name for name in told if name not in (*TRACKERS, ALL_INSTALLED)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no tracker; there are {_listed(TRACKERS)}, and all")
        return told

    @field_validator("project")
    @classmethod
    def project_has_a_plain_name(cls, project: str) -> str:
        """Trackers make addresses and file names of it."""
        if not project.strip() or len(project) > 100 or any(character in '/\\#?%:"<>|*' for character in project):
            raise ValueError('must be a name of at most 100 characters without / \\ # ? % : " < > | *')
        return project.strip()

    @field_validator("folder")
    @classmethod
    def folder_is_nobody_elses(cls, folder: Path) -> Path:
        """Trackers' files among the exports would be shared with them."""
        if folder.is_absolute() or folder.parts[:1] == ("~",):
            return folder
        if not folder.parts or ".." in folder.parts:
            raise ValueError("must be a folder inside the run folder, or an absolute path")
        if folder.parts[0] in names_in_a_run() - {"tracking"}:
            raise ValueError(f"{folder.parts[0]!r} in a run folder is for the run's own files; name another")
        return folder


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
