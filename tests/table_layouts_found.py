"""More tables as people bring them: once misread, refused wrongly, or passed over in silence."""

from __future__ import annotations

from table_layouts import COUNTS, EACH, FILES, LESIONS, TRAIN_TEST, TWO, Layout, numbered, sided, table

ONE_HOT = [(image, str(int(label == "cat")), str(int(label == "dog"))) for image, label in TWO]
FLAGS = ["1" if side == "train" else "0" for side in TRAIN_TEST]
SEVERAL = [(image, "1", dog, FLAGS[n % EACH]) for n, (image, _, dog) in enumerate(ONE_HOT)]
MANY = numbered("img/{c}{i}.jpg", "cat", "dog", each=12)
IN_SIDES = [(f"{'test' if n % 3 == 2 else 'train'}/{image}", label) for n, (image, label) in enumerate(TWO)]


def one_hot_beside(name: str, *values: str) -> str:
    """Return the table of `ONE_HOT` with a column more."""
    return table(f"image,cat,dog,{name}", [(*row, values[n % len(values)]) for n, row in enumerate(ONE_HOT)])


def spelled(yes: str, no: str) -> str:
    return table("image,cat,dog", [(image, *(yes if one == "1" else no for one in row)) for image, *row in ONE_HOT])


def without_label(label: str) -> Layout:
    return Layout(
        table=table(
            "image,label", [(image, label if n in (4, 5, 11) else name) for n, (image, name) in enumerate(TWO)]
        ),
        images=FILES,
        classes={"cat": EACH - 2, "dog": EACH - 1, label: 3},
        warnings=[rf"`{label.replace('?', '.')}` is a class, as it is written.*no label"],
    )


FOUND: dict[str, Layout] = {
    # The wrong file.
    "a suffix behind a suffix": Layout(
        table=table("image,label", TWO),
        images=[f"{FILES[0]}.png", *FILES[1:]],
        error=r"1 of 12 images.*cat0\.jpg \(line 2\).*There is \S*cat0\.jpg\.png, another name",
    ),
    # Sides.
    "a foreign word among sides": Layout(
        table=table("image,label,stage", sided(["train", "train", "train", "val", "val", "predict"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`stage` looks like sides.*predict is no side.*--columns split=stage obeys it then"],
    ),
    "most rows foreign, most words sides": Layout(
        table=table("image,label,eval_set", sided(["prior", "prior", "prior", "prior", "train", "test"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`eval_set` looks like sides.*prior is no side"],
    ),
    "a word that is not used": Layout(
        table=table("image,label,usage2", sided(["train", "train", "train", "test", "test", "unused"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`usage2` looks like sides.*unused is no side"],
    ),
    **{
        name: Layout(
            table=table(f"image,label,{name}", sided(FLAGS)),
            images=FILES,
            classes=COUNTS,
            warnings=[f"`{name}` looks like sides.*Call it `{call}`"],
        )
        for name, call in {
            "is_training_img": "is_train",
            "in_train": "is_train",
            "is_holdout": "is_test",
            "validation_image": "is_valid",
        }.items()
    },
    "a column for each side": Layout(
        table=table(
            "image,label,train,val,test",
            [(*row[:2], *(str(int(row[2] == side)) for side in ("train", "val", "test"))) for row in sided(TRAIN_TEST)],
        ),
        images=FILES,
        classes=COUNTS,
        warnings=["`train`, `val`, `test` look like sides.*one column `split`"],
    ),
    "sides in the paths": Layout(
        table=table("image,label", IN_SIDES),
        images=[image for image, _ in IN_SIDES],
        classes=COUNTS,
        sides={"train": 8, "test": 4},
        warnings=["sides are taken from the folders in its paths: test, train"],
    ),
    "sides below a folder in the paths": Layout(
        table=table("image,label", [(f"data\\{image}".replace("/", "\\"), label) for image, label in IN_SIDES]),
        images=[f"data/{image}" for image, _ in IN_SIDES],
        classes=COUNTS,
        sides={"train": 8, "test": 4},
        warnings=["sides are taken from the folders in its paths: test, train"],
    ),
    "sides in the paths, and a column": Layout(
        table=table(
            "image,label,split", [(*row, side) for row, (*_, side) in zip(IN_SIDES, sided(TRAIN_TEST), strict=True)]
        ),
        images=[image for image, _ in IN_SIDES],
        classes=COUNTS,
        sides={"train": 8, "test": 4},
    ),
    "sides in most of the paths": Layout(
        table=table("image,label", [*IN_SIDES[:-1], ("extra/a.jpg", "dog")]),
        images=[*(image for image, _ in IN_SIDES[:-1]), "extra/a.jpg"],
        classes=COUNTS,
        warnings=[r"not line 13 \(extra\).*passed over"],
    ),
    "folds with letters, one asked for": Layout(
        table=table("image,label,fold", sided(["A", "B", "C", "A", "B", "C"])),
        images=FILES,
        reading={"fold": 0},
        error="no row of the column `fold` has 0. Expected one of A, B, C. Write 0, 1, 2 for them",
    ),
    "folds with letters": Layout(
        table=table("image,label,fold", sided(["A", "B", "C", "A", "B", "C"])),
        images=FILES,
        classes=COUNTS,
        warnings=["`fold` is passed over: its values are no numbers, but A, B, C.*Write 0, 1, 2"],
    ),
    # A column for each class.
    "one-hot beside a side": Layout(
        table=one_hot_beside("train", *FLAGS),
        images=FILES,
        classes=COUNTS,
        warnings=["`train` looks like sides.*`is_train`", "one column a class: cat, dog"],
    ),
    "one-hot beside is_valid": Layout(
        table=one_hot_beside("is_valid", "0", "0", "0", "0", "0", "1"),
        images=FILES,
        classes=COUNTS,
        sides={"train": 10, "val": 2},
        warnings=["one column a class: cat, dog"],
    ),
    "one-hot beside words of sides": Layout(
        table=one_hot_beside("belongs_to", "train", "test", "unused"),
        images=FILES,
        classes=COUNTS,
        warnings=["`belongs_to` looks like sides.*unused is no side", "one column a class: cat, dog"],
    ),
    "one-hot beside a column of sides, said so": Layout(
        table=one_hot_beside("mine", "train", "train", "test"),
        images=FILES,
        reading={"columns": "split=mine"},
        classes=COUNTS,
        sides={"train": 8, "test": 4},
        warnings=["one column a class: cat, dog"],
    ),
    "trains beside buses": Layout(
        table=spelled("1", "0").replace("cat,dog", "bus,train"),
        images=FILES,
        classes={"bus": EACH, "train": EACH},
        warnings=["one column a class: bus, train"],
    ),
    "sides alone": Layout(
        table=spelled("1", "0").replace("cat,dog", "Dev,Test"),
        images=FILES,
        error="no column `label`: `Dev`, `Test` speak of sides, not of classes",
    ),
    "trains, or a side, among several labels": Layout(
        table=table(
            "image,cat,dog,train", [(image, "1", dog, FLAGS[n % 6]) for n, (image, _, dog) in enumerate(ONE_HOT)]
        ),
        images=FILES,
        error="`train` may be a side or a class.*`is_train`.*`class_train`",
    ),
    **{
        f"one-hot of {yes} and {no or 'nothing'}": Layout(
            table=spelled(yes, no),
            images=FILES,
            classes=COUNTS,
            warnings=["one column a class: cat, dog" + ("" if no else ".*empty cell is a 0")],
        )
        for yes, no in (("yes", "no"), ("Y", "N"), ("1", ""), ("x", ""))
    },
    "one-hot with gaps": Layout(
        table=spelled("1", "0").replace(",0\n", ",\n", 1),
        images=FILES,
        error="2 columns that hold nothing, 0, 1. Expected 0 and 1 alone.*every cell",
    ),
    "width and height alone": Layout(
        table=table("filename,width,height", [(i, str(n % 3), str(n % 2)) for n, (i, _) in enumerate(TWO)]),
        images=FILES,
        error=r"no column `label`\. Expected a first line such as .*, with other usual names for them\. Received",
    ),
    # Labels.
    "one row of several labels": Layout(
        table=table("image,label", [(i, "cat|dog" if n == 4 else label) for n, (i, label) in enumerate(MANY)]),
        images=[image for image, _ in MANY],
        classes={"cat": 12, "dog": 13},
        multi_label=True,
        warnings=[r"line 6: `cat\|dog` means several labels, which only 1 of 24 rows"],
    ),
    **{f"{label} for no label": without_label(label) for label in ("None", "N/A", "-", "unknown", "?", "-1", "NULL")},
    "yes and no as 1 and -1": Layout(
        table=table("image,label", [(i, "1" if label == "cat" else "-1") for i, label in TWO]),
        images=FILES,
        classes={"1": EACH, "-1": EACH},
    ),
    # Advice that works.
    "a comma in a column's name": Layout(
        table=table('image,"class, as seen"', TWO),
        images=FILES,
        error="""--columns 'label="class, as seen"'""",
    ),
    "a comma in a column's name, said so": Layout(
        table=table('image,"class, as seen"', TWO),
        images=FILES,
        reading={"columns": 'label="class, as seen"'},
        classes=COUNTS,
    ),
    "images in the folder that was said, but not all": Layout(
        table=table("image,label", TWO),
        images=[f"here/{image}" for image in FILES[1:]],
        reading={"images": "here"},
        error=r"1 of 12 images.*cat0\.jpg \(line 2\) ?\.? .*absolute ones\.$",
    ),
    "images in two folders": Layout(
        table=table("image_id,dx", LESIONS),
        images=[f"part_{1 + n % 2}/{image}.jpg" for n, (image, _) in enumerate(LESIONS)],
        error="several folders.*part_1.*part_2.*put them together in one, .*column `image_id`",
    ),
    "images in two folders, one of them said": Layout(
        table=table("image_id,dx", LESIONS),
        images=[f"part_{1 + n // 6}/{image}.jpg" for n, (image, _) in enumerate(LESIONS)],
        reading={"images": "part_1"},
        error="several folders.*part_1.*part_2.*put them together in one",
    ),
    # How tables are written.
    "commas in the header of a table of semicolons": Layout(
        table=table("image;label;note (a, b, c)", [(*row, "-") for row in TWO], ";"), images=FILES, classes=COUNTS
    ),
    "Excel's first line": Layout(table="sep=;\n" + table("image;label", TWO, ";"), images=FILES, classes=COUNTS),
    "a comment first": Layout(
        table="# made by hand, in May, 2020\n\n" + table("image,label", TWO), images=FILES, classes=COUNTS
    ),
    "a comment of two cells first": Layout(
        table="# made by hand, 2020\n" + table("image,label", TWO), images=FILES, error="line with # is a comment"
    ),
    "a header that begins with #": Layout(
        table=table("#,image,label", [(str(n), *row) for n, row in enumerate(TWO)]), images=FILES, classes=COUNTS
    ),
    "empty cells at the end": Layout(
        table=table("image,label", TWO[:3]) + table(f"{FILES[3]},cat,,", TWO[4:]),
        images=FILES,
        error="line 5: 4 cells. Expected 2.*The last 2 are empty",
    ),
}
