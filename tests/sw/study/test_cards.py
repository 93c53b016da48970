"""The page of the networks that ship is what `make cards` makes."""

from pathlib import Path

import pytest

from gen.board.boards import Board
from gen.core.plan import PlanError
from hw.contract.network import Network
from sw.data.shipped import model_path, shipped_models
from sw.study.cards import DATA_SETS, card, page, study

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()


def load(name: str) -> Network:
    return Network.load(model_path(name))


def test_a_card_is_that_of_the_network() -> None:
    """One of them, which takes a second: what changes others mostly changes it, too."""
    text = card(load("nmnist-conv"))
    assert f"\n{text}" in PAGE, "run make cards"
    assert "| test, **integers** | 287/300 (95.67 %) |" in text
    activity = "12,399 events, 868,481 synaptic operations"
    assert f"| activity an image, every step's spikes played | {activity} |" in text
    assert "`tang_nano_9k` | does not fit: with 8 lanes, one program core it needs" in text


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_every_card_is_that_of_its_network(name: str) -> None:
    assert f"\n{card(load(name))}" in PAGE, "run make cards"


def test_the_page_begins_as_it_is_made_and_has_a_card_for_each() -> None:
    assert PAGE.startswith(page([])), "run make cards"
    networks = [Network.load(path) for path in shipped_models().values()]
    assert [line[3:] for line in PAGE.splitlines() if line.startswith("## ")] == [
        "Data sets",
        *(network.spec.name for network in networks),
    ]
    for network in networks:
        assert f"| digest | `{network.digest}` |" in PAGE, f"{network.spec.name}: run make cards"
        assert network.meta["dataset"] in DATA_SETS


@pytest.fixture
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No board holds anything."""

    def plan_board(board: Board, network: Network) -> None:
        raise PlanError(f"{network.spec.name} on {board.name}: too (by far) large; so it is")

    monkeypatch.setattr("sw.study.cards.plan_board", plan_board)


@pytest.mark.usefixtures("unplanned")
def test_a_converted_networks_card_says_how() -> None:
    text = card(load("digits-augmapping"))
    assert "`--mode augmapping --steps 2 --divisor 4`" in text
    assert "| test, ReLU network | 355/364 (97.53 %) |" in text
    assert "| `icebreaker` | does not fit: too large |" in text


@pytest.mark.usefixtures("unplanned")
def test_the_page_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "digits-conv"
    monkeypatch.setattr("sw.study.cards.shipped_models", lambda: {name: model_path(name)})
    said: list[str] = []
    assert study(tmp_path / "models.md", said.append) == {"networks": [name]}
    assert said == [name]
    assert (tmp_path / "models.md").read_text() == page([load(name)])
