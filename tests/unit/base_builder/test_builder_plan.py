"""`lorasmith base build` does every stage once, in order, and goes on where it stopped."""

from pathlib import Path

import pytest

from lorasmith.base_builder import plan
from lorasmith.base_builder.art_folder import find_art
from lorasmith.base_builder.plan import Build, Stage, run_stages, stages, stages_done
from lorasmith.base_builder.recipe import Workshop
from lorasmith.errors import DataError


def made_up(monkeypatch: pytest.MonkeyPatch, *names: str, breaks: str = "") -> list[str]:
    """Puts stages in the plan's place that write down that they ran; `breaks` fails."""
    ran: list[str] = []

    def run(name: str) -> None:
        if name == breaks:
            raise KeyboardInterrupt
        ran.append(name)

    made = tuple(Stage(name, 1.0, lambda name=name: run(name)) for name in names)

    def stages(_: object) -> tuple[Stage, ...]:
        return made

    monkeypatch.setattr(plan, "stages", stages)
    return ran


def test_a_build_that_was_stopped_goes_on_at_the_stage_it_stopped_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build = Build(Workshop(tmp_path / "new"))
    ran = made_up(monkeypatch, "one", "two", "three", breaks="two")
    with pytest.raises(KeyboardInterrupt):
        run_stages(build)
    assert (ran, stages_done(build.workshop)) == (["one"], ("one",))
    told: list[str] = []
    ran = made_up(monkeypatch, "one", "two", "three")
    assert run_stages(build, on_stage=lambda stage: told.append(stage.name)) == 2
    assert ran == told == ["two", "three"]
    assert run_stages(build) == 0


def test_stages_have_names_of_their_own_and_the_sittings_follow_the_share_of_time(tmp_path: Path) -> None:
    whole = stages(Build(Workshop(tmp_path)))
    half = stages(Build(Workshop(tmp_path), share_of_time=0.5))
    assert len({stage.name for stage in whole}) == len(whole)
    assert [stage.seconds / 2 for stage in whole] == [stage.seconds for stage in half]
    assert [stage.name for stage in whole if not stage.seconds] == [
        "prepare",
        "export",
        "pictures for the oracle",
        "export of the oracle",
        "export of the tiny CLIP",
    ]


def test_art_is_found_wherever_the_packages_were_unpacked(tmp_path: Path) -> None:
    files = (
        "deb/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
        "lobehub-fluent-emoji-3d-1.1.0/assets/1f600.webp",
        "npm/lobehub-fluent-emoji-flat-1.1.0/assets/1f600.svg",
        "twemoji-svg-15.0.0/1f600.svg",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    art = find_art(tmp_path)
    assert art.noto_font == tmp_path / files[0]
    assert (art.fluent_3d, art.fluent_flat, art.twemoji) == tuple((tmp_path / name).parent for name in files[1:])


def test_missing_art_is_named(tmp_path: Path) -> None:
    (tmp_path / "NotoColorEmoji.ttf").touch()
    with pytest.raises(DataError, match="Fluent 3D, Fluent flat, Twemoji") as refused:
        find_art(tmp_path)
    assert "Noto colour font" not in str(refused.value)
