"""The board commands: what they say, and one sentence for every fault."""

import json
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gen.board.boards import find_board
from gen.board.files import generate_board
from gen.board.planner import plan_board
from gen.core.plan import plan_programs
from gen.core.verilog import manifest
from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.system.progress import silent
from sw.cli.board import as_built, board_folder, board_network, built_plan, the_board
from sw.cli.main import main
from sw.data.shipped import UsageError, model_path
from sw.host.identity import DESCRIBED


def test_plan_says_what_would_be_built(capsys) -> None:
    assert main(["plan", "--board", "icebreaker", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["network"] == "mnist-dense"
    assert plan["memories"] == ["spram", "ram"]
    assert plan["clock_hz"] == 24_000_000
    used, there = plan["estimate"]["luts"]
    assert 0 < used < there == 5280
    assert main(["plan", "--board", "ulx3s_85f", "digits-dense", "--lanes", "16"]) == 0
    text = capsys.readouterr().out
    assert "layout" in text
    assert "block RAMs, estimated" in text


def test_plan_makes_no_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--board", "tang_nano_9k"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--board", "basys3"], "Board must be one of ulx3s_85f, icebreaker, tang_nano_9k"),
        (["plan", "--board", "tang_nano_9k", "mnist-dense"], "does not fit tang_nano_9k"),
        (["plan", "--board", "icebreaker", "--mhz", "14"], "Clock of icebreaker cannot be 14 MHz"),
        (["plan", "--board", "ulx3s_85f", "--banks", "3"], "Banks must be 1, 2, 4, 8 or 16"),
        (["plan", "--board", "ulx3s_85f", "none"], "Model must be one of"),
        (["reload", "--board", "icebreaker", "digits-dense"], "must hold a finished bitstream"),
        (["flash", "--board", "icebreaker"], "must hold a finished bitstream"),
        (["ask", "icebreaker"], "Board must be golden:MODEL, sim:BOARD or serial:PORT"),
        (["ask", "sim:basys3"], "Board must be one of"),
        (["ask", "serial:/dev/nowhere"], "nowhere"),
        (["ask", "golden:mnist-dense", "digits-dense"], "has the network 85348af0"),
        (["ip", "digits-dense", "--lanes", "0"], "Lanes must be an integer from 1 to 1024"),
        (["ip", "digits-conv", "--lanes", "3"], "Lanes of a program core must be one of"),
        (
            ["plan", "--board", "icebreaker", "digits-conv"],
            "does not fit icebreaker: with 8 lanes, one program core it needs 43 block RAMs of 30 "
            "(the weights of layer block_down alone need 4, all weights 12, potentials 4); the "
            "smallest listed board that holds it is tang_nano_9k",
        ),
        (
            ["sim", "--board", "icebreaker", "mnist-conv"],
            "does not fit icebreaker: with 8 lanes, one program core it needs 4903 look-up tables "
            "of 4857, 89 block RAMs of 30 (92% of the chip's 5280 count as usable) (the weights of "
            "layer readout alone need 26, all weights 40, potentials 7); the smallest listed board "
            "that holds it is ulx3s_85f",
        ),
        (
            ["generate", "--board", "tang_nano_9k", "digits-dense", "--lanes", "128"],
            "with lanes and banks of the planner's choice it fits",
        ),
        (["info", "--board", "icebreaker", "digits-conv"], "does not fit icebreaker"),
        (["generate", "--board", "basys3"], "Board must be one of ulx3s_85f, icebreaker"),
        (["generate", "digits-dense", "--banks", "0"], "Banks must be 1, 2, 4, 8 or 16, not 0"),
        (
            ["plan", "--board", "ulx3s_85f", "mnist-conv", "--lanes", "12"],
            "Lanes of a program core on a board must be one of (8, 16, 32, 64, 128), not 12",
        ),
    ],
)
def test_faults_are_one_sentence(arguments, words, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    lines = [line for line in seen.err.splitlines() if line.startswith("sterna: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in seen.err


def test_ask_the_golden_model(capsys) -> None:
    """The same command as for a board."""
    assert main(["ask", "golden:digits-dense", "--images", "12", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["images"] == 12
    assert answer["mismatches"] == 0


def test_ask_a_golden_model_of_maps(capsys) -> None:
    """As the board would answer that `sterna plan` describes."""
    assert main(["ask", "golden:digits-conv", "digits-conv", "--images", "5"]) == 0
    text = capsys.readouterr().out
    assert "golden, 16 lanes, 1 bank(s)" in text
    assert "5 of 5" in text


def test_a_core_is_generated_as_a_board_would_have_it(capsys, tmp_path: Path) -> None:
    """As it is planned, but for weights that come from the flash there."""
    arguments = ["mnist-dense", "--board", "icebreaker", "--json"]
    assert main(["generate", *arguments, "--out", str(tmp_path)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["plan", *arguments]) == 0
    plan = json.loads(capsys.readouterr().out)
    options = made["plan"]["recipe"]["options"]
    assert (options["lanes"], options["lean"]) == (plan["lanes"], True)
    assert (options["memories"], plan["memories"]) == (None, ["spram", "ram"])
    files = [file for layer in made["layers"] for bank in layer["rom"] for file in bank]
    assert all((tmp_path / file).is_file() for file in files)


def test_plan_of_maps(capsys) -> None:
    arguments = ["plan", "--board", "ulx3s_85f", "digits-conv", "--json"]
    assert main([*arguments, "--schedule", "shared"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["schedule"], plan["stages"], plan["banks"]) == ("shared", 1, 1)
    assert main([*arguments, "--schedule", "pipelined", "--lanes", "8"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["schedule"], plan["stages"], plan["lanes"]) == ("pipelined", 4, 8)


def test_ip_package(tmp_path: Path, capsys) -> None:
    out = tmp_path / "ip"
    arguments = ["ip", str(model_path("digits-dense")), "--lanes", "8", "--out", str(out)]
    assert main(arguments) == 0
    assert {"sterna_axis.v", "sterna_rom.v", "sterna.core", "README.md"} <= {
        path.name for path in out.iterdir()
    }


def test_plan_of_a_core_that_learns(capsys) -> None:
    """From noise, with images on the chip, or the readout alone of a network that is trained."""
    options = ["--learn", "digits-lean", "--samples", "all", "--json"]
    assert main(["plan", "--board", "icebreaker", *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["lanes"], facts["schedule"]) == (2, "learning")
    assert facts["estimate"]["sprams"] == [3, 4]
    readout = ["--learn", "digits-dense", "--readout-only"]
    assert main(["plan", "--board", "ulx3s_85f", *readout]) == 0
    assert "digits-dense" in capsys.readouterr().out
    for arguments, sentence in (
        (["--samples", "3"], "give --learn"),
        (["--readout-only"], "give --learn"),
        (["--learn", "digits", "--banks", "2"], "A core that learns has one bank"),
        (["--learn", "digits", "--samples", "x"], "Samples must be a positive number or 'all'"),
        (["--learn", "digits-dense"], "has no learning in its specification"),
    ):
        assert main(["plan", "--board", "ulx3s_85f", *arguments]) != 0
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert sentence in err


def test_what_ships_is_listed(capsys) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "mnist-dense               mnist, 98.19 % (9819 of 10000); 784-128-10, T = 4" in text
    assert len(text.splitlines()) == 24
    assert main(["boards", "--json"]) == 0
    boards = json.loads(capsys.readouterr().out)
    assert boards["icebreaker"]["chip"] == "iCE40UP5K-SG48"
    assert boards["icebreaker"]["routed"]["fmax_mhz"] > 24


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"sterna {version('sterna')}\n"


def test_a_checkout_that_was_never_installed_works(capsys, monkeypatch) -> None:
    """It has no version; it has all else."""
    monkeypatch.setattr(
        "hw.contract.text.version", Mock(side_effect=PackageNotFoundError("sterna"))
    )
    assert main(["boards"]) == 0
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "sterna from a checkout that is not installed\n" in capsys.readouterr().out


def test_a_clock_that_nobody_expects_is_marked(capsys) -> None:
    for megahertz, words in (("60", "60 MHz: not expected to close, a full"), ("24", "24 MHz")):
        assert main(["plan", "--board", "icebreaker", "--mhz", megahertz]) == 0
        told = [li for li in capsys.readouterr().out.splitlines() if li.startswith("clock")]
        assert words in told[0]
        assert ("not expected" in told[0]) == (megahertz == "60")


def test_ask_knows_the_network_that_a_board_has(capsys, tmp_path: Path, monkeypatch) -> None:
    """One that ships, one that the address names, one that was built here; or none."""
    network = Network.load(model_path("digits-dense"))
    biases = (network.biases[0], network.biases[1] + 1)
    other = Network(network.spec, network.weights, biases, network.meta)
    file = other.save(tmp_path / "other.npz")
    assert main(["ask", "golden:digits-dense", "--images", "3"]) == 0
    assert main(["ask", f"golden:{file}", "--images", "3"]) == 0
    assert f"digits-dense, digest {other.digest[:16]}" in capsys.readouterr().out
    monkeypatch.setattr("sw.cli.board.BUILD", tmp_path / "build")
    with pytest.raises(SternaError, match="which neither ships nor was built here: name its file"):
        board_network("serial:x", None, other.digest)
    other.save(tmp_path / "build" / "icebreaker" / "network.npz")
    assert board_network("serial:x", None, other.digest).digest == other.digest


def test_a_board_of_a_file_is_known_where_it_was_built(capsys, tmp_path: Path, monkeypatch) -> None:
    """By its name and by its manifest, without its file; in a folder of its own name."""
    monkeypatch.setattr("sw.cli.board.BUILD", tmp_path)
    file = str(Path(__file__).parents[3] / "examples" / "tang_nano_20k.toml")
    board, network = find_board(file), Network.load(model_path("digits-dense"))
    assert board_folder(Namespace(board=file, out=None)) == tmp_path / "tang_nano_20k"
    plan = plan_board(board, network, lanes=4, banks=1)
    folder = tmp_path / board.name
    generate_board(plan.core, plan.spec, board, folder)
    assert main(["plan", "--board", "tang_nano_20k", "--lanes", "4", "--banks", "1"]) == 0
    assert "67.5 MHz: by the chip's family, not measured on this board" in capsys.readouterr().out
    out = Namespace(board="tang_nano_20k", out=str(tmp_path / "new"))
    assert (the_board(out).pins, board_folder(out)) == (board.pins, tmp_path / "new")
    monkeypatch.setattr("sw.cli.core.BUILD", tmp_path)
    assert main(["info", "--board", "tang_nano_20k", "--lanes", "4", "--banks", "1"]) == 0
    assert "for tang_nano_20k: " in capsys.readouterr().err
    identity: Any = Namespace(board=DESCRIBED, lanes=4, banks=1)
    found = built_plan(identity, network, "serial:x")
    assert found is not None
    assert found.fingerprint == plan.core.fingerprint
    identity.board = "ulx3s_85f"
    assert built_plan(identity, network, "serial:x") is None


def test_a_self_test_is_of_what_was_built(tmp_path: Path, monkeypatch) -> None:
    """Its core, clock and images, whatever the planner would choose now."""
    monkeypatch.setattr("sw.cli.board.BUILD", tmp_path)
    args = Namespace(board="icebreaker", model=None, test_images=64, say=silent)
    assert as_built(args) is None  # nothing was
    core = plan_programs(Network.load(model_path("digits-conv")), 8, (), ["block"])
    core.network.save(tmp_path / "icebreaker" / "network.npz")
    file = tmp_path / "icebreaker" / "board.json"
    facts = manifest(core, []) | {"clock_hz": 18_000_000}
    file.write_text(json.dumps(facts | {"test_images": None}))
    assert as_built(args) is None
    assert args.test_images == 64
    file.write_text(json.dumps(facts | {"test_images": [7, 64]}))
    built = as_built(args)
    assert built is not None
    assert (built.core.fingerprint, built.spec.clock_hz) == (core.fingerprint, 18_000_000)
    assert args.test_images == 7
    file.write_text(json.dumps(facts | {"test_images": None, "schedule": "learning"}))
    with pytest.raises(UsageError, match=r"icebreaker plays labelled .* or name the MODEL of"):
        as_built(args)


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (["plan", "--test-images", "5"], "give --samples, not --test-images"),
        (
            ["bitstream", "--samples", "3", "--test-images", "5"],
            "give --samples, not --test-images",
        ),
        (
            ["self-test"],
            "let it learn from those that --samples put on its chip (sterna learn --on",
        ),
        (["self-test", "--samples", "3"], "let it learn from those that --samples put on its chip"),
    ],
)
def test_a_core_that_learns_plays_no_test_images(
    arguments, instead, capsys, tmp_path: Path, monkeypatch
) -> None:
    """What it plays has labels; the sentence says so, and what to use."""
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--board", "ulx3s_85f", "--learn"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    why = "sterna: A core that learns plays labelled images, which it learns from, and no test"
    assert err.startswith(f"{why} images: {instead}")
    assert not list(tmp_path.iterdir())
