"""Planning, ROM images and Verilog: from a network image to files a toolchain reads."""
