"""Files that are not networks, or not in the form that is read: each is one true sentence."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from sw.importers.convert_report import load_network
from sw.importers.modules import ConvertError

NETWORK = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
AGAIN = ": write it again with torch.save(network, path)"


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def torch_script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"network/{name}", b"")


def truncated(path: Path) -> None:
    torch.save(NETWORK, path)
    path.write_bytes(path.read_bytes()[:-500])


OLD = f"must be of the form that torch.save has since 1.6, not a bare pickle{AGAIN}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), f"is empty{AGAIN}"),
        (lambda path: path.write_text("no network"), f"must be a file of torch.save{AGAIN}"),
        (truncated, f"is truncated or damaged{AGAIN}"),
        (
            lambda path: torch.save(NETWORK, path, pickle_protocol=4),
            f"must be written with pickle protocol 2, not 4{AGAIN}",
        ),
        (lambda path: torch.save(NETWORK, path, _use_new_zipfile_serialization=False), OLD),
        (lambda path: path.write_bytes(pickle.dumps(NETWORK)), OLD),
        (torch_script, f"must be a module, not a TorchScript archive{AGAIN} from before scripting"),
        (
            lambda path: torch.save(NETWORK.state_dict(), path),
            f"must be a module, not a OrderedDict, as a state_dict is{AGAIN}",
        ),
        (
            lambda path: torch.save(nn.Sequential(Own()), path),
            f"must be a torch.nn.Sequential of plain torch.nn modules, not of {__name__}.Own: "
            "build it of those, or write it with sterna.write_steps (SpikingJelly's go through "
            "sterna import)",
        ),
    ],
)
def test_what_is_no_network(tmp_path, write, sentence) -> None:
    path = tmp_path / "network.pt"
    write(path)
    with pytest.raises(ConvertError) as refused:
        load_network(path)
    assert str(refused.value) == f"Network {path} {sentence}"
