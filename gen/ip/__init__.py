"""A core as a package for other people's designs (docs/ip.md).

AXI4-Stream ports, a FuseSoC file, a test bench and a page that describes the ports.
"""
