"""The checkpoint: what training leaves behind, enough to export and to compare."""

import io
import os
import pickle
import re
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
from sw.learn.recipes import Recipe

__all__ = ["Checkpoint", "CheckpointError", "float_network"]

FORMAT, FORMER = "sterna-checkpoint-3", "sterna-checkpoint-2"


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
        path, buffer = Path(path), io.BytesIO()
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
        torch.save(content, buffer)
        write_atomically(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint; runs no code from the file (weights_only).

        Raises
        ------
        CheckpointError
            One sentence for a file that is missing, not a checkpoint, or inconsistent.
        """
        path = Path(path)
        content = _read(path)
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


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"Checkpoint {path} does not exist") from None
    except (IsADirectoryError, PermissionError):
        raise CheckpointError(f"Checkpoint {path} is not a readable file") from None
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
        raise CheckpointError(f"Checkpoint {path} is truncated or not a checkpoint") from None
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, FORMER):
        raise CheckpointError(f"Checkpoint {path} is not a Sterna checkpoint")
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
