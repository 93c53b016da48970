"""The host link of a board (docs/link.md).

Pins -> UART -> bytes -> frames (checksum) -> port, which feeds the core and answers from the
mailbox.
"""
