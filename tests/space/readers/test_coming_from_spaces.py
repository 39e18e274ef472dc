"""Runs each block of the page on foreign spaces; a block whose library is missing is skipped."""

import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "coming-from-spaces.md"
BLOCKS = dict(re.findall(r"## ([^\n]+)\n\n```python\n(.*?)```", PAGE.read_text(), flags=re.S))


def test_every_reader_has_its_block():
    shown = set(re.findall(r"import (from_\w+)", "".join(BLOCKS.values())))
    from jaxhpo.space import readers

    assert shown == {name for name in vars(readers) if name.startswith("from_")}


@pytest.mark.parametrize("title", list(BLOCKS))
def test_block_runs(title):
    if "from ray" in BLOCKS[title]:
        pytest.importorskip("ray.tune")
    exec(compile(BLOCKS[title], f"{PAGE.name}: {title}", "exec"), {})
