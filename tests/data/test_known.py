"""Known data against published check sums; skipped where VAELAB_DATA does not hold them."""

import numpy as np
import pytest
import torch

from vaelab.data import Dataset, open_source
from vaelab.data.known import find
from vaelab.errors import DataError, UsageError

needs_mnist = pytest.mark.skipif(find("mnist/train-images-idx3-ubyte.gz") is None, reason="VAELAB_DATA holds no mnist")
needs_frey = pytest.mark.skipif(find("frey_faces/frey_faces.npz") is None, reason="VAELAB_DATA holds no frey_faces")
needs_cifar = pytest.mark.skipif(find("cifar10/cifar10_subset.npz") is None, reason="VAELAB_DATA holds no cifar10")
needs_tables = pytest.mark.skipif(find("tables/wine_red.csv.gz") is None, reason="VAELAB_DATA holds no tables")


def official(data: Dataset) -> Dataset:
    assert data.test is not None
    return data.test


@needs_mnist
def test_mnist_has_the_published_sums_and_labels() -> None:
    mnist = open_source("mnist")
    assert mnist.x.dtype == torch.uint8
    assert (len(mnist), int(mnist.x.sum())) == (60_000, 1_567_298_545)
    assert (len(official(mnist)), int(official(mnist).x.sum())) == (10_000, 264_923_200)
    assert mnist.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert official(mnist).labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (mnist.schema.binarize, mnist.schema.values) == ("stochastic", "binary")
    assert official(mnist).schema is mnist.schema


@needs_mnist
def test_fixed_binarisation_has_the_published_counts() -> None:
    fixed = open_source("mnist", binarize="fixed")
    assert (len(fixed), int(fixed.x.sum())) == (60_000, 6_146_077)
    assert (len(official(fixed)), int(official(fixed).x.sum())) == (10_000, 1_038_371)
    assert fixed.labels is None
    # a draw of the grey images: the mean images agree within 5 standard errors, so no bit is out of place
    rate = open_source("mnist").x.double().mean(0) / 255
    error = (rate * (1 - rate) / len(fixed)).sqrt()
    assert ((fixed.x.double().mean(0) - rate).abs() <= 5 * error).all()
    assert torch.equal(fixed.schema.encode(fixed.x[:5]).squeeze(1), fixed.x[:5].float())


@needs_mnist
def test_mnist_without_binarisation_keeps_its_grey_values() -> None:
    path = find("mnist/t10k-images-idx3-ubyte.gz")
    test = open_source(path, labels=find("mnist/t10k-labels-idx1-ubyte.gz"))
    assert (test.schema.values, test.schema.low, test.schema.high) == ("integer", 0, 255)
    assert int(test.x.sum()) == 264_923_200
    assert test.labels[:4].tolist() == [7, 2, 1, 0]
    # under the schema of a model, the file is binarised as the model's data were
    assert open_source(path, schema=open_source("mnist").schema).schema.stochastic


@needs_frey
def test_frey_faces_have_the_published_moments() -> None:
    for source in ("frey-faces", find("frey_faces/frey_faces.npz")):
        frey = open_source(source)
        assert frey.x.shape == (1965, 28, 20)
        assert int(frey.x.sum()) == 169_968_741
        assert frey.x.double().std(correction=0).item() == pytest.approx(44.896, abs=1e-3)


@needs_cifar
def test_channel_first_colour_images_and_their_test_part() -> None:
    path = find("cifar10/cifar10_subset.npz")
    cifar = open_source(path)
    assert (int(cifar.x.sum()), int(official(cifar).x.sum())) == (1_481_085_868, 374_560_331)
    assert cifar.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert cifar.schema.shape == (32, 32, 3)
    assert np.array_equal(cifar.schema.arrange(cifar.x), np.load(path)["x_train"])


@needs_tables
@pytest.mark.parametrize(
    ("name", "shape"), [("wine_red", (1599, 12)), ("banknote", (1372, 5)), ("wine_white", (4898, 12))]
)
def test_tables_agree_with_a_plain_reader(name: str, shape: tuple[int, int]) -> None:
    path = find(f"tables/{name}.csv.gz")
    data = open_source(path)
    assert data.x.shape == shape
    assert np.array_equal(data.x.numpy(), np.loadtxt(path, delimiter=",", skiprows=1))
    assert data.observed is None


def test_digits_are_the_bundled_ones() -> None:
    digits = open_source("digits")
    assert (len(digits), int(digits.x.sum()), int(digits.x.max())) == (1797, 561718, 16)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert "1,797 rows, 8x8 grey images" in digits.describe()


@pytest.mark.parametrize(
    ("source", "rule", "error", "words"),
    [
        ("digits", "fixed", UsageError, "digits has none"),
        ("digits", "dithered", UsageError, "expected stochastic, threshold, fixed or none"),
        ("frey-faces", None, DataError, "Set VAELAB_DATA"),
        ("mnist", "fixed", DataError, "Set VAELAB_DATA"),
    ],
)
def test_what_cannot_be_had_is_named(
    source: str, rule: str | None, error: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAELAB_DATA", raising=False)
    with pytest.raises(error, match=words):
        open_source(source, binarize=rule)
