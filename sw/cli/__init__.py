"""The command `sterna`."""
