"""Pictures of the studies. matplotlib is loaded where it is used: it is an extra."""

import io
from pathlib import Path
from typing import Any

from hw.contract.files import write_atomically

__all__ = ["write_png"]


def write_png(path: Path, figure: Any) -> None:
    """Write a matplotlib figure, the same bytes for the same figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
