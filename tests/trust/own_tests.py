"""Which tests are a component's own: those that mirror it, and where none does, those named here.

A component's own tests are of its room, or of the nearest room that uses it: not the whole suite,
in which almost anything is noticed by something.
"""

from pathlib import Path

__all__ = ["LEFT_OUT", "components", "own_tests"]

LEFT_OUT = {
    "hw/system": "no hardware and no model: it starts and ends processes, and a mutant of it may "
    "end another's",
    "hw/contract/text.py": "words for people",
    "hw/contract/files.py": "files, no model; its mutants might remove somebody's",
}
"""Files that are not mutated, and why."""

FORMAL = {
    "layer": "tests/hw/layer/test_layer_formal.py",
    "program": "tests/hw/program/test_program_formal.py",
    "window": "tests/hw/window/test_window_formal.py",
    "stream": "tests/hw/stream/test_stream_formal.py",
    "neuron": "tests/hw/neuron/test_readout_formal.py",
    "learn": "tests/hw/learn/test_learning_formal.py",
}

FORMAL_OF = {
    stem: f"tests/{stem.rpartition('/')[0]}/test_{name}_formal.py"
    for stem, name in (
        ("hw/layer/queue", "queue"),
        ("hw/link/checksum", "frame"),
        ("hw/link/frame", "frame"),
        ("hw/link/mailbox", "mailbox"),
        ("hw/link/port", "port"),
        ("hw/link/uart", "uart"),
        ("hw/program/potentials", "potentials"),
        ("hw/stream/transposer", "transposer"),
        ("hw/top/loader", "loader"),
    )
}
"""Components with a contract of their own."""

ROOM = ("builder", "checks", "encoding", "graph", "laws", "layout", "learning", "network", "spec")
CONTRACT = tuple(f"tests/hw/contract/test_{name}.py" for name in ROOM)
"""All tests of the contract are of each of its modules: together they say what a network is."""
MODEL = "tests/sim/golden/test_model.py"
PORT = "tests/hw/link/test_port.py"

TABLE: dict[str, tuple[str, ...]] = {
    "gen/core/law": ("tests/hw/test_core.py", "tests/hw/test_mixed_cores.py"),
    "gen/layer/cycles": (
        "tests/hw/layer/test_accumulator.py",
        "tests/hw/layer/test_layer_cores.py",
    ),
    "gen/learn/cycles": ("tests/sim/learn/test_learning_cores.py",),
    "hw/contract/builder": CONTRACT,
    "hw/contract/checks": (*CONTRACT, MODEL),
    "hw/contract/edge": (*CONTRACT, "tests/sim/golden/test_edges.py"),
    "hw/contract/encoding": CONTRACT,
    "hw/contract/laws": (*CONTRACT, MODEL),
    "hw/contract/layout": (
        *CONTRACT,
        "tests/gen/window/test_tables.py",
        "tests/hw/program/test_walker.py",
        "tests/hw/top/test_axi.py",
        "tests/gen/program/test_stage.py",
    ),
    "hw/contract/learning": (*CONTRACT, "tests/sim/golden/test_learning.py"),
    "hw/contract/link": ("tests/sw/host/test_protocol.py", "tests/hw/link/test_frame.py", PORT),
    "hw/contract/network": CONTRACT,
    "hw/contract/neuron": CONTRACT,
    "hw/contract/spec": CONTRACT,
    "hw/core": (
        "tests/hw/test_core.py",
        "tests/hw/test_mixed_cores.py",
        "tests/hw/top/test_loading.py",
    ),
    "hw/layer/accumulator": ("tests/hw/top/test_loading.py",),
    "hw/layer/constants": (
        "tests/hw/layer/test_lif.py",
        "tests/gen/core/test_files.py",
        "tests/hw/layer/test_layer_cores.py",
        "tests/hw/top/test_loading.py",
    ),
    "hw/layer/finder": ("tests/hw/layer/test_queue.py",),
    "hw/layer/geometry": (
        "tests/hw/layer/test_rows.py",
        "tests/hw/layer/test_accumulator.py",
        "tests/hw/layer/test_lif.py",
        "tests/gen/core/test_plan.py",
    ),
    "hw/layer/hold": ("tests/hw/stream/test_relays.py",),
    "hw/layer/slice": ("tests/hw/layer/test_accumulator.py",),
    "hw/layer/lif": ("tests/hw/layer/test_layer_cores.py",),
    "hw/layer/stage": (
        "tests/hw/layer/test_small_cores.py",
        "tests/hw/layer/test_layer_cores.py",
        "tests/hw/top/test_loading.py",
        "tests/hw/test_core.py",
    ),
    "hw/learn/held": ("tests/sim/learn/test_learning_cores.py",),
    "hw/learn/memory": ("tests/hw/learn/test_judge.py", "tests/hw/learn/test_engine.py"),
    "hw/learn/stage": (FORMAL["learn"], "tests/sim/learn/test_learning_cores.py"),
    "hw/link/checksum": ("tests/hw/link/test_frame.py",),
    "hw/link/learning": (
        "tests/hw/link/test_learning.py",
        "tests/sim/board/test_learning_board.py",
    ),
    "hw/link/mailbox": (PORT,),
    "hw/link/port": ("tests/hw/link/test_learning.py", "tests/sim/board/test_learning_board.py"),
    "hw/memory/ram": (
        "tests/hw/learn/test_judge.py",
        "tests/hw/top/test_loading.py",
        "tests/sim/board/test_simulated_boards.py",
    ),
    "hw/memory/rom": ("tests/hw/layer/test_rows.py", "tests/hw/layer/test_accumulator.py"),
    "hw/program/code": (
        "tests/hw/program/test_operation.py",
        "tests/hw/program/test_scanner.py",
        "tests/hw/program/test_sweeper.py",
        "tests/hw/program/test_walker.py",
    ),
    "hw/program/program": (
        "tests/hw/program/test_operation.py",
        "tests/hw/program/test_potentials.py",
        "tests/hw/program/test_sweeper.py",
        "tests/hw/program/test_leaky_cores.py",
    ),
    "hw/program/reach": ("tests/hw/program/test_sweeper.py", "tests/gen/window/test_tables.py"),
    "hw/program/stage": (
        "tests/hw/program/test_program_cores.py",
        "tests/hw/program/test_leaky_cores.py",
        "tests/hw/program/test_stages_in_a_row.py",
    ),
    "hw/program/table": ("tests/hw/program/test_walker.py", "tests/gen/program/test_stage.py"),
    "hw/stream/payloads": (
        "tests/hw/stream/test_payloads.py",
        "tests/hw/stream/test_relays.py",
        "tests/hw/layer/test_accumulator.py",
        "tests/hw/layer/test_lif.py",
    ),
    "hw/stream/serializer": ("tests/hw/stream/test_relays.py",),
    "hw/stream/skid": ("tests/hw/stream/test_relays.py",),
    "hw/stream/transposer": ("tests/hw/stream/test_relays.py",),
    "hw/top/board": (
        "tests/sim/board/test_simulated_boards.py",
        "tests/sim/board/test_program_boards.py",
    ),
    "hw/top/loader": ("tests/hw/top/test_loading.py",),
    "hw/top/row_player": ("tests/hw/top/test_sample_store.py",),
    "hw/top/spi_flash": ("tests/hw/top/test_loading.py",),
    "hw/window/stage": ("tests/hw/window/test_window_cores.py",),
    "sim/golden/model": (MODEL, "tests/sim/golden/test_regression.py"),
}

LAWS = ("cycles.py", "law.py")


def components(root: Path) -> list[str]:
    """Files of a checkout that are mutated: hardware, contract, golden model, laws of cycles."""
    files = [*root.glob("hw/**/*.py"), *root.glob("sim/golden/*.py")]
    files += [file for file in root.glob("gen/*/*.py") if file.name in LAWS]
    names = sorted(file.relative_to(root).as_posix() for file in files)
    return [
        name
        for name in names
        if not name.endswith("__init__.py") and not any(name.startswith(out) for out in LEFT_OUT)
    ]


def own_tests(root: Path, component: str) -> tuple[str, ...]:
    """The test files of a component; empty: it has none."""
    stem = component.removesuffix(".py")
    folder, _, name = stem.rpartition("/")
    mirror = f"tests/{folder}/test_{name}.py"
    named = TABLE.get(stem, ())
    tests = [mirror, *named] if (root / mirror).is_file() else [*named]
    formal = FORMAL.get(folder.rpartition("/")[2], "") if folder.startswith("hw/") else ""
    if formal and tests and stem not in ("hw/program/code", "hw/program/reach"):
        tests.append(formal)
    tests += [FORMAL_OF[stem]] if stem in FORMAL_OF else []
    return tuple(dict.fromkeys(tests))
