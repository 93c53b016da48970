"""What a core is made of."""

import re
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]

from gen.core.plan import plan_core
from tests.hw.proving import ports_of
from tests.networks import random_chain


@pytest.mark.parametrize("taps", [False, True])
def test_core_has_no_multiplier_and_taps_only_on_request(taps: bool) -> None:
    network = random_chain(np.random.default_rng(1), (10, 19, 7, 3), steps=3, input_bits=3)
    core: Any = plan_core(network, 19, 2).component(files=False, taps=taps)
    text = rtlil.convert(core, ports=ports_of(core), name="core")
    cells = set(re.findall(r"cell (\$\w+)", text))
    assert {"$add", "$memrd_v2"} <= cells
    assert not cells & {"$mul", "$div", "$mod", "$pow", "$divfloor", "$modfloor", "$macc"}
    ports = set(re.findall(r"wire .*(?:input|output) \d+\s+\\(\S+)", text))
    assert {"clk", "rst", "i__valid", "o__payload"} <= ports
    assert any("tap" in port for port in ports) == taps
