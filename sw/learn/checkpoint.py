"""The checkpoint: what training leaves behind, enough to export and to compare; and the file of a
run under way, enough to go on with it."""

import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw.contract.checks import SternaError
from hw.contract.files import write_atomically
from hw.contract.spec import NetworkSpec
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork
from sw.learn.plan import dense_chain
from sw.learn.recipes import PHASES, Phase, Recipe

__all__ = ["Checkpoint", "CheckpointError", "Run", "float_network"]

FORMAT, FORMER = "sterna-checkpoint-3", "sterna-checkpoint-2"
RUN_FORMAT = "sterna-run-1"


class CheckpointError(SternaError, ValueError):
    """A checkpoint file that cannot be used."""


def float_network(recipe: Recipe) -> FloatNetwork:
    """The untrained float network of a recipe; draws from torch's global generator."""
    return FloatNetwork(
        recipe.input_shape,
        recipe.layers,
        steps=recipe.steps,
        pixel_max=recipe.pixel_max,
        neuron=recipe.neuron,
        train_amplitude=recipe.train_amplitude,
        timed=recipe.timed,
        readout=recipe.readout,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A trained network, before and after quantisation.

    Parameters
    ----------
    recipe, seed
        What was followed.
    trained
        How each phase ended, as plain JSON data: epochs, loss, validation accuracy, spike rate.
        No times: the same seed gives the same checkpoint.
    float_state
        State of the float network at the end of the float phase.
    spec, integer_state
        Contract and state of the `IntegerNetwork` at the end of the integer phase.
    data
        Digest of the training part (`Split.digest`), where the data are the user's own: a test part
        of other data may hold what was trained on.
    """

    recipe: Recipe
    seed: int
    trained: Mapping[str, Any]
    float_state: Mapping[str, Tensor]
    spec: NetworkSpec
    integer_state: Mapping[str, Tensor]
    data: str = ""

    def float_network(self) -> FloatNetwork:
        """The float network, in evaluation mode."""
        network = float_network(self.recipe)
        if self.recipe.float_phase.rounded:
            network.round_weights(self.recipe.weight_bits)
        network.load_state_dict(dict(self.float_state))
        return network.eval()

    def integer_network(self) -> IntegerNetwork:
        """The integer network."""
        network = IntegerNetwork(self.spec)
        if self.recipe.exact_decay:
            network.double()
        network.load_state_dict(dict(self.integer_state))
        return network.eval()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint atomically with torch.save."""
        content = {
            "format": FORMAT,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "trained": dict(self.trained),
            "float_state": dict(self.float_state),
            "spec": self.spec.to_dict(),
            "integer_state": dict(self.integer_state),
            "data": self.data,
        }
        return _write(Path(path), content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint; runs no code from the file (weights_only).

        Raises
        ------
        CheckpointError
            One sentence for a file that is missing, not a checkpoint, or inconsistent.
        """
        path = Path(path)
        content = _read(path, "checkpoint", (FORMAT, FORMER))
        try:
            if content["format"] == FORMER:
                content = _from_former(content)
            checkpoint = cls(
                recipe=Recipe.from_dict(content["recipe"]),
                seed=content["seed"],
                trained=content["trained"],
                float_state=content["float_state"],
                spec=NetworkSpec.from_dict(content["spec"]),
                integer_state=content["integer_state"],
                data=content.get("data", ""),
            )
            checkpoint.float_network()
            checkpoint.integer_network()
        except KeyError as error:
            raise CheckpointError(f"Checkpoint {path} lacks {error}") from None
        except SternaError as error:
            raise CheckpointError(f"Checkpoint {path} is inconsistent: {error}") from None
        except (RuntimeError, TypeError, ValueError, AttributeError):
            # torch's own report of states that do not fit runs over many lines.
            raise CheckpointError(
                f"Checkpoint {path} is inconsistent: its states do not fit its networks"
            ) from None
        return checkpoint


class Run:
    """A training under way, kept in a file after every epoch, from which it goes on as if it had
    never been broken off: one that was gives the network, to the bit, of one that was not.

    Parameters
    ----------
    path
        The file; None: nothing is kept.
    recipe
        What is followed. In a phase of a constant rate, its epochs and all that comes later may
        differ from those of the run that the file is of.
    circumstances
        What else decides the network, by name: seed, threads, digest of the data.

    Raises
    ------
    CheckpointError
        One sentence for a file that is no run's, or another run's.
    """

    def __init__(
        self, path: Path | None, recipe: Recipe, circumstances: Mapping[str, str | int | bool]
    ) -> None:
        self.path, self.recipe, self.circumstances = path, recipe, dict(circumstances)
        self.content: dict[str, Any] = {}
        if path is not None and path.exists():
            self.content = _read(path, "run", (RUN_FORMAT,))
            self._check(path)

    def _check(self, path: Path) -> None:
        try:
            kept, phase, epoch = (self.content[key] for key in ("recipe", "phase", "epoch"))
            before = Recipe.from_dict(kept)
            made = getattr(self.recipe, phase)
            fits = _followed(before, phase) == _followed(self.recipe, phase)
            enough = isinstance(made, Phase) and epoch <= made.epochs
            different = [
                what
                for what, value in self.circumstances.items()
                if self.content["circumstances"][what] != value
            ]
        except (KeyError, TypeError, AttributeError, ValueError, SternaError):
            raise CheckpointError(f"Run {path} is inconsistent: delete it to begin anew") from None
        if not fits or not enough:
            different.insert(0, "recipe")
        if different:
            raise CheckpointError(
                f"Run {path} must be one of the same recipe, seed and circumstances to go on, but "
                f"differs in its {different[0]}: delete it to begin anew"
            )

    @property
    def told(self) -> str:
        """How far it had come; empty for a run that begins."""
        if not self.content:
            return ""
        name = self.content["phase"].removesuffix("_phase")
        return f"goes on after epoch {self.content['epoch']} of its {name} phase ({self.path})"

    def is_past(self, phase: str) -> bool:
        """Whether it had come to a later phase, one of `PHASES`."""
        kept = self.content.get("phase")
        return kept is not None and PHASES.index(phase) < PHASES.index(kept)

    def enter_integers(self, network: FloatNetwork, figures: Mapping[str, Any]) -> dict[str, Any]:
        """From here on keep the float network, and the figures of its last phase, beside what is
        trained. Where the run was past it, they are what they were; returns the figures."""
        if self.is_past("float_phase"):
            self._load(network, self.content.get("float_state"))
            figures = self.content.get("float_figures", {})
        self.content |= {"float_state": network.state_dict(), "float_figures": dict(figures)}
        return dict(figures)

    def resume(self, phase: str, parts: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Give parts (`state_dict`, `load_state_dict`) of a phase the state that they had: epochs
        done of it and figures of the last one; 0 and nothing for a phase that begins.

        Raises
        ------
        CheckpointError
            When the states do not fit.
        """
        if self.content.get("phase") != phase:
            return 0, {}
        for name, part in parts.items():
            self._load(part, self.content.get("states", {}).get(name))
        return self.content["epoch"], self.content["figures"]

    def _load(self, part: Any, state: Any) -> None:
        try:
            part.load_state_dict(state)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, IndexError):
            raise CheckpointError(
                f"Run {self.path} is inconsistent: delete it to begin anew"
            ) from None

    def keep(
        self, phase: str, epoch: int, figures: Mapping[str, Any], parts: Mapping[str, Any]
    ) -> None:
        """Write the file after an epoch of a phase."""
        if self.path is None:
            return
        self.content = {
            **self.content,
            "format": RUN_FORMAT,
            "recipe": self.recipe.to_dict(),
            "circumstances": self.circumstances,
            "phase": phase,
            "epoch": epoch,
            "figures": dict(figures),
            "states": {name: part.state_dict() for name, part in parts.items()},
        }
        _write(self.path, self.content)


def _followed(recipe: Recipe, phase: str) -> dict[str, Any]:
    """What of a recipe has had a part in a run that is in a phase."""
    values, later = recipe.to_dict(), PHASES[PHASES.index(phase) + 1 :]
    if values[phase] and values[phase]["schedule"] == "constant":
        del values[phase]["epochs"]
    return {name: value for name, value in values.items() if name not in later}


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
    return path


def _read(path: Path, what: str, formats: tuple[str, ...]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wonders at what is damaged
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{what.capitalize()} {path} does not exist") from None
    except (IsADirectoryError, PermissionError):
        raise CheckpointError(f"{what.capitalize()} {path} is not a readable file") from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        IndexError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        MemoryError,
    ):
        # torch.load raises any of these for bytes that are no archive of its own.
        raise CheckpointError(f"{what.capitalize()} {path} is truncated or not a {what}") from None
    if not isinstance(content, dict) or content.get("format") not in formats:
        raise CheckpointError(f"{what.capitalize()} {path} is not a Sterna {what}")
    return content


def _from_former(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint of format 2 in the present form. Its recipe had either the sizes
    of hidden layers or layers of maps, and a class of float networks for each."""
    recipe, state = dict(content["recipe"]), dict(content["float_state"])
    hidden, maps, classes = (recipe.pop(name) for name in ("hidden", "maps", "classes"))
    if not maps:
        maps = [asdict(plan) for plan in dense_chain(hidden, classes)]
        state = {_present_name(name, len(hidden)): value for name, value in state.items()}
    return {**content, "recipe": {**recipe, "layers": maps}, "float_state": state}


def _present_name(name: str, readout: int) -> str:
    """Name of a dense network's parameter; `readout` is the number of that layer."""
    name = re.sub(r"^readout\.", f"hidden.{readout}.linear.", name)
    name = re.sub(r"^hidden\.(\d+)\.", r"layers.\1.", name)
    return name.replace(".linear.", ".edges.0.weights.").replace(".norm.", ".edges.0.norm.")
