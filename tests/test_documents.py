"""The documents are true: the README's example runs, its tree is there, and the table of components is the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import TASK_CASES
from tunesmith.documentation import components_page, paragraph_of
from tunesmith.experiment import FAMILIES
from tunesmith.overviews import data_page, methods_page, tasks_page
from tunesmith.tasks import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_components_page_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    assert page == components_page(), "write it anew: python -m tunesmith components --markdown > docs/components.md"
    assert all(f"`{name}`" in page for members in FAMILIES.values() for name in members)


def test_the_pages_of_tasks_methods_and_data_are_what_the_code_says() -> None:
    made = {"tasks": tasks_page(ROOT / "examples"), "methods": methods_page(), "data": data_page()}
    for name, page in made.items():
        written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        again = f"python -m tunesmith components --markdown {name} > docs/{name}.md"
        assert written == page, f"write it anew: {again}"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_needs_measures_and_does_with_long_texts(name: str) -> None:
    assert all(paragraph_of(TASKS[name], title) for title in ("Needs", "Metrics", "Long texts"))
    metrics = re.findall(r"[\w@]+", paragraph_of(TASKS[name], "Metrics"))
    for case, (task, _) in TASK_CASES.items():
        if type(task) is TASKS[name]:
            assert task.metric in metrics, case


def test_every_recipe_is_named_on_the_page_of_tasks() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert all(f"(../examples/{path.name})" in page for path in (ROOT / "examples").glob("*.yaml"))


def test_the_examples_of_the_readme_are_as_short_as_it_says() -> None:
    first, second = code_blocks("python")
    assert len([line for line in first.splitlines() if line.strip()]) == 12
    assert len(second.strip().splitlines()) <= 20


def test_the_method_of_the_readme_is_the_example_that_runs() -> None:
    _, method = code_blocks("python")
    example = (ROOT / "examples" / "custom_method.py").read_text(encoding="utf-8")
    for line in method.splitlines():
        assert line.partition("  #")[0].strip() in example, line


def test_the_folders_of_the_readme_are_there() -> None:
    tree = README.partition("## Where things are")[2].split("```")[1]
    for line in tree.strip().splitlines():
        name = line.split()[0]
        assert (ROOT / name).exists() or (ROOT / "src" / "tunesmith" / name).exists(), name


def test_links_and_pictures_of_the_documents_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_page_has_a_place_that_was_left_to_fill_in() -> None:
    left = [
        f"{page.relative_to(ROOT)}: {found.group()}"
        for page in PAGES
        for found in re.finditer(r"@[A-Z][A-Z0-9_]*@|\bTODO\b|\bTBD\b", page.read_text(encoding="utf-8"))
    ]
    assert not left


def test_every_page_of_evidence_stands_in_its_table() -> None:
    folder = ROOT / "docs" / "evidence"
    table = (folder / "README.md").read_text(encoding="utf-8")
    assert [
        page.name for page in folder.glob("*.md") if page.name != "README.md" and f"({page.name})" not in table
    ] == []


@pytest.mark.slow
def test_the_twelve_lines_of_the_readme_run(tmp_path: Path) -> None:
    script = tmp_path / "twelve.py"
    script.write_text(code_blocks("python")[0].replace("runs/readme", str(tmp_path / "run")), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"test: F1 0\.\d{3}, 95 % interval 0\.\d{3} to", done.stdout)
    assert "Span(" in done.stdout
