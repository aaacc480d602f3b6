"""Class names in the forms in which people keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainkit.bundles._labels import read_labels
from trainkit.errors import DataError


def written(folder: Path, text: str, name: str = "labels.txt", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "cats\nbig dogs\n",
        "0: cats\n1: big dogs\n",
        "1: big dogs\n0: cats\n",
        "0 cats\n1 big dogs\n",
        "0:cats\n1:big dogs\n",
        "0\tcats\n1\tbig dogs\n",
        "0. cats\n1. big dogs\n",
        "0 - cats\n1 - big dogs\n",
        "0,cats\n1,big dogs\n",
        "0_cats\n1_big dogs\n",
        "cats: 0\nbig dogs: 1\n",
        "big dogs,1\ncats,0\n",
        "index,name\n1,big dogs\n0,cats\n",
        "- cats\n- big dogs\n",
        "big dogs 1\ncats 0\n",
        '"big dogs": 1,\n"cats": 0\n',
        "'cats': 0,\n'big dogs': 1,\n",
        '"1": "big dogs",\n"0": "cats"\n',
        '"cats",\n"big dogs",\n',
        '"cats"\n"big dogs"\n',
        "cats,\nbig dogs\n",
        'nc: 2\nnames: ["cats", "big dogs"]\n',
        "train: ../train\nnc: 2  # classes\nnames: [cats, big dogs]\n",
        "names: ['cats',\n  'big dogs']\nnc: 2\n",
        "names:\n  1: big dogs\n  0: cats\nval: ../val\n",
        "names: {0: 'cats', 1: 'big dogs'}\nnc: 2\n",
        "names: {1: big dogs, 0: cats}\n",
        "classes:\n- cats\n- big dogs\n",
        "class,id\nbig dogs,1\ncats,0\n",
        '{"cats": 0, "big dogs": 1}',
        '{"big dogs": 1, "cats": 0}',
        '{"0": "cats", "1": "big dogs"}',
        '{"1": ["n02", "big dogs"], "0": ["n01", "cats"]}',
        '{"class_names": ["cats", "big dogs"], "version": 1}',
        '{"id2label": {"0": "cats", "1": "big dogs"}}',
        '["cats", "big dogs"]',
        "['cats', 'big dogs']",
        "('cats', 'big dogs')",
        "class_names = ['cats', 'big dogs']",
        "['cats' 'big dogs']",
        "array(['cats', 'big dogs'], dtype='<U8')",
        "dict_keys(['cats', 'big dogs'])",
        "{'big dogs': 1, 'cats': 0}",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_names_come_in_the_order_of_the_outputs(tmp_path: Path, text: str, encoding: str) -> None:
    assert read_labels(written(tmp_path, text, encoding=encoding)) == ["cats", "big dogs"]
    assert read_labels(written(tmp_path, text.replace("\n", "\r\n"), encoding=encoding)) == ["cats", "big dogs"]


@pytest.mark.parametrize(
    "text",
    [
        "name\ncats\nbig dogs\n",
        "cats\nbig dogs\n",
        "id,name,images\n1,big dogs,7\n0,cats,5\n",
        "name;id\nbig dogs;1\ncats;0\n",
        'number,"class name"\n0,"cats"\n1,"big dogs"\n',
        "class,images\ncats,12\nbig dogs,12\n",
        "class,count\ncats,1\nbig dogs,0\n",
        "class,images,label\nbig dogs,0,1\ncats,1,0\n",
    ],
)
def test_csv_file_says_them_by_number_or_by_the_heading(tmp_path: Path, text: str) -> None:
    assert read_labels(written(tmp_path, text, "classes.csv")) == ["cats", "big dogs"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tench, Tinca tinca\ngoldfish, Carassius auratus\n", ["tench, Tinca tinca", "goldfish, Carassius auratus"]),
        ("1 euro\n2 euro\n5 euro\n", ["1 euro", "2 euro", "5 euro"]),
        ("type 0\ntype 1\n", ["type 0", "type 1"]),
        ("Boeing 737\nAirbus 320\n", ["Boeing 737", "Airbus 320"]),
        ("0-2\n3-9\n10-19\n", ["0-2", "3-9", "10-19"]),
        ("Apple: scab\nApple: healthy\n", ["Apple: scab", "Apple: healthy"]),
        ('"big" dogs\ncats\n', ['"big" dogs', "cats"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ('["1 euro", "0 euro"]', ["1 euro", "0 euro"]),
        ("[0, 1, 2]", ["0", "1", "2"]),
        ("it's\n(none)\n", ["it's", "(none)"]),
    ],
)
def test_what_belongs_to_a_name_stays_in_it(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert read_labels(written(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 cats\n2 dogs\n", "numbers its 2 class names from 0 to 2, and 1 is missing"),
        ("1: cats\n2: dogs\n", "from 1 to 2, and 0 is missing. Expected each number from 0 once"),
        ("0: cats\n0: dogs\n", "and 1 is missing"),
        ('{"cats": 0, "dogs": 0}', "and 1 is missing"),
        ('{"cats": "a", "dogs": "b"}', r"does not give a number to each class.*\{\"cats\": 0"),
        ('["cats", 0.5]', "has 0.5 for a class name"),
        ('["cats", ""]', "has '' for a class name"),
        ('["cats"', "begins as a list or a dictionary and is none"),
        ("[" * 5000, "begins as a list or a dictionary and is none"),
        ("__import__('os')", None),
        ("index,name\n0,cats\n2,dogs\n", "from 0 to 2, and 1 is missing"),
        ("cats\n\ndogs\n", "has an empty line"),
        ("   \n", "it is empty"),
        ("OrderedDict([('cats', 1), ('dogs', 0)])", r"what Python prints for OrderedDict\(\.\.\.\), which is not read"),
        ("Counter({'cats': 3, 'dogs': 2})", r"prints for Counter\(.*Write the class names as JSON"),
        ('item {\n  id: 1\n  name: "cats"\n}\n', "is a label map of object detection"),
        ("0 to 2\n1 to 3\n2 to 4\n", r"read as ranges, such as '0 to 2'.*write them as JSON"),
        ("0-2\n1-3\n2-4\n", "read as ranges, such as '0-2'"),
        ("cats: [1, 0]\ndogs: [0, 1]\n", r"such as 'cats: \[1, 0\]', hold more than a class name"),
        ('"cats": 1\n"dogs": soft\n', "hold more than a class name, in a form that is not read. Expected"),
        ("nc: 2\ntrain: ../train\n", "is read as YAML, and has 0 keys such as `names`"),
        ("nc: 2\nnames:\n", "has no class names behind its key"),
        ("names: [[cats], [dogs]]\n", "begins as a list or a dictionary and is none"),
        ("image,label\na.png,dogs\nb.png,cats\n", "has a column `image`: it is a table of images"),
        ("class,count\ncats,1\ncats,0\n", "has the class 'cats' more than once. Expected one row for each"),
    ],
)
def test_names_that_are_not_sure_are_refused(tmp_path: Path, text: str, message: str | None) -> None:
    path = written(tmp_path, text)
    if message is None:
        assert read_labels(path) == [text]  # a name like any other: nothing is executed
        return
    with pytest.raises(DataError, match=message):
        read_labels(path)


def test_advice_about_numbers_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"write the names as JSON: \[\"1 euro\", \"2 euro\"\]"):
        read_labels(written(tmp_path, "0 euro\n5 euro\n"))
    assert read_labels(written(tmp_path, json.dumps(["0 euro", "5 euro"]))) == ["0 euro", "5 euro"]


def test_table_without_numbers_and_heading_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column that says a class's number.* a first line such as `index,name`"):
        read_labels(written(tmp_path, "cats,soft\ndogs,loud\n", "classes.csv"))
    with pytest.raises(DataError, match="has no class name in row 3"):
        read_labels(written(tmp_path, "name,images\ncats,5\n,6\n", "classes.csv"))


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.bin").write_bytes(b"cats\0\1\2")
    with pytest.raises(DataError, match="is no text"):
        read_labels(tmp_path / "labels.bin")
    (tmp_path / "labels.txt").write_bytes("Käfer\nBär\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read .*Expected UTF-8"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    "text", ["cat {n}\ndog 1\n", '{{"{n}": "cat", "1": "dog"}}', "{n}: cat\n1: dog\n", "cat,{n}\ndog,1\n", "cat\n{n}\n"]
)
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".yaml"])
def test_number_of_thousands_of_digits_is_no_class(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_text(text.format(n="1" + "0" * 5000))
    with pytest.raises(DataError, match="has a number of more than a thousand digits, which no class has"):
        read_labels(path)
