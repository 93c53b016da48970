"""What a coordinate of a map reaches over an edge, word by word or through a window.

Kernel, stride, padding, pooling and borders are all in these tables. This module imports no
Amaranth.
"""

from dataclasses import dataclass

__all__ = ["Reach", "Window", "WindowColumn", "WindowRow"]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one coordinate of a spike reaches along its axis: where updates start, and how many.

    Kernel, stride, padding, pooling and borders are all in here, so the hardware needs none of
    them, and a position outside of the map costs no cycle.

    Parameters
    ----------
    count
        Positions reached; 0: none.
    potential, weight
        Offsets of the first of them.
    """

    count: int
    potential: int = 0
    weight: int = 0


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """What one row of a map reaches through a window, as the banks of sums see it.

    Parameters
    ----------
    stores
        Whether a bank gets anything, one by one; none of them: nothing is reached.
    slots
        From which row of the window.
    nexts
        Whether its word is in the next row of words.
    potential, weight
        Offsets: first word of the row of words; rows of weights.
    """

    stores: tuple[int, ...]
    slots: tuple[int, ...]
    nexts: tuple[int, ...]
    potential: int
    weight: int = 0


@dataclass(frozen=True, kw_only=True)
class WindowColumn:
    """What one column of a map reaches through a window.

    Parameters
    ----------
    some
        There is anything.
    column
        Of the target, where the window begins; it may lie before the first.
    held
        Columns of the window up to the last that is one of the target.
    weight
        Offset of rows of weights.
    pick
        Which column of a row of weights goes where (`Window.picks`).
    """

    some: int
    column: int
    held: int
    weight: int = 0
    pick: int = 0


@dataclass(frozen=True, kw_only=True)
class Window:
    """Sums of a program that adds to a whole window of positions at once.

    Parameters
    ----------
    rows, columns
        Of the window: so many banks of sums; so many columns are open at a time.
    used
        Positions, row by row, that anything adds to: a row of weights has `lanes` numbers for each.
    row_table, column_table
        What rows and columns reach.
    picks
        For each column of the window, the column of a row of weights that it takes; None: none.
    pixels
        Coefficients of a word of the memory of pictures.
    """

    rows: int
    columns: int
    used: tuple[tuple[int, int], ...]
    row_table: tuple[WindowRow, ...]
    column_table: tuple[WindowColumn, ...]
    picks: tuple[tuple[int | None, ...], ...]
    pixels: int
