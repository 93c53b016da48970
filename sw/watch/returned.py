"""What a forward returns of what its last modules made: all of it, a sum, a potential."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sw.importers.affine import Cause, refusal
from sw.reading.network import readings
from sw.watch.calls import Call, IsNode, first_step

__all__ = ["potentials", "read_of", "require_whole"]


def require_whole(
    calls: Sequence[Call],
    returned: Sequence[Any],
    steps: int,
    is_node: IsNode,
    reads: IsNode = lambda module: False,
    said: str | None = None,
) -> tuple[str, ...]:
    """Refuse a network of which the first time step is not all: with modules that run in other
    steps only, or several times in a step, or a forward that returns something else.

    Parameters
    ----------
    returned
        Of all steps: of each, or of all at once.
    reads
        Whether potentials are read of a module of neurons, where it comes last.
    said
        As of `read_of`.

    Returns
    -------
    tuple
        What may be read of potentials (`read_of`); "sum" where none are read.

    Raises
    ------
    ConvertError
        One sentence that names every such module, or the last one.
    """
    chain = [call for call in first_step(calls) if call.once]
    first, last = {call.place for call in chain}, chain[-1]
    ran = Counter(call.place for call in calls if call.once)
    modules = {call.place: call.module for call in calls}
    causes, later = list[Cause](), list[Cause]()
    for place, n in ran.items():
        # What is the same at every step may be computed once, in front of all neurons.
        constant = n == 1 and place in first and not is_node(modules[place])
        if n != steps and (not constant or place == last.place):
            problem = f"runs {n}x in {steps} time steps: each module must run once in each"
            causes.append(Cause(place, problem))
        elif place not in first:
            what = "first runs when other modules have begun their next time step"
            later.append(Cause(place, what))
    if causes or later:
        raise refusal(causes or later)
    if reads(last.module):
        return read_of([call for call in calls if call.place == last.place], returned, said)
    made = torch.stack([call.made.flatten(1) for call in calls if call.place == last.place])
    if not any(_tells(value, made) for value in _tensors(returned)):
        raise refusal(
            [
                Cause(
                    last.place,
                    "comes last, and the forward returns neither what it makes, nor the sum or "
                    "mean over all time steps: of neurons that reset, spikes are read, not "
                    "potentials",
                )
            ]
        )
    return ("sum",)


def read_of(calls: Sequence[Call], returned: Sequence[Any], said: str | None) -> tuple[str, ...]:
    """What a forward returns of the potentials of its last neurons, which never reset: the `last`,
    their `sum` (or mean), their `max` over all time steps; all of these that it may be, for on some
    images they are the same, but for a factor.

    Parameters
    ----------
    calls
        Of these neurons, in all steps.
    said
        What is read where it returns those of all steps.

    Raises
    ------
    ConvertError
        When it returns none of them, or those of all steps, of which anything may be read.
    """
    m = potentials(calls)
    if len(m) != len(calls):
        raise refusal([Cause(calls[0].place, "must keep its potential, of which a class is read")])
    read = readings(m)
    values = [*_tensors(returned)]
    pairs = read.items() if len(returned) == 1 else ()
    fits = [name for name, m in pairs if any(_is_scaled(value, m) for value in values)]
    if said in fits or (said is not None and any(_equals(value, m) for value in values)):
        return (str(said),)
    if fits and said is not None and said not in fits:
        problem = f"has its {fits[0]} potential returned, and readout = {said!r} says another one"
        raise refusal([Cause(calls[0].place, problem)])
    if fits:
        return tuple(fits)
    raise refusal(
        [
            Cause(
                calls[0].place,
                "never resets, so its potentials are read, and the forward must return the last of "
                "them, their sum, mean or maximum over all time steps; or all of them, and "
                "readout = 'last', 'sum' or 'max' must say what is read",
            )
        ]
    )


def potentials(calls: Sequence[Call]) -> Tensor:
    """What neurons kept in their calls, (T, n, classes)."""
    return torch.stack([c.potential.flatten(1) for c in calls if c.potential is not None])


def _is_scaled(value: Tensor, wanted: Tensor) -> bool:
    """Whether a value is another one times a positive number, or what a softmax makes of that, or
    its logarithm."""
    if value.numel() != wanted.numel() or value.ndim < 2 or len(value) != len(wanted):
        return False
    flat = value.reshape(wanted.shape)
    exponents = [flat, flat.log()] if bool((flat > 0).all()) else [flat]
    centred = wanted - wanted.mean(dim=1, keepdim=True)
    if not bool(centred.any()):  # as where nothing fires
        return bool((flat == flat[:, :1]).all())
    for exponent in exponents:
        other = exponent - exponent.mean(dim=1, keepdim=True)
        scale = float((other * centred).sum() / (centred * centred).sum().clamp(min=1e-300))
        if scale > 0 and torch.allclose(other, centred * scale, rtol=1e-4, atol=1e-5 * scale):
            return True
    return False


def _tensors(returned: Sequence[Any]) -> Iterator[Tensor]:
    """All that a forward returned; of several, what is in the same place of each, too."""
    if len(returned) > 1 and all(isinstance(value, Tensor) for value in returned):
        some = [value for value in returned if isinstance(value, Tensor)]
        if all(value.shape == some[0].shape for value in some):
            yield torch.stack(some).detach().double()
    for value in returned:
        if isinstance(value, Tensor):
            yield value.detach().double()
        elif isinstance(value, Mapping):
            yield from _tensors([*value.values()])
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
    if len(returned) > 1 and all(isinstance(value, (tuple, list)) for value in returned):
        for values in zip(*returned, strict=False):
            yield from _tensors(values)


def _tells(value: Tensor, made: Tensor) -> bool:
    """Whether a value is what was made (T, n, classes), or its sum, but for a factor."""
    return _equals(value, made) or _is_scaled(value, made.sum(dim=0))


def _equals(value: Tensor, made: Tensor) -> bool:
    """Whether a value is what was made (T, n, classes), its axes in whatever order."""
    if value.numel() != made.numel():
        return False
    orders = ((0, 1, 2), (1, 0, 2), (1, 2, 0))
    return any(
        torch.allclose(value.flatten(), made.permute(order).flatten(), rtol=1e-5, atol=1e-6)
        for order in orders
    )
