"""gen.family.output_registers: what stands behind a block RAM moves into it, if nothing is lost."""

import copy
import json

import pytest

from gen.family.ecp5 import SYNTHESIS
from gen.family.output_registers import absorb_registers
from gen.family.tools import YOSYS, run

DESIGN = """
module top(
    input clk, input [9:0] a, input [35:0] d, input w,
    output [35:0] written, output [17:0] plain, output [17:0] enabled, output [17:0] cleared,
    output [17:0] shared, output [17:0] early, output [17:0] falling
);
    reg [35:0] ram[0:511], q0, r0;
    (* ram_style = "block" *)
    reg [17:0] rom1[0:1023], rom2[0:1023], rom3[0:1023], rom4[0:1023], rom5[0:1023];
    reg [17:0] q1, q2, q3, q4, q5, r1, r2, r3, r4, r5;
    initial begin
        $readmemh("rom.hex", rom1); $readmemh("rom.hex", rom2); $readmemh("rom.hex", rom3);
        $readmemh("rom.hex", rom4); $readmemh("rom.hex", rom5);
    end
    always @(posedge clk) begin
        if (w) ram[a[8:0]] <= d;
        q0 <= ram[a[9:1]]; r0 <= q0;
        q1 <= rom1[a]; r1 <= q1;
        q2 <= rom2[a]; if (w) r2 <= q2;
        q3 <= rom3[a]; r3 <= w ? 0 : q3;
        q4 <= rom4[a]; r4 <= q4;
        q5 <= rom5[a];
    end
    always @(negedge clk) r5 <= q5;
    assign written = r0, plain = r1, enabled = r2, cleared = r3, shared = r4, early = q4;
    assign falling = r5;
endmodule
"""
LEFT_ALONE = ("rom2", "rom3", "rom4", "rom5")
"""For an enable, a reset, a second receiver, another edge of the clock."""


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registers")
    (folder / "top.v").write_text(DESIGN)
    (folder / "rom.hex").write_text("".join(f"{n**3 * 7 % 262139:x}\n" for n in range(1024)))
    commands = f"read_verilog top.v\n{SYNTHESIS.format(top='top')}\nwrite_json netlist.json\n"
    (folder / "synth.ys").write_text(commands)
    run(YOSYS, ["-q", "synth.ys"], folder, "yosys.log")
    return json.loads((folder / "netlist.json").read_text())["modules"]["top"]


def cells(module, kind):
    return {name: cell for name, cell in module["cells"].items() if cell["type"] == kind}


def modes(module):
    """Of each block RAM, whether its ports have registers."""
    return {
        name.split(".")[0]: [cell["parameters"][f"REGMODE_{port}"] for port in "AB"]
        for name, cell in cells(module, "DP16KD").items()
    }


def test_plain_registers_move_and_others_stay(synthesised):
    module = copy.deepcopy(synthesised)
    absorb_registers(module)
    rams, registers = cells(module, "DP16KD"), cells(module, "TRELLIS_FF")
    moved = {"ram": ["OUTREG", "OUTREG"], "rom1": ["OUTREG", "NOREG"]}
    # 36 bits wide, half of what port B reads leaves through A.
    assert modes(module) == moved | {name: ["NOREG", "NOREG"] for name in LEFT_ALONE}
    assert len(cells(synthesised, "TRELLIS_FF")) - len(registers) == 36 + 18
    for name, port, enables in (("ram", "written", "AB"), ("rom1", "plain", "A")):
        connections = rams[f"{name}.0.0"]["connections"]
        driven = [bits[0] for pin, bits in connections.items() if pin[:2] == "DO" and bits]
        assert set(module["ports"][port]["bits"]) <= set(driven)
        assert [connections[f"OCE{port}"] for port in enables] == [["1"]] * len(enables)
    # Which output a bit comes from stays.
    before = cells(synthesised, "DP16KD")["rom1.0.0"]["connections"]
    behind = {
        c["connections"]["DI"][0]: c["connections"]["Q"]
        for c in cells(synthesised, "TRELLIS_FF").values()
    }
    for pin in (pin for pin in before if pin.startswith("DOA")):
        moved = rams["rom1.0.0"]["connections"][pin]
        assert moved == (behind[before[pin][0]] if before[pin] else [])
    # There is nothing more to move.
    again = copy.deepcopy(module)
    absorb_registers(again)
    assert again == module


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("parameters", "CEMUX", "CE"),
        ("parameters", "CLKMUX", "INV"),
        ("parameters", "REGSET", "SET"),
        ("connections", "LSR", ["1"]),
        ("connections", "CLK", [999999]),
        ("connections", "DI", ["0"]),
    ],
)
def test_one_register_of_another_kind_keeps_all_where_they_are(synthesised, where, name, value):
    module = copy.deepcopy(synthesised)
    (bit,) = module["ports"]["plain"]["bits"][5:6]
    (cell,) = (c for c in cells(module, "TRELLIS_FF").values() if c["connections"]["Q"] == [bit])
    cell[where][name] = value
    absorb_registers(module)
    # A register that takes something else is not behind the block RAM: that output is not used.
    expected = "OUTREG" if name == "DI" else "NOREG"
    assert modes(module)["rom1"] == [expected, "NOREG"]
    assert modes(module)["ram"] == ["OUTREG", "OUTREG"]
