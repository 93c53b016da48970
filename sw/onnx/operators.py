"""Nodes of ONNX and QONNX as modules of torch that do the same, or why not.

Every attribute that a node may have is known here; one with another is refused, so that nothing of
a later version is overlooked. What a node says is read as the operators of ONNX define it
(github.com/onnx/onnx, docs/Operators.md) in opsets 9 and later.
"""

from sw.onnx.activations import (
    bipolar,
    cast,
    clip,
    dequantize,
    dropout,
    flatten,
    idle,
    quant,
    quantize,
    relu,
    reshape,
    softmax,
    squeeze,
    transpose,
    unsqueeze,
)
from sw.onnx.calls import Operator
from sw.onnx.layers import add, batch_norm, divide, gemm, matmul, multiply, negate, subtract
from sw.onnx.windows import average_pool, conv, global_average, spatial_mean

__all__ = ["OPERATORS", "unsupported"]

WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
QUANTS = ("axis", "block_size", "output_dtype", "precision", "saturate")

OPERATORS = {
    "Add": Operator(add),
    "AveragePool": Operator(average_pool, (*WINDOW, "ceil_mode", "count_include_pad")),
    "BatchNormalization": Operator(batch_norm, ("epsilon", "momentum", "training_mode")),
    "BipolarQuant": Operator(bipolar),
    "Cast": Operator(cast, ("round_mode", "saturate", "to")),
    "Clip": Operator(clip, ("max", "min"), counts=True),
    "Conv": Operator(conv, (*WINDOW, "group")),
    "DequantizeLinear": Operator(dequantize, QUANTS, counts=True),
    "Div": Operator(divide),
    "Dropout": Operator(dropout, ("ratio", "seed")),
    "Flatten": Operator(flatten, ("axis",)),
    "Gemm": Operator(gemm, ("alpha", "beta", "transA", "transB")),
    "GlobalAveragePool": Operator(global_average),
    "Identity": Operator(idle, counts=True),
    "IntQuant": Operator(quant, ("narrow", "rounding_mode", "signed")),
    "LogSoftmax": Operator(softmax, ("axis",)),
    "MatMul": Operator(matmul),
    "Mul": Operator(multiply),
    "Neg": Operator(negate),
    "Quant": Operator(quant, ("narrow", "rounding_mode", "signed")),
    "QuantizeLinear": Operator(quantize, QUANTS),
    "ReduceMean": Operator(spatial_mean, ("axes", "keepdims", "noop_with_empty_axes")),
    "Relu": Operator(relu),
    "Reshape": Operator(reshape, ("allowzero",)),
    "Softmax": Operator(softmax, ("axis",)),
    "Squeeze": Operator(squeeze, ("axes",)),
    "Sub": Operator(subtract),
    "Sum": Operator(add),
    "Transpose": Operator(transpose, ("perm",)),
    "Unsqueeze": Operator(unsqueeze, ("axes",)),
}
"""By kind."""

RELU = "train with ReLU"
QDQ = "export it with QuantizeLinear and DequantizeLinear around plain operators"
ADVICE = {
    "ArgMax": "leave it out: the class with the largest output is taken",
    "GlobalMaxPool": "pool with GlobalAveragePool",
    "MaxPool": "pool with AveragePool, or by a stride",
    "MultiThreshold": "export the network before FINN has streamlined it, with Quant nodes",
    "Pad": "give its zeros to the Conv behind it, as many on both sides",
    "TopK": "leave it out: the class with the largest output is taken",
    "Trunc": "average without rounding: AvgPool2d between quantised layers",
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "QGemm", "QLinearConv", "QLinearMatMul"), QDQ),
    **dict.fromkeys(("Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu"), RELU),
    **dict.fromkeys(("Selu", "Sigmoid", "Tanh"), RELU),
    **dict.fromkeys(("GRU", "LSTM", "Loop", "RNN", "Scan"), "feed-forward networks are read"),
}
"""What to do about a kind that is not read."""


def unsupported(kind: str) -> str:
    """What to do about a kind that is not read."""
    return ADVICE.get(kind.rpartition(".")[2], "docs/import.md has those that are")
