"""A bitstream onto a board, through openFPGALoader."""

import hashlib
import re
from pathlib import Path
from typing import Any

from gen.board.bitstream import REPORT
from gen.board.boards import Board
from gen.family.tools import LOADER, ToolError, find, run
from hw.contract.files import read_json
from hw.system.progress import Progress, silent

__all__ = ["FlashError", "flash", "flash_built"]

NO_BOARD = re.compile(
    r"unable to open|device not found|no device found|failed to claim|init failed", re.I
)
"""How openFPGALoader's versions and cables say that nothing answers on USB."""


class FlashError(ToolError):
    """A board that cannot be reached, or refuses its bitstream."""


FILE = {"board": str, "network": str, "bitstream": str, "bitstream_sha256": str}
REPORTED = (
    {**FILE, "flash_address": None},
    {**FILE, "flash_address": int, "flash_image": str, "flash_image_sha256": str},
)
"""What `report.json` must say."""


def flash_built(
    board: Board, folder: Path, *, permanent: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Load what `gen.board.build` left in a folder; return its report.

    Parameters
    ----------
    permanent
        See `flash`.

    Raises
    ------
    FlashError
        When nothing is finished there, it is for another board, or a file is not the one that the
        report is about; and as `flash`.
    ToolError
        When openFPGALoader is missing.
    """
    try:
        report = read_json(folder / REPORT, REPORTED)
    except (OSError, ValueError, RecursionError):
        raise FlashError(
            f"Folder {folder} must hold a finished bitstream: run sterna bitstream first"
        ) from None
    if report["board"] != board.name:
        raise FlashError(
            f"Folder {folder} must hold a bitstream for {board.name}, not for {report['board']}"
        )
    address = report["flash_address"]
    data = None if address is None else _reported(folder, report, "flash_image")
    bitstream = _reported(folder, report, "bitstream")
    flash(board, bitstream, permanent=permanent, data=data, address=address or 0, progress=progress)
    return {**report, "bitstream": str(bitstream)}


def _reported(folder: Path, report: dict[str, Any], name: str) -> Path:
    """A file of the report, as it was built; the folder may have been moved since."""
    path = folder / Path(report[name]).name
    if not path.is_file():
        raise FlashError(f"File {path} does not exist: build the bitstream first")
    if hashlib.sha256(path.read_bytes()).hexdigest() != report[f"{name}_sha256"]:
        raise FlashError(
            f"File {path} must be the one that was built: its SHA-256 is not that in {REPORT}"
        )
    return path


def flash(
    board: Board,
    bitstream: Path,
    *,
    permanent: bool = False,
    data: Path | None = None,
    address: int = 0,
    progress: Progress = silent,
) -> None:
    """Load a bitstream, and a data file before it when there is one.

    Parameters
    ----------
    permanent
        Write the flash, so that the board starts with it, rather than the device's memory. A
        board that cannot take it otherwise is always written permanently.
    data, address
        A file for the board's SPI flash, and the byte address where it goes.

    Raises
    ------
    FlashError
        When a file is missing, the flash is too small or unused on this board, its loader is not
        known, no board answers, or it refuses.
    ToolError
        When openFPGALoader is missing.
    """
    if not board.loader:
        raise FlashError(
            f"Board {board.name} must say what openFPGALoader calls it: give its file a loader, "
            f"or load {bitstream} yourself"
        )
    for file in (bitstream, data):
        if file is not None and not file.is_file():
            raise FlashError(f"File {file} does not exist: build the bitstream first")
    if data is not None:
        _check_data(board, bitstream, data, address)
        progress(f"writing {data.name} to the flash of {board.name} at 0x{address:x}")
        # First, because the board starts as soon as its bitstream is written. Until then there
        # may be none, and the loader waits in vain for the device (CDONE).
        flags = ["--write-flash", "--verify", "--file-type", "bin", "--offset", str(address)]
        _load(board, data, flags, "flash_data.log", progress, ignore="CDONE")
    flags = ["--write-sram"]
    if permanent or not board.sram:
        flags = ["--write-flash", *(["--verify"] if board.flash else [])]
    progress(f"loading {bitstream.name} into {board.name}")
    _load(board, bitstream, flags, "flash.log", progress)


def _check_data(board: Board, bitstream: Path, data: Path, address: int) -> None:
    if not board.flash:
        raise FlashError(f"Board {board.name} reads no flash: its weights are in the bitstream")
    if address % 4096 or address < bitstream.stat().st_size:
        raise FlashError(
            f"Address of the data must be a multiple of 4096 above the bitstream's "
            f"{bitstream.stat().st_size} bytes, not {address}"
        )


def _load(
    board: Board, file: Path, flags: list[str], log: str, progress: Progress, ignore: str = ""
) -> None:
    """One call of openFPGALoader; `ignore`, when given, excuses failures whose lines name it."""
    tool, place = find(LOADER), file.parent / log
    try:
        text = run(tool, ["-b", board.loader, *flags, file.name], file.parent, log, progress)
    except ToolError as error:
        if NO_BOARD.search(place.read_text() if place.is_file() else ""):
            raise FlashError(
                f"Board {board.name} does not answer: is it plugged in, and may you use its USB "
                f"device? (see {place})"
            ) from None
        raise FlashError(f"Board {board.name} was not loaded: {error}") from None
    # It ends with 0 after some failures, and tells them in words only.
    for line in text.splitlines():
        if re.search(r"\bFAIL|\berror\b", line, re.I) and not (ignore and ignore in line):
            raise FlashError(f"Board {board.name} was not loaded: {line.strip()} (see {place})")
