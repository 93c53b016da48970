"""Ring 3: the emitted Verilog under Verilator, every value against the golden model."""

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gen.core.plan import plan_core
from gen.core.verilog import generate
from hw.contract.builder import random_integers
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.system.cache import Cache
from sim.bench import verilator
from sim.bench.job import NETWORK
from sim.bench.run import build_core, prepare_job, prepare_shard, run_shard, simulate
from sim.bench.verilator import SimulationError, build, runtime_ahead, toolchain
from sim.golden.model import GoldenModel
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.data.split import DataError
from tests.networks import chain, networks, pixels_for

KEYS = {
    "images",
    "mismatches",
    "accuracy_rtl",
    "accuracy_golden",
    "cycles_per_image",
    "cycle_law_violations",
    "events_per_image",
    "sops_per_image",
    "lane_utilisation",
    "seconds",
}


def labels_of(network, pixels):
    return GoldenModel(network).classify(pixels)


def assert_equal(report):
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["cycle_law_violations"] == 0
    assert report["values_compared"] > 0


@pytest.fixture(scope="module")
def digits():
    network = Network.load(model_path("digits-dense"))
    return network, load_split("digits", "test", network.spec.input_bits)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder, so that the core is compiled once for all that follows."""
    return tmp_path_factory.mktemp("digits")


def test_digits_flowing(digits, folder):
    network, data = digits
    report = simulate(plan_core(network), data.images, data.labels, folder, processes=2)
    assert_equal(report)
    assert set(report) >= KEYS
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["images"] == len(data) >= 200
    assert report["accuracy_rtl"] == report["accuracy_golden"] >= 0.96
    assert report["cycle_law_checked"]
    assert report["lane_utilisation"] >= 0.85


def test_digits_stalled(digits, folder):
    network, data = digits
    report = simulate(plan_core(network), data.images[:20], data.labels[:20], folder, stall=0.4)
    assert_equal(report)
    assert not report["cycle_law_checked"]


@pytest.mark.parametrize("cycles", [3, 60, 150, 333])
def test_digits_reset_in_the_middle(digits, folder, cycles):
    network, data = digits
    report = simulate(
        plan_core(network), data.images[:5], data.labels[:5], folder, reset_after=cycles
    )
    assert_equal(report)
    assert report["cycle_law_checked"]


def test_digits_on_few_lanes_and_four_banks(digits, tmp_path, monkeypatch):
    """On a machine as slow as can be, which is told before."""
    network, data = digits
    plan, told = plan_core(network, 20, 4), []
    monkeypatch.setattr("sim.bench.run.CYCLES_A_SECOND", 2)
    report = simulate(plan, data.images[:30], data.labels[:30], tmp_path, progress=told.append)
    assert_equal(report)
    assert told[0] == "building sterna_core (20 lanes, 4 bank(s)) with Verilator"
    minutes = round(30 * plan.expected_cycles() / 2 / 60)
    machine = "on a machine like the one in docs/results.md"
    assert told[1] == f"simulating 30 images: about {minutes} minutes {machine}"


@settings(
    max_examples=4,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    network=networks(max_size=20),
    data=st.data(),
    lanes=st.integers(1, 20),
    banks=st.sampled_from([1, 2, 4]),
)
def test_random_networks(tmp_path_factory, network, data, lanes, banks):
    pixels = pixels_for(data, network, count=8)
    folder = tmp_path_factory.mktemp("random")
    plan, labels = plan_core(network, lanes, banks), labels_of(network, pixels)
    assert_equal(simulate(plan, pixels, labels, folder))
    assert_equal(simulate(plan, pixels, labels, folder, stall=0.5))


def test_wide_weights(tmp_path):
    """Of 9, 12 and 16 bits, both ends of each in use; biases take two rows of them."""
    neurons = [NeuronSpec(theta=t, potential_bits=t.bit_length() + 2) for t in (700, 9000)]
    spec = chain((20, 17, 9, 4), neurons, weight_bits=[9, 12, 16], input_bits=3, steps=3)
    weights, biases, _ = random_integers(spec, 3, bias=None)
    for array, layer in zip(weights, spec.layers, strict=True):
        array.flat[[0, -1]] = layer.w_max, -layer.w_max
    network = Network(spec, weights, biases)
    assert [layer.bias_rows for layer in network.layers] == [2, 2, 2]
    pixels = np.random.default_rng(4).integers(0, 8, (20, 20)).astype(np.uint8)
    trace = GoldenModel(network).run(pixels)
    assert all(0 < np.mean(spikes != 0) < 1 for spikes in trace.spikes)
    for once in (False, True):
        plan = plan_core(network, 9, 2, once=once)
        report = simulate(plan, pixels, labels_of(network, pixels), tmp_path / str(once))
        assert_equal(report)
        assert report["cycle_law_checked"]


def test_biases_wider_than_all_else(tmp_path):
    """Weights of 2 bits and biases of 30: after reset they take 15 cycles to fetch."""
    layer = LayerSpec(name="readout", inputs=2, neurons=3, weight_bits=2)
    spec = NetworkSpec(name="wide", input_size=2, input_bits=1, steps=2, layers=(layer,))
    weights, biases = np.array([[1, 0], [-1, 1], [0, -1]]), np.array([2**28, -(2**28), 2**28 + 1])
    network = Network(spec, (weights,), (biases,))
    pixels = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], dtype=np.uint8)
    assert_equal(simulate(plan_core(network, 2, 1), pixels, labels_of(network, pixels), tmp_path))


def test_a_different_network_does_not_pass(digits, tmp_path):
    """The bench can fail: one weight, one bias, one threshold off by one is found."""
    network, data = digits
    plan = plan_core(network, 16, 1)
    pixels, labels = data.images[:40], data.labels[:40]
    facts = generate(plan, tmp_path, taps=True)
    job = prepare_job(plan, facts)
    with toolchain():
        build_folder = build_core(tmp_path, job, facts["settle"])

    def weight(arrays):
        arrays["weights"][0][5, 36] += 1 if arrays["weights"][0][5, 36] < 7 else -1

    def bias(arrays):
        arrays["biases"][1][3] += 1

    def threshold(arrays):
        hidden, readout = network.spec.layers
        neuron = replace(hidden.neuron, theta=hidden.neuron.theta + 1)
        arrays["spec"] = replace(network.spec, layers=(replace(hidden, neuron=neuron), readout))

    for change in (weight, bias, threshold):
        arrays = {
            "spec": network.spec,
            "weights": [w.copy() for w in network.weights],
            "biases": [b.copy() for b in network.biases],
        }
        change(arrays)
        other = Network(arrays["spec"], tuple(arrays["weights"]), tuple(arrays["biases"]))
        other.save(tmp_path / NETWORK)
        told = replace(job, digest=other.digest)
        shard = prepare_shard(tmp_path / change.__name__, told, pixels, labels)
        with toolchain():
            run_shard(build_folder, shard, told)
        findings = json.loads((shard / "findings.json").read_text())
        assert findings["mismatches"] > 0
        assert re.match("(Spike|Potential|Event|Logit) ", findings["first_mismatch"])


def test_bad_images_are_refused_before_anything_is_built(digits, tmp_path):
    network, _ = digits
    with pytest.raises(InputError, match="Images must be at least one, and as many as labels"):
        simulate(plan_core(network), np.zeros((0, 64), int), np.zeros(0, int), tmp_path / "x")
    with pytest.raises(InputError, match=r"Images must have shape \(n, 64\)"):
        simulate(plan_core(network), np.zeros((2, 5), int), np.zeros(2, int), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def flags(command: str) -> set[str]:
    return {word for word in command.split() if word.startswith("-")}


def test_verilog_that_does_not_compile_is_one_sentence(tmp_path, monkeypatch):
    """And what is mended builds in the same folder, Verilator's runtime being kept for the next
    build, as one made ahead would be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bad.v").write_text("module bad(input clk; endmodule\n")
    with toolchain():
        with pytest.raises(SimulationError, match="Verilator could not build bad: see "):
            build(tmp_path, "bad", ["bad.v"])
        assert not (tmp_path / "build" / "bad").exists()
        assert not list(tmp_path.glob("build-*"))
        (tmp_path / "bad.v").write_text("module bad(input clk); endmodule\n")
        assert os.access(build(tmp_path, "bad", ["bad.v"]) / "bad", os.X_OK)
        log = (tmp_path / "build.log").read_text()
        (line,) = [line for line in log.splitlines() if "-o runtime.o" in line]
        (tmp_path / "ahead").mkdir()
        command = verilator._runtime_command(tmp_path / "ahead", (), False)
        ahead = subprocess.check_output([*command, "-n"], cwd=tmp_path / "ahead", text=True)
        assert flags(ahead) == flags(line) > {"-Os", "-std=gnu++20", "-DVM_TIMING=0"}
        assert not list(tmp_path.glob("build-*"))
        (tmp_path / "bad.v").write_text("module bad(input clk, input rst); endmodule\n")
        build(tmp_path, "bad", ["bad.v"])
        assert "-o runtime.o" not in (tmp_path / "build.log").read_text()
        assert "VK_GLOBAL_OBJS" not in os.environ["MAKEFLAGS"]


@pytest.mark.parametrize("waves", [False, True])
def test_a_runtime_made_ahead_is_of_the_same_options(tmp_path, waves):
    """As Verilator writes them for a model with delays, and with waves."""
    with toolchain():
        command = verilator._runtime_command(tmp_path, ("--timing",), waves)
        ahead = flags(subprocess.check_output([*command, "-n"], cwd=tmp_path, text=True))
    assert {f"-DVM_TRACE={waves:d}", f"-DVM_TRACE_VCD={waves:d}", "-DVM_TIMING=1", "-O0"} < ahead


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A `make` that notes that it ran and takes as long as it is let; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tools = tmp_path / "tools"
    tools.mkdir()
    lines = f"echo run >> {tmp_path}/runs\necho $$ > {tmp_path}/pid\n"
    lines += f"while [ -e {tmp_path}/wait ]; do sleep 0.05; done\n"
    (tools / "make").write_text(f"#!/bin/sh\n{lines}echo made > runtime.o\n")
    (tools / "make").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_runtime_is_made_ahead_once(stub):
    for _ in range(2):
        with toolchain(), runtime_ahead(("--timing",)):
            pass
    assert (stub / "runs").read_text() == "run\n"
    with toolchain(), runtime_ahead(("--timing",), waves=True):
        pass
    assert (stub / "runs").read_text() == "run\n" * 2
    files = [path for path in (stub / "cache").rglob("*.*") if path.is_file()]
    assert [path.read_text() for path in files] == ["made\n"] * 2


def test_a_runtime_is_not_waited_for_when_the_work_beside_it_fails(stub):
    """It ends, and what ran it with it."""
    (stub / "wait").touch()

    def fail() -> None:
        while not (stub / "pid").exists() or not (stub / "pid").read_text().strip():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), toolchain(), runtime_ahead():
        fail()
    with pytest.raises(ProcessLookupError):
        os.kill(int((stub / "pid").read_text()), 0)
    assert not [path for path in (stub / "cache").rglob("*.*") if path.is_file()]


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """The texts that were compiled, by a compiler that copies; the cache is an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = []

    def compiling(build_folder, top, files, arguments, waves, quick):
        texts.append(files[0].read_text())
        (build_folder / top).write_text(texts[-1])
        (build_folder / top).chmod(0o755)

    monkeypatch.setattr(verilator, "_compile", compiling)
    return texts


def built(folder, text, **more):
    """Build a top of this text in a folder of its own."""
    folder.mkdir()
    (folder / "top.v").write_text(text)
    with toolchain():
        executable = build(folder, "top", ["top.v"], **more) / "top"
    assert os.access(executable, os.X_OK)
    return executable.read_text()


def test_what_has_the_same_text_is_compiled_once(tmp_path, compiled):
    """Wherever it lies, whatever its first remark says; with other options it is another."""
    first = built(tmp_path / "a", "// network 1\nmodule top; endmodule\n")
    assert built(tmp_path / "b", "// network 2\nmodule top; endmodule\n") == first
    assert len(compiled) == 1
    assert built(tmp_path / "c", "// network 1\nmodule top(input x); endmodule\n") != first
    assert len(compiled) == 2
    for n, more in enumerate([{"waves": True}, {"options": ("--timing",)}, {"ports": ("clk",)}]):
        built(tmp_path / f"d{n}", "// network 1\nmodule top; endmodule\n", **more)
        assert len(compiled) == 3 + n


def test_a_damaged_cache_heals_and_an_unusable_one_is_none(tmp_path, compiled):
    first = built(tmp_path / "a", "module top; endmodule\n")
    folder = tmp_path / "cache" / "sterna" / "verilator"
    (kept,) = [file for file in folder.iterdir() if not file.name.startswith("lock-")]
    kept.write_text("damaged")
    assert built(tmp_path / "b", "module top; endmodule\n") == first
    assert len(compiled) == 2
    assert kept.read_text() == first
    assert built(tmp_path / "c", "module top; endmodule\n") == first
    assert len(compiled) == 2
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert built(tmp_path / "d", "module top; endmodule\n") == first
    assert len(compiled) == 3


def test_the_cache_keeps_what_was_used_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache, source = Cache("few", files=3, size=100), tmp_path / "source"
    for n in range(5):
        source.write_bytes(bytes([n]) * 10)
        cache.keep(f"key{n}", source)
        for file in (tmp_path / "sterna" / "few").glob(f"key{n}.*"):
            os.utime(file, (n, n))
        if n == 3:
            assert cache.fetch("key1", tmp_path / "target")  # used: younger than all others
    assert [cache.fetch(f"key{n}", tmp_path / "target") for n in range(5)] == [
        *(False, True, False, True, True)
    ]
    source.write_bytes(bytes(99))
    cache.keep("large", source)
    assert cache.fetch("large", tmp_path / "target")
    assert not cache.fetch("key4", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == bytes(99)


@pytest.mark.parametrize("letter", [*' #;:"`\\'])
def test_paths_that_make_would_misread_are_one_sentence(letter, tmp_path):
    folder = tmp_path / f"a{letter}b"
    with toolchain(), pytest.raises(SimulationError, match="need a path without spaces and"):
        build(folder, "x", ["x.v"])


def test_missing_tools_are_one_sentence(monkeypatch):
    before = dict(os.environ)
    monkeypatch.setattr("sim.bench.verilator.shutil.which", lambda tool: None)
    with pytest.raises(SimulationError, match="Simulation needs perl"), toolchain():
        pass
    assert dict(os.environ) == before


def test_the_core_that_ships_has_the_same_results_and_cycles(digits, tmp_path, monkeypatch):
    """Without taps, and on a PATH that has no `python`."""
    network, data = digits
    tools = tmp_path / "tools"
    tools.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for tool in Path(place).glob("*"):
            if not tool.name.startswith("python") and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    assert shutil.which("python") is None
    report = simulate(
        plan_core(network), data.images[:50], data.labels[:50], tmp_path / "sim", taps=False
    )
    assert_equal(report)
    assert report["values_compared"] == 50 * (10 + 10 + 1)
    assert report["cycle_law_checked"]
    assert not re.search("output .*tap_", (tmp_path / "sim" / "sterna_core.v").read_text())


@pytest.mark.long
def test_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": (), "fashion-mnist": ()})
    network = Network.load(model_path("mnist-dense"))
    try:
        data = load_split("mnist", "test", network.spec.input_bits)
    except DataError as reason:
        pytest.skip(str(reason))
    report = simulate(plan_core(network), data.images[:100], data.labels[:100], tmp_path)
    assert_equal(report)
    assert report["lane_utilisation"] >= 0.9
