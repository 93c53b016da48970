// Weight memory made of the single-port RAMs of an iCE40 UP5K, 16,384 rows of 16 bits each, side by
// side. A write takes the address from the reader: nobody reads while weights are loaded.
module sterna_spram #(
    parameter WIDTH = 16,
    parameter ADDRESS = 14
) (
    input wire clk,
    input wire [ADDRESS-1:0] addr,
    output wire [WIDTH-1:0] data,
    input wire load_en,
    input wire [ADDRESS-1:0] load_addr,
    input wire [WIDTH-1:0] load_data
);
    localparam COUNT = (WIDTH + 15) / 16;
    wire [13:0] address = load_en ? load_addr : addr;
    wire [16*COUNT-1:0] written = load_data;
    wire [16*COUNT-1:0] read;
    assign data = read[WIDTH-1:0];
    genvar n;
    generate
        for (n = 0; n < COUNT; n = n + 1) begin : ram
            SB_SPRAM256KA block (
                .CLOCK(clk),
                .ADDRESS(address),
                .DATAIN(written[16*n +: 16]),
                .DATAOUT(read[16*n +: 16]),
                .MASKWREN(4'b1111),
                .WREN(load_en),
                .CHIPSELECT(1'b1),
                .STANDBY(1'b0),
                .SLEEP(1'b0),
                .POWEROFF(1'b1)
            );
        end
    endgenerate
endmodule
