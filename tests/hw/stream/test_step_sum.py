"""StepSum: sums of all steps, in order, in their cycles, however words come and go."""

import numpy as np
import pytest

from hw.stream.step_sum import StepSum
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.vectors import pack_vector

SHAPES = {
    "one-word": (1, 4, 1, True, 3),
    "two-words": (2, 3, 1, True, 4),
    "several-words": (5, 2, 2, True, 3),
    "no-sign": (3, 4, 2, False, 5),
    "two-steps": (1, 1, 3, True, 2),
}
"""Words, coefficients of a word, planes, sign, steps."""


@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.5, seed=3), *JITTERY], ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_sums_of_all_steps(shape: tuple[int, int, int, bool, int], pace: Pace) -> None:
    """The first image has the largest sums, the second the smallest."""
    words, length, planes, sign, steps = shape
    rng, images, top = np.random.default_rng(words + steps), 5, (1 << planes) - 1
    low = -top if sign else 0
    values = rng.integers(low, top + 1, (images, steps, words, length))
    values[0], values[1] = top, low
    out_planes = (top * steps).bit_length()
    sums = StepSum(
        words=words, length=length, planes=planes, signed=sign, out_planes=out_planes, steps=steps
    )
    bench = Bench(sums, pace)
    given = [
        word
        for vector in values.reshape(-1, words * length).tolist()
        for word in pack_vector(vector, length, planes, sign)
    ]
    source = bench.feed(sums.i, given)
    sink = bench.collect(sums.o, images * words)
    bench.run(extra=5)
    assert sink.values == [
        word
        for vector in values.sum(axis=1).reshape(images, -1).tolist()
        for word in pack_vector(vector, length, out_planes, sign)
    ]
    # The last step's words, each of which is offered as a sum.
    last = np.array(source.taken).reshape(images, steps, words)[:, -1].reshape(-1)
    assert sink.offered == [*map(int, last + StepSum.LATENCY)]
    if not pace.stall:
        assert source.taken == source.offered  # nothing waits for a sum
    # A word that is taken while a sum is there is taken as it leaves.
    for cycle in source.taken:
        assert not any(o <= cycle < t for o, t in zip(sink.offered, sink.taken, strict=True))
