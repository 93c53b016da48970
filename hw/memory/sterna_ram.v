// A memory with a read port and a write port, filled from a hexadecimal file at power-up: the
// master weights of a network that learns.
module sterna_ram #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter FILE = ""
) (
    input wire clk,
    input wire [ADDRESS-1:0] addr,
    output reg [WIDTH-1:0] data,
    input wire write_en,
    input wire [ADDRESS-1:0] write_addr,
    input wire [WIDTH-1:0] write_data
);
    (* ram_style = "block" *)
    reg [WIDTH-1:0] rows [0:DEPTH-1];
    // Guarded, because a tool may look at the module before it knows the file.
    generate
        if (FILE != "") begin : contents
            initial $readmemh(FILE, rows);
        end
    endgenerate
    always @(posedge clk) begin
        data <= rows[addr];
        if (write_en) rows[write_addr] <= write_data;
    end
endmodule
