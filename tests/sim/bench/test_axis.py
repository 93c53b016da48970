"""Ring 3 of the packaged core: its Verilog under Verilator, driven by cocotbext-axi."""

import json
from pathlib import Path

import numpy as np
import pytest

from gen.core.plan import CorePlan, plan_core
from gen.ip.package import AXI_TOP, package_ip
from hw.contract.network import Network
from sim.bench.verilator import SimulationError, build, run_bench, toolchain
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from tests.networks import random_chain

PORTS = ("aclk", "aresetn", "s_axis_t*", "m_axis_t*", "error")


def package(plan: CorePlan, folder: Path) -> Path:
    """Package and build a core; the build folder."""
    facts = package_ip(plan, folder)
    with toolchain():
        return build(folder, AXI_TOP, facts["axi"]["sources"], ports=PORTS)


def drive(built: Path, folder: Path, network: Network, pixels: np.ndarray) -> list[dict]:
    """Hold a core against the golden model of `image`; what each test of the bench found."""
    folder.mkdir()
    network.save(folder / "network.npz")
    np.save(folder / "pixels.npy", pixels)
    with toolchain():
        run_bench(built, AXI_TOP, "sim.bench.axis", folder, variables={"STERNA_BENCH": str(folder)})
    return [json.loads(line) for line in (folder / "findings.jsonl").read_text().splitlines()]


def check(findings: list[dict], plan: CorePlan, images: int) -> None:
    """All tests of the bench came to their end and compared something."""
    assert {found["test"]: found["images"] for found in findings} == {
        "flowing": images,
        "idle": images,
        "stalled": images,
        "idle_and_stalled": images,
        "faults": 18,
        "resets": 2,
    }
    for found in findings:
        assert found["compared"] == found["images"] * (plan.network.spec.classes + 1)
        assert found["transfers"] > found["images"] * plan.network.spec.classes


def test_digits(tmp_path: Path) -> None:
    network = Network.load(model_path("digits-dense"))
    plan = plan_core(network, 32, 2)
    pixels = load_split("digits", "test", network.spec.input_bits).images[:40]
    built = package(plan, tmp_path)
    check(drive(built, tmp_path / "bench", network, pixels), plan, 40)


@pytest.fixture(scope="module")
def padded(tmp_path_factory) -> tuple[CorePlan, Path]:
    """37 pixels of 3 bits in 3 transfers of 16 bytes."""
    network = random_chain(np.random.default_rng(1), (37, 9, 4), steps=2, input_bits=3)
    plan = plan_core(network, 5, 1)
    return plan, package(plan, tmp_path_factory.mktemp("padded"))


PIXELS = np.random.default_rng(2).integers(0, 8, (30, 37)).astype(np.uint8)


def test_images_that_do_not_fill_their_last_transfer(padded, tmp_path: Path) -> None:
    plan, built = padded
    check(drive(built, tmp_path / "bench", plan.network, PIXELS), plan, 30)


def test_the_bench_can_fail(padded, tmp_path: Path) -> None:
    """Another network gives other answers."""
    plan, built = padded
    weights = [w.copy() for w in plan.network.weights]
    weights[1][2] = -weights[1][2]
    other = Network(plan.network.spec, tuple(weights), plan.network.biases)
    with pytest.raises(SimulationError, match="failed"):
        drive(built, tmp_path / "bench", other, PIXELS)
    assert "logits of image 0" in (tmp_path / "bench" / "bench.log").read_text()
