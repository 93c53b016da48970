"""The command line: what it answers, and that every fault is one sentence and exit code 1."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import sterna
from hw.contract.network import Network
from sim.golden.answers import Answers
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.shipped import model_path

ROOT = Path(__file__).parents[3]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_info(capsys):
    code, out, _ = run(capsys, "info", "mnist-dense")
    assert code == 0
    assert "784 x 128, 4-bit weights, ternary" in out
    code, out, _ = run(capsys, "info", "sw/data/models/digits-dense.npz", "--json")
    facts = json.loads(out)
    assert facts["spec"]["input_size"] == 64
    assert facts["digest"] == Network.load(ROOT / "sw/data/models" / "digits-dense.npz").digest


def test_golden(capsys, tmp_path):
    folder = tmp_path / "out"
    code, out, _ = run(capsys, "golden", "--json", "--out", str(folder))
    facts = json.loads(out)
    assert code == 0
    assert facts["images"] == 364
    assert facts["accuracy"] == facts["hits"] / 364 >= 0.96
    assert json.loads((folder / "golden.json").read_text()) == facts
    answers = Answers.load(folder)
    assert int((answers.classes == answers.labels).sum()) == facts["hits"]
    assert Network.load(folder / "network.npz").digest == facts["digest"]
    more = ("--images", "10", "--out", str(folder))
    code, out, _ = run(capsys, "golden", *more, "--json")
    assert json.loads(out)["images"] == 10
    assert len(Answers.load(folder).pixels) == 10
    assert f"to look at: sterna report {folder}" in run(capsys, "golden", *more)[1]


def test_generate(capsys, tmp_path):
    out = str(tmp_path / "v")
    code, text, _ = run(capsys, "generate", "digits-dense", "--lanes", "16", "--out", out)
    assert code == 0
    assert "sterna_core.v" in text
    assert json.loads((tmp_path / "v" / "core.json").read_text())["lanes"] == 16


def check_waves(folder):
    """The save file shows signals that are there; at the end, each neuron by its name has what the
    golden model has."""
    from pylibfst import ffi, get_scopes_signals2, lib

    context = lib.fstReaderOpen(str(folder / "waves.fst").encode())
    _, signals = get_scopes_signals2(context)
    known = {name.replace(" ", ""): signal.handle for name, signal in signals.by_name.items()}
    lines = (folder / "waves.gtkw").read_text().splitlines()
    shown = {
        name: alias[2:-1]
        for alias, _, name in (line.rpartition(" ") for line in lines)
        if name.startswith("sterna_bench.") and not alias.startswith("[")
    }
    assert set(shown) <= set(known)
    network = Network.load(model_path("digits-dense"))
    trace = GoldenModel(network).run(load_split("digits", "test", 4).images[:3])
    end, buffer, compared = lib.fstReaderGetEndTime(context), ffi.new("char[100]"), 0
    for kind, values in (("spike", trace.spikes), ("potential", trace.potentials)):
        for n, value in enumerate(values[0][-1, -1]):
            (signal,) = (name for name, alias in shown.items() if alias == f"hidden1 {n} {kind}")
            found = lib.fstReaderGetValueFromHandleAtTime(context, end, known[signal], buffer)
            text = ffi.string(found).decode()
            assert int(text, 2) == value % 2 ** len(text), signal
            compared += 1
    lib.fstReaderClose(context)
    assert compared == 256


def test_sim_answers_in_json_and_tells_progress_elsewhere(capsys, tmp_path):
    code, out, err = run(
        capsys, "sim", "--images", "3", "--lanes", "8", "--waves", "--json", "--out", str(tmp_path)
    )
    assert code == 0
    assert json.loads(out)["mismatches"] == 0
    assert "building" in err
    assert (tmp_path / "waves.fst").stat().st_size > 1000
    check_waves(tmp_path)


def test_train_and_export(capsys, tmp_path):
    checkpoint, image = str(tmp_path / "net.pt"), tmp_path / "net.npz"
    code, _, err = run(
        capsys, "train", "digits-dense", "--epochs", "2", "--seed", "3", "--out", checkpoint
    )
    assert code == 0
    assert "epoch" in err
    code, out, _ = run(
        capsys,
        "export",
        "digits-dense",
        "--checkpoint",
        checkpoint,
        "--out",
        str(image),
        "--roms",
        str(tmp_path / "roms"),
    )
    assert code == 0
    assert "all equal" in out
    assert Network.load(image).meta["seed"] == 3
    assert len(list((tmp_path / "roms" / "rom").glob("*.hex"))) == 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", "none.npz"], "Network file none.npz does not exist"),
        (
            ["sim", "cifar"],
            "Model must be one of cifar10-counts, cifar10-resnet, digits-augmapping, ",
        ),
        (["info", "pyproject.toml"], "Network file pyproject.toml is truncated or not a network"),
        (["sim", "--lanes", "0"], "Lanes must be an integer from 1 to 1024, not 0"),
        (["generate", "--banks", "5"], "Banks must be 1, 2, 4, 8 or 16, not 5"),
        (["sim", "--images", "0"], "Images must be a positive number or 'all', not '0'"),
        (["golden", "--images", "some"], "Images must be a positive number or 'all', not 'some'"),
        (["golden", "--dataset", "mnist", "--data", "docs"], "Folder docs must hold t10k-images"),
        (["train", "cifar"], "Recipe must be one of digits-dense, digits-binary, "),
        (["train", "--epochs", "0"], "Epochs must be"),
        (["export", "--checkpoint", "none.pt"], "Checkpoint none.pt does not exist"),
    ],
)
def test_faults_are_one_sentence(capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(ROOT)
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert err.startswith(f"sterna: {sentence}")
    assert err.count("\n") == 1


def test_a_data_set_that_does_not_fit_is_refused(capsys, tmp_path):
    images = np.zeros((2, 28, 28), np.uint8)
    head = (2051).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in images.shape)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(head + images.tobytes())
    labels = (2049).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes(2)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    code, _, err = run(capsys, "golden", "--dataset", "mnist", "--data", str(tmp_path))
    assert code == 1
    assert "must have 64 pixels per image for network digits-dense, not 784" in err


def test_help_teaches():
    done = subprocess.run(
        [sys.executable, "-m", "sterna", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for command in ("train", "export", "info", "generate", "sim", "golden", "bench", "timing"):
        assert command in done.stdout
    assert "train -> export -> info -> generate -> sim" in done.stdout


def test_an_older_name_works_and_is_not_listed(capsys):
    texts = []
    for arguments in (["--help"], ["verify-bitstream", "--help"], ["prove-bitstream", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
        texts.append(" ".join(capsys.readouterr().out.split()))
    assert "verify-bitstream" in texts[0]
    assert "prove-bitstream" not in texts[0]
    assert texts[1].partition("[-h]")[2].split() == texts[2].partition("[-h]")[2].split()


def test_every_public_name_is_there():
    assert sorted([*sterna.HOMES, "main"]) == sterna.__all__
    for name in sterna.__all__:
        assert name in dir(sterna)
        assert getattr(sterna, name).__name__.rpartition(".")[2] == name
    with pytest.raises(AttributeError, match="module 'sterna' has no attribute 'nothing'"):
        _ = sterna.nothing


def test_the_door_costs_nothing():
    """What is behind it is imported when it is asked for."""
    code = (
        "import sys, sterna; names = {'hw', 'gen', 'sim', 'sw', 'numpy', 'argparse'}; "
        "print(*names & set(sys.modules)); sterna.Network; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["", "False"]


def test_make_lists_its_targets():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("sim", "test", "check", "train", "export", "bench", "timing"):
        assert f"\n{target} " in f"\n{done.stdout}"


def test_make_warns_of_options_that_it_does_not_have():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for option, warned in (("IMAGE=3", True), ("IMAGES=3", False)):
        command = ["make", "-n", "help", option]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("IMAGE= is no option of this Makefile" in done.stderr) == warned


def test_a_bare_make_sim_is_a_small_one():
    """Whoever says what the core is to be like gets what `sterna sim` makes of that."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    options = (("IMAGES=5", True), ("LANES=64", False), ("MODEL=digits-deep", False))
    for option, small in (*options, ("SCHEDULE=shared", False), ("BOARD=icebreaker", False)):
        command = ["make", "-n", "sim", option]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("--lanes 16" in done.stdout) == small, option


def test_info_of_an_image_with_foreign_notes(capsys, tmp_path):
    """`meta` is free: what has another form than ours says nothing to us."""
    network = Network.load(ROOT / "sw/data/models" / "digits-dense.npz")
    for test in ("abc", {"float": {"hits": 1, "n": 0}}, {"float": 3}, [1]):
        other = Network(network.spec, network.weights, network.biases, {"test": test})
        code, out, _ = run(capsys, "info", str(other.save(tmp_path / "net.npz")))
        assert code == 0
        assert "of test images" not in out


def test_what_a_file_says_is_no_command_to_a_terminal(capsys, tmp_path):
    """Neither in an answer nor in a refusal (found by `make soak`)."""
    import torch

    state = {"f\x1b[2Jc.weight": torch.ones(3, 4), "lif.beta": torch.tensor(0.5)}
    state |= {f"lif.{name}": torch.tensor(1.0) for name in ("threshold", "graded_spikes_factor")}
    torch.save(state | {"lif.reset_mechanism_val": torch.tensor(0)}, tmp_path / "a.pt")
    _, out, _ = run(capsys, "check", str(tmp_path / "a.pt"), "--from", "snntorch")
    code, _, err = run(capsys, "info", str(tmp_path / "n\x1b[2Jo\np.npz"))
    assert "f?[2Jc (Linear)" in out
    assert code == 1
    assert err.endswith("n?[2Jo p.npz does not exist\n")
    assert "\x1b" not in out + err
    assert err.count("\n") == 1


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """What a shell's line does, from the checkout."""
    return subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_reader_that_leaves_is_no_fault():
    done = shell(f"{sys.executable} -m sterna info --json | true")
    assert done.stderr == ""


def test_too_little_memory_is_one_sentence(capsys, monkeypatch):
    for error in (MemoryError, RuntimeError("DefaultCPUAllocator: can't allocate memory: you")):
        monkeypatch.setattr(GoldenModel, "classify", Mock(side_effect=error))
        assert run(capsys, "golden") == (1, "", "sterna: golden needs more memory than there is\n")
    monkeypatch.setattr(GoldenModel, "classify", Mock(side_effect=RuntimeError("a slip")))
    with pytest.raises(RuntimeError, match="a slip"):
        main(["golden"])


@pytest.mark.parametrize(
    ("module", "package", "what"),
    [
        ("torch", "torch", "Sterna's extra 'train' (pip install 'sterna[train]')"),
        (
            "sklearn.utils",
            "scikit-learn",
            "Sterna's extra 'results' (pip install 'sterna[results]')",
        ),
        ("cocotb_tools", "cocotb", "Sterna anew (pip install sterna)"),
        ("serial", "pyserial", "Sterna anew (pip install sterna)"),
        ("vcd.gtkw", "pyvcd", "Sterna anew (pip install sterna)"),
        ("narwhals", "narwhals", "it (pip install narwhals)"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    capsys, monkeypatch, module, package, what
):
    absent = ModuleNotFoundError(f"No module named {module!r}", name=module)
    monkeypatch.setattr(GoldenModel, "classify", Mock(side_effect=absent))
    sentence = f"sterna: golden needs the package {package}: install {what}\n"
    assert run(capsys, "golden") == (1, "", sentence)


def test_plots_are_asked_for_before_all_else(capsys, monkeypatch):
    """The extra with them has what trains, too: one sentence is all that it takes."""
    for package in ("matplotlib", "torch"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in [name for name in sys.modules if name.startswith("sw.study.")]:
        monkeypatch.delitem(sys.modules, module)
    for study in ("training", "conversion", "learning"):
        code, out, err = run(capsys, "study", study)
        assert (code, out) == (1, "")
        assert err == (
            "sterna: study needs the package matplotlib: install Sterna's extra 'results' "
            "(pip install 'sterna[results]')\n"
        )


def test_a_module_of_ours_that_is_missing_is_our_slip(monkeypatch):
    absent = ModuleNotFoundError("No module named 'hw.nothing'", name="hw.nothing")
    monkeypatch.setattr(GoldenModel, "classify", Mock(side_effect=absent))
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        main(["golden"])


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("info > /dev/full", "Cannot print the answer: No space left on device"),
        ("info --graph --out /dev/full", "Cannot use /dev/full: No space left on device"),
        ("info --graph --out {}/net.svg", "Cannot use {}/net.svg: File too large"),
    ],
)
def test_files_that_cannot_be_written_are_named(tmp_path, command, sentence):
    limit = "ulimit -f 0; " if "large" in sentence else ""
    done = shell(f"{limit}{sys.executable} -m sterna {command.format(tmp_path)}")
    assert (done.returncode, done.stderr) == (1, f"sterna: {sentence.format(tmp_path)}\n")
    assert not list(tmp_path.iterdir())


def test_a_name_for_a_network_is_safe(capsys, tmp_path):
    asked = ["convert", str(tmp_path / "a b.pt"), "--dataset", "digits"]
    for arguments in (asked, [*asked, "--name", "../x"]):
        code, _, err = run(capsys, *arguments)
        assert code == 1
        assert err.startswith(
            "sterna: Network name must be of ASCII letters, digits, _ and inner -"
        )
        assert err.endswith(": give --name\n")
