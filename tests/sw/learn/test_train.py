"""Training: it learns, it repeats itself, it never sees the test split, it fails in a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.system.progress import Progress, silent
from sw.data.augment import Batches, cut_out, mirror_images, shift_images
from sw.data.dataset import load_split
from sw.data.evaluate import accuracy
from sw.data.published import SHAPES
from sw.data.split import Split
from sw.learn.checkpoint import Checkpoint, CheckpointError
from sw.learn.fold import fold
from sw.learn.plan import is_dense_chain
from sw.learn.quantize import quantize
from sw.learn.recipes import RECIPES, Phase, Recipe, RecipeError, find_recipe, variant
from sw.learn.train import TrainError, accuracy_of, train
from tests.hw.system.notes import Notes

DIGITS = find_recipe("digits-dense")
FORMER = Path(__file__).parent / "checkpoints"
PLAIN = (3072, 16384, 16384, 16384, 16384, 6144, 6144, 6144, 2048, 10)
RESNET = (3072, 16384, 8192, 8192, 8192, 4096, 4096, 4096, 2048, 2048, 10)
LEAST = find_recipe("mnist-dense").validation + find_recipe("mnist-dense").batch


def quick(seed: int, progress: Progress = silent) -> Checkpoint:
    return train(DIGITS, seed=seed, float_epochs=1, integer_epochs=1, progress=progress)


# Learning


def test_three_epochs_learn_digits(digits_checkpoint: Checkpoint) -> None:
    network = digits_checkpoint.integer_network().to_network()
    assert accuracy(network, load_split("digits", "test", 4)).share > 0.92


def test_training_on_the_integers_repairs_two_bit_weights() -> None:
    """Rounding to {-1, 0, 1} costs accuracy that training on the integers brings back."""
    recipe = replace(DIGITS, weight_bits=2)
    checkpoint = train(recipe, seed=2, float_epochs=8, integer_epochs=8, progress=silent)
    rounded = quantize(
        fold(checkpoint.float_network()), name="rounded", weight_bits=2, pixel_bits=4
    )
    data = load_split("digits", "train", 4)
    pixels, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    before, n = accuracy_of(rounded, pixels, labels)
    after, _ = accuracy_of(checkpoint.integer_network(), pixels, labels)
    assert n - after < 0.8 * (n - before)


def test_same_seed_same_image_whatever_the_threads() -> None:
    first = quick(3)
    torch.set_num_threads(2)
    torch.manual_seed(99)  # the caller's generator must not matter
    threads: set[int] = set()
    second = quick(3, lambda line: threads.add(torch.get_num_threads()))
    assert 1 in threads  # while it trains
    assert torch.get_num_threads() == 2
    assert (
        first.integer_network().to_network().digest == second.integer_network().to_network().digest
    )
    assert quick(4).integer_network().to_network().digest != (
        first.integer_network().to_network().digest
    )


def test_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(12)
    expected = torch.rand(3)
    torch.manual_seed(12)
    quick(3)
    assert torch.equal(torch.rand(3), expected)


def test_the_test_split_is_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    def spy(name, split, *rest, **more):
        splits.append(split)
        return load_split(name, split, *rest, **more)

    monkeypatch.setattr("sw.learn.train.load_split", spy)
    quick(1)
    assert splits == ["train"]


def test_one_line_per_epoch() -> None:
    lines: list[str] = []
    train(DIGITS, seed=1, float_epochs=2, integer_epochs=1, progress=lines.append)
    starts = ["float epoch 1/2", "float epoch 2/2", "integer epoch 1/1", "trained in"]
    assert [line.startswith(f"digits-dense {s}") for line, s in zip(lines, starts, strict=True)]
    for line in lines[:3]:
        assert all(word in line for word in ("loss", "validation", "spike rate", " s"))


def test_who_looks_on_sees_each_phase_go_on() -> None:
    notes = Notes()
    train(DIGITS, seed=1, float_epochs=2, integer_epochs=1, progress=notes)
    begun = [told for told in notes.told if isinstance(told, tuple)]
    assert begun == [
        ("digits-dense, float epochs", 2, 0, 0),
        ("digits-dense, integer epochs", 1, 0, 0),
    ]
    shares = [told for told in notes.told if isinstance(told, float)]
    assert shares[0] == 0
    assert 1.9 < max(shares) < 2
    cut = shares.index(max(shares)) + 1
    assert shares[:cut] == sorted(shares[:cut])
    assert shares[cut:] == sorted(shares[cut:])
    lines = [told for told in notes.told if isinstance(told, str) and " epoch " in told]
    assert len(lines) == 3


def test_divergence_is_one_sentence() -> None:
    recipe = replace(DIGITS, float_phase=Phase(epochs=2, rate=1e30))
    with pytest.raises(TrainError) as error:
        train(recipe, seed=1, progress=silent)
    assert str(error.value) == ("Training of digits-dense diverged: its loss is no longer finite")


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seed_out_of_range(seed) -> None:
    with pytest.raises(TrainError) as error:
        train(DIGITS, seed=seed)
    assert str(error.value) == f"Seed must be an integer from 0 to 2^32 - 1, not {seed}"


def test_no_epochs_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        train(DIGITS, float_epochs=0)
    assert str(error.value) == "Epochs must be a positive integer, not 0"


def test_too_few_images(idx_folder: Path) -> None:
    with pytest.raises(TrainError) as error:
        train(find_recipe("mnist-dense"), idx_folder)
    assert str(error.value) == (
        f"Data set mnist must hold at least {LEAST} training images for mnist-dense, not 20"
    )


# Batches


def test_shift_images_is_a_move_with_zeros() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8)[None].repeat(3, 1)
    moved = shift_images(image, torch.tensor([[0, 0], [1, 0], [-1, 2]]), (3, 3))
    assert moved[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert moved[1].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert moved[2].tolist() == [0, 0, 4, 0, 0, 7, 0, 0, 0]


def test_images_need_not_be_square() -> None:
    image = torch.arange(1, 7).reshape(1, 6)
    assert shift_images(image, torch.tensor([[0, 1]]), (2, 3)).tolist() == [[0, 1, 2, 0, 4, 5]]
    assert shift_images(image, torch.tensor([[-1, 0]]), (3, 2)).tolist() == [[3, 4, 5, 6, 0, 0]]
    assert mirror_images(image, torch.tensor([True]), (3, 2)).tolist() == [[2, 1, 4, 3, 6, 5]]


def test_mirror_images_turns_the_chosen() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8)[None].repeat(2, 1)
    turned = mirror_images(image, torch.tensor([False, True]), (3, 3))
    assert turned.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 2, 1, 6, 5, 4, 9, 8, 7]]


def test_all_planes_of_an_image_move_alike() -> None:
    """Two channels, or two steps, of 3x3 pixels."""
    image = torch.arange(1, 19, dtype=torch.uint8)[None].repeat(2, 1)
    moved = shift_images(image, torch.tensor([[1, 0], [0, -1]]), (3, 3))
    assert moved[0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 10, 11, 12, 13, 14, 15]
    assert moved[1].tolist() == [2, 3, 0, 5, 6, 0, 8, 9, 0, 11, 12, 0, 14, 15, 0, 17, 18, 0]
    turned = mirror_images(image, torch.tensor([True, False]), (3, 3))
    assert turned[0].tolist() == [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16]
    assert turned[1].tolist() == list(range(1, 19))


def test_cut_out_is_a_square_within_the_image() -> None:
    """Of an odd side around its centre, of an even one with two rows above it and one below; at an
    edge, what lies within. Both planes lack the same."""
    whole = torch.ones(3, 2 * 4 * 5, dtype=torch.uint8)
    places = torch.tensor([[1, 2], [0, 4], [3, 0]])

    def left(side: int) -> list[list[list[int]]]:
        cut = cut_out(whole, places, side, (4, 5)).view(3, 2, 4, 5)
        assert torch.equal(cut[:, 0], cut[:, 1])
        return cut[:, 0].tolist()

    assert left(3) == [
        [[1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
        [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
        [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]],
    ]
    assert left(2) == [
        [[1, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
        [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
        [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1]],
    ]
    assert bool((whole == 1).all())  # a copy was cut


def test_batches_lack_squares_anywhere() -> None:
    """White pictures, moved not at all: what is black was cut out, in other places each time."""
    data = Split(
        name="white",
        split="train",
        bits=4,
        images=np.full((2010, 64), 15, np.uint8),
        labels=np.arange(2010, dtype=np.int64) % 10,
        shape=(1, 8, 8),
    )
    batches = Batches(data, batch=2000, validation=10, max_shift=0, cutout=3, seed=1)
    ((pixels, _),) = list(batches)
    black = pixels.view(2000, 8, 8) == 0
    assert set(black.sum(dim=(1, 2)).tolist()) == {4, 6, 9}
    share = black.double().mean(dim=0)
    inner = share[1:-1, 1:-1]  # 9 of the 64 centres reach these
    assert 0.11 < float(inner.min()) <= float(inner.max()) < 0.17
    assert bool((batches.validation[0] == 15).all())


@pytest.mark.parametrize(("name", "planes"), [("cifar10", 3), ("nmnist-small", 2 * 3)])
def test_batches_of_images_with_several_planes(name: str, planes: int) -> None:
    """Every plane the same picture: whatever is done to an image, they stay so."""
    side, random = SHAPES[name][2], np.random.default_rng(1)
    pictures = np.tile(random.integers(1, 16, (60, side * side)).astype(np.uint8), (1, planes))
    data = Split(
        name=name,
        split="train",
        bits=4,
        images=pictures,
        labels=np.arange(60, dtype=np.int64),
        shape=SHAPES[name],
    )
    batches = Batches(data, batch=50, validation=10, max_shift=2, mirror=True, seed=1)
    ((pixels, labels),) = list(batches)
    maps = pixels.view(50, planes, side, side)
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    whole = torch.from_numpy(pictures)[labels].view_as(maps)
    inner = slice(4, side - 4)  # of most images moved or mirrored, none is left as it was
    same = (maps == whole)[:, :, inner, inner].flatten(1).all(dim=1)
    assert int(same.sum()) < 10  # 1 of 50 on average is neither moved nor mirrored
    assert torch.equal(batches.validation[0], torch.from_numpy(pictures)[batches.validation[1]])


def test_half_of_a_batch_is_mirrored() -> None:
    data = load_split("digits", "train", 4)
    plain, turned = (
        Batches(data, batch=300, validation=100, max_shift=0, seed=1, mirror=mirror)
        for mirror in (False, True)
    )
    (a, _), (b, _) = next(iter(plain)), next(iter(turned))
    same = (a == b).all(dim=1)
    assert 0.4 < float(same.double().mean()) < 0.6
    assert torch.equal(mirror_images(b, ~same, (8, 8)), a)


def test_dropout_is_of_neurons_not_of_steps(lived_network, pixels) -> None:
    """With all but one neuron of the last layer silenced, the logits are that one's at all steps:
    a multiple of its weights."""
    network = lived_network((12, 9, 7, 4))
    whole = network(pixels).logits
    network.dropout = 0.5
    assert torch.equal(network(pixels).logits, whole)  # not while evaluating
    network.train()
    for layer in network.float_layers[:-1]:
        layer.edge_modules[0].norm.eval()  # keeps its statistics
    activity = network(pixels)
    assert not torch.allclose(activity.logits, whole)
    sums = activity.spikes[1].sum(dim=0) * network.float_layers[1].neuron.amplitude
    readout = network.float_layers[2].edge_modules[0].weights
    rest = activity.logits - 4 * readout.bias
    # Each logit is what 7 neurons add, each of them heard not at all or twice as much.
    weight = readout.weight
    heard = [torch.tensor([float(bits >> n & 1) for n in range(7)]) * 2 for bits in range(128)]
    made = torch.stack([(sums * h) @ weight.T for h in heard])
    near = (made - rest).abs().amax(dim=2) < 1e-4
    assert bool(near.any(dim=0).all())


def test_batches_hold_each_training_image_once_and_no_validation_image() -> None:
    data = load_split("digits", "train", 4)
    batches = Batches(data, batch=43, validation=100, max_shift=0, seed=1)  # 1333 = 31 * 43
    seen = np.concatenate([pixels.numpy() for pixels, _ in batches])
    aside = batches.validation[0].numpy()
    assert len(seen) == 1333
    everything = np.concatenate([seen, aside])
    assert sorted(everything.tolist()) == sorted(data.images.tolist())
    again = np.concatenate([pixels.numpy() for pixels, _ in batches])
    assert not np.array_equal(again, seen)


# Recipes


def test_recipes_are_what_ships() -> None:
    assert {name: recipe.sizes for name, recipe in RECIPES.items()} == {
        "digits-dense": (64, 128, 10),
        "digits-binary": (64, 128, 10),
        "digits-ternary": (64, 128, 10),
        "digits-deep": (64, 64, 64, 64, 10),
        "mnist-dense": (784, 128, 10),
        "mnist-wide": (784, 512, 10),
        "fashion-mnist-dense": (784, 512, 10),
        "digits-conv": (64, 1024, 256, 256, 256, 10),
        "mnist-conv": (784, 3136, 1568, 1568, 10),
        "mnist-lenet": (784, 2304, 1024, 128, 10),
        "fashion-mnist-conv": (784, 6272, 12544, 3136, 3136, 10),
        "nmnist-conv": (2312, 4624, 2592, 800, 10),
        "japanese-vowels": (24, 64, 9),
        "watch-exercises": (12, 64, 7),
        "cifar10-resnet": RESNET,
        "cifar10-counts": PLAIN,
        "cifar10-counts7": (*PLAIN[:-2], 8192, 10),
        "cifar10-ternary": PLAIN,
        "fashion-mnist-counts": (784, 12544, 6272, 6272, 3136, 3136, 4704, 10),
        "mnist-counts": (784, 12544, 6272, 6272, 3136, 3136, 10),
    }
    for recipe in RECIPES.values():
        assert recipe.weight_bits == (8 if recipe.name == "fashion-mnist-conv" else 4)
        if is_dense_chain(recipe.layers):
            assert (recipe.steps, recipe.pixel_bits) == (4, 4)
        counts = "counts" in recipe.name
        decay = ("none", 0) if counts else ("leak" if recipe.encoding else "shift", 2)
        assert (recipe.neuron.decay, recipe.neuron.decay_shift) == decay
        limit = (7 if recipe.name.endswith("7") else 3) if counts else 1
        assert (recipe.neuron.reset, recipe.neuron.limit) == ("hard", limit)
        kind = "counts" if counts else recipe.name.partition("-")[2]
        assert recipe.train_amplitude == (kind not in ("binary", "ternary", "counts"))
        assert (recipe.neuron.negative == "off") == (kind in ("binary", "counts"))


def test_unknown_recipe() -> None:
    with pytest.raises(RecipeError) as error:
        find_recipe("cifar")
    assert str(error.value) == (
        "Recipe must be one of digits-dense, digits-binary, digits-ternary, digits-deep, "
        "mnist-dense, mnist-wide, fashion-mnist-dense, digits-conv, mnist-conv, "
        "mnist-lenet, fashion-mnist-conv, nmnist-conv, japanese-vowels, watch-exercises, "
        "cifar10-resnet, cifar10-counts, cifar10-counts7, cifar10-ternary, "
        "fashion-mnist-counts, mnist-counts, not 'cifar'"
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"batch": 1}, "Batch must be an integer of at least 2, not 1"),
        ({"validation": 0}, "Validation images must be an integer of at least 1, not 0"),
        ({"max_shift": -1}, "Shift must be an integer of at least 0, not -1"),
        ({"cutout": 1.5}, "Cutout must be an integer of at least 0, not 1.5"),
        (
            {"float_phase": Phase(epochs=1, rate=1e-2, rounded=True)},
            "Recipe digits-dense must be by_channel to have a rounded phase",
        ),
        (
            {"by_channel": True, "integer_phase": Phase(epochs=1, rate=1e-2, rounded=True)},
            "The integer phase of digits-dense must not be rounded or in bfloat16: its sums are "
            "whole numbers",
        ),
        ({"dropout": 1.0}, "Dropout and smoothing must lie below 1, not 1.0"),
        (
            {"dataset": "svhn"},
            "Data set must be one of digits, mnist, fashion-mnist, cifar10, nmnist-small, "
            "japanese-vowels, watch-exercises, "
            "not 'svhn'",
        ),
        ({"layers": ()}, "Recipe digits-dense must have at least one layer"),
        (
            {"dataset": "nmnist-small", "first_phase": Phase(epochs=1, rate=1e-2)},
            "Recipe digits-dense must have no phase of one step: nmnist-small holds recordings",
        ),
    ],
)
def test_impossible_recipes(fields, complaint: str) -> None:
    with pytest.raises(RecipeError) as error:
        replace(DIGITS, **fields)
    assert str(error.value) == complaint


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"epochs": 0, "rate": 0.1}, "Epochs must be a positive integer, not 0"),
        ({"epochs": 1, "rate": 0.0}, "Learning rate must be positive, not 0.0"),
        (
            {"epochs": 1, "rate": 0.1, "optimizer": "rprop"},
            "Optimizer must be one of adamw, sgd, not 'rprop'",
        ),
        (
            {"epochs": 1, "rate": 0.1, "schedule": "step"},
            "Schedule must be one of cosine, linear, constant, not 'step'",
        ),
        (
            {"epochs": 3, "rate": 0.1, "warm_up": 1},
            "Warm-up must be an integer from 0 to 0 epochs under a cosine schedule of 3, not 1",
        ),
        (
            {"epochs": 3, "rate": 0.1, "schedule": "linear", "warm_up": 4},
            "Warm-up must be an integer from 0 to 3 epochs under a linear schedule of 3, not 4",
        ),
        ({"epochs": 1, "rate": 0.1, "rounded": 1}, "Rounded must be true or false, not 1"),
    ],
)
def test_impossible_phases(fields, complaint: str) -> None:
    with pytest.raises(RecipeError) as error:
        Phase(**fields)
    assert str(error.value) == complaint


# Checkpoints


def test_a_checkpoint_carries_its_recipe(tmp_path: Path) -> None:
    """Not its name alone: a variant of it comes back as it was trained."""
    recipe = replace(variant(DIGITS, "binary"), exact_decay=True, steps=8)
    good = train(recipe, seed=1, float_epochs=1, integer_epochs=1, progress=silent)
    loaded = Checkpoint.load(good.save(tmp_path / "variant.pt"))
    assert loaded.recipe == recipe
    x = torch.randint(0, 16, (20, 64))
    with torch.no_grad():
        assert torch.equal(loaded.float_network()(x).logits, good.float_network()(x).logits)
    digests = {c.integer_network().to_network().digest for c in (loaded, good)}
    assert len(digests) == 1


def test_checkpoint_round_trip(digits_checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = digits_checkpoint.save(tmp_path / "run" / "digits.pt")
    loaded = Checkpoint.load(path)
    assert [p.name for p in path.parent.iterdir()] == ["digits.pt"]
    assert (loaded.recipe, loaded.seed, loaded.spec) == (DIGITS, 5, digits_checkpoint.spec)
    assert loaded.trained == digits_checkpoint.trained
    digests = {c.integer_network().to_network().digest for c in (loaded, digits_checkpoint)}
    assert len(digests) == 1
    x = torch.randint(0, 16, (20, 64))
    with torch.no_grad():
        ours, theirs = loaded.float_network()(x), digits_checkpoint.float_network()(x)
    assert torch.equal(ours.logits, theirs.logits)


@pytest.mark.parametrize(
    ("name", "digest", "hits"),
    [
        ("dense-2.pt", "de78296909a8e8b8135674de8c271e5bfabe7a75dd0e2f87cf97119f354d3059", 296),
        ("maps-2.pt", "20bdc9dcc9ea647d286980d314e6da684d3e62ded008e5dd2f0514b3a92742f3", 324),
    ],
)
def test_checkpoints_of_the_former_format(name: str, digest: str, hits: int) -> None:
    """64-8-6-10 and a recurrent network of maps, written when each kind had a class of its own."""
    checkpoint, data = Checkpoint.load(FORMER / name), load_split("digits", "test", 4)
    assert checkpoint.integer_network().to_network().digest == digest
    pixels, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    found, _ = accuracy_of(checkpoint.float_network(), pixels, labels)
    assert abs(found - hits) <= 1  # a machine that adds in another order may break a tie otherwise
    folded = fold(checkpoint.float_network())
    assert quantize(folded, name="old", weight_bits=4, pixel_bits=4).spec.layers == (
        checkpoint.spec.layers
    )


def break_file(path: Path, how: str, good: Checkpoint) -> None:
    if how == "cut":
        path.write_bytes(good.save(path).read_bytes()[:-500])
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.mkdir()
    elif how == "other":
        torch.save({"weights": torch.ones(3)}, path)
    elif how == "code":
        torch.save({"format": Recipe}, path)
    elif how == "lacks":
        good.save(path)
        content = torch.load(path, weights_only=True)
        del content["seed"]
        torch.save(content, path)
    elif how == "protocol":  # torch warns of it
        torch.save({"other": 1}, path, pickle_protocol=3)
    elif how == "misfit":
        state = {k: v[:1] if v.ndim else v for k, v in good.integer_state.items()}
        replace(good, integer_state=state).save(path)


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("missing", "does not exist"),
        ("folder", "is not a readable file"),
        ("cut", "is truncated or not a checkpoint"),
        ("text", "is truncated or not a checkpoint"),
        ("empty", "is truncated or not a checkpoint"),
        ("code", "is truncated or not a checkpoint"),
        ("protocol", "is not a Sterna checkpoint"),
        ("other", "is not a Sterna checkpoint"),
        ("lacks", "lacks 'seed'"),
        ("misfit", "is inconsistent: its states do not fit its networks"),
    ],
)
def test_broken_checkpoint(
    how: str, complaint: str, digits_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "broken.pt"
    break_file(path, how, digits_checkpoint)
    with pytest.raises(CheckpointError) as error:
        Checkpoint.load(path)
    assert str(error.value) == f"Checkpoint {path} {complaint}"
