// Clock generators as the simulation has them, for Yosys has no models of them: a wire. The simulated
// pin carries the clock that the generator would make of the oscillator (for an unpacked bitstream,
// sim/unpack.py computes it from the bits and compares). LOCK rises after some cycles, as on a board.
module sterna_lock (
    input wire clk,
    input wire reset,
    output wire locked
);
    reg [4:0] count = 0;
    always @(posedge clk) count <= reset ? 0 : count[4] ? count : count + 1;
    assign locked = count[4];
endmodule

// With all its ports, as an unpacked bitstream has it: plls.vlt lets a design leave some open. The
// clock comes from the generator's own pin, or from any other.
`define SB_PLL40(NAME, PIN) \
module NAME #( \
    parameter FEEDBACK_PATH = "SIMPLE", \
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", \
    parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED", \
    parameter SHIFTREG_DIV_MODE = 0, \
    parameter FDA_FEEDBACK = 0, \
    parameter FDA_RELATIVE = 0, \
    parameter PLLOUT_SELECT = "GENCLK", \
    parameter DIVR = 0, \
    parameter DIVF = 0, \
    parameter DIVQ = 0, \
    parameter FILTER_RANGE = 0, \
    parameter ENABLE_ICEGATE = 0, \
    parameter TEST_MODE = 0, \
    parameter EXTERNAL_DIVIDE_FACTOR = 1 \
) ( \
    input wire PIN, \
    output wire PLLOUTCORE, \
    output wire PLLOUTGLOBAL, \
    input wire EXTFEEDBACK, \
    input wire [7:0] DYNAMICDELAY, \
    output wire LOCK, \
    input wire BYPASS, \
    input wire RESETB, \
    input wire LATCHINPUTVALUE, \
    output wire SDO, \
    input wire SDI, \
    input wire SCLK \
); \
    sterna_lock lock (.clk(PIN), .reset(!RESETB), .locked(LOCK)); \
    assign PLLOUTCORE = PIN; \
    assign PLLOUTGLOBAL = PIN; \
    assign SDO = 0; \
endmodule
`SB_PLL40(SB_PLL40_PAD, PACKAGEPIN)
`SB_PLL40(SB_PLL40_CORE, REFERENCECLK)

module EHXPLLL #(
    parameter PLLRST_ENA = "", parameter INTFB_WAKE = "", parameter STDBY_ENABLE = "",
    parameter DPHASE_SOURCE = "", parameter OUTDIVIDER_MUXA = "", parameter OUTDIVIDER_MUXB = "",
    parameter OUTDIVIDER_MUXC = "", parameter OUTDIVIDER_MUXD = "", parameter CLKI_DIV = 1,
    parameter CLKFB_DIV = 1, parameter CLKOP_ENABLE = "", parameter CLKOP_DIV = 1,
    parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0, parameter CLKOS_ENABLE = "",
    parameter CLKOS_DIV = 1, parameter CLKOS_CPHASE = 0, parameter CLKOS_FPHASE = 0,
    parameter FEEDBK_PATH = ""
) (
    input wire CLKI,
    output wire CLKOP,
    output wire CLKOS,
    output wire LOCK,
    input wire CLKFB,
    input wire RST, input wire STDBY, input wire PHASESEL0, input wire PHASESEL1,
    input wire PLLWAKESYNC, input wire ENCLKOP, input wire PHASEDIR, input wire PHASESTEP,
    input wire PHASELOADREG
);
    assign CLKOP = CLKI;
    assign CLKOS = CLKI;
    sterna_lock lock (.clk(CLKI), .reset(RST), .locked(LOCK));
endmodule

module rPLL #(
    parameter DEVICE = "", parameter FCLKIN = "", parameter IDIV_SEL = 0,
    parameter FBDIV_SEL = 0, parameter ODIV_SEL = 0, parameter DYN_IDIV_SEL = "",
    parameter DYN_FBDIV_SEL = "", parameter DYN_ODIV_SEL = "", parameter DYN_DA_EN = "",
    parameter CLKFB_SEL = ""
) (
    input wire CLKIN,
    output wire CLKOUT,
    output wire LOCK,
    input wire RESET, input wire RESET_P, input wire CLKFB,
    input wire [5:0] FBDSEL, input wire [5:0] IDSEL, input wire [5:0] ODSEL,
    input wire [3:0] PSDA, input wire [3:0] DUTYDA, input wire [3:0] FDLY
);
    assign CLKOUT = CLKIN;
    sterna_lock lock (.clk(CLKIN), .reset(RESET), .locked(LOCK));
endmodule
