"""Lines of TOML values, for files written in every way TOML allows."""

import tomllib
from pathlib import Path

from lorasmith.config.toml_lines import TABLE, read_toml

TRICKY = """# comment with = and [brackets]
top = "a # not a comment"

[ section . "quoted" ]   # a header
text = \"\"\"
[not.a.table]
x = 1
\"\"\"
after = 'lit\\eral'
a.b = [1,
  [2, "]"], # ]
]
inline = { x = 1, y = { z = 2 } }
[last]
"""


def test_values_and_lines_agree_with_the_standard_reader(tmp_path: Path) -> None:
    path = tmp_path / "tricky.toml"
    path.write_bytes(TRICKY.replace("\n", "\r\n").encode("utf-8-sig"))
    leaves = read_toml(path)
    assert [(leaf.path, leaf.line) for leaf in leaves] == [
        ("top", 2),
        ("section.quoted", 4),
        ("section.quoted.text", 5),
        ("section.quoted.after", 9),
        ("section.quoted.a", 10),
        ("section.quoted.a.b", 10),
        ("section.quoted.inline", 13),
        ("section.quoted.inline.x", 13),
        ("section.quoted.inline.y", 13),
        ("section.quoted.inline.y.z", 13),
        ("last", 14),
    ]
    expected = tomllib.loads(TRICKY)["section"]["quoted"]
    values = {leaf.path.removeprefix("section.quoted."): leaf.value for leaf in leaves if leaf.value is not TABLE}
    assert values["text"] == expected["text"]
    assert values["a.b"] == expected["a"]["b"]
    assert values["after"] == expected["after"]
    assert values["inline.y.z"] == 2
