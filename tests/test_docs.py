"""Every Python block of the README and the docs runs, and every example is short and runs."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# These need libraries that are not always there; their tests are beside those of their subject.
ELSEWHERE = ("coming-from-spaces.md", "coming-from-ray.md")
# Ten seconds and more each, most of them the compiler's; what they show is tested in their rooms.
LONG = (
    *("bayesian-optimization.md", "early-stopping.md", "populations.md"),
    *("distributed_sweep.py", "hyper_cleaning.py", "hypergradient.py"),
)
RUN = [
    pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in LONG else ())
    for page in PAGES
    if page.name not in ELSEWHERE
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# Starting a cluster's processes takes longer than all that the example is about.
CLUSTERS = ("dask_cluster.py", "ray_cluster.py")
TO_RUN = [
    pytest.param(e, id=e.name, marks=pytest.mark.slow if e.name in CLUSTERS + LONG else ())
    for e in EXAMPLES
]


def python_blocks(page):
    """The page's Python, block after block, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))


def run(program, folder):
    # Much of a page's time is the compiler's; a page runs or not however hard that tries.
    environment = {**os.environ, "JAXHPO_CACHE": "0", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    # What an example takes as its size comes from the command line.
    command = [sys.executable, "-W", "error::FutureWarning", *program, "8"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("page", RUN)
def test_code_blocks_run(page, tmp_path):
    code = python_blocks(page)
    if not code:
        return
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("script", TO_RUN)
def test_examples_run(script, tmp_path):
    done = run([str(script)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "best" in done.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.name)
def test_examples_stay_short(script):
    assert len(script.read_text().splitlines()) < 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link
