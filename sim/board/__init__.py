"""Whole boards under Verilator, as generated, as synthesised, or unpacked from a bitstream.

Design + what is soldered around it -> simulation -> bytes of the host link through the pins.
"""
