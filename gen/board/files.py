"""The design of a board as files: Verilog, ROM files, placeholders, flash image, manifest."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.flash_image import flash_image
from gen.core.plan import CorePlan, PlanError
from gen.core.verilog import core_facts
from gen.family.rom_swap import read_rows
from gen.stage.emit import verilog_text
from gen.stage.stage import Rom
from gen.wiring.board import Board
from hw.contract.files import json_text, write_files
from hw.contract.link import LENGTH_MAX, VERSION
from hw.memory.sources import verilog_source
from hw.top.board import BoardSpec, BoardTop
from hw.top.loader import DIGEST_ROWS
from hw.top.sample_store import Samples
from hw.top.self_test import TestImages

__all__ = [
    "BOARD_TOP",
    "DIGEST_FILE",
    "LabelledImages",
    "StoredImages",
    "built_images",
    "generate_board",
    "identity",
]

BOARD_TOP = "sterna_board"

LabelledImages = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]]
"""Images (n, input_size) and labels (n,)."""

StoredImages = npt.NDArray[np.uint8] | LabelledImages | TestImages
"""What is put on a chip to be played at full speed: images (n, image_size) to test with
(`hw.top.self_test`), or as they were packed for a core before, or labelled ones from which a core
learns (`hw.top.sample_store`)."""

DIGEST_FILE = "rom/digest.hex"


def identity(plan: CorePlan, board: BoardSpec) -> list[int]:
    """Words 0 .. 15 of the mailbox (docs/link.md), without the digest: it is put in at power-up.

    Raises
    ------
    PlanError
        When an image is longer than a frame of the link.
    """
    spec, layout = plan.network.spec, plan.layout
    bits, words = plan.input_bits, plan.words
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


def digest_rom(plan: CorePlan) -> dict[str, Rom]:
    """The digest's ROM, of a board without a flash image, which has it."""
    head = f"digest of {plan.network.spec.file_name}; network {plan.network.digest[:16]}"
    digest = Rom(head=head, rows=digest_rows(plan.network.digest), bits=32, swappable=True)
    return {DIGEST_FILE: digest}


def placeholders(roms: dict[str, Rom]) -> dict[str, str]:
    """Random contents of the same shape, always the same for a file's name: what is synthesised,
    so that the real contents can be put in afterwards (gen/family/rom_swap.py)."""
    result = {}
    for name, rom in roms.items():
        rng = random.Random(name)
        rows = [rng.getrandbits(rom.bits) for _ in rom.rows]
        result[name] = replace(rom, head=f"placeholder of {name}", rows=rows).text
    return result


REPEATS = 64
IMAGES_FILE = "rom/images.hex"
SAMPLES_FILE = "rom/samples.hex"


def _packed(plan: CorePlan, stored: StoredImages, loaded: bool) -> TestImages | Samples:
    """In the words of the core; `loaded`: samples come from the flash."""
    if isinstance(stored, TestImages):
        return stored
    if not isinstance(stored, tuple):
        rows = plan.pack(stored)
        return TestImages(rows=rows, words=plan.words, repeats=REPEATS, file=IMAGES_FILE)
    images, labels = stored
    label_bits = plan.stages[0].label_bits
    rows = [
        row | int(labels[n // plan.words]) << plan.input_bits
        for n, row in enumerate(plan.pack(images))
    ]
    return Samples(
        rows=rows,
        words=plan.words,
        bits=plan.input_bits + label_bits,
        label_bits=label_bits,
        file=SAMPLES_FILE,
        loaded=loaded,
    )


def _stored_rom(plan: CorePlan, stored: TestImages | Samples | None) -> dict[str, Rom]:
    match stored:
        case TestImages():
            head, bits = f"{stored.images} test images", plan.input_bits
            return {IMAGES_FILE: Rom(head=head, rows=stored.rows, bits=bits, swappable=False)}
        case Samples(loaded=False):
            head, bits = f"{stored.images} labelled images", stored.bits
            return {SAMPLES_FILE: Rom(head=head, rows=stored.rows, bits=bits, swappable=False)}
    return {}


def built_images(plan: CorePlan, folder: Path, played: Sequence[int] | None) -> TestImages | None:
    """The test images of the board that was generated for a core in `folder`; `played`: its
    `test_images`.

    Raises
    ------
    ReloadError
        When their file cannot be read.
    """
    if not played:
        return None
    rows = read_rows(folder / IMAGES_FILE)
    return TestImages(rows=rows, words=plan.words, repeats=played[-1], file=IMAGES_FILE)


def generate_board(
    plan: CorePlan, spec: BoardSpec, board: Board, folder: Path, stored: StoredImages | None = None
) -> dict[str, Any]:
    """Write the board's design; return its manifest, which is `board.json` too.

    `sterna_board.v` and the Verilog it needs; `rom/*.hex`, the weights, and
    `placeholder/rom/*.hex` for those of them that other weights change, or `flash.bin` for a board
    that loads its weights. A core that learns has no placeholders. Equal plans give equal bytes.

    Parameters
    ----------
    plan, spec, board
        The core; what the top needs of the board, and the board.
    folder
        Where to; made if need be.
    stored
        What is put on the chip.

    Raises
    ------
    PlanError
        When an image is longer than a frame of the link.
    """
    learning = plan.stages[0].port_facts()
    flash = spec.flash_address is not None
    there = None if stored is None else _packed(plan, stored, loaded=flash)
    if isinstance(there, Samples):
        learning = replace(learning, samples=there.images)
    top = BoardTop(
        spec,
        plan.component(events=True),
        words=plan.words,
        classes=plan.network.spec.classes,
        identity=identity(plan, spec),
        digest=digest_rows(plan.network.digest),
        digest_file=DIGEST_FILE,
        learning=learning,
        stored=there,
    )
    head = f"// {board.name}, made by Sterna; the weights are in files of their own.\n"
    files: dict[str, bytes] = {f"{BOARD_TOP}.v": (head + verilog_text(top, BOARD_TOP)).encode()}
    roms = ({} if plan.loaded else plan.roms()) | _stored_rom(plan, there)
    if not flash:
        roms |= digest_rom(plan)
    sources = [f"{BOARD_TOP}.v", *(plan.sources if roms else ())]
    if flash:
        sources.append("sterna_spram.v")
    files |= {name: verilog_source(name).encode() for name in sources[1:]}
    if flash:
        loaded = (there.bits, there.rows) if isinstance(there, Samples) else None
        files["flash.bin"] = flash_image(plan, loaded)
    swapped = {file: rom for file, rom in roms.items() if rom.swappable}
    random_roms = placeholders(swapped) if plan.swappable and not plan.loaded else {}
    files |= {file: rom.text.encode() for file, rom in roms.items()}
    files |= {f"placeholder/{file}": rows.encode() for file, rows in random_roms.items()}
    facts = {
        "board": board.name,
        # By it, a board that is described is found again.
        **({} if board.description is None else {"description": dict(board.description)}),
        "network": plan.network.spec.name,
        "digest": plan.network.digest,
        "top": BOARD_TOP,
        "sources": sources,
        "roms": sorted(roms),
        "placeholders": sorted(random_roms),
        "test_images": [there.images, REPEATS] if isinstance(there, TestImages) else None,
        "samples": there.images if isinstance(there, Samples) else 0,
        "clock_hz": spec.clock_hz,
        "baud": spec.baud,
        "flash_address": spec.flash_address,
        "reloadable": plan.swappable,
        "spec": plan.network.spec.to_dict(),
        **core_facts(plan),
        "files": sorted(files),
        "hardware": hashlib.sha256(b"".join(files[name] for name in sources)).hexdigest(),
    }
    files["board.json"] = json_text(facts).encode()
    write_files(folder, files, owned=["rom/*.hex", "placeholder/rom/*.hex"])
    return facts
