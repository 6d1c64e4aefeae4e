"""Readers, by files written by hand, by Python's own writers, and by files cut anywhere.

S steps or samples, D channels, F frames, M mel bands.
"""

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import signals
from bench.data.arrays import layout_of, parts_in, read_arrays
from bench.errors import DeclarationError
from tests.makers import attempted, refused, write

quick = settings(max_examples=25, deadline=None)

TS = """# a comment
%another
@problemName Tiny
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
1,2,3:4,5.5,6:up
-1e3,?:7,NaN:down

0.5:0:down
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# .ts


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_ts_file(tmp_path, end):
    found = signals.read_ts(write(tmp_path, "tiny.ts", TS.replace("\n", end)))
    assert found.classes == ["up", "down"]
    assert found.labels == ["up", "down", "down"]
    assert found.names == ["tiny.ts:1", "tiny.ts:2", "tiny.ts:3"]
    np.testing.assert_array_equal(found.items[0], np.array([[1, 4], [2, 5.5], [3, 6]], dtype=np.float32))
    np.testing.assert_array_equal(found.items[1], np.array([[-1000, 7], [np.nan, np.nan]], dtype=np.float32))
    assert [item.dtype for item in found.items] == [np.float32] * 3
    assert found.items[2].shape == (1, 2)


BROKEN_TS = {
    "a word for a number": (("5.5", "five"), "line 11, dimension 2, value 2: 'five' is not a number"),
    "no number at all": (("5.5", ""), None),  # an empty field is a missing value
    "infinite": (("5.5", "inf"), "line 11, dimension 2, value 2: 'inf' is not a finite number"),
    "too large": (("5.5", "1e39"), "line 11, dimension 2, value 2: '1e39' is not a finite number"),
    "unequal dimensions": (("4,5.5,6", "4,5.5"), "line 11: dimensions have 2 and 3 values"),
    "a dimension more": ((":down\n\n", ":1,2:down\n\n"), "line 12: 3 dimensions, but the header says 2"),
    "an unknown class": (
        (":up", ":sideways"),
        "line 11: label 'sideways' after the last colon is not one of @classLabel",
    ),
    "no label": (("6:up", "6"), "line 11: 1 dimensions, but the header says 2"),
    "no colon": (("0.5:0:down", "0.5"), "line 14: no colon"),
    "no value": (("0.5:0:down", "?:?:down"), "line 14: no value in any dimension"),
    "data first": (("@data\n", ""), "line 10: '1,2,3:4,5.5,6:up' before @data"),
    "time stamps": (("timeStamps false", "timeStamps true"), "line 10: @timeStamps true"),
    "no classes": (("@classLabel true up down", "@classLabel false"), "line 10: no '@classLabel true' in the header"),
    "a target": (("@classLabel true up down", "@targetLabel true"), "line 10: @targetLabel"),
    "no cases": ((TS[TS.index("1,2") :], ""), "no cases below @data"),
    "empty": ((TS, ""), "no @data line"),
    "not text": (("up down", "up \0"), "line 9 holds a NUL character"),
}


@pytest.mark.parametrize("case", BROKEN_TS)
def test_a_broken_ts_file_is_told_in_one_line(tmp_path, case):
    (before, after), expected = BROKEN_TS[case]
    path = write(tmp_path, "broken.ts", TS.replace(before, after, 1))
    if expected is None:
        assert np.isnan(signals.read_ts(path).items[0][1, 1])
        return
    found = refused(signals.read_ts, path)
    assert expected in found
    assert found.startswith(str(path))


value = st.none() | st.floats(-1e6, 1e6, width=32)


@quick
@given(data=st.data(), dimensions=st.integers(1, 3))
def test_a_ts_file_that_was_written_is_read(folder, data, dimensions):
    case = st.integers(1, 6).flatmap(
        lambda steps: st.lists(
            st.lists(value, min_size=steps, max_size=steps), min_size=dimensions, max_size=dimensions
        )
    )
    cases = data.draw(st.lists(st.tuples(case.filter(lambda each: any(v is not None for s in each for v in s)),
                                         st.sampled_from(["up", "down"])), min_size=1, max_size=5))  # fmt: skip
    rows = [
        ":".join([*(",".join("?" if v is None else repr(v) for v in series) for series in each), label])
        for each, label in cases
    ]
    head = f"@dimensions {dimensions}\n@equalLength false\n@classLabel true up down\n@data\n"
    found = signals.read_ts(write(folder, "written.ts", head + "\n".join(rows)))
    assert found.labels == [label for _, label in cases]
    for item, (each, _) in zip(found.items, cases, strict=True):
        expected = np.array([[np.nan if v is None else v for v in series] for series in each], dtype=np.float32)
        np.testing.assert_array_equal(item, expected.T)


def test_a_length_that_the_header_denies_is_refused(tmp_path):
    text = "@univariate true\n@equalLength true\n@seriesLength 3\n@classLabel true a\n@data\n1,2,3:a\n1,2:a\n"
    assert "line 7: 2 values, but the header says 3" in refused(signals.read_ts, write(tmp_path, "x.ts", text))


@quick
@given(cut=st.integers(0, len(TS)))
def test_a_ts_file_cut_anywhere_reads_or_is_refused(folder, cut):
    path = write(folder, "cut.ts", TS[:cut])
    found = attempted(signals.read_ts, path)
    if found is not None:
        assert 1 <= len(found.items) <= 3
        assert set(found.labels) <= {"up", "down"}


@quick
@given(
    place=st.integers(0, len(TS) - 1),
    by=st.sampled_from([b"\xff", b"\0", b"\n", b":", b",", b"?", b"e", b"@", b"\x81"]),
)
def test_a_ts_file_with_a_wrong_byte_reads_or_is_refused(folder, place, by):
    data = TS.encode()
    attempted(signals.read_ts, write(folder, "wrong.ts", data[:place] + by + data[place + 1 :]))


# Arrays


def test_arrays_in_one_file_and_in_two(tmp_path):
    x = np.arange(24, dtype=np.float64).reshape(2, 4, 3)
    x[1, 2:] = np.nan  # the second sequence has two steps
    x[0, 1, 1] = np.nan  # a gap is no end
    y = np.array(["b", "a"])
    np.savez(tmp_path / "one.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    for found in (
        read_arrays(tmp_path / "one.npz"),
        read_arrays(tmp_path / "x.npy", tmp_path / "y.npy"),
    ):
        assert found.labels == ["b", "a"]
        assert [item.shape for item in found.items] == [(4, 3), (2, 3)]
        np.testing.assert_array_equal(found.items[0], x[0].astype(np.float32))


@pytest.mark.parametrize(("y", "labels"), [(np.array([1.0, 2.0]), ["1", "2"]), (np.array([b"q", b"r"]), ["q", "r"])])
def test_labels_of_arrays_and_given_lengths(tmp_path, y, labels):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 5), dtype=np.uint8), y=y, length=np.array([5, 2]))
    found = read_arrays(tmp_path / "a.npz")
    assert found.labels == labels
    assert [item.shape for item in found.items] == [(5, 1), (2, 1)]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": np.zeros((2, 3))}, "there is no array 'y' (arrays: x)"),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(3)},
            "y must have one label for each of 2 sequences, but has shape (3,)",
        ),
        ({"x": np.zeros((2, 3)), "y": np.array([0.5, 1])}, "y[0]: 0.5 is not a class"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, "but is float64 of shape (3,)"),
        ({"x": np.array([["a"]]), "y": np.zeros(1)}, "but is <U1 of shape (1, 1)"),
        ({"x": np.array([[1, np.inf]]), "y": np.zeros(1)}, "x[0, 1, 0]: inf is not a finite number"),
        ({"x": np.array([[np.nan, np.nan]]), "y": np.zeros(1)}, "every sequence needs a value"),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2), "length": np.array([3, 4])},
            "length must be 1 to 3 for every sequence",
        ),
        ({"x": np.array([[1]], dtype=object), "y": np.zeros(1)}, "save arrays of numbers of one shape"),
    ],
)
def test_broken_arrays_are_told_in_one_line(tmp_path, arrays, expected):
    np.savez(tmp_path / "a.npz", **arrays)
    assert expected in refused(read_arrays, tmp_path / "a.npz")


def test_a_single_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    assert "one array" in refused(read_arrays, tmp_path / "x.npy")


@quick
@given(share=st.floats(0, 0.999))
def test_an_npz_file_cut_anywhere_is_refused(folder, share):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((2, 3)), y=np.zeros(2))
    data = buffer.getvalue()
    refused(read_arrays, write(folder, "cut.npz", data[: int(len(data) * share)]))


def stored(path, **named):
    np.savez(path, **named)
    return path


AXES = np.random.default_rng(0).normal(size=(8, 3, 20)).astype(np.float32)  # sequences, channels, steps
LONG = np.full(8, 17)
PADDED = AXES.copy()
PADDED[2:, :, 15:] = np.nan


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [
        ({"x": AXES}, "channels-first", "channels-first"),
        ({"x": AXES}, "channels-last", None),
        ({"x": AXES, "length": LONG}, None, "channels-first"),
        ({"x": PADDED}, None, "channels-first"),
        ({"X": AXES[:, :1]}, None, "channels-first"),
        ({"x": AXES.swapaxes(1, 2)}, None, None),
        ({"x": PADDED.swapaxes(1, 2)}, None, None),
        ({"x": AXES[:, :, :1]}, None, None),
        ({"x": AXES[:, 0]}, None, None),
    ],
)
def test_the_axis_of_steps_is_found_by_evidence(tmp_path, named, given, expected):
    layout, _ = layout_of(stored(tmp_path / "a.npz", **named), None, given)
    assert layout == expected


def test_the_axis_of_steps_is_asked_for_if_nothing_decides(tmp_path):
    path = stored(tmp_path / "a.npz", x=AXES, y=np.arange(8) % 2)
    with pytest.raises(
        DeclarationError,
        match=r"a\.npz: x has shape \(8, 3, 20\): sequences of 20 steps of 3 channels, "
        r"as sktime and aeon write them, or of 3 steps of 20 channels; choose with --layout channels-first",
    ):
        layout_of(path, None, None)


def test_channels_may_come_first_and_names_may_be_upper_case(tmp_path):
    found = read_arrays(stored(tmp_path / "a.npz", X=AXES, Y=np.arange(8)[:, None]), layout="channels-first")
    assert found.labels == [str(number) for number in range(8)]
    np.testing.assert_array_equal(found.items[3], AXES[3].T)


def test_arrays_of_train_and_test_keep_their_parts(tmp_path):
    path = stored(tmp_path / "a.npz", x_train=AXES, y_train=np.arange(8) % 2, x_test=AXES[:4], y_test=np.arange(4) % 2)
    assert parts_in(path) == {"train": ["a.npz/train"], "test": ["a.npz/test"]}
    assert read_arrays(path).names[6:10] == ["a.npz/train:7", "a.npz/train:8", "a.npz/test:1", "a.npz/test:2"]


# Recordings


def recording(samples, *, width=2, channels=1, rate=8_000):
    """Whole numbers of a width in bytes as a wave file, by Python's own writer."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            data = bytes(value + 128 for value in samples)
        else:
            data = b"".join(int(value).to_bytes(width, "little", signed=True) for value in samples)
        file.writeframes(data)
    return buffer.getvalue()


@quick
@given(
    width=st.sampled_from([1, 2, 3, 4]),
    shares=st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    rate=st.sampled_from([8_000, 44_100]),
)
def test_samples_of_every_width(folder, width, shares, rate):
    top = 2 ** (8 * width - 1)
    values = [min(top - 1, round(share * top)) for share in shares]
    found, found_rate = signals.read_wav(write(folder, "s.wav", recording(values, width=width, rate=rate)))
    assert found_rate == rate
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(values) / top, atol=1e-7)


def test_channels_are_averaged(tmp_path):
    path = write(tmp_path, "s.wav", recording([100, 300, -200, 0], channels=2))
    np.testing.assert_allclose(signals.read_wav(path)[0] * 2**15, [200, -100])


def chunks(*parts):
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def layout(kind, channels, rate, bits, more=b""):
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits) + more


def test_the_extensible_form_other_chunks_and_floating_point(tmp_path):
    plain = np.array([0.5, -0.25], dtype="<f4")
    path = write(
        tmp_path, "f.wav", chunks((b"LIST", b"odd"), (b"fmt ", layout(3, 1, 8_000, 32)), (b"data", plain.tobytes()))
    )
    np.testing.assert_array_equal(signals.read_wav(path)[0], plain)
    more = struct.pack("<HHIH", 22, 24, 4, 1) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    extensible = chunks((b"fmt ", layout(0xFFFE, 1, 48_000, 24, more)), (b"data", b"\0\0\x40\0\0\xc0"))
    found, rate = signals.read_wav(write(tmp_path, "e.wav", extensible))
    np.testing.assert_array_equal(found, [0.5, -0.5])
    assert rate == 48_000


WAV = recording(range(-50, 50))
BROKEN_WAV = {
    "no wave file": (b"ID3\x04 whatever", "byte 0: not a RIFF wave file; convert it"),
    "empty": (b"", "byte 0: not a RIFF wave file"),
    "cut off": (WAV[:-7], "byte 44: 200 bytes of samples are announced, but the file holds 193; it is truncated"),
    "no samples": (recording([]), "byte 44: no samples"),
    "no data": (chunks((b"fmt ", layout(1, 1, 8_000, 16))), "byte 36: the file ends before its samples"),
    "data first": (chunks((b"data", b"12")), "byte 12: samples before their format"),
    "a short format": (chunks((b"fmt ", b"12")), "byte 20: the format must have 16 bytes, but has 2"),
    "A-law": (chunks((b"fmt ", layout(6, 1, 8_000, 8)), (b"data", b"12")), "byte 20: 8 bits of A-law"),
    "12 bits": (chunks((b"fmt ", layout(1, 1, 8_000, 12)), (b"data", b"12")), "byte 20: 12 bits of PCM"),
    "no channels": (chunks((b"fmt ", layout(1, 0, 8_000, 16)), (b"data", b"12")), "byte 20: 0 channels"),
    "half a frame": (
        chunks((b"fmt ", layout(1, 2, 8_000, 16)), (b"data", b"123456")),
        "are not a multiple of a frame of 4",
    ),
    "not a number": (
        chunks((b"fmt ", layout(3, 1, 8_000, 32)), (b"data", np.array([0, np.nan], "<f4").tobytes())),
        "byte 48: a sample is not a finite number",
    ),
}


@pytest.mark.parametrize(("of_file", "of_samples"), [(2**32 - 1, 2**32 - 1), (0, 0), (0x7FFFF024, 0x7FFFF000), (36, 0)])
def test_a_piped_recording_of_unknown_size_is_read_to_its_end(tmp_path, of_file, of_samples):
    data = WAV[:4] + struct.pack("<I", of_file) + WAV[8:40] + struct.pack("<I", of_samples) + WAV[44:] + b"\1"
    samples, rate = signals.read_wav(write(tmp_path, "piped.wav", data))
    expected, expected_rate = signals.read_wav(write(tmp_path, "whole.wav", WAV))
    np.testing.assert_array_equal(samples, expected)
    assert rate == expected_rate


@pytest.mark.parametrize("case", BROKEN_WAV)
def test_a_broken_recording_is_told_in_one_line(tmp_path, case):
    data, expected = BROKEN_WAV[case]
    assert expected in refused(signals.read_wav, write(tmp_path, "b.wav", data))


@quick
@given(cut=st.integers(0, len(WAV) - 1))
def test_a_recording_cut_anywhere_is_refused(folder, cut):
    refused(signals.read_wav, write(folder, "cut.wav", WAV[:cut]))


@quick
@given(place=st.integers(0, len(WAV) - 1), by=st.integers(0, 255))
def test_a_recording_with_a_wrong_byte_reads_or_is_refused(folder, place, by):
    read = attempted(signals.read_wav, write(folder, "wrong.wav", WAV[:place] + bytes([by]) + WAV[place + 1 :]))
    if read is not None:
        found, rate = read
        assert len(found) >= 1
        assert np.abs(found).max() <= 1
        assert rate >= 1


def test_one_mel_band_by_hand():
    # Half of 2595 log10(1 + 4000/700) is the mel of 700 (sqrt(1 + 4000/700) - 1) = 1113.84 Hz: there is the top.
    filters, size = signals.mel_filters(8_000, 200, 1)
    assert (filters.shape, size) == ((129, 1), 256)
    assert filters[32, 0] == pytest.approx(1000 / 1113.836, abs=1e-5)  # a frequency every 31.25 Hz
    assert filters[64, 0] == pytest.approx((4000 - 2000) / (4000 - 1113.836), abs=1e-5)
    assert filters[[0, 128], 0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_forty_mel_bands(rate):
    filters, size = signals.mel_filters(rate, round(rate * 0.025), 40)
    assert size >= rate * 0.025
    assert (filters.sum(0) > 0.5).all()
    assert (filters >= 0).all()
    assert (np.diff(filters.argmax(0)) >= 1).all()
    inside = filters[np.flatnonzero(filters.sum(1))]  # between the first top and the last, triangles add up to 1
    tops = filters.argmax(0)
    np.testing.assert_allclose(filters[tops[0] + 1 : tops[-1] - 1].sum(1), 1)
    assert len(inside) > 40


def test_log_mel_by_a_sum_over_every_sample():
    rng = np.random.default_rng(0)
    samples, rate, window, hop = rng.normal(size=360).astype(np.float32), 8_000, 200, 80
    filters, size = signals.mel_filters(rate, window, 5)
    energy = np.empty((3, 5))
    for frame in range(3):
        for band in range(5):
            total = 0.0
            for place in np.flatnonzero(filters[:, band]):
                n = np.arange(window)
                hann = 0.5 * (1 - np.cos(2 * np.pi * n / window))
                turned = np.exp(-2j * np.pi * place * n / size)
                total += (
                    filters[place, band] * abs((samples[frame * hop : frame * hop + window] * hann * turned).sum()) ** 2
                )
            energy[frame, band] = np.log(total)
    found = signals.log_mel(samples, rate, num_bands=5)
    assert found.shape == (3, 5)  # 1 + (360 - 200) // 80
    np.testing.assert_allclose(found, (energy - energy.mean()) / energy.std(), atol=1e-4)


def test_a_tone_is_loudest_in_its_band():
    time = np.arange(4_000) / 8_000
    filters, size = signals.mel_filters(8_000, 200, 40)
    for frequency in (300, 1_000, 2_500):
        found = signals.log_mel(np.sin(2 * np.pi * frequency * time).astype(np.float32), 8_000)
        band = filters[round(frequency / 8_000 * size)].argmax()
        assert (np.abs(found.argmax(1) - band) <= 1).all()


def test_loudness_says_nothing_and_a_click_is_one_frame():
    samples = np.random.default_rng(1).normal(size=800).astype(np.float32)
    np.testing.assert_allclose(signals.log_mel(samples, 8_000), signals.log_mel(samples * 0.01, 8_000), atol=1e-3)
    assert signals.log_mel(samples[:1], 8_000).shape == (1, 40)
    np.testing.assert_allclose(signals.log_mel(np.zeros(500, dtype=np.float32), 8_000), 0, atol=1e-6)


def test_too_few_samples_a_second_are_refused():
    assert "40 samples per second are too few" in refused(signals.log_mel, np.zeros(100), 40)
