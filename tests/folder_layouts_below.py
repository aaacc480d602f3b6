"""Folders whose classes lie deeper, beside others or in pieces: read with a word, or refused with what decides."""

from __future__ import annotations

from folder_layouts import CATS_DOGS, CHOSEN, Answer, Layout, both, but, named, sided

ALL_BELOW = Answer(classes={"cat": 9, "dog": 9})
MASKS = tuple(f"{side}/{name}/masks" for side in ("test", "train") for name in ("COVID", "Normal"))
TOP = "what lies beside the other sides is taken for train"


def inside(folder: str, train: int, test: int, classes: tuple[str, ...] = ("cat", "dog")) -> dict[str, int | str]:
    """Return sides that are so deep in each class: `folder` is between, `{}` in it is the class."""
    counts = {"train": train, "test": test}
    return {f"{name}/{folder.format(name)}/{side}": counts[side] for name in classes for side in counts}


LAYOUTS_BELOW: dict[str, Layout] = {
    # sides inside a side
    "sides inside train, beside a flat test": Layout(
        tree={**sided({"train/train": 6, "train/test": 3}), "test": 3},
        answer=Answer(refusal="two ways"),
        advice={
            "--sides train=train/train,test=train/test": but(both(6, 3), left_out=("test",)),
            "--no-sides": Answer(classes={"test": 3, "train": 18}),
        },
    ),
    "train and val inside train": Layout(
        tree=sided({"train/train": 6, "train/val": 2, "test": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=train/train,val=train/val,test=test": both(6, 3, 2)},
    ),
    "vehicles: a class train on both sides": Layout(
        tree=sided({"train": 6, "test": 3}, ("bus", "train")),
        answer=Answer(
            classes={"bus": 9, "train": 9}, sides={"train": {"bus": 6, "train": 6}, "test": {"bus": 3, "train": 3}}
        ),
    ),
    "sides inside train, with the class in the name": Layout(
        tree={
            **named("train/train", ("cat_{}.ppm", "dog_{}.ppm"), 6),
            **named("train/test", ("cat_1{}.ppm", "dog_1{}.ppm"), 3),
            **named("test", ("1{}.ppm",), 3),
        },
        options="--labels-from name",
        answer=Answer(refusal=r"two ways.*--sides train=train/train,test=train/test"),
    ),
    # sides inside classes
    "a test in each class, beside its images": Layout(
        tree={"cat": 6, "cat/test": 3, "dog": 6, "dog/test": 3},
        answer=Answer(refusal="two ways.*cat/test below a class looks like one for test"),
        advice={"--sides train=.,test=test": both(6, 3), "--no-sides": ALL_BELOW},
    ),
    "a val in one class": Layout(
        tree={"cat": 6, "cat/val": 3, "dog": 6},
        answer=Answer(refusal="two ways.*cat/val"),
        advice={
            "--sides train=.,val=val": Answer(
                classes={"cat": 9, "dog": 6},
                sides={"train": CATS_DOGS, "val": {"cat": 3}},
                warnings=("no val image of `dog`",),
            ),
            "--no-sides": Answer(classes={"cat": 9, "dog": 6}),
        },
    ),
    "a test in each class below train": Layout(
        tree={"train/cat": 6, "train/cat/test": 3, "train/dog": 6, "train/dog/test": 3},
        answer=Answer(refusal="two ways.*train/cat/test.*--sides train=.,test=test with .*train as DATA"),
        advice={"--sides train=train": but(ALL_BELOW, warnings=("train/cat/test.*is taken together",))},
    ),
    "a test in each class, beside sides": Layout(
        tree={**sided({"train": 6, "test": 3}), "train/cat/test": 2},
        answer=Answer(refusal="two ways.*train/cat/test"),
        advice={
            "--sides train=train,test=test": Answer(
                classes={"cat": 11, "dog": 9},
                sides={"train": {"cat": 8, "dog": 6}, "test": {"cat": 3, "dog": 3}},
                warnings=("train/cat/test",),
            )
        },
    ),
    "sides below images in each class": Layout(
        tree=inside("images", 6, 3),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=images/train,test=images/test": both(6, 3), "--no-sides": ALL_BELOW},
    ),
    "sides below a piece of each class": Layout(
        tree=inside("p1", 6, 3),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=p1/train,test=p1/test": both(6, 3), "--no-sides": ALL_BELOW},
    ),
    "sides below the class once more": Layout(
        tree=inside("{}", 6, 3),
        answer=Answer(refusal="two ways.*move its images out of the class"),
        advice={"--no-sides": ALL_BELOW},
    ),
    "one class for training, the other for testing": Layout(
        tree={"cat/train": 6, "dog/test": 6},
        answer=Answer(refusal="two ways.*move its images out of the class"),
        advice={"--no-sides": CHOSEN},
    ),
    "sides in each class, and a picture": Layout(
        tree={**inside(".", 6, 3), "cat/stray.ppm": ""},
        answer=Answer(refusal="cat has images beside them"),
        advice={"--sides train=train,test=test": but(both(6, 3), warnings=(r"stray\.ppm",))},
    ),
    "sides in each class, and a folder": Layout(
        tree={**inside(".", 6, 3), "dog/extra": 2},
        answer=Answer(refusal="dog has extra beside them"),
        advice={
            "--sides train=train,test=test": but(both(6, 3), left_out=("dog/extra",), warnings=("dog/extra",)),
            "--no-sides": Answer(classes={"cat": 9, "dog": 11}),
        },
    ),
    # data sets in pieces
    "skin: two pieces and a table": Layout(
        tree={"HAM_part_1": 5, "HAM_part_2": 5, "HAM_metadata.csv": "image,label\n"},
        answer=Answer(refusal=r"two ways.*HAM_part_1, HAM_part_2 look like pieces.*labels are in HAM_metadata\.csv"),
        advice={"--no-sides": Answer(classes={"HAM_part_1": 5, "HAM_part_2": 5})},
    ),
    "x-rays: numbered folders with images and a table": Layout(
        tree={"images_001/images": 5, "images_002/images": 5, "Data_Entry_2017.csv": "a,b\n"},
        answer=Answer(refusal=r"labels are in Data_Entry_2017\.csv"),
        advice={"--no-sides": Answer(classes={"images_001": 5, "images_002": 5})},
    ),
    "numbered folders of images": Layout(
        tree={"images_001": 5, "images_002": 5},
        answer=Answer(classes={"images_001": 5, "images_002": 5}, warnings=("only a number or letter tells apart",)),
    ),
    "numbered classes beside a table": Layout(
        tree={"c0": 5, "c1": 5, "drivers.csv": "subject,classname\n"},
        answer=Answer(classes={"c0": 5, "c1": 5}, warnings=(r"only a number or letter tells apart.*drivers\.csv",)),
    ),
    "numbers as classes, beside a table": Layout(
        tree={"0": 5, "1": 5, "names.csv": "id,name\n"}, answer=Answer(classes={"0": 5, "1": 5})
    ),
    "pieces with letters, in a wrapper, and a table beside it": Layout(
        tree={"data/part_a": 5, "data/part_b": 5, "data/extra": 3, "labels.csv": "image,label\n"},
        answer=Answer(refusal=r"part_a, part_b look like pieces.*labels\.csv --images"),
        advice={"--no-sides": Answer(classes={"extra": 3, "part_a": 5, "part_b": 5}, warnings=("data",))},
    ),
    "pieces in train, and a table": Layout(
        tree={"train/images_1": 5, "train/images_2": 5, "test": 4, "train.csv": "image,label\n"},
        answer=Answer(refusal=r"images_1, images_2 look like pieces.*train\.csv"),
        advice={
            "--sides train=train": Answer(
                classes={"images_1": 5, "images_2": 5}, left_out=("test",), warnings=("tells apart", "test")
            )
        },
    ),
    # a wrapper beside others
    "classes beside the unlabelled": Layout(
        tree={**CATS_DOGS, "unlabeled": 6},
        answer=Answer(classes={**CATS_DOGS, "unlabeled": 6}, warnings=("unlabeled is taken.*without labels",)),
    ),
    "data beside screenshots": Layout(
        tree={**sided({"data": 6}), "screenshots": 4},
        answer=Answer(refusal="two ways"),
        advice={
            "--sides train=data": but(CHOSEN, left_out=("screenshots",)),
            "--no-sides": Answer(classes={"data": 12, "screenshots": 4}),
        },
    ),
    "photos beside those to predict": Layout(
        tree={**sided({"photos": 6}), "to_predict": 4},
        answer=Answer(refusal="two ways"),
        advice={"--sides train=photos": but(CHOSEN, left_out=("to_predict",))},
    ),
    "labeled and unlabeled": Layout(
        tree={**sided({"labeled": 6}), "unlabeled": 4},
        answer=Answer(refusal="two ways"),
        advice={"--sides train=labeled": but(CHOSEN, left_out=("unlabeled",))},
    ),
    "images, masks and extra": Layout(
        tree={**sided({"images": 6, "masks": 6}), "extra": 3},
        answer=Answer(refusal="two ways"),
        advice={"--sides train=images": but(CHOSEN, left_out=("extra", "masks"))},
    ),
    "a folder with the classes, beside a flat one": Layout(
        tree={**sided({"pets": 6}), "plants": 4},
        answer=Answer(
            classes={"pets": 12, "plants": 4}, warnings=("below them .cat, dog. is taken.*--sides train=pets",)
        ),
    ),
    "one data set with sides, beside figures": Layout(
        tree={**sided({"data/train": 6, "data/test": 3}), "figs/plot.ppm": ""},
        answer=Answer(refusal="two ways"),
        advice={"--sides train=data/train,test=data/test": but(both(6, 3), left_out=("figs",))},
    ),
    # below the classes of sides
    "covid: images and masks in each class of each side": Layout(
        tree={
            f"{path}/{what}": 5
            for path in sided({"train": 0, "test": 0}, ("COVID", "Normal"))
            for what in ("images", "masks")
        },
        answer=Answer(
            classes={"COVID": 10, "Normal": 10},
            sides={side: {"COVID": 5, "Normal": 5} for side in ("train", "test")},
            warnings=("masks or other marks below the classes",),
            left_out=MASKS,
        ),
    ),
    "covid: images and masks in one class": Layout(
        tree={"COVID/images": 5, "COVID/masks": 5, "Normal": 5},
        answer=Answer(classes={"COVID": 5, "Normal": 5}, warnings=("COVID/masks",), left_out=("COVID/masks",)),
    ),
    "masks below the pictures of each class": Layout(
        tree={"cat": 6, "cat/masks": 6, "dog": 6, "dog/masks": 6},
        answer=but(CHOSEN, warnings=("cat/masks, dog/masks",), left_out=("cat/masks", "dog/masks")),
    ),
    "people with and without masks, below a class": Layout(
        tree={"adult/with_mask": 3, "adult/without_mask": 3, "child": 6},
        answer=Answer(classes={"adult": 6, "child": 6}, warnings=("with_mask, without_mask",)),
    ),
    "species in genera, with sides": Layout(
        tree={
            f"{side}/{path}": count
            for side, count in (("train", 6), ("test", 3))
            for path in ("animal/cat", "animal/dog", "vehicle/car")
        },
        answer=Answer(
            classes={"animal": 18, "vehicle": 9},
            sides={"train": {"animal": 12, "vehicle": 6}, "test": {"animal": 6, "vehicle": 3}},
            warnings=("animal, vehicle.*car, cat, dog",),
        ),
    ),
    "images beside masks in train": Layout(
        tree=sided({"train/images": 6, "train/masks": 6}),
        answer=but(CHOSEN, warnings=("train: the images are in images; left out: masks",), left_out=("train/masks",)),
    ),
    "the classes are in one folder of each side": Layout(
        tree=sided({"train/animals": 6, "test/animals": 3}),
        answer=but(both(6, 3), warnings=("the classes are in animals",)),
    ),
    # names of classes and files
    "ultrasound: masks beside the pictures": Layout(
        tree={
            **named("benign", ("benign ({}).ppm", "benign ({})_mask.ppm"), 3),
            **named("normal", ("normal ({}).ppm", "normal ({})_mask_1.ppm"), 3),
        },
        answer=Answer(
            classes={"benign": 6, "normal": 6}, warnings=(r"6 pictures.*benign/benign \(0\)_mask\.ppm is the first",)
        ),
    ),
    "a word for marks without a picture": Layout(
        tree={**named("cat", ("cat_mask_{}.ppm",), 6), **named("dog", ("dog_mask_{}.ppm",), 6)}, answer=CHOSEN
    ),
    "one class in three spellings": Layout(
        tree={"cat": 3, "Cat": 3, "cat ": 3},
        answer=Answer(classes={"cat": 3, "Cat": 3, "cat ": 3}, warnings=("`Cat` and `cat` and `cat ` are different",)),
    ),
    "small copies": Layout(
        tree={**CATS_DOGS, "thumbnails": 6, "cat/@__thumb": 6},
        answer=Answer(classes={**CATS_DOGS, "thumbnails": 6}, warnings=("thumbnails.*small copies",), hidden=1),
    ),
    "augmented pictures, with the class in the name": Layout(
        tree=named(".", ("cat_0{}_aug3.ppm", "cat_0{}.ppm", "dog_0{}_rot90_flip.ppm", "dog_0{} - Copy (2).ppm"), 3),
        options="--labels-from name",
        answer=CHOSEN,
    ),
    "classes that a number tells apart, in the name": Layout(
        tree=named(".", ("scan_1_left_{}.ppm", "scan_2_left_{}.ppm"), 4),
        options="--labels-from name",
        answer=Answer(classes={"scan_1_left": 4, "scan_2_left": 4}, warnings=("only a number tells classes apart",)),
    ),
    # sides of names in other languages, and of none
    "German sides": Layout(
        tree=sided({"Trainingsdaten": 6, "Testdaten": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=Trainingsdaten,test=Testdaten": both(6, 3)},
    ),
    "Spanish sides": Layout(
        tree=sided({"entrenamiento": 6, "prueba": 3, "validacion": 2}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=entrenamiento,val=validacion,test=prueba": both(6, 3, 2)},
    ),
    "Chinese sides": Layout(
        tree=sided({"训练集": 6, "测试集": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides 'train=训练集,test=测试集'": both(6, 3)},
    ),
    "French training, English test": Layout(
        tree=sided({"apprentissage": 6, "test": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=apprentissage,test=test": both(6, 3)},
    ),
    "English training, Spanish test": Layout(
        tree=sided({"train": 6, "prueba": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=train,test=prueba": both(6, 3)},
    ),
    "images beside a test": Layout(
        tree=sided({"images": 6, "test": 3}),
        answer=Answer(refusal="two ways"),
        advice={"--sides train=images,test=test": both(6, 3)},
    ),
    "the same folders, in either order": Layout(
        tree=sided({"lab": 6, "field": 6}),
        answer=Answer(
            classes={"field": 12, "lab": 12},
            warnings=("--sides train=field,test=lab or --sides train=lab,test=field",),
        ),
    ),
    # classes at the top, and sides beside them
    "a test with the same classes": Layout(
        tree={**CATS_DOGS, **sided({"test": 3})}, answer=but(both(6, 3), warnings=(TOP,))
    ),
    "a val and a test with the same classes": Layout(
        tree={**CATS_DOGS, **sided({"test": 3, "val": 2})}, answer=but(both(6, 3, 2), warnings=(TOP,))
    ),
    "a test below each class, told": Layout(
        tree={"cat/2020": 6, "cat/test": 3, "dog/2020": 6, "dog/test": 3},
        options="--sides train=.,test=test",
        answer=but(both(6, 3), warnings=(r"below them \(2020\)",)),
    ),
    "a test with the same classes, told": Layout(
        tree={**CATS_DOGS, **sided({"test": 3})}, options="--sides train=.,test=test", answer=both(6, 3)
    ),
    "a test with fewer classes": Layout(
        tree={**CATS_DOGS, "emu": 6, **sided({"test": 3})},
        answer=Answer(refusal="two ways"),
        advice={
            "--sides train=.,test=test": Answer(
                classes={"cat": 9, "dog": 9, "emu": 6},
                sides={"train": {**CATS_DOGS, "emu": 6}, "test": {"cat": 3, "dog": 3}},
                warnings=("no test image of `emu`",),
            ),
            "--no-sides": Answer(classes={**CATS_DOGS, "emu": 6, "test": 6}),
        },
    ),
    "a test and a testing with the same classes": Layout(
        tree={**CATS_DOGS, **sided({"test": 3, "testing": 3})}, answer=Answer(refusal="could both be for test")
    ),
    # a train that may be a class
    "railways with models: train, bus, car": Layout(
        tree={"train/ICE": 3, "train/TGV": 3, "bus/MAN": 3, "bus/Volvo": 3, "car/VW": 6},
        answer=Answer(refusal="two ways"),
        advice={
            "--sides train=train": Answer(classes={"ICE": 3, "TGV": 3}, left_out=("bus", "car")),
            "--no-sides": Answer(classes={"bus": 6, "car": 6, "train": 6}),
        },
    ),
    "a test that has only the unknown": Layout(
        tree={**sided({"train": 6}, ("cat", "dog", "unknown")), "test/unknown": 3},
        answer=Answer(
            classes={"cat": 6, "dog": 6, "unknown": 9},
            sides={"train": {"cat": 6, "dog": 6, "unknown": 6}, "test": {"unknown": 3}},
            warnings=("no test image of `cat`, `dog`",),
        ),
    ),
    "a download in two pieces": Layout(
        tree={"train-1-001/train/cat": 6, "train-1-001/train/dog": 6, "train-1-002/train/dog": 6},
        answer=Answer(refusal="with the classes cat, dog; .*pieces of one folder, move all into .*train-1-001"),
        advice={"--sides train=train-1-001": but(CHOSEN, left_out=("train-1-002",))},
    ),
    "an empty val": Layout(
        tree={**sided({"train": 6}), "val": 0}, answer=but(CHOSEN, left_out=("val",), warnings=(r"val \(empty\)",))
    ),
}
