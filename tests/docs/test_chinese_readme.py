"""README.zh.md says what README.md says: the same commands, links and sections, in the same order."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```bash\n.*?^```", text, re.DOTALL | re.MULTILINE)


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)\s]+)\)", text)) - {"README.md", "README.zh.md"}


def code_names(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def test_both_readmes_have_the_same_commands() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH) != []


def test_both_readmes_link_to_the_same_pages_and_to_one_another() -> None:
    assert links(CHINESE) == links(ENGLISH)
    assert "(README.zh.md)" in ENGLISH
    assert "(README.md)" in CHINESE


def test_both_readmes_have_as_many_sections_points_and_table_rows() -> None:
    for start in ("## ", "- **", "| `"):
        assert CHINESE.count(f"\n{start}") == ENGLISH.count(f"\n{start}"), start


def test_both_readmes_name_the_same_files_and_options() -> None:
    assert code_names(CHINESE) == code_names(ENGLISH)


def test_the_chinese_readme_is_chinese_in_every_paragraph() -> None:
    prose = re.sub(r"```.*?```|<!--.*?-->", "", CHINESE, flags=re.DOTALL)
    foreign = [part for part in prose.split("\n\n") if len(part) > 40 and not re.search("[\u4e00-\u9fff]", part)]
    assert foreign == []
