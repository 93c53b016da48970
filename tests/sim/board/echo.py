"""A design that sends back what its pin receives."""

from sim.board.simulation import BoardPins

ECHO = """
module echo(input clk, input uart_rx, output reg uart_tx);
    initial uart_tx = 1'b1;
    always @(posedge clk) uart_tx <= uart_rx;
endmodule
"""
PINS = BoardPins(top="echo", rx="uart_rx", tx="uart_tx", clock_hz=8_000_000, baud=1_000_000)
