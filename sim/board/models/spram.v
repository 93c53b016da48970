// SB_SPRAM256KA of an iCE40 UltraPlus: 16,384 words of 16 bits, one port, the word one cycle after
// its address; it keeps what it put out while it is written. Lattice TN-02022.
module SB_SPRAM256KA (
    input wire CLOCK,
    input wire [13:0] ADDRESS,
    input wire [15:0] DATAIN,
    output reg [15:0] DATAOUT,
    input wire [3:0] MASKWREN,
    input wire WREN,
    input wire CHIPSELECT,
    input wire STANDBY,
    input wire SLEEP,
    input wire POWEROFF
);
    reg [15:0] words[0:16383];
    wire on = CHIPSELECT && !STANDBY && !SLEEP && POWEROFF;
    integer n;
    always @(posedge CLOCK) begin
        if (on && WREN) begin
            for (n = 0; n < 4; n = n + 1)
                if (MASKWREN[n]) words[ADDRESS][4*n +: 4] <= DATAIN[4*n +: 4];
        end else if (on) begin
            DATAOUT <= words[ADDRESS];
        end
    end
endmodule
