"""Networks written in snnTorch, and in its ternary extension snntorch-ternary.

A module is run once, and watched: which of its modules gets what the one before it made. So a class
with a forward of its own, whose loop over time steps is inside, is read like a Sequential; what was
read is then compared with the module itself. snnTorch (MIT) is not needed to use Sterna, nor
installed with it.

Its conventions: a potential fires above its threshold; what a spike subtracts is subtracted a step
later, from what has decayed (`reset_delay`), so the contract's step is theta / beta; spikes of the
ternary extension are worth 2 unless `surrogate_disable` is set, for its surrogate is a sign.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.neuron import READINGS
from hw.contract.text import none_of
from sw.data.split import Split
from sw.frameworks.architecture import Architecture, read_architecture
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import ImportReport
from sw.importers.affine import ConvertError
from sw.importers.modules import cause
from sw.importers.trace import Before, Step, Sum
from sw.learn.neuron import LIFParameters, ReadoutParameters
from sw.reading.conventions import TIE
from sw.reading.decay import current_fields, decay_fields, decays_of, joined
from sw.reading.network import LeakyReadout, per_channel
from sw.watch.calls import Call, IsNode, Watch
from sw.watch.described import Node
from sw.watch.network import WatchedNetwork
from sw.watch.returned import require_whole

__all__ = ["SnnNetwork", "import_network", "is_file", "lif_parameters", "open_file"]

NODES = ("Leaky", "Lapicque", "RLeaky", "Synaptic", "RSynaptic", "TernaryLeaky")
ACTIVATION = f"one of {', '.join(NODES)}"
STATES = {"Alpha", "SConv2dLSTM", "SLSTM"}
"""Nodes with more states than a potential and a current."""

RESETS = ("subtract", "zero", "none")
"""By the number that a state has."""

MARK = ".reset_mechanism_val"
"""Ends a key of every state_dict of snnTorch."""

OTHERS = tuple((4.0**n, part) for n in (0, -1, 1, -2, 2, -3, 3, 4) for part in (0.5, 0.0, 1.0))
"""Factors of images on which what is read of a readout is told apart, and what is subtracted."""

UNSAID = (
    "a state_dict does not say the order of its modules, here that of the file, nor when they "
    "reset, here a step late: a TOML file says it"
)


@cache
def _library() -> Any:
    """`snntorch`, and classes of its extension where it is installed."""
    if find_spec("snntorch") is None:
        raise SternaError("Networks of snnTorch need the package snntorch: install it")
    import snntorch

    found = {name: getattr(snntorch, name) for name in NODES if hasattr(snntorch, name)}
    if find_spec("snntorch_ternary") is not None:
        from snntorch_ternary import TernaryLeaky

        found["TernaryLeaky"] = TernaryLeaky
    return SimpleNamespace(neuron=snntorch.SpikingNeuron, nodes=found)


def _is_node(module: nn.Module) -> bool:
    return isinstance(module, _library().neuron)


# Neurons


def lif_parameters(node: nn.Module) -> Node:
    """Leaky, Lapicque, Synaptic, RLeaky and RSynaptic (without what comes back), TernaryLeaky.

    Raises
    ------
    ConvertError
        One sentence, without its subject, for a node that no neuron of the contract is.
    """
    name, settings = type(node).__name__, cast(Any, node)
    if name in STATES:
        raise ConvertError(
            f"has more states than a potential and a synaptic current, which no neuron of the "
            f"contract has: train with {ACTIVATION}"
        )
    if name not in _library().nodes:
        raise ConvertError(f"is not {ACTIVATION}")
    if settings.inhibition:
        raise ConvertError("must not let only its largest potential fire: without inhibition")
    if settings.state_quant:
        raise ConvertError("must not round its states (state_quant): Sterna rounds by itself")
    kept, gain = _kept(name, settings)
    high, low, at, steady = _fired(settings.spike_grad)
    if name == "TernaryLeaky":
        height, negative, down = _ternary(settings, high, low)
    elif (high, low) == (1.0, 0.0):
        height, negative, down = 1.0, "off", None
    else:
        raise ConvertError(f"must send spikes of 1, not {high:g} and {low:g}: its spike_grad does")
    if not steady:
        raise ConvertError("must fire wherever its potential is above its threshold, only there")
    if down is not None and at == high:
        raise ConvertError("must fire above its threshold, not at it: its spike_grad does")
    thetas = _positive(settings.threshold, "threshold")
    theta = float(thetas.max())
    fields, approximated, factors = decays_of(kept)
    if down is not None and abs(down - theta) > TIE * theta:
        raise ConvertError(
            f"must have the same threshold on both sides, not {theta:g} and {down:g}: a spike "
            "subtracts one of them, and of the contract's neurons, the same on both sides"
        )
    tie = 1 - TIE if at == high else 1 + TIE
    amplitude = height * _single(settings.graded_spikes_factor, "graded_spikes_factor")
    own, worth = dict[str, Any](), torch.tensor(theta * height, dtype=torch.float64)
    if factors is None:
        # One threshold for all: what a neuron with a lower one gets counts for more.
        gain = gain * theta / thetas
    else:
        own["factors"], worth = factors, thetas * height
        if thetas.numel() > 1:
            own["thetas"] = thetas * tie
    reset, steps, note = _reset(name, settings, worth, kept)
    if factors is not None and steps.numel() > 1:
        own["steps"] = steps
    current, by = {}, ""
    if hasattr(settings, "alpha"):
        current, by = current_fields(_share(settings.alpha, "alpha"))
    parameters = LIFParameters(
        theta=theta * tie,
        negative=negative,
        reset=reset,
        step=float(steps.max()),
        **fields,
        **current,
    )
    return Node(
        parameters,
        gain=gain,
        amplitude=amplitude,
        approximated=joined(approximated, by),
        note=note,
        unit=thetas,
        before_reset=_is_late(name, settings),
        tie=tie,
        **own,
    )


def _kept(name: str, settings: Any) -> tuple[Tensor, Tensor]:
    """What is kept of a potential, and what its input counts times; of all, or of each neuron."""
    if name == "Lapicque":
        step, r, c = (_single(getattr(settings, key), key) for key in ("time_step", "R", "C"))
        kept, gain = 1 - step / (r * c), step / c
        return torch.tensor(kept, dtype=torch.float64), torch.tensor(gain, dtype=torch.float64)
    return _finite(settings.beta, "beta").clamp(0, 1), torch.ones((), dtype=torch.float64)


def _share(value: Any, what: str) -> float:
    """As a forward clamps it."""
    return min(1.0, max(0.0, _single(value, what)))


def _ternary(settings: Any, high: float, low: float) -> tuple[float, str, float]:
    """What a spike is worth, which sides there are, and the negative threshold."""
    if high <= low:
        raise ConvertError(f"must fire above its threshold: its spike_grad gives {high:g}")
    down = _positive(settings.neg_threshold, "negative threshold")
    thetas = settings.threshold
    if down.numel() > 1 or thetas.numel() > 1:
        down = torch.unique(down / thetas * thetas.max())
    return high - low, "free", _single(down, "negative threshold")


def _is_late(name: str, settings: Any) -> bool:
    """Whether a reset comes at the next step."""
    return name == "Lapicque" or bool(settings.reset_delay)


def _reset(name: str, settings: Any, worth: Tensor, kept: Tensor) -> tuple[str, Tensor, str]:
    """Kind and step of the reset, and what must be said about it; `worth` is what it subtracts."""
    kind, late = RESETS[int(settings.reset_mechanism_val)], _is_late(name, settings)
    if kind == "none":
        raise ConvertError(
            "must reset by subtraction or to zero, not go on as it is, unless it comes last and "
            "its potentials are returned"
        )
    if name == "TernaryLeaky" and (kind == "zero" or not late):
        raise ConvertError(
            "resets negative potentials to something else than zero, or the wrong way (of "
            'snntorch-ternary 0.1.3): use reset_mechanism="subtract" with reset_delay=True'
        )
    if kind == "zero":
        if late and name != "Leaky":
            raise ConvertError(
                "resets to zero a step late, and that step's input with it: use "
                'reset_delay=False, or reset_mechanism="subtract"'
            )
        return "hard", torch.zeros(()), ""
    if not late:
        note = "a potential of more than twice the threshold is reset in another way there"
        return "soft", worth, note
    if not bool(kept.all()):
        raise ConvertError("subtracts a step late from what is not kept (beta = 0): use beta > 0")
    return "soft", worth / kept, ""


def _fired(function: Callable[[Tensor], Tensor]) -> tuple[float, float, float, bool]:
    """What a spike_grad gives above the threshold, below it and at it; and whether that is all."""
    near = torch.tensor([1.0, 1e-6, 1e-3, 1e3, 1e6], dtype=torch.float64)
    above, below = function(near), function(-near)
    steady = bool((above == above[0]).all() and (below == below[0]).all())
    return float(above[0]), float(below[0]), float(function(torch.zeros_like(near))[0]), steady


def _positive(value: Tensor, what: str) -> Tensor:
    found = _finite(value, what)
    if not bool((found > 0).all()):
        raise ConvertError(f"must have a positive {what}, not {float(found.min()):g}")
    return found


def _finite(value: Any, what: str) -> Tensor:
    found = torch.as_tensor(value, dtype=torch.float64).detach()
    if not bool(found.isfinite().all()):
        raise ConvertError(f"must have a finite {what}, not {float(found.sum()):g}")
    return found if found.numel() > 1 else found.reshape(())


def _single(value: Any, what: str) -> float:
    found = _finite(value, what)
    low, high = float(found.min()), float(found.max())
    if high - low > TIE * max(abs(high), abs(low)):
        raise ConvertError(
            f"must have one {what} for all its neurons, not {low:g} to {high:g}: train one for the "
            "layer"
        )
    return high


class SnnNetwork(WatchedNetwork):
    """A module of snnTorch: a Sequential of neurons with `init_hidden`, or a class with a forward
    of its own that takes images, (n, ...) with its loop over steps inside, or (T, n, ...).

    Parameters
    ----------
    module
        It is not changed.
    architecture
        Where it was built of a state_dict: what that left open.
    readout
        What is read of potentials that a forward returns of all steps, where its last neurons never
        reset: `last`, `sum` or `max`.

    Raises
    ------
    ConvertError
        For what is no module, or cannot be copied.
    """

    framework = "snnTorch"
    activation = ACTIVATION
    unlike = (
        "Network gives something else than its modules one after the other, as they ran in the "
        "first step, on the same image at every step (of recordings, on image t at step t): its "
        "forward computes more than they do, or, with reset_delay=False, potentials reach twice "
        "their threshold"
    )

    def __init__(
        self,
        module: nn.Module,
        architecture: Architecture | None = None,
        readout: str | None = None,
    ) -> None:
        super().__init__(module)
        if architecture is not None:  # what its file says of a module of ours
            said = (getattr(m, "readout", None) for m in module.modules())
            readout = next((value for value in said if value is not None), None)
        if readout is not None and readout not in READINGS:
            raise ConvertError(none_of("Readout", readout, READINGS))
        self._said = readout
        self.architecture = architecture
        self._fits = READINGS
        """Of a readout that leaks, what may be read, as all runs so far have it."""

    def is_node(self, module: nn.Module) -> bool:
        return _is_node(module)

    def node(self, module: nn.Module) -> Node:
        return lif_parameters(module)

    def reads(self, module: nn.Module) -> bool:
        if not _is_node(module) or type(module).__name__ != "Leaky":
            return False
        return RESETS[int(cast(Any, module).reset_mechanism_val)] == "none"

    def readout(self, call: Call) -> LeakyReadout:
        settings = cast(Any, call.module)
        if settings.inhibition or settings.state_quant:
            raise ConvertError("must have no inhibition and no state_quant")
        kept, _ = _kept("Leaky", settings)
        fields, by = decay_fields(_single(kept, "beta"))
        return LeakyReadout(call.place, ReadoutParameters(value=self._fits[0], **fields), by)

    def notes(self, chain: Sequence[Call]) -> dict[str, str]:
        if self.architecture is None or self.architecture.stated:
            return {}
        return {chain[0].place: UNSAID}

    def _reset(self) -> None:
        for module in self.module.modules():
            if _is_node(module):
                for state in ("mem", "spk", "syn"):
                    if isinstance(getattr(module, state, None), Tensor):
                        setattr(module, state, torch.zeros(0, dtype=torch.float64))

    def _called(self, inputs: Sequence[Tensor]) -> tuple[list[Call], list[Any]]:
        """What its modules do in a forward of each input, and what these return."""
        self._reset()
        with Watch(self.module, _is_node) as self._watch:
            returned = [self.module(x) for x in inputs]
        return self._watch.calls, returned

    def _forms(
        self, x: Tensor, steps: int, timed: bool, tried: Sequence[Sequence[Call]]
    ) -> Iterator[tuple[Sequence[Tensor], Callable[[Sequence[Call]], bool]]]:
        """Ways in which a forward may take what `calls` is given: what its forwards get, and
        whether it is taken so, by the calls of its modules. Those of ways before are in `tried`.

        Recordings: all at once, an image at a time, with the images in front. Images: with the
        loop over time inside; else, if that was one step, so many times; else an axis of time."""
        if timed:
            for inputs in ([x], [*x], [x.transpose(0, 1)]):
                yield inputs, lambda calls: _sees_steps(calls, x, _is_node)
            return
        yield [x], lambda calls: _is_inside(calls, x) and _steps_of(calls) == steps
        if not tried or not _is_inside(tried[0], x):
            yield [x.expand(steps, *x.shape)], lambda calls: _steps_of(calls) == steps
        elif _steps_of(tried[0]) == 1:
            yield [x] * steps, lambda calls: _steps_of(calls) == steps

    def calls(self, x: Tensor, steps: int, timed: bool = False) -> list[Call]:
        axis, n = int(timed), x.shape[int(timed)]
        if n == 1 or (timed and n == steps):  # axes could be taken for each other
            more = 2 if timed and n + 1 == steps else 1
            longer = torch.cat([x, *[x.narrow(axis, n - 1, 1)] * more], dim=axis)
            return [call.first(n) for call in self.calls(longer, steps, timed)]
        tried, returns, raised = list[list[Call]](), list[list[Any]](), None
        for inputs, fits in self._forms(x, steps, timed, tried):
            try:
                calls, returned = self._called(inputs)
            except Exception as error:  # a stranger's forward may raise anything
                raised = raised or error
                continue
            calls = _apart(calls, x, _is_node) if timed else calls
            if fits(calls):
                self._check_whole(calls, returned, steps)
                return calls
            tried.append(calls)
            returns.append(returned)
        has_nodes = any(_is_node(module) for module in self.module.modules())
        if not has_nodes and (timed or tried):
            raise ConvertError(f"Network has no neurons: it needs {ACTIVATION}")
        more = f": {cause(raised)}" if raised else ""
        if timed:
            raise ConvertError(
                f"Network cannot be run on recordings of {steps} images of {tuple(x.shape[2:])}: "
                "it must take an image at a time, (n, ...), or all of them, (T, n, ...) or (n, T, "
                f"...), and each of its neurons must run once in each step{more}"
            )
        if not tried or not _steps_of(tried[-1]):
            raise ConvertError(
                f"Network cannot be run on images of {tuple(x.shape[1:])}, nor on all steps of "
                f"them{more}"
            )
        calls, returned = tried[-1], returns[-1]
        if steps in Counter(call.place for call in calls).values():
            require_whole(calls, returned, steps, _is_node)
        ran = _steps_of(calls)
        _require_loop(calls, ran)
        raise ConvertError(
            f"Network runs {ran} time steps by itself, not {steps}: give --steps {ran}"
        )

    def _check_whole(self, calls: Sequence[Call], returned: Sequence[Any], steps: int) -> None:
        """`require_whole` of all steps, and what is read of a readout that leaks."""
        self._reset()
        self._watch.require_unbound()
        last = next(call for call in reversed(calls) if call.once)
        if self._said is not None and not self.reads(last.module):
            raise ConvertError(
                f"Readout must be given for a Leaky that comes last and never resets, not as "
                f"{self._said!r} for {last.place}"
            )
        if self.architecture is not None and self._said is not None:  # as a forward would
            mine = (call.potential for call in calls if call.place == last.place)
            returned = [torch.stack([m for m in mine if m is not None])]
        found = require_whole(calls, returned, steps, _is_node, self.reads, self._said)
        self._fits = tuple(value for value in self._fits if value in found) or found

    def tell_readouts(self, x: Tensor, steps: int, timed: bool) -> str:
        """Images of both signs, darker and brighter: neurons fire always, at times or never."""
        for scale, part in OTHERS if steps > 1 else ():
            if len(self._fits) > 1:
                with suppress(ConvertError):  # of a softmax there may be nothing left
                    self.calls(scale * (x - part), steps, timed)
        if steps == 1 or len(self._fits) == 1:
            return ""
        return f"on all images tried, {' and '.join(self._fits)} are the same but for a factor"

    def expanded(self, call: Call, title: str, here: str) -> list[Step]:
        """A module; neurons, with what comes back to them."""
        back = getattr(call.module, "recurrent", None) if _is_node(call.module) else None
        if not isinstance(back, nn.Module):
            return super().expanded(call, title, here)
        before, brought, both = (f"{title} | {part}" for part in ("before", "back", "sum"))
        shape = tuple(call.made.shape[1:])
        return [
            Step(before, (title,), Before(shape)),
            Step(brought, (before,), _recurrent(back, shape)),
            Step(both, (here, brought), Sum()),
            Step(title, (both,), call.module),
        ]


def _steps_of(calls: Sequence[Call]) -> int:
    """How often the first of the neurons ran; 0: there are none."""
    first = next((call.place for call in calls if _is_node(call.module)), None)
    return sum(call.place == first for call in calls)


def _is_inside(calls: Sequence[Call], x: Tensor) -> bool:
    """Whether a forward has taken images x (n, ...) as they are: of what takes an axis of time,
    each step is one image."""
    whole = bool(calls) and calls[0].given.numel() == x.numel()
    return whole and all(len(call.made) == len(x) for call in calls)


def _require_loop(calls: Sequence[Call], ran: int) -> None:
    """Refuse a forward whose modules run several times, but not as steps: the first of them would
    be given the same each time, the image or what was made of it.

    Raises
    ------
    ConvertError
        One sentence that names them.
    """
    times = Counter(call.place for call in calls if call.once)
    several = [place for place, n in times.items() if n == ran > 1]
    given = [call.given for call in calls if call.place == several[0]] if several else []
    if all(x.shape == given[0].shape and torch.equal(x, given[0]) for x in given):
        return
    raise ConvertError(
        f"Network cannot be converted: {' and '.join(several)} run several times in a step: use a "
        "module for each place"
    )


def _apart(calls: Sequence[Call], x: Tensor, is_node: IsNode) -> list[Call]:
    """The calls, those in front of all neurons that were given all steps of recordings x (T, n,
    ...) at once, as one for each step: of steps behind the first, at the end."""
    first, later = list[Call](), list[Call]()
    axes, at_front = x.shape[:2], True
    for call in calls:
        at_front = at_front and not is_node(call.module)
        if at_front and call.given.shape[:2] == axes == call.made.shape[:2]:
            parts = zip(call.given, call.made, strict=True)
            each = [replace(call, given=given, made=made) for given, made in parts]
            first.append(each[0])
            later += each[1:]
        else:
            first.append(call)
    return first + later


def _sees_steps(calls: Sequence[Call], x: Tensor, is_node: IsNode) -> bool:
    """Whether the first of the modules is given image t of recordings x (T, n, ...) at its t-th
    call, and all neurons run once in each step."""
    ran = Counter(call.place for call in calls if is_node(call.module))
    given = [call.given for call in calls if call.place == calls[0].place]
    return (
        bool(ran)
        and set(ran.values()) == {len(x)}
        and len(given) == len(x)
        and all(
            one.numel() == image.numel() and torch.equal(one.flatten().double(), image.flatten())
            for one, image in zip(given, x, strict=True)
        )
    )


def _recurrent(back: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """What comes back: weights, or one factor for each neuron with itself."""
    if isinstance(back, (nn.Linear, nn.Conv2d)):
        return back
    factor = torch.as_tensor(cast(Any, back).V, dtype=torch.float64).detach().flatten()
    return per_channel(shape, factor.expand(shape[0]).clone())


# Files


def is_file(path: Path) -> bool:
    """Whether a file is a state_dict of snnTorch, or describes one."""
    return read_architecture(path, MARK, "snntorch") is not None


def open_file(path: Path) -> SnnNetwork:
    """The network of a state_dict, `torch.save(net.state_dict(), path)`, or of a TOML file that
    names one and says what it leaves open (`sw.frameworks.architecture`).

    Raises
    ------
    ConvertError
        When it cannot be read.
    """
    architecture = read_architecture(path, MARK, "snntorch")
    if architecture is None:
        raise ConvertError(
            f"Network {path} must be a state_dict of snnTorch, torch.save(net.state_dict(), path), "
            "or a TOML file that names one: snnTorch's modules cannot be saved themselves"
        )
    return SnnNetwork(architecture.build(_made), architecture)


def _made(kind: str, own: Mapping[str, Tensor], given: Mapping[str, Any]) -> nn.Module | None:
    """The neuron of a kind, or of that which has such a state; None: it is no neuron."""
    nodes, kind = _library().nodes, kind or _kind_of(own)
    if kind not in nodes:
        return None
    takes = inspect.signature(nodes[kind]).parameters
    options: dict[str, Any] = {key: value for key, value in own.items() if key in takes}
    if {"R", "C"} <= set(options):  # of which the rest follows
        options.pop("beta", None)
    if "reset_mechanism_val" in own:
        options["reset_mechanism"] = RESETS[int(own["reset_mechanism_val"])]
    if "neg_threshold" in own:
        options["symmetric_threshold"] = False
    back = {key.partition(".")[2]: v for key, v in own.items() if key.startswith("recurrent.")}
    if "weight" in back and back["weight"].ndim == 2:
        options["linear_features"] = len(back["weight"])
    elif "weight" in back:
        options["conv2d_channels"] = len(back["weight"])
        options["kernel_size"] = tuple(back["weight"].shape[2:])
    elif "V" in takes:
        options |= {"all_to_all": False, "V": own.get("V", back.get("V"))}
    said = sorted(set(options) & set(given))
    if said:
        raise ValueError(f"its state says {said[0]} already")
    given = dict(given)
    readout = given.pop("readout", None)
    made = nodes[kind](**{**options, "init_hidden": True, **given})
    if readout is not None:
        made.readout = readout
    if "weight" in back:
        made.get_submodule("recurrent").load_state_dict(back)
    return made


def _kind_of(own: Mapping[str, Tensor]) -> str:
    """The kind of neurons that have such a state; empty: none has."""
    back = any(key == "V" or key.startswith("recurrent.") for key in own)
    if "alpha" in own:
        return "RSynaptic" if back else "Synaptic"
    if "neg_threshold" in own:
        return "TernaryLeaky"
    if back:
        return "RLeaky"
    if {"R", "C"} <= set(own):
        return "Lapicque"
    return "Leaky" if "beta" in own else ""


def import_network(
    module: nn.Module, data: Split, *, readout: str | None = None, **options: Any
) -> tuple[Network, ImportReport]:
    """The network of a snnTorch module, compared with it on a data set: `import_foreign`. `readout`
    is `SnnNetwork`'s."""
    return import_foreign(SnnNetwork(module, readout=readout), data, **options)
