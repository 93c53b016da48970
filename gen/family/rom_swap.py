"""New ROM contents in a routed design, without synthesis: seconds instead of minutes.

A block RAM keeps a *column slice* of a ROM, one bit of its row over 512 addresses (ECP5) or 256
(iCE40), in a place that only the contents tell. So a design is built once with random ROM files,
the placeholders, and a tool of the family finds their slices and puts others there. These tools say
little about how that went (ecpbram reports success when it found nothing): this module finds the
slices first, works out what every block RAM must hold afterwards, and compares.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError
from hw.contract.files import write_atomically

__all__ = ["Bits", "Layout", "ReloadError", "RomSwap", "read_rows", "write_slices"]

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


@dataclass(frozen=True, kw_only=True)
class RomSwap:
    """A family's way to other ROM contents in a routed design.

    Parameters
    ----------
    layout
        Of the routed design.
    tool
        Called with a folder that has the design as `in`, and the column slices before and after,
        (slices, addresses) each; leaves the design with the new ones as `out`.
    """

    layout: Layout
    tool: Callable[[Path, Bits, Bits], None]

    def __call__(self, source: Path, target: Path, roms: Swaps) -> dict[str, Any]:
        """Replace ROM contents.

        Parameters
        ----------
        source
            The design routed with the placeholders. A swap always starts from it: slices of real
            weights need not be unique.
        target
            Where the new design goes, whole or not at all; may be `source`.
        roms
            (placeholder, new contents) of every ROM to change, both as `$readmemh` files of the
            same number of rows.

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
        try:
            text = source.read_text()
        except OSError:
            raise ReloadError(f"Routed design {source} cannot be read") from None
        old, new, owners = _all_slices(self.layout, roms)
        frame, brams = _parse(self.layout, text, source)
        places = _find(self.layout, brams, old, owners, source)
        for (name, place), bits in zip(places, new, strict=True):
            brams[name][place] = bits
        with tempfile.TemporaryDirectory(dir=source.parent, prefix="swap") as name:
            folder = Path(name)
            write_atomically(folder / "in", text.encode())
            self.tool(folder, old, new)
            written = (folder / "out").read_text()
        frame_after, after = _parse(self.layout, written, source)
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
        raise ReloadError(f"ROM file {path} must be a file of hexadecimal rows") from None
    if not rows:
        raise ReloadError(f"ROM file {path} must have at least one row")
    return rows


def _all_slices(layout: Layout, roms: Swaps) -> tuple[Bits, Bits, list[Path]]:
    """Column slices of all ROMs, old and new, (n, rows) each, and whose slice it is."""
    if not roms:
        raise ReloadError("A swap needs at least one ROM")
    old, new, owners = [], [], []
    for before, after in roms:
        rows, others = read_rows(before), read_rows(after)
        if len(rows) != len(others):
            raise ReloadError(f"ROM file {after} must have {len(rows)} rows, not {len(others)}")
        width = max(rows).bit_length()
        if max(others).bit_length() > width:
            raise ReloadError(f"ROM file {after} must have rows of {width} bits, as {before}")
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


def write_slices(path: Path, slices: Bits) -> None:
    """Write slices, a multiple of four, as the columns of one ROM: a `$readmemh` file."""
    digits = slices.reshape(-1, 4, slices.shape[1]).transpose(2, 0, 1) @ (1 << np.arange(4))
    text = "".join("".join(f"{d:x}" for d in row) + "\n" for row in digits[:, ::-1])
    write_atomically(path, text.encode())


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
            "Placeholder ROM files must be random: two columns are equal (or nearly empty blocks)"
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
                f"ROM file {owners[n]} is not what {source} was built with: a column of it is "
                f"{len(places)} times in the design, not once"
            )
    return [places[0] for places in found.values()]
