"""What a board is: its chip, its pins and its oscillator.

Listed (`gen.board.boards`), from a TOML file, from amaranth-boards, or as it was once built.
"""
