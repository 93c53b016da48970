// SB_PLL40_PAD of an iCE40 with all its ports, as an unpacked bitstream has it; Yosys has no model of
// it. As in plls.v a wire: the simulated pin carries the clock that the loop would make, which
// sim/unpack.py computes from the bits and compares. LOCK rises after some cycles.
module SB_PLL40_PAD #(
    parameter FEEDBACK_PATH = "SIMPLE",
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED",
    parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED",
    parameter SHIFTREG_DIV_MODE = 0,
    parameter FDA_FEEDBACK = 0,
    parameter FDA_RELATIVE = 0,
    parameter PLLOUT_SELECT = "GENCLK",
    parameter DIVR = 0,
    parameter DIVF = 0,
    parameter DIVQ = 0,
    parameter FILTER_RANGE = 0,
    parameter ENABLE_ICEGATE = 0,
    parameter TEST_MODE = 0,
    parameter EXTERNAL_DIVIDE_FACTOR = 1
) (
    input wire PACKAGEPIN,
    output wire PLLOUTCORE,
    output wire PLLOUTGLOBAL,
    input wire EXTFEEDBACK,
    input wire [7:0] DYNAMICDELAY,
    output wire LOCK,
    input wire BYPASS,
    input wire RESETB,
    input wire LATCHINPUTVALUE,
    output wire SDO,
    input wire SDI,
    input wire SCLK
);
    reg [4:0] count = 0;
    always @(posedge PACKAGEPIN) count <= !RESETB ? 0 : count[4] ? count : count + 1;
    assign LOCK = count[4];
    assign PLLOUTCORE = PACKAGEPIN;
    assign PLLOUTGLOBAL = PACKAGEPIN;
    assign SDO = 0;
endmodule
