"""Folders of recordings with a table of transcripts: how rows name recordings, and what stops with one line."""

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data, recordings
from bench.data.table_format import TableFormat
from bench.errors import BenchError, DataError
from tests.makers import dictation, write


@pytest.fixture
def folder(tmp_path):
    return dictation(tmp_path / "words", 12)


def make(folder, **options):
    return own_data.make(SweepConfig(data=[folder], task="transcription", **options))


def table(folder, *rows, name="transcripts.csv"):
    (folder / "transcripts.csv").unlink(missing_ok=True)
    write(folder, name, "\n".join(rows) + "\n")
    return folder


def read(folder, text="said", group=None):
    return recordings.transcripts(folder, text, TableFormat(), group)


def test_a_folder_is_a_data_set(folder):
    own = make(folder)
    assert own.card.arguments["text"] == "transcript"
    assert own.card.split == "by hash of the file name 80/10/10"
    assert own.card.length_meaning == "steps of a recording at most, 10 ms each"
    remarks = "\n".join(own.remarks)
    assert "words: 12 sequences; transcript = transcript in transcripts.csv; tokens: character" in remarks
    task = own.card.at(own.card.lengths[0])
    assert own.card.lengths == [max(task.steps_of(part).max() for part in task.counts)]  # none is left out


def test_a_speaker_stays_in_one_part(folder):
    own = make(folder, group="speaker", splits=[0.5, 0.25, 0.25])
    task = own.card.at(own.card.lengths[0])
    assert own.card.split == "by group 50/25/25"
    assert sorted(task.counts.values()) == [3, 3, 6]


def test_a_column_names_the_parts(folder):
    parts = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    table(folder, "file,text,part", *(f"{n},go {'up ' * (n % 3)},{part}" for n, part in enumerate(parts)))
    own = make(folder, split_by="part")
    assert own.card.at(own.card.lengths[0]).counts == {"train": 8, "val": 2, "test": 2}


@pytest.mark.parametrize("spell", ["{}.wav", "{}"])
def test_a_name_may_lack_its_ending(folder, spell):
    found = read(table(folder, "said,name", *(f"go,{spell.format(n)}" for n in range(9))))
    assert found.names == [f"{n}.wav" for n in range(9)]
    assert found.texts == ["go"] * 9
    assert [str(remark) for remark in found.remarks] == ["3 recordings without a transcript are left out"]


def test_names_in_folders_are_paths_unless_they_are_unique(folder):
    for part in ("a", "b"):
        (folder / part).mkdir()
    (folder / "1.wav").rename(folder / "a" / "1.wav")
    (folder / "2.wav").rename(folder / "b" / "1.wav")
    (folder / "3.wav").rename(folder / "b" / "3.wav")
    found = read(table(folder, "name\tsaid", "a/1\tgo", "b/1.wav\tup", "3\tleft", name="all.tsv"))
    assert found.names == ["a/1.wav", "b/1.wav", "b/3.wav"]
    with pytest.raises(DataError, match="column 'name': row 2 names '1', which is not one recording"):
        read(table(folder, "name\tsaid", "a/1\tgo", "1\tup", name="all.tsv"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name,said", "0,go", "99,up"], "column 'name': row 2 names '99', which is not one recording of the folder"),
        (["name,said", "0,go", "0.wav,up"], "line 3: '0.wav' is also in line 2"),
        (["name,said", "0,go", "1, "], "line 3, column 'said': no transcript"),
        (["name,said", "x,go", "y,up"], "no column names the recordings of the folder"),
        (["name,text", "0,go"], "said"),
    ],
)
def test_invalid_tables_stop_with_one_line(folder, rows, message):
    with pytest.raises(DataError, match=message) as found:
        read(table(folder, *rows))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "speaker", "split_by": "transcript"}, "--group and --split-by both split the recordings"),
        ({"horizon": 3}, "--horizon is not an option of transcription"),
        ({"text": "speech"}, "speech"),
        ({"tokens": "byte"}, "tokens: must be one of character, word"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(BenchError, match=message):
        make(folder, **options)


def test_what_is_missing_is_named(folder, tmp_path):
    (folder / "transcripts.csv").rename(folder / "notes.csv")
    with pytest.raises(DataError, match="no recording is in a folder of its class.*; for a table of transcripts, give"):
        own_data.make(SweepConfig(data=[folder]))
    table(folder, "name,words", "0,go", name="notes.csv")
    with pytest.raises(BenchError, match="columns name, words; name the column of transcripts with --text NAME"):
        make(folder)
    write(folder, "more.csv", "a,b\n")
    with pytest.raises(DataError, match=r"must hold one table .* but has 2: more.csv, notes.csv"):
        make(folder)
    with pytest.raises(DataError, match="--task transcription needs a folder of recordings"):
        make(folder / "0.wav")
