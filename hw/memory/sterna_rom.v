// A synchronous ROM filled from a hexadecimal file: the one module of Sterna that is written in
// Verilog, because Amaranth would spell out every word of it.
module sterna_rom #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter FILE = ""
) (
    input wire clk,
    input wire [ADDRESS-1:0] addr,
    output reg [WIDTH-1:0] data
);
    (* ram_style = "block" *)
    reg [WIDTH-1:0] rows [0:DEPTH-1];
    // Guarded, because a tool may look at the module before it knows the file.
    generate
        if (FILE != "") begin : contents
            initial $readmemh(FILE, rows);
        end
    endgenerate
    always @(posedge clk) data <= rows[addr];
endmodule
