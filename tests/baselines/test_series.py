"""Baselines of series: by hand, against scikit-learn, and against published accuracies."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.baselines import hydra, minirocket, quant
from bench.baselines._linear import leave_one_out, ridges, temperature
from bench.baselines._shapes import nearest, resample
from bench.config import baseline
from bench.config.contracts import Batch
from bench.data import files, signals


def real(path: str):
    found = next((folder / path for folder in files.folders() if (folder / path).exists()), None)
    return found or pytest.skip(f"{path}: not in a data folder")


def read(name: str):
    """Return the training and the test part of an archive: values (N, L, D), lengths (N,) and classes (N,) by number."""
    parts = [signals.read_ts(real(f"{name}/{name}_{part}.ts")) for part in ("TRAIN", "TEST")]
    classes = sorted(set(parts[0].labels))
    for part in parts:
        length = np.array([len(item) for item in part.items])
        x = np.zeros((len(length), length.max(), part.items[0].shape[1]), dtype=np.float32)
        for row, item in zip(x, part.items, strict=True):
            row[: len(item)] = item
        yield x, length, np.array([classes.index(label) for label in part.labels])


def test_resampling_by_straight_lines():
    x = np.array([[0.0, 2, 4, 0], [1, 2, 0, 0]])[..., None]
    found = resample(x, np.array([3, 2]), 5)
    np.testing.assert_allclose(found[..., 0], [[0, 1, 2, 3, 4], [1, 1.25, 1.5, 1.75, 2]])
    assert resample(x, np.array([4, 4]), 4).shape == (2, 4, 1)


def test_the_nearest_by_hand():
    assert nearest(np.array([[0.0, 0], [3, 4]]), np.array([[1.0, 1], [2, 3]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "error"),
    [  # UCR archive 2018, DataSummary.csv: error of 1-NN with Euclidean distance
        ("ItalyPowerDemand", 0.0447),
        ("ArrowHead", 0.2000),
        ("GunPoint", 0.0867),
        ("OSULeaf", 0.4793),
        ("ACSF1", 0.4600),
        ("BasicMotions", 0.4000),  # of the UEA archive; recomputed, not published, for raw values
    ],
)
def test_the_published_errors_of_the_nearest_neighbour(name, error):
    (x, _, y), (test_x, _, test_y) = read(name)
    answers = y[nearest(x.reshape(len(x), -1), test_x.reshape(len(test_x), -1))]
    assert (answers != test_y).mean() == pytest.approx(error, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [  # resample 0, the split of the archive, of https://github.com/angus924/minirocket (the authors of the paper):
        # results/accuracy_ucr109_resamples.csv, commit 5491c22
        ("ACSF1", 0.92),
        ("ArrowHead", 0.862857),
        ("GunPoint", 0.993333),
        ("ItalyPowerDemand", 0.968902),
        ("OSULeaf", 0.958678),
    ],
)
def test_the_published_accuracies_of_minirocket(name, accuracy):
    """The features, with the ridge of the paper: its penalty is the best by leave-one-out on the whole training part."""
    from sklearn.linear_model import RidgeClassifierCV

    (x, length, y), (test_x, test_length, test_y) = read(name)
    kernels = minirocket._kernels(x, length, np.random.default_rng(0))
    features, test_features = (minirocket._features(*part, kernels) for part in ((x, length), (test_x, test_length)))
    mean, scale = features.mean(0), features.std(0) + 1e-8
    model = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10)).fit((features - mean) / scale, y)
    found = model.score((test_features - mean) / scale, test_y)
    # Biases are drawn from training series by chance: two standard deviations of a share, and a hundredth.
    assert found == pytest.approx(accuracy, abs=0.01 + 2 * (accuracy * (1 - accuracy) / len(test_y)) ** 0.5)


def reached(name: str, dataset: str) -> tuple[float, int]:
    """Return the test accuracy of a baseline that is fitted on a whole training part, and the number of test series."""
    (x, length, y), (test_x, test_length, test_y) = read(dataset)
    facts = {"output_size": int(y.max()) + 1, "num_steps": x.shape[1], "input_size": x.shape[2]}
    found, train = baseline.make(name), Batch(x, length, y)
    found.fit(train, train, SimpleNamespace(loss="cross_entropy", **facts))
    return float((found.outputs(test_x, test_length).argmax(-1) == test_y).mean()), len(test_y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accuracies"),
    [  # on the splits of the archive
        # aeon 1.6.0, HydraClassifier, mean of seeds 0, 1 and 2, computed from the same files; what the authors published
        # are means of 30 other splits
        ("hydra", {"ACSF1": 0.87, "ArrowHead": 0.8248, "GunPoint": 1.0, "ItalyPowerDemand": 0.9689, "OSULeaf": 0.9876}),
        # resample 0 of https://github.com/angus924/quant (the authors of the paper):
        # results/accuracy_resamples_ucr142.csv, commit c398176
        (
            "quant",
            {"ACSF1": 0.92, "ArrowHead": 0.8286, "GunPoint": 0.9867, "ItalyPowerDemand": 0.9670, "OSULeaf": 0.8760},
        ),
    ],
)
def test_the_accuracies_of_others_with_hydra_and_quant(name, accuracies):
    differences = []
    for dataset, expected in accuracies.items():
        found, count = reached(name, dataset)
        # Kernels and trees are random: two standard deviations of a share, and a hundredth.
        assert found == pytest.approx(expected, abs=0.01 + 2 * (expected * (1 - expected) / count) ** 0.5)
        differences.append(found - expected)
    assert abs(np.mean(differences)) < 0.02


def test_kernels_of_hydra_compete_at_each_step():
    rng = np.random.default_rng(0)
    x, length = rng.normal(size=(2, 20, 3)).astype(np.float32), np.array([20, 13])
    taps = rng.normal(size=(2, 2, 3, 4, 9)).astype(np.float32)  # two dilations, three groups of four kernels
    channels = rng.integers(3, size=(2, 2, 3, 2))
    features = hydra._features_of_chunk(x, length, taps, channels)
    for row in range(2):
        expected = []
        for r, dilation in enumerate((1, 2)):
            for order in (0, 1):
                series = np.diff(x[row, : length[row]], n=order, axis=0)
                answers = np.zeros((3, 4, len(series)))
                for group, kernel in np.ndindex(3, 4):
                    summed = np.pad(series[:, channels[r, order, group]].sum(1), 4 * dilation)
                    for step in range(len(series)):
                        answers[group, kernel, step] = taps[r, order, group, kernel] @ summed[step:][::dilation][:9]
                most, least = answers.argmax(1), answers.argmin(1)
                sums = [[answers[g, k, most[g] == k].sum() for k in range(4)] for g in range(3)]
                expected += [np.maximum(sums, 0).ravel(), [(least[g] == k).sum() for g in range(3) for k in range(4)]]
        np.testing.assert_allclose(features[row] ** 2, np.concatenate(expected), rtol=1e-4, atol=1e-4)


def test_no_kernel_of_hydra_wins_where_a_sequence_is_flat():
    taps = np.random.default_rng(0).normal(size=(1, 2, 3, 4, 9))
    taps = (taps - taps.mean(-1, keepdims=True)).astype(np.float32)
    x = np.zeros((1, 30, 1), dtype=np.float32)
    assert not hydra._features_of_chunk(x, np.array([30]), taps, np.zeros((1, 2, 3, 1), dtype=np.int64)).any()


def test_quantiles_of_intervals_by_hand():
    values = np.array([5.0, 1, 4, 2, 3, 9, 7, 8, 6, 0], dtype=np.float32)
    expected = [
        [0, 4.5 - 4.5, 9],  # of all: least, median and most; every second without the mean
        [1, 5 - 3, 0, 9 - 6, 2, 9 - 5.8],  # of both halves and of the one that is shifted by three: least and most
        [3, 3, 8, 6, 3, 7, 7],  # of quarters, and of those that are shifted by two: the median
        [5, 1, 4, 2.5, 9, 7, 8, 3],  # of eighths
    ]
    found = quant._quantiles(values[None, :, None], np.array([10]), 10)[0]
    np.testing.assert_allclose(sorted(found), sorted(np.concatenate(expected)), atol=1e-6)


def test_a_shorter_sequence_has_as_many_features_and_padding_adds_none():
    x = np.random.default_rng(0).normal(size=(3, 40, 2)).astype(np.float32)
    length = np.array([40, 23, 1])
    together = quant._features(x * (np.arange(40) < length[:, None])[..., None], length, 40)
    for row, steps in enumerate(length):
        np.testing.assert_array_equal(
            quant._features(x[row : row + 1, :steps], length[row : row + 1], 40)[0], together[row]
        )
    assert together[:, -1].tolist() == pytest.approx([1, 23 / 40, 1 / 40])


def test_a_kernel_answers_as_its_convolution_does():
    rng = np.random.default_rng(0)
    x, channels = rng.normal(size=(2, 30, 3)).astype(np.float32), rng.random((84, 3)) < 0.5
    length = np.array([30, 21])
    found = minirocket._convolved(x, length, 2, channels)
    for kernel in (0, 17, 83):
        taps = np.full(9, -1.0)
        taps[minirocket.TWOS[kernel]] = 2.0
        for row in range(2):
            summed = x[row, : length[row]][:, channels[kernel]].sum(1)
            around = np.concatenate([np.zeros(8), summed, np.zeros(8 + 30 - length[row])])
            expected = [sum(taps[tap] * around[step + 2 * tap] for tap in range(9)) for step in range(length[row])]
            np.testing.assert_allclose(found[row, kernel, : length[row]], expected, atol=1e-4)


def test_flags_are_counted_eight_at_a_time():
    flags = np.random.default_rng(0).random((3, 8 * 300)) < 0.5
    assert minirocket._count(flags).tolist() == flags.sum(1).tolist()
    assert minirocket._count(np.ones((1, 8 * 600), dtype=bool)).tolist() == [8 * 600]


def test_features_are_shares_of_the_valid_steps():
    x, length, _ = next(read("PickupGestureWiimoteZ"))
    kernels = minirocket._kernels(x, length, np.random.default_rng(0))
    features = minirocket._features(x[:5], length[:5], kernels)
    assert features.shape == (5, 84 * (10_000 // 84))
    assert features.min() >= 0
    assert features.max() <= 1
    alone = minirocket._features(x[:1, : length[0]], length[:1], kernels)
    # Padding changes nothing, except where rounding decides whether an answer equals a bias.
    np.testing.assert_allclose(alone, features[:1], atol=0.02)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_the_ridge_is_that_of_scikit_learn(shape):
    from sklearn.linear_model import Ridge

    rng, alphas = np.random.default_rng(0), (1.0, 100.0, 1e5)
    x, y, other = rng.normal(2, 1, shape), rng.normal(size=(shape[0], 3)), rng.normal(size=(5, shape[1]))
    for alpha, (weights, offset) in zip(alphas, ridges(x, y, alphas), strict=True):
        expected = Ridge(alpha=alpha, solver="svd").fit(x, y).predict(other)
        np.testing.assert_allclose(other @ weights + offset, expected, atol=1e-8)


def test_outputs_without_an_error_are_not_certain():
    outputs, y = np.eye(2)[[0, 1] * 5], np.array([0, 1] * 5)
    shares = 1 / (1 + np.exp(-temperature(outputs, y)))
    assert shares == pytest.approx(1 - 1 / 11 / 2, abs=0.01)  # one more example, whose class may be either


@pytest.mark.parametrize("count", [12, 60, 300])
def test_leave_one_out_finds_the_ridge_of_scikit_learn(count):
    from sklearn.linear_model import RidgeCV

    rng, alphas = np.random.default_rng(count), np.logspace(-3, 3, 10)
    x = rng.normal(size=(count, 200))
    y = 3 + np.stack([3 * x[:, 0] + rng.normal(size=count), x[:, 1:90].sum(1)], axis=1)
    weights, offset, alpha, error = leave_one_out(x, y, alphas)
    expected = RidgeCV(alphas=alphas).fit(x, y)
    assert alpha == expected.alpha_
    np.testing.assert_allclose(weights, expected.coef_.T, atol=1e-8)
    np.testing.assert_allclose(offset, expected.intercept_)


@pytest.mark.parametrize("name", ["minirocket", "hydra"])
def test_a_ridge_sees_how_long_a_sequence_is_where_that_decides(name):
    rng, facts = np.random.default_rng(0), {"output_size": 2, "num_steps": 60, "input_size": 1}
    x = rng.normal(size=(120, 60, 1)).astype(np.float32)
    y = rng.integers(2, size=120)
    length = 30 + 25 * y + rng.integers(5, size=120)
    found, train = baseline.make(name), Batch(x[:80], length[:80], y[:80])
    found.fit(train, train, SimpleNamespace(loss="cross_entropy", **facts))
    assert found.chosen["zeros_to_step"] == length[:80].max()
    assert (found.outputs(x[80:], length[80:]).argmax(-1) == y[80:]).mean() > 0.95
    assert found.outputs(x[80:, :40], np.minimum(length[80:], 40)).shape == (40, 2)  # a batch of short sequences


def test_a_ridge_reads_sequences_to_their_own_end_where_zeros_only_hide_what_they_hold():
    rng, facts = np.random.default_rng(0), {"output_size": 2, "num_steps": 60, "input_size": 1}
    y, length = rng.integers(2, size=120), rng.integers(9, 61, size=120)
    noise = rng.normal(size=(120, 61))
    x = np.where(y[:, None] == 1, noise[:, 1:], noise[:, 1:] - noise[:, :-1])[..., None].astype(np.float32)
    found, train = baseline.make("minirocket"), Batch(x[:80], length[:80], y[:80])
    found.fit(train, train, SimpleNamespace(loss="cross_entropy", **facts))
    assert "zeros_to_step" not in found.chosen
