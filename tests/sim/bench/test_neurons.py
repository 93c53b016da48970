"""sim.bench.neurons and sim.bench.waves: neurons have the names that the plan gives them, and a
save file shows what is there. (Values: tests/sw/cli/test_cli.py, on a waveform.)"""

import re
from pathlib import Path

import numpy as np
import pytest

from gen.core.plan import CorePlan, plan_core, plan_network
from hw.contract.network import Network
from sim.bench import neurons
from sim.bench.neurons import decoded, watches
from sim.bench.waves import save_file, vcd_names
from sw.data.shipped import model_path
from tests.graphs import network_of, residual
from tests.networks import random_chain


def chain(lanes: int) -> CorePlan:
    network = random_chain(np.random.default_rng(1), (9, 10, 7, 3), steps=3, input_bits=2)
    return plan_core(network, lanes, 1)


MAPS = network_of(residual())
PLANS = {
    "chain": chain(4),
    "shared": plan_network(MAPS, 4, schedule="shared"),
    "pipelined": plan_network(MAPS, 2, schedule="pipelined"),
    "windows": plan_network(Network.load(model_path("digits-conv")), 16, schedule="windows"),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=[*PLANS])
def test_every_neuron_fires_once_a_step_where_its_name_says(plan: CorePlan, monkeypatch) -> None:
    """Counted through the rows of an image, with the expressions that the Verilog has."""
    monkeypatch.setattr(neurons, "NAMED", 1024)  # the most that a layer here has
    spec, seen = plan.network.spec, {}
    for watch in watches(plan):
        for segment in watch.segments:
            for at in range(segment.rows):
                scope = {"at": at}
                for name, text in (("step", segment.step), ("word", segment.word)):
                    scope[name] = eval(text.replace("/", "//"), dict(scope))
                place = {
                    name: eval(text.replace("/", "//"), dict(scope))
                    for name, text in segment.place.items()
                }
                held = sorted(watch.neurons[segment.layer][scope["word"]])
                lanes = [lane for lane, _ in held]
                assert lanes == sorted(set(lanes))
                assert lanes[0] == 0
                assert lanes[-1] < watch.lanes
                first = held[0][1]
                if "neuron" in place:
                    assert first == str(place["neuron"])
                else:
                    assert first == "c{channel}_y{row}_x{column}".format(**place)
                for _, neuron in held:
                    key = segment.layer, scope["step"], neuron
                    seen[key] = seen.get(key, 0) + 1
    firing = [layer for layer in spec.layers if layer.neuron is not None]
    assert set(seen.values()) == {1}
    assert len(seen) == spec.steps * sum(layer.neurons for layer in firing)


def test_the_order_of_groups_is_that_of_the_taps() -> None:
    """A first layer of several groups passes all steps of a group; the others, all groups of a
    step."""
    first, second = watches(PLANS["chain"])
    assert (first.segments[0].step, first.segments[0].word) == ("at % 3", "at / 3")
    assert (second.segments[0].step, second.segments[0].word) == ("at / 2", "at % 2")
    assert [len(word) for word in first.neurons["l0"]] == [4, 4, 2]


def test_large_layers_are_shown_by_lane(monkeypatch) -> None:
    monkeypatch.setattr(neurons, "NAMED", 8)
    first, second = watches(PLANS["chain"])
    assert (first.named, [*second.named]) == ({}, ["l1"])
    assert "l0_" not in first.text
    assert "lane3_potential" in first.text
    assert "l1_6_potential = kept2;" in second.text


def test_a_save_file_shows_what_is_there(tmp_path: Path) -> None:
    plan = PLANS["chain"]
    scopes = "".join(
        f"$scope module {watch.module} $end\n"
        + "".join(
            f"$var wire 8 {n:x} {name} [7:0] $end\n"
            for n, name in enumerate(re.findall(r"(\w+)(?=[,;])", watch.text.partition("wire")[0]))
        )
        + "$upscope $end\n"
        for watch in watches(plan)
    )
    (tmp_path / "dump.vcd").write_text(
        "$scope module sterna_bench $end\n$var wire 1 ! clk $end\n$var wire 4 # best [3:0] $end\n"
        f"{scopes}$scope module core $end\n$var wire 2 % fsm_state$1 [1:0] $end\n$upscope $end\n"
        "$upscope $end\n$enddefinitions $end\n#0\n$var wire 1 ~ no $end\n"
    )
    names = vcd_names(tmp_path / "dump.vcd")
    assert names[:2] == ["sterna_bench.clk", "sterna_bench.best[3:0]"]
    assert names[-1] == "sterna_bench.core.fsm_state$1[1:0]"
    lines = save_file(names, "waves.fst", watches(plan)).splitlines()
    assert '[dumpfile] "waves.fst"' in lines
    shown = [line.rpartition(" ")[2] for line in lines if "sterna_bench." in line[:60]]
    traces = [name for name in shown if not name.startswith("[")]
    assert set(traces[1:]) <= set(names)
    assert "+{l0 9 spike} sterna_bench.neurons_0_neurons.l0_9_spike[7:0]" in lines
    # Groups end as they began, one after the other.
    titles, flag = [], ""
    for line in lines:
        flag = line if line.startswith("@") else flag
        if line.startswith("-"):
            titles.append((flag in ("@800200", "@c00200"), line[1:]))
    assert titles[0::2] == [(True, title) for _, title in titles[1::2]]
    assert {end for end, _ in titles[1::2]} == {False}
    told = [title for _, title in titles[0::2]]
    assert told[:4] == ["time", "logits out", "l0: what fires", "l0: spikes"]
    assert told[-1] == "state machines"


def test_results_are_decoded() -> None:
    text = decoded(PLANS["chain"])
    assert re.fullmatch(
        r"  wire signed \[\d+:0\] logit = o__payload\[0 \+: \d+\];\n"
        r"  wire \[1:0\] best = o__payload\[\d+ \+: 2\];\n"
        r"  wire \[0:0\] last = o__payload\[\d+ \+: 1\];\n",
        text,
    )
