"""The design of a board as files: Verilog, ROM images, placeholders, flash image, manifest."""

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.back import verilog

from gen.board.flash_image import flash_image
from gen.core.hardware import AnyPlan, core_of, input_layout, input_shape, input_words, rom_files
from gen.core.plan import CorePlan, PlanError
from gen.core.rom import rom_text
from gen.core.verilog import core_facts
from hw.contract.files import write_files, write_json
from hw.contract.link import LENGTH_MAX, VERSION
from hw.memory.sources import verilog_source
from hw.top.board import BoardSpec, BoardTop
from hw.top.loader import DIGEST_ROWS
from hw.top.self_test import TestImages

__all__ = ["BOARD_TOP", "DIGEST_FILE", "generate_board", "identity"]

BOARD_TOP = "sterna_board"
DIGEST_FILE = "rom/digest.hex"


def identity(plan: AnyPlan, board: BoardSpec) -> list[int]:
    """Words 0 .. 15 of the mailbox (docs/link.md), without the digest: it is put in at power-up.

    Raises
    ------
    PlanError
        When an image is longer than a frame of the link.
    """
    spec, layout = plan.network.spec, input_layout(plan)
    bits, words = input_shape(plan)
    channels, _, columns = layout.shape if layout else (0, 0, 0)
    positions = layout.positions if layout else 0
    if words * bits // 8 > LENGTH_MAX:
        raise PlanError(
            f"Images of {spec.name} must be of at most {LENGTH_MAX:,} bytes to be sent to a "
            f"board, not {words * bits // 8:,}"
        )
    return [
        VERSION | board.number << 8,
        *[0] * 8,
        spec.input_size,
        spec.input_bits | spec.timed_input << 8 | spec.steps << 16,
        spec.classes | channels << 16,
        plan.lanes | plan.banks << 16 | positions << 24,
        board.clock_hz,
        board.baud,
        words * bits // 8 | columns << 16,
    ]


def digest_rows(digest: str) -> list[int]:
    """Contents of the digest's ROM: its 8 words, then nothing."""
    raw = bytes.fromhex(digest)
    words = [int.from_bytes(raw[k : k + 4], "little") for k in range(0, len(raw), 4)]
    return words + [0] * (DIGEST_ROWS - len(words))


def board_roms(plan: AnyPlan) -> dict[str, str]:
    """Text of every ROM image of a board whose weights come with the bitstream."""
    head = f"// digest of {plan.network.spec.name}; network {plan.network.digest[:16]}\n"
    rows = "".join(f"{row:08x}\n" for row in digest_rows(plan.network.digest))
    return rom_files(plan) | {DIGEST_FILE: head + rows}


def placeholders(files: dict[str, str], widths: dict[str, int]) -> dict[str, str]:
    """Random contents of the same shape, always the same for a file's name: what is synthesised,
    so that the real contents can be put in afterwards (gen/board/reload.py). `widths` are in
    bits."""
    result = {}
    for name, text in files.items():
        rng = random.Random(name)
        rows = [line for line in text.splitlines() if not line.startswith("//")]
        digits = len(rows[0])
        lines = "".join(f"{rng.getrandbits(widths[name]):0{digits}x}\n" for _ in rows)
        result[name] = f"// placeholder of {name}\n{lines}"
    return result


REPEATS = 64
IMAGES_FILE = "rom/images.hex"


def _test_images(plan: AnyPlan, images: npt.NDArray[np.uint8]) -> TestImages:
    rows, (_, words) = input_words(plan, images), input_shape(plan)
    return TestImages(rows=rows, words=words, repeats=REPEATS, file=IMAGES_FILE)


def _image_rom(plan: AnyPlan, played: TestImages | None) -> dict[str, str]:
    if played is None:
        return {}
    head = f"{played.images} test images"
    return {IMAGES_FILE: rom_text(head, played.rows, input_shape(plan)[0])}


def _rom_widths(plan: CorePlan) -> dict[str, int]:
    """Bits of a row of each ROM."""
    widths = {DIGEST_FILE: 32, IMAGES_FILE: input_shape(plan)[0]}
    for n, (layer, g) in enumerate(zip(plan.network.layers, plan.geometries, strict=True)):
        for part, lanes in enumerate(g.slices):
            for b in range(g.banks):
                widths[plan.rom_file(n, b, part)] = len(lanes) * layer.spec.weight_bits
    return widths


def generate_board(
    plan: AnyPlan,
    board: BoardSpec,
    name: str,
    folder: Path,
    test_images: npt.NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """Write the board's design; return its manifest, which is `board.json` too.

    `sterna_board.v` and the Verilog it needs; `rom/*.hex`, the weights, and
    `placeholder/rom/*.hex`, or `flash.bin` for a board that loads its weights. A shared core has
    no placeholders: its tables are too short to be found again by their contents. Equal plans give
    equal bytes.

    Parameters
    ----------
    plan, board, name
        The core; the board's numbers and name.
    folder
        Where to; made if need be.
    test_images
        Images (n, input_size) that are put on the chip, to be played at full speed
        (`hw.top.self_test`).

    Raises
    ------
    PlanError
        When an image is longer than a frame of the link.
    """
    played = None if test_images is None else _test_images(plan, test_images)
    top = BoardTop(
        board,
        core_of(plan, events=True),
        words=input_shape(plan)[1],
        classes=plan.network.spec.classes,
        identity=identity(plan, board),
        digest=digest_rows(plan.network.digest),
        digest_file=DIGEST_FILE,
        test_images=played,
    )
    text = verilog.convert(top, name=BOARD_TOP, strip_internal_attrs=True, emit_src=False)
    head = f"// {name}, made by Sterna; the weights are in files of their own.\n"
    files: dict[str, bytes] = {f"{BOARD_TOP}.v": (head + text).encode()}
    sources = [f"{BOARD_TOP}.v", "sterna_spram.v" if plan.loaded else "sterna_rom.v"]
    files[sources[1]] = verilog_source(sources[1]).encode()
    roms: dict[str, str] = {}
    random_roms: dict[str, str] = {}
    if isinstance(plan, CorePlan) and plan.loaded:
        files["flash.bin"] = flash_image(plan)
    else:
        roms = board_roms(plan) | _image_rom(plan, played)
        if isinstance(plan, CorePlan):
            random_roms = placeholders(roms, _rom_widths(plan))
    files |= {file: rows.encode() for file, rows in roms.items()}
    files |= {f"placeholder/{file}": rows.encode() for file, rows in random_roms.items()}
    facts = {
        "board": name,
        "network": plan.network.spec.name,
        "digest": plan.network.digest,
        "top": BOARD_TOP,
        "sources": sources,
        "roms": sorted(roms),
        "placeholders": bool(random_roms),
        "test_images": played and [played.images, played.repeats],
        "clock_hz": board.clock_hz,
        "baud": board.baud,
        "flash_address": board.flash_address,
        "schedule": plan.schedule,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "memories": list(plan.memories),
        "fire_lanes": plan.fire_lanes,
        "lean": plan.lean,
        "steps": plan.network.spec.steps,
        "input_bits": plan.network.spec.input_bits,
        **core_facts(plan),
        "files": sorted(files),
        "hardware": hashlib.sha256(b"".join(files[name] for name in sources)).hexdigest(),
    }
    write_files(folder, files, owned=["rom/*.hex", "placeholder/rom/*.hex"])
    write_json(folder / "board.json", facts)
    return facts
