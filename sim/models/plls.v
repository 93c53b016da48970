// Clock generators as the simulation has them: a wire. The simulated pin carries the clock that the
// generator would make of the oscillator, and LOCK rises after some cycles, as it does on a board.
module sterna_lock (
    input wire clk,
    output wire locked
);
    reg [4:0] count = 0;
    always @(posedge clk) if (!count[4]) count <= count + 1;
    assign locked = count[4];
endmodule

module SB_PLL40_PAD #(
    parameter FEEDBACK_PATH = "SIMPLE",
    parameter DIVR = 0,
    parameter DIVF = 0,
    parameter DIVQ = 0,
    parameter FILTER_RANGE = 0
) (
    input wire PACKAGEPIN,
    output wire PLLOUTGLOBAL,
    output wire LOCK,
    input wire RESETB,
    input wire BYPASS
);
    assign PLLOUTGLOBAL = PACKAGEPIN;
    sterna_lock lock (.clk(PACKAGEPIN), .locked(LOCK));
endmodule

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
    sterna_lock lock (.clk(CLKI), .locked(LOCK));
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
    sterna_lock lock (.clk(CLKIN), .locked(LOCK));
endmodule
