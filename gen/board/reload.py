"""New ROM contents in a routed design, without synthesis: seconds instead of minutes.

A block RAM keeps a *column slice* of a ROM, one bit of its row over 512 addresses (ECP5) or 256
(iCE40), in a place that only the contents tell. So a design is built once with random ROM images,
the placeholders, and `ecpbram` or `icebram` finds their slices and puts others there. Both say
little about how that went (ecpbram reports success when it found nothing): this module finds the
slices first, works out what every block RAM must hold afterwards, and compares.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.tools import run
from hw.contract.files import write_atomically
from hw.contract.spec import SternaError

__all__ = ["ReloadError", "read_rows", "swap_ecp5", "swap_ice40"]

Bits = npt.NDArray[np.uint8]
Swaps = Sequence[tuple[Path, Path]]


class ReloadError(SternaError, ValueError):
    """ROM contents that cannot be put into a routed design."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a family's text form of a routed design keeps block RAMs.

    Parameters
    ----------
    header
        Pattern of the line that opens a block RAM's contents.
    digits, bits
        Hexadecimal digits and bits of one number of the contents; the lowest bit comes first.
    rows
        Addresses of one column slice.
    slices
        Per slice that a block RAM may have, in any of its widths: the places of its bits.
    """

    header: str
    digits: int
    bits: int
    rows: int
    slices: npt.NDArray[np.int64]


def _ecp5_slices() -> npt.NDArray[np.int64]:
    """Project Trellis: 2048 numbers of 9 bits; the narrow widths leave every ninth bit out."""
    address = np.arange(512)
    places = []
    for width in (1, 2, 4, 9, 18, 36):
        used = 8 if width < 9 else 9
        for column in range(36 if width >= 9 else 32):
            bit = (address + column // width * 512) * width + column % width
            places.append(bit // used * 9 + bit % used)
    return np.array(places)


def _ice40_slices() -> npt.NDArray[np.int64]:
    """Project IceStorm: 256 words of 16 bits. Yosys spreads the narrow widths over a word in
    bit-reversed order."""
    address = np.arange(256)
    reversed_bits = np.array([int(f"{n:04b}"[::-1], 2) for n in range(16)])
    places = []
    for width in (2, 4, 8, 16):
        for column in range(16):
            bit = (address + column // width * 256) * width + column % width
            places.append(bit // 16 * 16 + reversed_bits[bit % 16])
    return np.array(places)


ECP5 = Layout(header=r"\.bram_init \d+", digits=3, bits=9, rows=512, slices=_ecp5_slices())
ICE40 = Layout(header=r"\.ram_data \d+ \d+", digits=64, bits=256, rows=256, slices=_ice40_slices())


def swap_ecp5(config: Path, target: Path, roms: Swaps) -> dict[str, Any]:
    """Replace ROM contents in nextpnr-ecp5's `--textcfg` file through ecpbram.

    Parameters
    ----------
    config
        The design routed with the placeholders. A swap always starts from it: slices of real
        weights need not be unique.
    target
        Where the new configuration goes, whole or not at all; may be `config`.
    roms
        (placeholder, new contents) of every ROM to change, both as `$readmemh` files of the same
        number of rows.

    Returns
    -------
    dict
        `roms`, `slices` and `brams` that were changed.

    Raises
    ------
    ReloadError
        When files do not fit together, a slice of a placeholder is not exactly once in the
        design, or what the tool wrote is not what it should have been.
    ToolError
        When the tool is missing or fails.
    """

    def tool(folder: Path, old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8]) -> None:
        # Filled up to hexadecimal digits with slices that are nowhere in the design.
        filler = _filler(-len(old) % 4, old.shape[1])
        _write_hex(folder / "old.hex", np.vstack([old, filler]))
        _write_hex(folder / "new.hex", np.vstack([new, filler]))
        run("ecpbram", ["-i", "in", "-o", "out", "-f", "old.hex", "-t", "new.hex"], folder, "log")

    return _swap(ECP5, tool, config, target, roms)


def swap_ice40(asc: Path, target: Path, roms: Swaps) -> dict[str, Any]:
    """Replace ROM contents in nextpnr-ice40's `--asc` file through icebram; see `swap_ecp5`."""

    def tool(folder: Path, old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8]) -> None:
        # icebram takes hexadecimal digits, that is four slices, and wants every one to be in the
        # design. Up to three are left over: they go with slices that the first pass leaves alone.
        count, rest = len(old), len(old) % 4
        if count < 4:
            raise ReloadError(f"icebram needs 4 columns of ROM at least, not {count}")
        first = new.copy()
        if rest:
            first[count - 4 :] = old[count - 4 :]
        passes = [(old[: count - rest], first[: count - rest])]
        if rest:
            passes.append((old[count - 4 :], new[count - 4 :]))
        for before, after in passes:
            _write_hex(folder / "old.hex", before)
            _write_hex(folder / "new.hex", after)
            run("icebram", ["old.hex", "new.hex"], folder, "log", stdin="in", stdout="out")
            (folder / "out").replace(folder / "in")
        (folder / "in").rename(folder / "out")

    return _swap(ICE40, tool, asc, target, roms)


def _swap(layout: Layout, tool: Any, source: Path, target: Path, roms: Swaps) -> dict[str, Any]:
    try:
        text = source.read_text()
    except OSError:
        raise ReloadError(f"Routed design {source} cannot be read") from None
    old, new, owners = _all_slices(layout, roms)
    frame, brams = _parse(layout, text, source)
    places = _find(layout, brams, old, owners, source)
    for (name, place), bits in zip(places, new, strict=True):
        brams[name][place] = bits
    with tempfile.TemporaryDirectory(dir=source.parent, prefix="swap") as name:
        folder = Path(name)
        (folder / "in").write_text(text)
        tool(folder, old, new)
        written = (folder / "out").read_text()
    frame_after, after = _parse(layout, written, source)
    if frame_after != frame or any((after[name] != brams[name]).any() for name in brams):
        raise ReloadError(f"The tool did not write the new ROM contents into {source}")
    write_atomically(target, written.encode())
    return {"roms": len(roms), "slices": len(old), "brams": len({name for name, _ in places})}


def read_rows(path: Path) -> list[int]:
    """The rows of a `$readmemh` file without addresses.

    Raises
    ------
    ReloadError
        When it cannot be read or holds something else.
    """
    try:
        lines = [line.partition("//")[0].split() for line in path.read_text().splitlines()]
        rows = [int(word, 16) for line in lines for word in line]
    except (OSError, ValueError):
        raise ReloadError(f"ROM image {path} must be a file of hexadecimal rows") from None
    if not rows:
        raise ReloadError(f"ROM image {path} must have at least one row")
    return rows


def _all_slices(layout: Layout, roms: Swaps) -> tuple[Bits, Bits, list[Path]]:
    """Column slices of all ROMs, old and new, (n, rows) each, and whose slice it is."""
    if not roms:
        raise ReloadError("A swap needs at least one ROM")
    old, new, owners = [], [], []
    for before, after in roms:
        rows, others = read_rows(before), read_rows(after)
        if len(rows) != len(others):
            raise ReloadError(f"ROM image {after} must have {len(rows)} rows, not {len(others)}")
        width = max(rows).bit_length()
        if max(others).bit_length() > width:
            raise ReloadError(f"ROM image {after} must have rows of {width} bits, as {before}")
        old.append(_slices(layout, rows, width))
        new.append(_slices(layout, others, width))
        owners += [before] * len(old[-1])
    return np.vstack(old), np.vstack(new), owners


def _slices(layout: Layout, rows: Sequence[int], width: int) -> Bits:
    """(slices, addresses) of a ROM; Yosys fills the unused rows of a block RAM with zeros."""
    size = -(-width // 8)
    data = np.frombuffer(b"".join(r.to_bytes(size, "little") for r in rows), dtype=np.uint8)
    bits = np.unpackbits(data.reshape(len(rows), size), axis=1, bitorder="little")[:, :width]
    padded = np.vstack([bits, np.zeros((-len(rows) % layout.rows, width), dtype=np.uint8)])
    blocks = padded.reshape(-1, layout.rows, width).transpose(0, 2, 1)
    return np.ascontiguousarray(blocks.reshape(-1, layout.rows))


def _filler(count: int, rows: int) -> Bits:
    return np.random.default_rng(1).integers(0, 2, (count, rows), dtype=np.uint8)


def _write_hex(path: Path, slices: Bits) -> None:
    """Any slices, a multiple of four, as the columns of one ROM."""
    digits = slices.reshape(-1, 4, slices.shape[1]).transpose(2, 0, 1) @ (1 << np.arange(4))
    path.write_text("".join("".join(f"{d:x}" for d in row) + "\n" for row in digits[:, ::-1]))


def _parse(layout: Layout, text: str, source: Path) -> tuple[Any, dict[str, Bits]]:
    """All else of a routed design, and the bits of its block RAMs by their header."""
    brams = {}

    def take(match: re.Match[str]) -> str:
        numbers = [int(word, 16) for word in match[2].split()]
        size = -(-layout.bits // 8)
        data = np.frombuffer(b"".join(n.to_bytes(size, "little") for n in numbers), dtype=np.uint8)
        bits = np.unpackbits(data.reshape(-1, size), axis=1, bitorder="little")[:, : layout.bits]
        brams[match[1]] = bits.reshape(-1)
        return match[1]

    pattern = rf"^({layout.header})\n((?:[0-9a-f]{{{layout.digits}}}\s+)+)"
    rest = re.sub(pattern, take, text, flags=re.M)
    if any(len(bits) <= layout.slices.max() for bits in brams.values()):
        raise ReloadError(f"Routed design {source} is damaged: a block RAM is not whole")
    # ecpbram writes the tiles of a group in another order and without repetition.
    lines = (tuple(sorted(set(line.split()))) for line in rest.splitlines() if line.strip())
    return list(lines), brams


def _find(
    layout: Layout, brams: Mapping[str, Bits], old: Bits, owners: list[Path], source: Path
) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Block RAM and places of every slice."""
    wanted = {slice_.tobytes(): n for n, slice_ in enumerate(np.packbits(old, axis=1))}
    if len(wanted) < len(old):
        raise ReloadError(
            "Placeholder ROM images must be random: two columns are equal (or nearly empty blocks)"
        )
    found: dict[int, list[tuple[str, npt.NDArray[np.int64]]]] = {n: [] for n in range(len(old))}
    for name, bits in brams.items():
        for place, key in zip(layout.slices, np.packbits(bits[layout.slices], axis=1), strict=True):
            n = wanted.get(key.tobytes())
            if n is not None:
                found[n].append((name, place))
    for n, places in found.items():
        if len(places) != 1:
            raise ReloadError(
                f"ROM image {owners[n]} is not what {source} was built with: a column of it is "
                f"{len(places)} times in the design, not once"
            )
    return [places[0] for places in found.values()]
