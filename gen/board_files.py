"""The design of a board as files: Verilog, ROM images, placeholders, flash image, manifest."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from amaranth.back import verilog

from gen.flash_image import flash_image
from gen.plan import CorePlan
from gen.rom import rom_images
from gen.verilog import layer_facts
from hw.board import BoardSpec, BoardTop
from hw.image import write_atomically
from hw.loader import DIGEST_ROWS

__all__ = ["BOARD_TOP", "DIGEST_FILE", "PROTOCOL_VERSION", "generate_board", "identity"]

BOARD_TOP = "sterna_board"
DIGEST_FILE = "rom/digest.hex"
PROTOCOL_VERSION = 1
HARDWARE = Path(__file__).parent.parent / "hw"


def identity(plan: CorePlan, board: BoardSpec) -> list[int]:
    """Words 0 .. 15 of the mailbox (docs/link.md), without the digest: it is put in at power-up."""
    spec, geometry = plan.image.spec, plan.geometries[0]
    size = geometry.words * geometry.word * geometry.planes // 8
    return [
        PROTOCOL_VERSION | board.number << 8,
        *[0] * 8,
        spec.input_size,
        spec.input_bits | spec.steps << 16,
        spec.classes,
        plan.lanes | plan.banks << 16,
        board.clock_hz,
        board.baud,
        size,
    ]


def digest_rows(digest: str) -> list[int]:
    """Contents of the digest's ROM: its 8 words, then nothing."""
    raw = bytes.fromhex(digest)
    words = [int.from_bytes(raw[k : k + 4], "little") for k in range(0, len(raw), 4)]
    return words + [0] * (DIGEST_ROWS - len(words))


def board_roms(plan: CorePlan) -> dict[str, str]:
    """Text of every ROM image of a board whose weights come with the bitstream."""
    head = f"// digest of {plan.image.spec.name}; network {plan.image.digest[:16]}\n"
    rows = "".join(f"{row:08x}\n" for row in digest_rows(plan.image.digest))
    return rom_images(plan) | {DIGEST_FILE: head + rows}


def placeholders(files: dict[str, str]) -> dict[str, str]:
    """Random contents of the same shape, always the same for a file's name: what is synthesised,
    so that the real contents can be put in afterwards (gen/reload.py)."""
    result = {}
    for name, text in files.items():
        rng = random.Random(name)
        rows = [line for line in text.splitlines() if not line.startswith("//")]
        width = len(rows[0]) * 4
        lines = "".join(f"{rng.getrandbits(width):0{len(rows[0])}x}\n" for _ in rows)
        result[name] = f"// placeholder of {name}\n{lines}"
    return result


def generate_board(plan: CorePlan, board: BoardSpec, name: str, folder: Path) -> dict[str, Any]:
    """Write the board's design; return its manifest, which is `board.json` too.

    `sterna_board.v` and the Verilog it needs; `rom/*.hex`, the weights, and
    `placeholder/rom/*.hex`, or `flash.bin` for a board that loads its weights. Equal plans give
    equal bytes.

    Parameters
    ----------
    plan, board, name
        The core; the board's numbers and name.
    folder
        Where to; made if need be.
    """
    top = BoardTop(
        board, plan.layer_plans(with_files=True), identity=identity(plan, board),
        digest=digest_rows(plan.image.digest), digest_file=DIGEST_FILE,
    )  # fmt: skip
    text = verilog.convert(top, name=BOARD_TOP, strip_internal_attrs=True)
    head = f"// {name}, made by Sterna; the weights are in files of their own.\n"
    files: dict[str, bytes] = {f"{BOARD_TOP}.v": (head + text).encode()}
    sources = [f"{BOARD_TOP}.v", "sterna_spram.v" if plan.loaded else "sterna_rom.v"]
    files[sources[1]] = (HARDWARE / sources[1]).read_bytes()
    if plan.loaded:
        files["flash.bin"] = flash_image(plan)
    else:
        roms = board_roms(plan)
        files |= {file: rows.encode() for file, rows in roms.items()}
        files |= {f"placeholder/{k}": rows.encode() for k, rows in placeholders(roms).items()}
    facts = {
        "board": name,
        "network": plan.image.spec.name,
        "digest": plan.image.digest,
        "top": BOARD_TOP,
        "sources": sources,
        "roms": [] if plan.loaded else sorted(board_roms(plan)),
        "clock_hz": board.clock_hz,
        "baud": board.baud,
        "flash_address": board.flash_address,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "memories": list(plan.memories),
        "fire_lanes": plan.fire_lanes,
        "lean": plan.lean,
        "steps": plan.image.spec.steps,
        "input_bits": plan.image.spec.input_bits,
        "layers": layer_facts(plan),
        "files": sorted(files),
        "hardware": hashlib.sha256(b"".join(files[name] for name in sources)).hexdigest(),
    }
    for old in [*folder.glob("rom/*.hex"), *folder.glob("placeholder/rom/*.hex")]:
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()  # of another layout
    for file, content in files.items():
        write_atomically(folder / file, content)
    write_atomically(folder / "board.json", (json.dumps(facts, indent=1) + "\n").encode())
    return facts
