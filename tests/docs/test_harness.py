"""The rules that the pages are read and compared by."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import pages
from docs.comparing import agrees
from docs.following import Shell
from docs.pages import Command, File

PAGE = """\
# A page

<!-- file: rows.json -->
```json
[1]
```

Then:

```console
$ cat rows.json
[1]

$ cat <<END \\
  > made
of $ two
END
$ wc -c \\
  made
```

<!-- not run: it would take a day -->
```console
$ sleep 86400
```
"""


def test_a_page_is_its_files_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    assert pages.steps("page.md") == [
        File("rows.json", "[1]\n"),
        Command("cat rows.json", ("[1]",), 11),
        Command("cat <<END \\\n  > made\nof $ two\nEND", (), 14),
        Command("wc -c \\\n  made", (), 18),
    ]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a 1"], ["a   1"]),
        (["took 1.2 s"], ["took 35.04 s"]),
        (["difference 5.8e-08"], ["difference 0"]),
        (["file:///tmp/0123456789ab.onnx"], ["file:///tmp/ba9876543210.onnx"]),
        (["a", "...", "d"], ["a", "b", "c", "d"]),
        (["a", "..."], ["a"]),
        (["a ... c"], ["a b b c"]),
        (["[1.0004]"], ["[1.0]"]),
        (['{"a": "..."}'], ['{"a": "b"}']),
    ],
)
def test_what_agrees(shown: list[str], printed: list[str]) -> None:
    assert agrees(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a 1"], ["a 2"]),
        (["a"], ["a", "b"]),
        (["a", "..."], []),
        (["[1.2]"], ["[1.3]"]),
        (["[1]"], ["[1,2]"]),
        (["took 1.2 s"], ["took long"]),
        (["file:///tmp/0123456789ab.onnx"], ["file:///tmp/0123456789.onnx"]),
    ],
)
def test_what_does_not(shown: list[str], printed: list[str]) -> None:
    assert not agrees(shown, printed)


def test_a_shell_goes_on_where_it_was(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "deeper").mkdir(parents=True)
    with Shell(work, {"GIVEN": "here"}) as shell:
        assert shell.run("cd deeper; export SAID=this") == ("", 0)
        assert shell.run("echo $GIVEN $SAID; pwd >&2; (exit 3)") == (f"here this\n{work}/deeper\n", 3)
        assert shell.run("cat") == ("", 0)
