"""The integer network in torch compared with a golden model, value by value, as export does it."""

from hw.contract.network import Network
from sw.data.split import Split
from sw.learn.compare import Comparison, compare
from sw.learn.export import EqualityCheck
from sw.learn.integer import IntegerNetwork

__all__ = ["compare_exactly"]


def compare_exactly(
    integer: IntegerNetwork, network: Network, data: Split
) -> tuple[Comparison, int]:
    """The comparison, and how many values were compared; raises ExportError at a difference."""
    check = EqualityCheck(integer, network, len(data))
    return compare(network, data, check), check.compared
