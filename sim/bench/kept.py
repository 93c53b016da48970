"""What a bench keeps of what the hardware showed, for people to look at (`sterna report`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gen.stage.taps import Seen, Tap

__all__ = ["KEPT", "Kept", "Picture"]

KEPT = "kept.npz"
"""The file, in the folder of the bench."""

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the hardware played it.

    Parameters
    ----------
    number
        Of the picture, among those of its bench.
    spikes, potentials
        By number of a layer that fires, what its taps showed: (T, neurons).
    """

    number: int
    spikes: dict[int, Int]
    potentials: dict[int, Int]

    def differs(self, images: Seen, at: int) -> bool:
        """Whether a value is not that of picture `at`."""
        return any(
            not np.array_equal(mine[layer], theirs[layer][at])
            for mine, theirs in ((self.spikes, images.spikes), (self.potentials, images.potentials))
            for layer in mine
        )


@dataclass
class Kept:
    """Classes of all pictures, and one picture value by value: the first one, or the first in
    which a spike or a potential is not the golden model's."""

    classes: list[Int] = field(default_factory=list)
    picture: Picture | None = None
    wrong: bool = False
    _images: int = 0

    def look(
        self, images: Seen, taken: Sequence[tuple[Tap, npt.NDArray[np.uint32]]], *, differs: bool
    ) -> None:
        """Look at the next pictures.

        Parameters
        ----------
        taken
            Taps, with the rows of these pictures.
        differs
            Whether a value of theirs is not what it should be.
        """
        count = len(images.pixels)
        if differs and not self.wrong:
            self._look(images, taken, range(count))
        elif self._images == 0:
            self._look(images, taken, range(1))
        self._images += count

    def _look(
        self, images: Seen, taken: Sequence[tuple[Tap, npt.NDArray[np.uint32]]], numbers: range
    ) -> None:
        """Keep the first picture of these that differs, else the first one."""
        some = Seen(
            images.pixels[: len(numbers)],
            [c[: len(numbers)] for c in images.spikes],
            [u[: len(numbers)] for u in images.potentials],
        )
        spikes, potentials = dict[int, Int](), dict[int, Int]()
        for tap, rows in taken:
            part = rows[: tap.rows(some)] if len(rows) == tap.rows(images) else rows
            for layer, sent, stored in tap.shown(part, some):
                spikes[layer], potentials[layer] = sent, stored
        for n in numbers:
            picture = Picture(
                self._images + n,
                {layer: values[n] for layer, values in spikes.items()},
                {layer: values[n] for layer, values in potentials.items()},
            )
            wrong = picture.differs(some, n)
            if wrong or self.picture is None:
                self.picture, self.wrong = picture, wrong
            if wrong:
                break

    def save(self, path: Path) -> None:
        """Write all of it."""
        classes = np.concatenate([np.zeros(0, dtype=np.int64), *self.classes])
        arrays = {"classes": classes, "wrong": np.array(self.wrong)}
        if self.picture is not None:
            arrays["picture"] = np.array(self.picture.number)
            for layer in self.picture.spikes:
                arrays[f"spikes{layer}"] = self.picture.spikes[layer]
                arrays[f"potentials{layer}"] = self.picture.potentials[layer]
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Kept":
        """Inverse of `save`.

        Raises
        ------
        OSError, ValueError, KeyError
            When it cannot be read.
        """
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            kept = cls(classes=[found["classes"]], wrong=bool(found["wrong"]))
            if "picture" in found:
                arrays = {
                    what: {
                        int(name.removeprefix(what)): found[name]
                        for name in found.files
                        if name.startswith(what)
                    }
                    for what in ("spikes", "potentials")
                }
                kept.picture = Picture(int(found["picture"]), **arrays)
        return kept
