"""Tables as people bring them, and what each must become: listed before any of it was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

EACH = 6  # images of a class


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A table, its images, and either the classes and sides that come of it or the sentence that refuses it."""

    table: str
    images: Sequence[str]
    classes: dict[str, int] = field(default_factory=dict)  # by name; empty where it is refused
    sides: dict[str, int] = field(default_factory=dict)  # images of each, where the table itself chooses them
    error: str | None = None  # a pattern
    warnings: Sequence[str] = ()  # patterns, each of one warning; there are no others
    multi_label: bool = False
    reading: dict[str, str | int] = field(default_factory=dict)
    name: str = "table.csv"


def numbered(template: str, *classes: str, each: int = EACH) -> list[tuple[str, str]]:
    """Return (image, class) for some images of each class; `{c}` is the class, `{i}` a number."""
    named = [(name, index) for name in classes for index in range(each)]
    return [(template.format(c=name, i=index, n=number), name) for number, (name, index) in enumerate(named)]


def table(header: str, rows: Sequence[tuple[str, ...]], between: str = ",") -> str:
    return "\n".join([header, *(between.join(row) for row in rows)]) + "\n"


def named(rows: Sequence[tuple[str, str]], rename: Callable[[str], str]) -> list[str]:
    """Return where the images of rows lie."""
    return [rename(image) for image, _ in rows]


TWO = numbered("img/{c}{i}.jpg", "cat", "dog")
FILES = [image for image, _ in TWO]
COUNTS = {"cat": EACH, "dog": EACH}
HASHES = numbered("00{n:03}ab", "beagle", "borzoi")
PLANTS = numbered("Train_{n}", "healthy", "multiple", "rust", "scab")
TRAIN_TEST = ["train"] * 4 + ["test"] * 2
LESIONS = numbered("ISIC_{n:04}", "mel", "nv")


def sided(values: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of `TWO` with a third cell, the same for each class."""
    return [(image, label, values[index % EACH]) for index, (image, label) in enumerate(TWO)]


SEPARATED = [
    (image, {"cat": "clear water", "dog": "clear road", "owl": "haze"}[label])
    for image, label in numbered("train_{n}", "cat", "dog", "owl")
]
FACES = [
    (image, "1" if index % 2 else "-1", "1" if index % 3 else "-1", "1")
    for index, (image, _) in enumerate(numbered("{n:06}.jpg", "face", each=12))
]

LAYOUTS: dict[str, Layout] = {
    "plain": Layout(table=table("image,label", TWO), images=FILES, classes=COUNTS),
    # Names of columns, and images without their suffix.
    "Kaggle's dog breeds": Layout(
        table=table("id,breed", HASHES),
        images=named(HASHES, "train/{}.jpg".format),
        reading={"images": "train"},
        classes={"beagle": EACH, "borzoi": EACH},
        name="labels.csv",
    ),
    "Kaggle's dog breeds, the folder not named": Layout(
        table=table("id,breed", HASHES),
        images=named(HASHES, "train/{}.jpg".format),
        error=r"missing.*--images \S*train",
    ),
    "cassava": Layout(
        table=table("image_id,label", [(f"{i}.jpg", "0" if label == "cat" else "3") for i, label in TWO]),
        images=[f"{image}.jpg" for image in FILES],
        classes={"0": EACH, "3": EACH},
    ),
    "Keras' flow_from_dataframe": Layout(table=table("filename,class", TWO), images=FILES, classes=COUNTS),
    "Hugging Face's metadata.csv": Layout(table=table("file_name,label", TWO), images=FILES, classes=COUNTS),
    "fname and labels": Layout(table=table("fname,labels", TWO), images=FILES, classes=COUNTS),
    "filepaths and capitals": Layout(table=table("File Path,Class Name", TWO), images=FILES, classes=COUNTS),
    "APTOS": Layout(
        table=table("id_code,diagnosis", [(image, "0" if name == "beagle" else "4") for image, name in HASHES]),
        images=named(HASHES, "{}.png".format),
        classes={"0": EACH, "4": EACH},
    ),
    "an id beside the path": Layout(
        table=table("id,path,category", [(str(number), *row) for number, row in enumerate(TWO)]),
        images=FILES,
        classes=COUNTS,
    ),
    "an Id that is the class": Layout(
        table=table("Image,Id", TWO), images=FILES, error=r"--columns label=Id\b.*Image, Id"
    ),
    "an Id that is the class, said so": Layout(
        table=table("Image,Id", TWO), images=FILES, reading={"columns": "label=Id"}, classes=COUNTS
    ),
    "HAM10000": Layout(
        table=table(
            "lesion_id,image_id,dx,dx_type,age,sex",
            [(f"HAM_{image}", image, label, "histo", "80.0", "male") for image, label in LESIONS],
        ),
        images=named(LESIONS, "{}.jpg".format),
        classes={"mel": EACH, "nv": EACH},
    ),
    "melanoma, two columns for the class": Layout(
        table=table(
            "image_name,diagnosis,target",
            [
                (i, "nevus" if n % 3 else "unknown", "1" if label == "mel" else "0")
                for n, (i, label) in enumerate(LESIONS)
            ],
        ),
        images=named(LESIONS, "{}.jpg".format),
        error="`diagnosis` and `target`.*--columns label=diagnosis.*--columns label=target",
    ),
    "a number and a name for the class": Layout(
        table=table("filepath,class_id,class_name", [(i, str(int(label == "dog")), label) for i, label in TWO]),
        images=FILES,
        classes=COUNTS,
        warnings=["`class_name`.*`class_id`"],
    ),
    "two columns of images": Layout(
        table=table("image,path,label", [(i, i.replace(".jpg", "_s.jpg"), label) for i, label in TWO]),
        images=[*FILES, *(image.replace(".jpg", "_s.jpg") for image in FILES)],
        classes=COUNTS,
        warnings=["`image`.*`path`"],
    ),
    "two columns of images, neither called image": Layout(
        table=table("file,path,label", [(i, i.replace(".jpg", "_s.jpg"), label) for i, label in TWO]),
        images=[*FILES, *(image.replace(".jpg", "_s.jpg") for image in FILES)],
        error="`file` and `path`.*--columns image=file.*--columns image=path",
    ),
    "label and another": Layout(
        table=table("image,label,category", [(i, label, "pet" if i[-5] in "01" else "x") for i, label in TWO]),
        images=FILES,
        classes=COUNTS,
        warnings=["`label`.*`category`"],
    ),
    "GTSRB": Layout(
        table=table(
            "Width;Height;Roi.X1;ClassId;Path",
            [("27", "26", "5", "20" if label == "cat" else "7", image) for image, label in TWO],
            ";",
        ),
        images=FILES,
        classes={"20": EACH, "7": EACH},
        warnings=["boxes.*classified whole"],
    ),
    "two files of one name": Layout(
        table=table("id,label", HASHES),
        images=[*named(HASHES, "{}.jpg".format), f"{HASHES[3][0]}.png"],
        error=r"line 5.*00003ab\.jpg.*00003ab\.png",
    ),
    # One-hot, and several labels.
    "Plant Pathology": Layout(
        table=table(
            "image_id,healthy,multiple,rust,scab",
            [(i, *(str(int(label == one)) for one in ("healthy", "multiple", "rust", "scab"))) for i, label in PLANTS],
        ),
        images=named(PLANTS, "images/{}.jpg".format),
        reading={"images": "images"},
        classes={"healthy": EACH, "multiple": EACH, "rust": EACH, "scab": EACH},
        warnings=["one column a class.*healthy, multiple, rust, scab"],
    ),
    "ISIC": Layout(
        table=table(
            "image,MEL,NV,UNK", [(i, f"{label == 'mel':.1f}", f"{label == 'nv':.1f}", "0.0") for i, label in LESIONS]
        ),
        images=named(LESIONS, "{}.jpg".format),
        classes={"MEL": EACH, "NV": EACH},
        warnings=["one column a class.*UNK"],
    ),
    "CelebA": Layout(
        table=table("image_id,Bald,Smiling,Young", FACES),
        images=[row[0] for row in FACES],
        classes={"Bald": 6, "Smiling": 8, "Young": 12},
        multi_label=True,
        warnings=["several labels.*Bald, Smiling, Young"],
    ),
    "planet": Layout(
        table=table("image_name,tags", SEPARATED),
        images=named(SEPARATED, "{}.jpg".format),
        reading={"separator": "space"},
        classes={"clear": 12, "haze": 6, "road": 6, "water": 6},
        multi_label=True,
    ),
    "commas in quotes, asked for": Layout(
        table=table("image,label", [(i, '"cat,pet"' if label == "cat" else "dog") for i, label in TWO]),
        images=FILES,
        reading={"separator": ","},
        classes={"cat": EACH, "dog": EACH, "pet": EACH},
        multi_label=True,
    ),
    "labels that look like several": Layout(
        table=table("image,label", [(i, '"cat,dog"' if n % 3 == 0 else label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        classes={"cat": 4, "cat,dog": 4, "dog": 4},
        warnings=["--separator ,"],
    ),
    "lists as Python prints them": Layout(
        table=table("image,labels", [(i, f"\"['{label}', 'pet']\"") for i, label in TWO]),
        images=FILES,
        error=r"line 2.*\['cat', 'pet'\].*cat\|pet",
    ),
    # Sides.
    "TRAIN and TEST": Layout(
        table=table("image,label,dataset", sided([one.upper() for one in TRAIN_TEST])),
        images=FILES,
        classes=COUNTS,
        sides={"train": 8, "test": 4},
    ),
    "fastai's is_valid": Layout(
        table=table("fname,label,is_valid", sided(["True", "False", "False", "False", "False", "True"])),
        images=FILES,
        classes=COUNTS,
        sides={"train": 8, "val": 4},
    ),
    "subset with other words": Layout(
        table=table("image,label,subset", sided(["trn", "training", "dev", "Validation", "eval", "holdout"])),
        images=FILES,
        classes=COUNTS,
        sides={"train": 4, "val": 4, "test": 4},
    ),
    "a set that is no side": Layout(
        table=table("image,label,set", sided(["A", "B", "C", "A", "B", "C"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`set`.*A, B, C"],
    ),
    "a set that is half a side": Layout(
        table=table("image,label,set", sided(["train", "train", "train", "test", "test", "extra"])),
        images=FILES,
        error="line 7.*`set`.*Received: extra",
    ),
    "folds, none asked for": Layout(
        table=table("image,label,fold", sided(["0", "1", "2", "3", "4", "0"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`fold`.*--fold 0"],
    ),
    "folds": Layout(
        table=table("image,label,fold", sided(["0", "1", "2", "3", "4", "0"])),
        images=FILES,
        reading={"fold": 0},
        classes=COUNTS,
        sides={"train": 8, "val": 4},
    ),
    "two columns of sides that differ": Layout(
        table=table("image,label,subset,phase", [(*row, "train") for row in sided(TRAIN_TEST)]),
        images=FILES,
        error="`subset` and `phase`.*--columns split=subset",
    ),
    "a column of sides, said so": Layout(
        table=table("image,label,usage_of_it", sided(TRAIN_TEST)),
        images=FILES,
        reading={"columns": "split=usage_of_it"},
        classes=COUNTS,
        sides={"train": 8, "test": 4},
    ),
    # How tables are written.
    "backslashes": Layout(
        table=table("image,label", [(i.replace("/", "\\"), label) for i, label in TWO]), images=FILES, classes=COUNTS
    ),
    "BOM, semicolons, spaces": Layout(
        table="\ufeff" + table("image;label", [(i, f"{label}  ") for i, label in TWO], ";"),
        images=FILES,
        classes=COUNTS,
    ),
    "quotes with commas": Layout(
        table=table("image,label", [(f'"{i}"', '"cat, tabby"' if label == "cat" else label) for i, label in TWO]),
        images=FILES,
        classes={"cat, tabby": EACH, "dog": EACH},
    ),
    "an index without a name": Layout(
        table=table(",image,label", [(str(n), *row) for n, row in enumerate(TWO)]), images=FILES, classes=COUNTS
    ),
    "no header": Layout(
        table=table("img/cat0.jpg,cat", TWO[1:]), images=FILES, error="first line.*already.*img/cat0.jpg.*image,label"
    ),
    "a column twice": Layout(
        table=table("image,label,label", [(*row, "x") for row in TWO]), images=FILES, error="column `label` 2 times"
    ),
    "a cell too many": Layout(
        table=table("image,label", [(*row, "indoors") if n == 4 else row for n, row in enumerate(TWO)]),
        images=FILES,
        error="line 6: 3 cells.*2",
    ),
    "a comma in a label": Layout(
        table=table("image,label", [(i, "cat, tabby" if n == 0 else label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        error="line 2: 3 cells.*quotes",
    ),
    "a cell too few": Layout(
        table=table("image,label,split", [row[:2] if n == 3 else row for n, row in enumerate(sided(TRAIN_TEST))]),
        images=FILES,
        error="line 5: 2 cells.*3",
    ),
    "an empty label": Layout(
        table=table("image,label", [(i, "" if n == 2 else label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        error="without a label: lines 4",
    ),
    "nan as a label": Layout(
        table=table("image,label", [(i, "nan" if n > 8 else label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        classes={"cat": 6, "dog": 3, "nan": 3},
        warnings=["`nan`"],
    ),
    "1 and 1.0": Layout(
        table=table(
            "image,label", [(i, "0" if label == "cat" else ["1", "1.0"][n % 2]) for n, (i, label) in enumerate(TWO)]
        ),
        images=FILES,
        classes={"0": 6, "1": 3, "1.0": 3},
        warnings=["`1` and `1.0`"],
    ),
    "cat and Cat": Layout(
        table=table("image,label", [(i, label.title() if n % 2 else label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        classes={"Cat": 3, "cat": 3, "Dog": 3, "dog": 3},
        warnings=["`Cat` and `cat`.*`Dog` and `dog`"],
    ),
    "paths of another machine": Layout(
        table=table("image,label", [(f"/home/ann/pets/{i}", label) for i, label in TWO]),
        images=FILES,
        error=r"missing.*/home/ann/pets.*--images",
    ),
    "paths of another machine, the folder named": Layout(
        table=table("image,label", [(f"C:\\Users\\ann\\pets\\{i}", label) for i, label in TWO]),
        images=[f"here/{image}" for image in FILES],
        reading={"images": "here"},
        classes=COUNTS,
        warnings=["C:/Users/ann/pets"],
    ),
    "addresses of the web": Layout(
        table=table("image,label", [(f"https://example.com/{i}", label) for i, label in TWO]),
        images=(),
        error="line 2.*https://example.com/img/cat0.jpg.*[Dd]ownload",
    ),
    "a line for each label": Layout(
        table=table("ImageID,LabelName", [*TWO, *((i, "pet") for i, _ in TWO)]),
        images=FILES,
        error=r"lines 2 and 14.*twice",
    ),
    "MNIST": Layout(
        table=table(
            "label," + ",".join(f"pixel{n}" for n in range(784)), [("5", *(["0"] * 784)), ("7", *(["9"] * 784))]
        ),
        images=(),
        error=r"784 columns of pixels.*28x28.*\.npz",
    ),
    "FER2013": Layout(
        table=table("emotion,pixels,Usage", [("0", "70 80 82 72", "Training"), ("2", "1 2 3 4", "PublicTest")]),
        images=(),
        error=r"`pixels`.*\.npz",
    ),
    # Found while the others were mended.
    "a doubt beside yes and no": Layout(
        table=table("image,Edema,Fracture", [(i, ["1", "0", "-1"][n % 3], "1") for n, (i, _) in enumerate(TWO)]),
        images=FILES,
        error="no column `label`",
    ),
    "classes that are called like columns": Layout(
        table=table(
            "image,photo,sketch", [(i, str(int(label == "cat")), str(int(label == "dog"))) for i, label in TWO]
        ),
        images=FILES,
        classes={"photo": EACH, "sketch": EACH},
        warnings=["one column a class.*photo, sketch"],
    ),
    "one-hot beside an age": Layout(
        table=table(
            "image,cat,dog,age", [(i, str(int(label == "cat")), str(int(label == "dog")), "7") for i, label in TWO]
        ),
        images=FILES,
        error=r"cat, dog\), but `age` does not\. Take it out",
    ),
    "sides in a column of another name": Layout(
        table=table("image,label,belongs_to", sided(TRAIN_TEST)),
        images=FILES,
        classes=COUNTS,
        warnings=["`belongs_to` looks like sides.*--columns split=belongs_to"],
    ),
    "tabs": Layout(
        table=table("image\tlabel, as seen\tlabel", [(i, "x", label) for i, label in TWO], "\t"),
        images=FILES,
        classes=COUNTS,
        name="table.tsv",
    ),
    "chest X-rays": Layout(
        table=table(
            "Image Index,Finding Labels,Follow-up #",
            [(i, label + "|ill" * (n % 2), "0") for n, (i, label) in enumerate(TWO)],
        ),
        images=FILES,
        classes={**COUNTS, "ill": EACH},
        multi_label=True,
    ),
    "masks for labels": Layout(
        table=table("image,label", [(i, i.replace("img", "mask")) for i, _ in TWO]),
        images=FILES,
        error="12 different labels for 12 images.*mask/cat0.jpg.*--columns label=NAME",
    ),
    "ages for labels": Layout(
        table=table("image,target", [(i, f"{20 + n / 2}") for n, (i, _) in enumerate(TWO)]),
        images=FILES,
        error="12 different labels for 12 images.*20.0",
    ),
    "a fold that is not there": Layout(
        table=table("image,label,fold", sided(["0", "1", "2", "3", "4", "0"])),
        images=FILES,
        reading={"fold": 7},
        error="no row of the column `fold` has 7.*0, 1, 2, 3, 4",
    ),
    "a column that is not there": Layout(
        table=table("image,label", TWO), images=FILES, reading={"columns": "label=breed"}, error="no column `breed`"
    ),
    "a column of images of another name": Layout(
        table=table("where_it_is,label", TWO), images=FILES, error="--columns image=where_it_is"
    ),
    "a separator for nothing": Layout(
        table=table("image,label", TWO),
        images=FILES,
        reading={"separator": ";"},
        classes=COUNTS,
        warnings=["--separator ';' parts no label"],
    ),
    "folders upwards and dots": Layout(
        table=table("image,label", [(f"./img/../{i}", label) for i, label in TWO]), images=FILES, classes=COUNTS
    ),
    "is_test and is_valid": Layout(
        table=table("image,label,is_test", sided(["0", "0", "0", "0", "1", "1"])),
        images=FILES,
        classes=COUNTS,
        sides={"train": 8, "test": 4},
    ),
    "an image without a path": Layout(
        table=table("image,label", [("" if n == 3 else i, label) for n, (i, label) in enumerate(TWO)]),
        images=FILES,
        error="line 5: there is no image.*column `image`",
    ),
    "another suffix": Layout(
        table=table("image,label", [(i.replace(".jpg", ".PNG"), label) for i, label in TWO]),
        images=FILES,
        error=r"There is .*img/cat0\.jpg: correct the suffixes, or leave them out",
    ),
    "the suffixes left out": Layout(
        table=table("image,label", [(i.replace(".jpg", ""), label) for i, label in TWO]), images=FILES, classes=COUNTS
    ),
    "bars between the columns": Layout(
        table=table("image|label", TWO, "|"), images=FILES, error="commas, semicolons or tabs between the columns"
    ),
    "class twice": Layout(
        table=table("image,class,class", [(i, label, "x") for i, label in TWO]), images=FILES, error="`class` 2 times"
    ),
    "boxes": Layout(
        table=table("filename,width,class,xmin,ymin,xmax,ymax", [(i, "9", label, *"1234") for i, label in TWO]),
        images=FILES,
        classes=COUNTS,
        warnings=["boxes.*xmin.*classified whole"],
    ),
    "boxes of two classes in an image": Layout(
        table=table(
            "filename,class,xmin,ymin,xmax,ymax",
            [*((i, label, *"1234") for i, label in TWO), (FILES[0], "dog", *"1234")],
        ),
        images=FILES,
        error="lines 2 and 14: cat0.jpg is there twice",
    ),
    "shares": Layout(
        table=table(
            "image,cat,dog", [(i, *(("0.9", "0.1") if label == "cat" else ("0.1", "0.9"))) for i, label in TWO]
        ),
        images=FILES,
        error="2 columns of shares from 0 to 1",
    ),
    "folds with names": Layout(
        table=table("image,label,fold", sided([f"fold_{n % 3}" for n in range(6)])),
        images=FILES,
        reading={"fold": 2},
        classes=COUNTS,
        sides={"train": 8, "val": 4},
    ),
    "an empty line first": Layout(table="\n\n" + table("image,label", TWO), images=FILES, classes=COUNTS),
    "train as a column": Layout(
        table=table("image,label,train", sided(["1", "1", "1", "1", "0", "0"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`train` looks like sides.*`is_train`"],
    ),
    "is_train": Layout(
        table=table("image,label,is_train", sided(["1", "1", "1", "1", "0", "0"])),
        images=FILES,
        classes=COUNTS,
        sides={"train": 8, "test": 4},
        warnings=["`is_train` is not true are taken for testing"],
    ),
}
