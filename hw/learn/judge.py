"""Judge: says from the logits, as they leave, what was wrong."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Judge"]


class Judge(wiring.Component):
    """Two running values over the logits of a picture: the label's logit, and the first of the
    largest others. No memory of the logits, one subtraction.

    Cycle law: `done` comes `LATENCY` cycles after the last logit, and stays until `clear`.

    Parameters
    ----------
    classes, logit_bits
        Logits per picture, at least two; width of each.
    margin_bits
        Of the margin, which is not negative.

    Members
    -------
    clear : In(1)
        Forget the picture.
    valid, logit : In
        The next logit; classes in order.
    label : In
        Of the picture; stable from the first logit until `clear`.
    margin : In
        mu.
    done : Out(1)
        `learn` and `wrong` are there.
    learn : Out(1)
        The strongest wrong logit + mu is above the label's.
    wrong : Out
        Its class.
    """

    LATENCY = 3

    clear: Signal
    valid: Signal
    logit: Signal
    label: Signal
    margin: Signal
    done: Signal
    learn: Signal
    wrong: Signal

    def __init__(self, *, classes: int, logit_bits: int, margin_bits: int) -> None:
        self._classes, self._bits = classes, max(logit_bits, margin_bits + 1)
        index = unsigned(max(1, (classes - 1).bit_length()))
        super().__init__(
            {
                "clear": In(1),
                "valid": In(1),
                "logit": In(signed(logit_bits)),
                "label": In(index),
                "margin": In(margin_bits),
                "done": Out(1),
                "learn": Out(1),
                "wrong": Out(index),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        index = Signal.like(self.label)
        right, best = (
            Signal(signed(self._bits), name=name, reset_less=True) for name in ("right", "best")
        )
        others, ended = Signal(), Signal()
        is_label = index == self.label
        with m.If(self.valid):
            m.d.sync += [
                index.eq(Mux(index == self._classes - 1, 0, index + 1)),
                ended.eq(index == self._classes - 1),
            ]
            with m.If(is_label):
                m.d.sync += right.eq(self.logit)
            with m.Elif(~others | (self.logit > best)):
                m.d.sync += [others.eq(1), best.eq(self.logit), self.wrong.eq(index)]
        # The sum, then the comparison: a register between them.
        raised = Signal(signed(self._bits + 1), reset_less=True)
        added = Signal()
        m.d.sync += [
            raised.eq(best + self.margin),
            added.eq(ended),
            self.learn.eq(raised > right),
            self.done.eq(added),
        ]
        with m.If(self.clear):
            m.d.sync += [x.eq(0) for x in (index, others, ended, added, self.done)]
        return m
