"""The worked examples of the documentation are run; its prose can be read in any window; its links
lead somewhere. `make docs` checks the latter more thoroughly, with tools that the tests lack."""

import doctest
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

import sterna

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PROSE_COLUMNS = 120
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
PACKAGES = ("hw", "gen", "sim", "sw")


@pytest.mark.parametrize(
    "page", ["arithmetic.md", "network-file.md", "cycles.md", "ip.md", "python.md", "data.md"]
)
def test_examples(page):
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_fits_a_window(page):
    """Tables and code are as wide as they must be."""
    code, long = False, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("```"):
            code = not code
        elif not code and not text.startswith("|") and len(line) > PROSE_COLUMNS:
            long.append(number)
    assert not long, f"prose of more than {PROSE_COLUMNS} columns"


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    blocks = r"^```.*?^```|^ {4}.*?$"
    return re.sub(blocks, "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_in_blocks_of_code(page):
    """A line that begins with `>>>` is a quotation elsewhere."""
    assert not re.findall(r"^>>>.*$", prose(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def dead_links(page: Path) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading of one."""
    text, dead = re.sub(r"`[^`]*`", "", prose(page)), []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        to = (page.parent / name).resolve() if name else page
        if re.match(r"[a-z]+:", link):
            continue
        if not to.is_file() or (anchor and anchor not in anchors(to)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, [c](x.md)\n[1](#a-b-c) [2](#a) [3](no.md) [4](page.md#d) [5](https://e)"
    )
    assert dead_links(page) == ["x.md", "#a", "no.md", "page.md#d"]


def test_every_page_is_in_the_navigation():
    """Once, and with nothing that is not there."""
    toc = yaml.safe_load((DOCS / "_toc.yml").read_text())
    named = [toc["root"], *(e["file"] for part in toc["subtrees"] for e in part["entries"])]
    there = [page.relative_to(ROOT).with_suffix("").as_posix() for page in PAGES]
    assert sorted(named) == sorted(there)


def test_the_api_page_has_every_public_name():
    text = (DOCS / "api.md").read_text()
    named = re.findall(r"^\.\. auto\w+:: sterna\.(\w+)$", text, re.MULTILINE)
    named += re.findall(r"^\.\. automodule:: sw\.report\.(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted(sterna.__all__)


def test_every_room_is_on_the_map():
    """CONTRIBUTING has a line for each, under its folder."""
    (text,) = re.findall(
        r"^```\n(hw/.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE
    )
    found, folder = set(), ""
    for line in text.splitlines():
        folder = line[:6].strip() or folder
        found.add(folder + line.split()[1 if line[0] != " " else 0])
    rooms = {path.parent for name in PACKAGES for path in (ROOT / name).glob("*/__init__.py")}
    assert found == {room.relative_to(ROOT).as_posix() for room in rooms}


def test_commits_are_checked_as_make_check_does():
    (hooks,) = (
        repo["hooks"]
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    )
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [line.strip().removeprefix("@$(VENV)/bin/") for line in recipe.splitlines()]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == commands
    assert all(hook["language"] == "system" for hook in hooks)
