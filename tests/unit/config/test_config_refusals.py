"""Everything that is wrong with a config, in one report that says what, where and what to do."""

from pathlib import Path

import pytest

from lorasmith.config.explain import with_origins
from lorasmith.config.load import load_arguments, load_config
from lorasmith.errors import ConfigError, Problem


def refusals(files: list[Path], flags: list[str]) -> tuple[Problem, ...]:
    """What is wrong."""
    with pytest.raises(ConfigError) as caught:
        load_config(files, flags)
    assert caught.value.exit_code == 2
    return caught.value.problems


def only(problems: tuple[Problem, ...]) -> Problem:
    """The only problem."""
    (problem,) = problems
    return problem


def wolf(folder: Path, text: str) -> Path:
    """A TOML file with the text."""
    path = folder / "wolf.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--adapter.rnak", "--adapter.rank"),
        ("--optimizer.lerning_rate", "--optimizer.learning-rate"),
        ("--instance_data_dirr", "--instance_data_dir"),
        ("--steps_per_picture", "--schedule.steps-per-picture"),
        ("--dryrun", "--dry-run"),
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest_one(flag: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_arguments([flag, "3"], also_known=["--dry-run"])
    problem = only(caught.value.problems)
    assert problem.what == f"there is no option {flag}"
    assert problem.remedy == f"Did you mean {meant}?"


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [("--adapter", "--adapter.kind"), ("-h", "--help"), ("--xyzzy", "--help")],
)
def test_a_section_a_short_flag_and_nonsense_are_refused_with_what_to_say(flag: str, remedy: str) -> None:
    assert remedy in str(only(refusals([], [flag])).remedy)


def test_an_unknown_key_is_refused_at_its_line_with_the_nearest_one(tmp_path: Path) -> None:
    file = wolf(tmp_path, "[adapter]\n\nrnk = 3")
    problem = only(refusals([file], []))
    assert problem == Problem("there is no option adapter.rnk", f"{file}:3", "Did you mean adapter.rank?")


def test_an_unknown_section_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    problems = refusals([wolf(tmp_path, "[adaptor]")], [])
    assert only(problems).remedy == "Did you mean adapter?"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[adapter]\nrank = "16"', "adapter.rank is '16' and must be a whole number"),
        ("[adapter]\nrank = 1.5", "adapter.rank is 1.5 and must be a whole number"),
        ("[adapter]\nrank = true", "adapter.rank is true and must be a whole number"),
        ("[adapter]\ntext_encoders = 1", "adapter.text_encoders is 1 and must be true or false"),
        ("[adapter]\nalpha = 'x'", "adapter.alpha is 'x' and must be a number or none"),
        ("[model]\nbase = 3", "model.base is 3 and must be a text"),
        ("[tokens]\nabstractions = [1]", "tokens.abstractions is [1] and must be a text or a list of texts"),
        ("[adapter.rank]\nx = 1", "adapter.rank is a table and must be a whole number"),
        ("adapter = 3", "adapter is a section, not an option"),
    ],
)
def test_a_wrong_type_in_a_file_is_a_sentence_with_value_and_line(tmp_path: Path, text: str, what: str) -> None:
    file = wolf(tmp_path, text)
    problem = refusals([file], [])[0]
    assert problem.what == what
    assert problem.where is not None
    assert problem.where.startswith(f"{file}:")


@pytest.mark.parametrize(
    ("flags", "what", "where"),
    [
        (["--adapter.rank", "many"], "adapter.rank is 'many' and must be a whole number", "--adapter.rank"),
        (["--optimizer.eps", "nan"], "optimizer.eps is 'nan' and must be a number", "--optimizer.eps"),
        (["--rank", "0"], "adapter.rank is 0 and must be at least 1", "--rank"),
        (["--schedule.pivot", "1.5"], "schedule.pivot is 1.5 and must be at most 1", "--schedule.pivot"),
        (["--optimizer.learning-rate", "-1"], "optimizer.learning_rate is -1 and must be more than 0",
         "--optimizer.learning-rate"),
        (["--data.flip=maybe"], "data.flip is 'maybe' and must be true or false", "--data.flip"),
        (["--adapter.rank"], "--adapter.rank needs a value", "command line"),
        (["--adapter.rank", "--data.flip"], "--adapter.rank needs a value", "command line"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_flag_is_a_sentence_with_value_and_flag(flags: list[str], what: str, where: str) -> None:
    problem = only(refusals([], flags))
    assert (problem.what, problem.where) == (what, where)


def test_an_unknown_choice_names_the_nearest_one() -> None:
    problem = only(refusals([], ["--optimizer.name", "prodgy"]))
    assert problem.remedy == "Did you mean prodigy?"


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("kind", "name"), ("type", "name"), ("nmae", "name"), ("d00", "d0"), ("eightbit", "eight-bit")],
)
def test_an_unknown_option_of_a_section_names_the_nearest_of_that_section(flag: str, meant: str) -> None:
    problem = only(refusals([], [f"--optimizer.{flag}", "x"]))
    assert problem.remedy == f"Did you mean --optimizer.{meant}?"


def test_an_unknown_option_in_a_file_names_the_nearest_of_its_section(tmp_path: Path) -> None:
    file = wolf(tmp_path, '[optimizer]\nkind = "adamw"')
    assert only(refusals([file], [])).remedy == "Did you mean optimizer.name?"


def test_an_option_of_another_optimizer_is_refused_with_its_place(tmp_path: Path) -> None:
    file = wolf(tmp_path, '[optimizer]\nname = "adamw"\nd_coef = 2')
    problem = only(refusals([file], []))
    assert problem.what == "optimizer.d_coef belongs to prodigy and schedule_free_prodigy, and optimizer.name is adamw"
    assert problem.where == f"{file}:3"


def test_all_problems_come_in_one_report(tmp_path: Path) -> None:
    file = wolf(tmp_path, '[adapter]\nrnk = 1\nrank = "x"\n[schedule]\nsteps = 0')
    problems = refusals([file, tmp_path / "missing.toml"], ["--data.flop", "--adapter.dropout", "2"])
    text = "\n".join(str(problem) for problem in problems)
    for part in ("rnk", "rank is 'x'", "schedule.steps is 0", "missing.toml", "--data.flop", "dropout is 2"):
        assert part in text
    assert len(problems) == 6


def test_broken_toml_is_refused_with_line_and_column(tmp_path: Path) -> None:
    file = wolf(tmp_path, "[adapter]\nrank = = 3")
    assert only(refusals([file], [])).where == f"{file}:2:8"


def test_toml_that_ends_too_early_is_refused_at_its_last_line(tmp_path: Path) -> None:
    file = wolf(tmp_path, '[validation]\nprompts = ["a",')
    assert only(refusals([file], [])).where == f"{file}:2:16"


def test_a_file_that_is_not_text_and_a_folder_are_refused(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\xff\xfe")
    assert "not UTF-8" in only(refusals([picture], [])).what
    assert "--data.instance-images" in str(only(refusals([tmp_path], [])))


@pytest.mark.parametrize(
    "flags",
    [
        ["--adapter.rank", "8", "--adapter.rank", "16"],
        ["--rank", "8", "--adapter.rank=16"],
        ["--data.flip", "--no-data.flip"],
        ["--random_flip", "--data.flip=false"],
        ["--prior", "none", "--prior.class-prompt", "a dog"],
    ],
)
def test_the_same_thing_said_twice_differently_is_refused_naming_both(flags: list[str]) -> None:
    text = str(only(refusals([], flags)))
    for flag in (word.partition("=")[0] for word in flags if word.startswith("--")):
        assert flag in text


def test_the_same_value_said_twice_is_fine() -> None:
    flags = ["--adapter.rank", "8", "--rank=8", "--adapter.rank", "8"]
    assert load_config([], flags).config.adapter.rank == 8


def test_a_rule_across_sections_names_the_places_it_follows_from(tmp_path: Path) -> None:
    file = wolf(tmp_path, "[prior]\nnum_class_images = 20")
    problem = only(refusals([file], []))
    assert "prior.class_prompt" in problem.what
    assert problem.where == f"{file}:2"


def test_rules_across_sections_wait_until_every_value_is_understood() -> None:
    problem = only(refusals([], ["--prior.num-class-images", "20", "--prior.class_promt", "a dog"]))
    assert problem.what == "there is no option --prior.class_promt"


def test_a_word_among_overrides_is_refused() -> None:
    assert "'pictures'" in only(refusals([], ["pictures"])).what


def test_a_missing_file_among_arguments_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.toml"):
        load_arguments(["nowhere.toml"])


def test_an_unknown_recipe_is_refused_wherever_it_was_said() -> None:
    assert only(refusals([], ["--recipe", "stile"])).remedy == "Did you mean style?"
    with pytest.raises(ConfigError, match="'stile'"):
        load_config([], recipe="stile")


def test_a_refusal_from_later_on_names_who_set_its_option(tmp_path: Path) -> None:
    file = wolf(tmp_path, '[data]\ninstance_images = "nowhere"')
    loaded = load_config([file])
    problems = [Problem("no such folder", "data.instance_images"), Problem("too big", "data.resolution"), Problem("x")]
    assert with_origins(problems, loaded.origins) == (
        Problem("no such folder", f"data.instance_images, {file}:2"),
        *problems[1:],
    )  # fmt: skip


@pytest.mark.parametrize(("device", "is_fine"), [("cuda:1", True), ("auto", True), ("cuad", False), ("gpu", False)])
def test_a_device_nobody_has_is_refused_before_anything_is_read(device: str, is_fine: bool) -> None:
    if is_fine:
        assert load_config([], ["--runtime.device", device]).config.runtime.device == device
    else:
        what = only(refusals([], ["--runtime.device", device])).what
        assert what == f"runtime.device is {device!r} and must be auto, cuda, cuda:N, mps or cpu"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--tokens.look-alike", "Ann,Bob"], "tokens.look_alike has 2 entries for 1 token abstractions"),
        (["--tokens.look-alike", "TOK Ann"], "must be plain words without a token abstraction, not 'TOK Ann'"),
        (["--tokens.look-alike", "Ann", "--no-tokens.enabled"], "without them write it into the captions"),
    ],
)
def test_a_look_alike_that_could_not_stand_behind_a_token_is_refused(flags: list[str], why: str) -> None:
    assert why in only(refusals([], flags)).what
