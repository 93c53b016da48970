"""The boards that Sterna makes bitstreams for by name, and how any other one is found: by its file,
among those of amaranth-boards, or in the folder where it was built."""

from pathlib import Path

from gen.family.registry import FAMILIES
from gen.wiring.board import Board, BoardError, Wiring, constraints
from gen.wiring.board_file import DESCRIPTION, board_of_platform, describe_again, read_board
from gen.wiring.platforms import has_module
from hw.contract.text import none_of

__all__ = ["BOARDS", "Board", "BoardError", "Wiring", "constraints", "find_board"]

ULX3S = FAMILIES["ecp5"]
ICEBREAKER = FAMILIES["ice40"]
TANG_NANO = FAMILIES["gowin"]

BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s_85f",
            title="Radiona ULX3S-85F",
            number=1,
            family=ULX3S,
            chip=ULX3S.chips["LFE5U-85F"],
            package="CABGA381",
            grade="6",
            platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
            loader="ulx3s",
            model="mnist-dense",
        ),
        Board(
            name="icebreaker",
            title="1BitSquared iCEBreaker",
            number=2,
            family=ICEBREAKER,
            chip=ICEBREAKER.chips["iCE40UP5K"],
            package="sg48",
            platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
            loader="ice40_generic",
            sram=False,
            flash=True,
            model="mnist-dense",
        ),
        Board(
            name="tang_nano_9k",
            title="Sipeed Tang Nano 9K",
            number=3,
            family=TANG_NANO,
            chip=TANG_NANO.chips["GW1NR-9C"],
            package="QN88P",
            grade="C6/I5",
            platform="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
            loader="tangnano9k",
            model="digits-dense",
        ),
    )
}


def find_board(name: str, *built: Path) -> Board:
    """The board of that name: one of `BOARDS`, of a file (`NAME.toml`), or of amaranth-boards
    (its module, with `.CLASS` behind where there are several).

    Parameters
    ----------
    built
        Folders where a board of that name may have been built: then it is that of the first that
        holds one, though its file is gone.

    Raises
    ------
    BoardError
        For any other name; the sentence lists what there is, and where it was looked for. For a
        file that is no board's; and for a board of amaranth-boards that lacks what is needed.
    """
    if name in BOARDS:
        return BOARDS[name]
    if name.endswith(".toml"):
        return read_board(Path(name), BOARDS)
    for folder in built:
        board = describe_again(folder)
        if board is not None and board.name == name:
            return board
    module, _, cls = name.partition(".")
    if has_module(module):
        return board_of_platform(module, cls)
    more = ", NAME.toml or a board of amaranth-boards"
    for folder in built:
        if (folder / DESCRIPTION).is_file():
            raise BoardError(
                f"File {folder / DESCRIPTION} must describe board {name!r}, and does not: name the "
                "board's own file"
            )
        more = f", NAME.toml, a board of amaranth-boards or one that was built in {folder}"
    raise BoardError(none_of("Board", name, BOARDS, more))
