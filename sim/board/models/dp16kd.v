// DP16KD, the block RAM of an ECP5, which Yosys has no simulation model of: ours, after the way Yosys
// maps memories to it (share/lattice/brams_map_16kd.v). 2,048 bytes of nine bits; while a port writes
// it keeps what it put out, or reads what was there before (WRITEMODE). 36 bits wide: port A writes,
// port B reads, and the A pins are the low half. Behind what a port puts out there may be a register
// (REGMODE), with an enable of its own (OCE). A mode that is not modelled ends the simulation; chip
// selects are not looked at.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG",
    parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL",
    parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000", parameter CSDECODE_B = "0b000",
    parameter CLKAMUX = "CLKA", parameter CLKBMUX = "CLKB",
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0,
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0,
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0,
    parameter GSR = "ENABLED"
) (
    input wire DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6,
        DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input wire ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
        ADA0,
    input wire CLKA, CEA, OCEA, WEA, RSTA, CSA2, CSA1, CSA0,
    output wire DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6,
        DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input wire DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
        DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input wire ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
        ADB0,
    input wire CLKB, CEB, OCEB, WEB, RSTB, CSB2, CSB1, CSB0,
    output wire DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6,
        DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    localparam [20479:0] INITIAL = {INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B,
        INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34,
        INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D,
        INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26,
        INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F,
        INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11,
        INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
        INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03,
        INITVAL_02, INITVAL_01, INITVAL_00};

    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
        DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
        DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
        ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
        ADB1, ADB0};
    wire clka = CLKAMUX == "INV" ? !CLKA : CLKA;
    wire clkb = CLKBMUX == "INV" ? !CLKB : CLKB;
    reg [8:0] bytes[0:2047];
    reg [35:0] qa = 0, qb = 0, held_a = 0, held_b = 0;

    integer word, na, nb;
    initial begin
        for (word = 0; word < 1024; word = word + 1) begin
            bytes[2*word] = INITIAL[20*word +: 9];
            bytes[2*word + 1] = INITIAL[20*word + 9 +: 9];
        end
        if (WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH"
            || (DATA_WIDTH_B == 36 && REGMODE_A != REGMODE_B)) begin
            $display("DP16KD: this mode has no model");
            $stop;
        end
    end

    function [35:0] row(input integer width, input [13:0] a);
        case (width)
            36: row = {bytes[{a[13:5], 2'd3}], bytes[{a[13:5], 2'd2}],
                       bytes[{a[13:5], 2'd1}], bytes[{a[13:5], 2'd0}]};
            18: row = {bytes[{a[13:4], 1'b1}], bytes[{a[13:4], 1'b0}]};
            9: row = bytes[a[13:3]];
            4: row = bytes[a[13:3]][4*a[2] +: 4];
            2: row = bytes[a[13:3]][2*a[2:1] +: 2];
            default: row = bytes[a[13:3]][a[2:0]];
        endcase
    endfunction
    wire [35:0] wide = {dib, dia};
    wire reads_a = !WEA || WRITEMODE_A == "READBEFOREWRITE";
    wire reads_b = !WEB || WRITEMODE_B == "READBEFOREWRITE";

    always @(posedge clka) begin
        if (CEA && WEA) begin
            case (DATA_WIDTH_A)
                36: for (na = 0; na < 4; na = na + 1)
                    if (ada[na]) bytes[{ada[13:5], na[1:0]}] <= wide[9*na +: 9];
                18: for (na = 0; na < 2; na = na + 1)
                    if (ada[na]) bytes[{ada[13:4], na[0]}] <= dia[9*na +: 9];
                9: bytes[ada[13:3]] <= dia[8:0];
                4: bytes[ada[13:3]][4*ada[2] +: 4] <= dia[3:0];
                2: bytes[ada[13:3]][2*ada[2:1] +: 2] <= dia[1:0];
                default: bytes[ada[13:3]][ada[2:0]] <= dia[0];
            endcase
        end
        if (RSTA) qa <= 0;
        else if (CEA && reads_a) qa <= row(DATA_WIDTH_A, ada);
        if (RSTA) held_a <= 0;
        else if (OCEA) held_a <= qa;
    end

    always @(posedge clkb) begin
        if (CEB && WEB) begin
            case (DATA_WIDTH_B)
                18: for (nb = 0; nb < 2; nb = nb + 1)
                    if (adb[nb]) bytes[{adb[13:4], nb[0]}] <= dib[9*nb +: 9];
                9: bytes[adb[13:3]] <= dib[8:0];
                4: bytes[adb[13:3]][4*adb[2] +: 4] <= dib[3:0];
                2: bytes[adb[13:3]][2*adb[2:1] +: 2] <= dib[1:0];
                default: bytes[adb[13:3]][adb[2:0]] <= dib[0];
            endcase
        end
        if (RSTB) qb <= 0;
        else if (CEB && reads_b) qb <= row(DATA_WIDTH_B, adb);
        if (RSTB) held_b <= 0;
        else if (OCEB) held_b <= qb;
    end

    wire [35:0] a = REGMODE_A == "OUTREG" ? held_a : qa;
    wire [35:0] b = REGMODE_B == "OUTREG" ? held_b : qb;
    wire [35:0] q = DATA_WIDTH_B == 36 ? b : {b[17:0], a[17:0]};
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
        DOA4, DOA3, DOA2, DOA1, DOA0} = q[17:0];
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
        DOB4, DOB3, DOB2, DOB1, DOB0} = q[35:18];
    always @(posedge RSTA or posedge RSTB)
        if (RESETMODE != "SYNC") begin
            $display("DP16KD: an asynchronous reset has no model");
            $stop;
        end
endmodule
