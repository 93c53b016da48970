"""Ring 3: the emitted Verilog under Verilator, every value against the golden model."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gen.core.plan import plan_core
from gen.core.verilog import TOP, generate
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.contract.spec import LayerSpec, NetworkSpec
from sim.bench.checker import Checker
from sim.bench.job import Job
from sim.bench.run import prepare_shard, simulate
from sim.bench.verilator import SimulationError, _runtime, build, run_bench, toolchain
from sim.golden.model import GoldenModel
from sw.data.dataset import DataError, load_dataset
from sw.data.shipped import model_path
from tests.networks import networks, pixels_for

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
    return network, load_dataset("digits", "test", network.spec.input_bits)


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
    assert report["lane_utilisation"] >= 0.9


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


def test_digits_on_few_lanes_and_four_banks(digits, tmp_path):
    network, data = digits
    report = simulate(plan_core(network, 20, 4), data.images[:30], data.labels[:30], tmp_path)
    assert_equal(report)


@settings(
    max_examples=4,
    deadline=None,
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
    generate(plan, tmp_path, taps=True)
    facts = json.loads((tmp_path / "core.json").read_text())
    with toolchain():
        build_folder = build(tmp_path, TOP, [f"{TOP}.v", "sterna_rom.v"])

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
        job = Job(
            network=str(other.save(tmp_path / "other.npz")),
            lanes=16,
            banks=1,
            fields=facts["trace"],
        )
        shard = prepare_shard(tmp_path / change.__name__, job, pixels, labels)
        with toolchain():
            run_bench(
                build_folder, TOP, "sim.bench.core", shard, variables={"STERNA_BENCH": str(shard)}
            )
        findings = json.loads((shard / "findings.json").read_text())
        assert findings["mismatches"] > 0
        assert findings["first_mismatch"]


def test_bad_images_are_refused_before_anything_is_built(digits, tmp_path):
    network, _ = digits
    with pytest.raises(InputError, match="Images must be at least one, and as many as labels"):
        simulate(plan_core(network), np.zeros((0, 64), int), np.zeros(0, int), tmp_path / "x")
    with pytest.raises(InputError, match=r"Images must have shape \(n, 64\)"):
        simulate(plan_core(network), np.zeros((2, 5), int), np.zeros(2, int), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_verilog_that_does_not_compile_is_one_sentence(tmp_path, monkeypatch):
    """And the runtime of Verilator is compiled once, by the first build that succeeds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bad.v").write_text("module bad(input clk; endmodule\n")
    with toolchain():
        with pytest.raises(SimulationError, match="Verilator could not build bad: see "):
            build(tmp_path, "bad", ["bad.v"])
        assert not (tmp_path / "build").exists()
        assert not (tmp_path / "cache").exists()
        # ... and what is mended builds in the same folder.
        (tmp_path / "bad.v").write_text("module bad(input clk); endmodule\n")
        built = build(tmp_path, "bad", ["bad.v"])
        assert (built / "bad").exists()
        assert (built / "verilated.o").exists()
        (kept,) = (tmp_path / "cache/sterna/verilator").iterdir()
        (tmp_path / "other").mkdir()
        shutil.copy(tmp_path / "bad.v", tmp_path / "other")
        built = build(tmp_path / "other", "bad", ["bad.v"])
        assert (built / "bad").exists()
        assert not (built / "verilated.o").exists()
        # What is damaged is no use to a build, and gone after it.
        kept.write_bytes(b"no object")
        (tmp_path / "other/bad.v").write_text("module bad(input clk, input rst); endmodule\n")
        with pytest.raises(SimulationError, match="Verilator could not build bad"):
            build(tmp_path / "other", "bad", ["bad.v"])
        assert not kept.exists()
        kept.touch()
        assert "VK_GLOBAL_OBJS" not in os.environ["MAKEFLAGS"]
        # A cache that cannot be written is no cache.
        kept.unlink()
        kept.parent.rmdir()
        kept.parent.write_text("in the way")
        (tmp_path / "build/runtime.o").unlink()
        with _runtime(tmp_path / "build", []):
            pass
        assert (tmp_path / "build/runtime.o").exists()
        assert kept.parent.read_text() == "in the way"


def test_paths_with_spaces_and_missing_tools_are_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    with toolchain(), pytest.raises(SimulationError, match="need a path without spaces"):
        build(tmp_path / "a b", "x", ["x.v"])
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
    assert "tap_trace" not in (tmp_path / "sim" / "sterna_core.v").read_text()


def test_surplus_values_are_mismatches(digits, tmp_path):
    plan = plan_core(digits[0])
    fields = generate(plan, tmp_path, taps=True)["trace"]
    for surplus in ("event", "neuron", "result", None):
        checker = Checker(plan, fields, law=False)
        if surplus == "event":
            names = [name for name, _ in fields]
            at = sum(width for _, width in fields[: names.index("event0_0")])
            checker.recording.trace.append((9, 1 << at))
            checker.recording.results += [(3, 0)] * 10
        elif surplus == "neuron":
            checker.recording.neurons[0].append((0, 0))
        elif surplus == "result":
            checker.recording.results.append((3, 0))
        checker.finish()
        assert (checker.findings.mismatches > 0) == (surplus is not None)


def test_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr("sw.data.download.MIRRORS", {"mnist": (), "fashion-mnist": ()})
    network = Network.load(model_path("mnist-dense"))
    try:
        data = load_dataset("mnist", "test", network.spec.input_bits)
    except DataError as reason:
        pytest.skip(str(reason))
    report = simulate(plan_core(network), data.images[:100], data.labels[:100], tmp_path)
    assert_equal(report)
    assert report["lane_utilisation"] >= 0.9
