"""The papers' large networks as specifications, for the scale model: nothing here is trained.

*Ternary Spike*, released code: ResNet-20 and ResNet-19 for 32x32 images, ResNet-34 for 224x224;
VGG-16 for 32x32. ResNet-34's first pooling is of 2x2, side by side, where the paper's is of 3x3 at
a stride of 2. Every block's second layer receives its shortcut beside its convolution.
"""

from collections.abc import Callable, Sequence

from hw.contract.builder import NetworkBuilder
from hw.contract.edge import EdgeSpec
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import NetworkSpec

__all__ = ["ZOO"]

NEURON = NeuronSpec(theta=64, decay="shift", decay_shift=2, potential_bits=8)


class _Builder(NetworkBuilder):
    """Convolutions that keep the size of their maps, blocks of them, a readout."""

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        pool: int = 1,
        more: Sequence[EdgeSpec] = (),
    ) -> str:
        """A convolution that keeps the size of its maps, but for its stride and pooling."""
        edge = EdgeSpec(
            source=source, kind="conv", kernel=kernel, stride=stride, padding=kernel // 2, pool=pool
        )
        return self.layer(name, channels, edge, *more, neuron=NEURON)

    def readout(self, source: str, classes: int, pool: int = 1) -> None:
        """Global pooling, if `pool` is the maps' side, and a dense edge."""
        self.layer("readout", classes, EdgeSpec(source=source, pool=pool))

    def block(self, name: str, source: str, channels: int, stride: int, pool: int = 1) -> str:
        """Two convolutions and a shortcut: an identity where nothing changes, else 1x1."""
        inner = self.conv(f"{name}_1", source, channels, stride=stride, pool=pool)
        shortcut = EdgeSpec(source=source, kind="identity", pool=pool)
        if stride > 1 or self.shapes[source][0] != channels:
            shortcut = EdgeSpec(source=source, kind="conv", stride=stride, pool=pool)
        return self.conv(f"{name}_2", inner, channels, more=(shortcut,))

    def blocks(
        self, source: str, counts: Sequence[int], widths: Sequence[int], pool: int = 1
    ) -> str:
        """Stages of blocks; every stage but the first begins with a stride of 2. Pooling comes
        before the first block."""
        for stage, (count, channels) in enumerate(zip(counts, widths, strict=True)):
            for n in range(count):
                stride = 2 if stage and not n else 1
                source = self.block(f"stage{stage + 1}_{n + 1}", source, channels, stride, pool)
                pool = 1
        return source


def _resnet20() -> NetworkSpec:
    b = _Builder((3, 32, 32), name="resnet20-cifar", steps=4)
    stem = b.conv("stem_3", b.conv("stem_2", b.conv("stem_1", "input", 64), 64), 64)
    b.readout(b.blocks(stem, (2, 2, 2, 2), (64, 128, 256, 512), pool=2), 10, pool=2)
    return b.spec()


def _resnet19() -> NetworkSpec:
    b = _Builder((3, 32, 32), name="resnet19-cifar", steps=2)
    b.readout(b.blocks(b.conv("stem", "input", 128), (3, 3, 2), (128, 256, 512)), 10, pool=8)
    return b.spec()


def _resnet34() -> NetworkSpec:
    b = _Builder((3, 224, 224), name="resnet34-imagenet", steps=4)
    stem = b.conv("stem", "input", 64, kernel=7, stride=2)
    b.readout(b.blocks(stem, (3, 4, 6, 3), (64, 128, 256, 512), pool=2), 1000, pool=7)
    return b.spec()


def _vgg16() -> NetworkSpec:
    b = _Builder((3, 32, 32), name="vgg16-cifar", steps=4)
    source, pool, n = "input", 1, 0
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            n += 1
            source, pool = b.conv(f"conv{n}", source, channels, pool=pool), 1
        pool = 2
    b.readout(source, 10, pool=2)
    return b.spec()


ZOO: dict[str, Callable[[], NetworkSpec]] = {
    "resnet20-cifar": _resnet20,
    "resnet19-cifar": _resnet19,
    "vgg16-cifar": _vgg16,
    "resnet34-imagenet": _resnet34,
}
"""Large networks, by name."""
