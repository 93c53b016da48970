"""A twin of a board that learns: docs/link.md, from the document, around the golden learner."""

import struct

import numpy as np

from gen.learn.stage import plan_learning
from hw.contract.layout import map_layout
from hw.learn.masters import Masters
from sw.host.golden import LearningGolden
from sw.host.learning import MasterState
from sw.host.protocol import Result
from tests.learning import learning_network
from tests.sw.host.device_twin import DeviceTwin

LANES, WEIGHT_BITS = 4, 6
_rng = np.random.default_rng(8)
SAMPLES = _rng.integers(0, 16, (7, 9)).astype(np.uint8), _rng.integers(0, 3, 7)
"""On the chip."""


class LearningTwin(DeviceTwin):
    """`lengths` of the payloads; the golden back end keeps masters and settings."""

    def __init__(self, seed: int = 2):
        self.masters = Masters.of(learning_network(np.random.default_rng(seed)))
        super().__init__(plan_learning(self.masters, LANES))
        self.golden: LearningGolden = LearningGolden(self.plan, SAMPLES)
        self.state = self.golden.learning()
        self.layout = map_layout(self.masters.spec, "input", LANES)
        self.updates = 0  # of masters, by LEARN or LOAD
        self.loaded = None  # rows, by LOAD: those of a state when all are there

    def identity(self) -> bytes:
        words = list(struct.unpack("<16I", super().identity()))
        changed = self.golden.identify().changed or self.loaded is not None
        words[0] |= 1 << 18 | changed << 19
        words[11] |= self.layout.shape[0] << 16
        words[12] |= self.layout.positions << 24
        words[15] |= self.layout.shape[2] << 16
        return struct.pack("<16I", *words)

    def look(self) -> None:
        if len(self.frame) < 6:
            return
        _, version, _, kind, length = struct.unpack_from("<BBBBH", self.frame)
        size, row, edges = self.image_bytes, self.state.row_bytes, len(self.state.rates)
        lengths = {1: 0, 2: size, 3: 0, 4: 0, 5: 0, 6: 0, 7: size + 6, 8: 5 + edges}
        lengths |= {9: 2, 10: 2 + row, 11: 8, 12: 10, 13: 0}
        if len(self.frame) == 6 and version == 1 and lengths.get(kind) == length:
            if kind in (2, 7):
                self.forget()
        elif len(self.frame) == 6 and version == 1 and kind in lengths:
            self.error(2)
        elif len(self.frame) == 6 and version == 1:
            self.error(3)
        else:
            super().look()

    def carry_out(self, kind: int, payload: bytes, crc: int) -> None:
        if kind in (3, 7, 12) and self.loaded is not None:
            now = self.golden.masters(lambda done, total: None)
            self.put(self.loaded, now.random, now.count)
        if kind == 7:
            self.learn(payload, crc)
        elif kind == 8:
            on, margin, *rates = struct.unpack(f"<BI{len(payload) - 5}b", payload)
            if (
                on > 1
                or margin >= 1024
                or not all(self.state.lowest <= k <= self.state.highest for k in rates)
            ):
                self.error(10)
            else:
                self.golden.rate(bool(on), margin, tuple(rates))
                self.reply(0x88, b"")
        elif kind in (9, 10):
            (n,) = struct.unpack_from("<H", payload)
            if n >= self.state.rows:
                self.error(10)
            elif kind == 9:
                self.reply(0x89, self.rows()[n])
            elif self.load(n, payload[2:]):
                self.reply(0x8A, b"")
            else:
                self.error(10)
        elif kind == 11:
            random, count = struct.unpack("<II", payload)
            if random == 0:
                self.error(10)
            else:
                self.put(self.masters_now(), random, count)
                self.reply(0x8B, b"")
        elif kind == 12:
            first, images, passes, count = struct.unpack("<HHHI", payload)
            if not images or not passes or first + images > len(SAMPLES[1]):
                self.error(10)
            elif count != self.golden.learning().count:
                self.error(9)
            else:
                done = self.golden.train(first, images, passes)
                self.updates += done.learned
                self.forget()
                now = self.golden.learning().count
                self.reply(0x8C, struct.pack("<QII", done.cycles, now, done.hits))
        elif kind == 13:
            s = self.golden.learning()
            said = struct.pack("<IIHH", s.count, s.random, s.rows, s.row_bytes)
            said += struct.pack("<BB", s.master_bits, WEIGHT_BITS)
            said += struct.pack("<Bbb", len(s.rates), s.lowest, s.highest)
            said += struct.pack("<HIB", s.samples, s.margin, s.enabled)
            self.reply(0x8D, said + struct.pack(f"<{len(s.rates)}b", *s.rates))
        else:
            super().carry_out(kind, payload, crc)

    def learn(self, payload: bytes, crc: int) -> None:
        label, count = struct.unpack("<HI", payload[-6:])
        if label >= self.masters.spec.classes:
            self.error(10)
        elif count != self.golden.learning().count:
            self.error(9)
        else:
            self.image_tag = crc
            done = self.golden.learn(self.unpack(payload[:-6]), label)
            self.updates += done.learned
            self.reply(0x87, self.keep(done))

    def run(self) -> None:
        assert self.network is not None
        done = self.golden.infer(self.network)
        self.network = None
        self.keep(done)

    def keep(self, done: Result) -> bytes:
        words = struct.pack(
            "<4I", self.image_tag, done.label, done.counters.cycles, done.counters.events
        )
        words += struct.pack(f"<{len(done.logits)}i", *done.logits)
        self.result = words + struct.pack("<II", done.learned, done.count)
        return self.result

    def rows(self) -> list[bytes]:
        bits, found = self.state.master_bits, []
        for row in self.masters_now().tolist():
            value = sum((m % (1 << bits)) << bits * n for n, m in enumerate(row))
            found.append(value.to_bytes(self.state.row_bytes, "little"))
        return found

    def masters_now(self) -> np.ndarray:
        if self.loaded is not None:
            return self.loaded
        return self.golden.masters(lambda done, total: None).rows

    def load(self, n: int, row: bytes) -> bool:
        bits, value = self.state.master_bits, int.from_bytes(row, "little")
        rows = self.masters_now().copy()
        for lane in range(LANES):
            master = value >> bits * lane & (1 << bits) - 1
            rows[n, lane] = master - (master >> bits - 1 << bits)
        if rows[n].min() < -((2 ** (WEIGHT_BITS - 1) - 1) << bits - WEIGHT_BITS):
            return False
        self.loaded = rows
        self.updates += 1
        return True

    def put(self, rows, random: int, count: int) -> None:
        state = MasterState(rows=rows, random=random, count=count)
        self.golden.load_masters(state, lambda done, total: None)
        self.loaded = None

    def unpack(self, payload: bytes) -> np.ndarray:
        """Words of the program: here the pixels in order, four bits each."""
        values = np.array([b >> s & 15 for b in payload for s in (0, 4)], dtype=np.uint8)
        assert self.layout.shape == (9, 1, 1)
        assert not values[9:].any()
        return values[:9]
