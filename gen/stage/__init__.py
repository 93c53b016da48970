"""What a stage is, to all who plan, write, check or price one.

The interface (`stage`), the rows that its taps must show (`taps`), numbers as ROM rows (`rom`).
"""
