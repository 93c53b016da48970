// A serial flash as it is after an iCE40 was configured from it: in deep power-down, deaf to
// everything but RELEASE (0xAB), and then READ (0x03). Bytes from ADDRESS on come from FILE, the
// others are erased (0xFF). SPI mode 0.
module sterna_spi_flash #(
    parameter FILE = "",
    parameter ADDRESS = 0,
    parameter SIZE = 1
) (
    input wire cs_n,
    input wire clk,
    input wire copi,
    output reg cipo
);
    reg [7:0] bytes[0:SIZE-1];
    initial $readmemh(FILE, bytes);
    initial cipo = 0;

    reg awake = 0;
    reg [31:0] command = 0;
    integer bits = 0;
    integer place;
    always @(posedge clk or posedge cs_n) begin
        if (cs_n) begin
            // RELEASE counts when the chip is deselected after it.
            if (bits == 8 && command[7:0] == 8'hab) awake <= 1;
            bits <= 0;
        end else begin
            if (bits < 32) command <= {command[30:0], copi};
            bits <= bits + 1;
        end
    end
    always @(negedge clk) begin
        if (!cs_n && awake && bits >= 32 && command[31:24] == 8'h03) begin
            place = command[23:0] + (bits - 32) / 8 - ADDRESS;
            cipo <= place >= 0 && place < SIZE ? bytes[place][7 - (bits - 32) % 8] : 1'b1;
        end
    end
endmodule
