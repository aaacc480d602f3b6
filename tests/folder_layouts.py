"""How people's folders of photographs look, as they are downloaded and as they are made, and what is right for each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

Tree = dict[str, int | str]  # a folder to its count of pictures, or a file: its text, "" for one more picture
Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes of a folder: its classes and sides, or a refusal."""

    classes: Counts = field(default_factory=dict)
    sides: dict[str, Counts] = field(default_factory=dict)  # those that have folders; none: they are chosen
    refusal: str = ""  # a regular expression
    warnings: tuple[str, ...] = ()  # regular expressions, each for one warning
    left_out: tuple[str, ...] = ()  # folders
    hidden: int = 0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A tree, the options that it is read with, what comes, and what the advice of a refusal comes to."""

    tree: Tree
    options: str = ""
    answer: Answer
    advice: dict[str, Answer] = field(default_factory=dict)  # options that the refusal names, ready to copy


def build(tree: Tree, folder: Path) -> Path:
    """Write the files, no two pictures alike."""
    for path, what in tree.items():
        if isinstance(what, int):
            (folder / path).mkdir(parents=True, exist_ok=True)
            for number in range(what):
                _draw(folder / path / f"photo {number:02}.ppm")
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if what:
                (folder / path).write_text(what)
            else:
                _draw(folder / path)
    return folder


def _draw(path: Path) -> None:
    pixels = random.Random(str(path)[-60:]).randbytes(6 * 9 * 3)
    path.write_bytes(b"P6 9 6 255\n" + pixels)


def sided(sides: dict[str, int], classes: tuple[str, ...] = ("cat", "dog")) -> Tree:
    """Return a tree in which each of these folders has so many pictures of each class."""
    return {f"{side}/{name}": count for side, count in sides.items() for name in classes}


def named(folder: str, forms: tuple[str, ...], count: int) -> Tree:
    """Return so many pictures of each form of a name, such as `cat.{}.jpg`."""
    return {f"{folder}/{form.format(number)}": "" for form in forms for number in range(count)}


def both(train: int, test: int, val: int | None = None) -> Answer:
    """Return what cats and dogs come to that have so many pictures on each side."""
    counts = {"train": train, "val": val, "test": test}
    sides = {side: {"cat": count, "dog": count} for side, count in counts.items() if count is not None}
    total = train + test + (val or 0)
    return Answer(classes={"cat": total, "dog": total}, sides=sides)


def but(answer: Answer, **changes: object) -> Answer:
    return Answer(**{**answer.__dict__, **changes})


CATS_DOGS = {"cat": 6, "dog": 6}
CHOSEN = Answer(classes=CATS_DOGS)
TAKEN = r"is taken for train"

LAYOUTS: dict[str, Layout] = {
    # as every manual has them
    "plain classes": Layout(tree={"cat": 6, "dog": 6}, answer=CHOSEN),
    "train and test": Layout(tree=sided({"train": 6, "test": 3}), answer=both(6, 3)),
    "cifar-10 as png": Layout(tree={**sided({"train": 6, "test": 3}), "labels.txt": "cat\ndog\n"}, answer=both(6, 3)),
    "imagenette": Layout(
        tree={**sided({"imagenette2/train": 6, "imagenette2/val": 3}), "imagenette2/noisy.csv": "path\n"},
        answer=Answer(
            classes={"cat": 9, "dog": 9},
            sides={"train": {"cat": 6, "dog": 6}, "val": {"cat": 3, "dog": 3}},
            warnings=("imagenette2",),
        ),
    ),
    "flower_photos": Layout(tree={"cat": 6, "dog": 6, "LICENSE.txt": "CC-BY"}, answer=CHOSEN),
    "letters of any kind": Layout(
        tree={"猫 🐈": 6, "два слова": 6, "é": 6}, answer=Answer(classes={"猫 🐈": 6, "два слова": 6, "é": 6})
    ),
    # sides by other names
    "brain tumours: Training, Testing": Layout(
        tree=sided({"Training": 6, "Testing": 3}), answer=but(both(6, 3), warnings=(TAKEN, "--no-sides"))
    ),
    "capital letters": Layout(tree=sided({"TRAIN": 6, "TEST": 3}), answer=but(both(6, 3), warnings=(TAKEN,))),
    "only one has a capital letter": Layout(
        tree=sided({"train": 6, "Test": 3}), answer=but(both(6, 3), warnings=("Test is taken for test",))
    ),
    "kaggle intel: twice the same folder, and one to predict": Layout(
        tree={**sided({"seg_train/seg_train": 6, "seg_test/seg_test": 3}), "seg_pred/seg_pred": 4},
        answer=but(both(6, 3), warnings=(TAKEN, "seg_pred"), left_out=("seg_pred",)),
    ),
    "training_set and test_set": Layout(
        tree=sided({"training_set/training_set": 6, "test_set/test_set": 3}),
        answer=but(both(6, 3), warnings=("training_set is taken for train",)),
    ),
    "words with spaces": Layout(
        tree=sided({"Train Data": 6, "Test Data": 3}), answer=but(both(6, 3), warnings=("Train Data is taken",))
    ),
    "trn, dev, holdout": Layout(
        tree=sided({"trn": 6, "dev": 2, "holdout": 3}), answer=but(both(6, 3, 2), warnings=("dev for val",))
    ),
    "train, eval": Layout(tree=sided({"train": 6, "eval": 3}), answer=but(both(6, 3), warnings=("eval is taken",))),
    "words before and behind": Layout(
        tree=sided({"my-train-data": 6, "my-valid-data": 2, "my-hold-out-data": 3}),
        answer=but(both(6, 3, 2), warnings=(TAKEN,)),
    ),
    "words that have grown together": Layout(
        tree=sided({"TrainImages": 6, "ValImages": 2, "testset": 3}), answer=but(both(6, 3, 2), warnings=(TAKEN,))
    ),
    "fruits-360": Layout(
        tree={**sided({"Training": 6, "Test": 3}), "test-multiple_fruits": 4, "papers/a.pdf": "pdf", "readme.md": "?"},
        answer=but(
            both(6, 3),
            warnings=(TAKEN, "test-multiple_fruits", "papers"),
            left_out=("papers", "test-multiple_fruits"),
        ),
    ),
    "traffic signs: a flat Test without classes, and Meta": Layout(
        tree={**sided({"Train": 6}, ("0", "1", "2")), "Test": 4, "Meta": 3, "Train.csv": "Width\n", "Test.csv": "x\n"},
        answer=Answer(
            classes={"0": 6, "1": 6, "2": 6},
            warnings=("Test", "Meta"),
            left_out=("Meta", "Test"),
        ),
    ),
    "cats_and_dogs_filtered": Layout(
        tree={
            **sided({"cats_and_dogs_filtered/train": 6, "cats_and_dogs_filtered/validation": 3}),
            "cats_and_dogs_filtered/vectorize.py": "import os\n",
        },
        answer=Answer(
            classes={"cat": 9, "dog": 9},
            sides={"train": {"cat": 6, "dog": 6}, "val": {"cat": 3, "dog": 3}},
            warnings=("cats_and_dogs_filtered",),
        ),
    ),
    "chest x-rays: the same again inside, and a Macintosh's": Layout(
        tree={
            **sided({"chest_xray/train": 6, "chest_xray/val": 2, "chest_xray/test": 3}),
            **sided({"chest_xray/chest_xray/train": 6, "chest_xray/chest_xray/test": 3}),
            "chest_xray/__MACOSX/train/cat/._photo 00.ppm": "x",
            "__MACOSX/chest_xray/._train": "x",
            "chest_xray/.DS_Store": "x",
            "chest_xray/train/.DS_Store": "x",
        },
        answer=but(both(6, 3, 2), warnings=("chest_xray",), left_out=("chest_xray/chest_xray",), hidden=4),
    ),
    # wrappers
    "one wrapper": Layout(tree={"archive/cat": 6, "archive/dog": 6}, answer=but(CHOSEN, warnings=("archive",))),
    "two wrappers": Layout(
        tree={"archive/dataset/cat": 6, "archive/dataset/dog": 6, "archive/readme.txt": "hello"},
        answer=but(CHOSEN, warnings=("archive/dataset",)),
    ),
    "dataset/images": Layout(tree=sided({"dataset/images": 6}), answer=but(CHOSEN, warnings=("dataset/images",))),
    "wrapper with sides": Layout(
        tree=sided({"archive/Train": 6, "archive/Test": 3}), answer=but(both(6, 3), warnings=("archive", TAKEN))
    ),
    "stanford dogs: Images beside Annotation": Layout(
        tree={**sided({"Images": 6}), "Annotation/cat/n02085620_10074": "<xml>", "Annotation/dog/n0210_1": "<xml>"},
        answer=but(CHOSEN, warnings=("Images", "Annotation"), left_out=("Annotation",)),
    ),
    "masks that are pictures": Layout(
        tree=sided({"images": 6, "masks": 6}), answer=but(CHOSEN, warnings=("images", "masks"), left_out=("masks",))
    ),
    # sides inside each class
    "sides in each class": Layout(
        tree={"cat/train": 6, "cat/test": 3, "dog/train": 6, "dog/test": 3},
        answer=but(both(6, 3), warnings=("cat/train",)),
    ),
    "sides in each class, by other names": Layout(
        tree={"cat/Training": 6, "cat/Testing": 3, "dog/Training": 6, "dog/Testing": 3},
        answer=but(both(6, 3), warnings=("cat/Training",)),
    ),
    "sides in some classes only": Layout(
        tree={"cat/train": 6, "cat/test": 3, "dog": 9},
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={"--no-sides": Answer(classes={"cat": 9, "dog": 9})},
    ),
    # classes that are called like sides
    "railways: train, car, bus": Layout(
        tree={"train": 6, "car": 6, "bus": 6},
        answer=Answer(classes={"bus": 6, "car": 6, "train": 6}, warnings=("train is taken for a class",)),
    ),
    "medicine: test, control": Layout(
        tree={"test": 6, "control": 6},
        answer=Answer(classes={"control": 6, "test": 6}, warnings=("test is taken for a class",)),
    ),
    "laboratory: test tube, beaker, flask": Layout(
        tree={"test tube": 6, "beaker": 6, "flask": 6},
        answer=Answer(classes={"beaker": 6, "flask": 6, "test tube": 6}, warnings=("test tube is taken for a class",)),
    ),
    "a flat test beside two classes": Layout(
        tree={"cat": 6, "dog": 6, "test": 4},
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={"--no-sides": Answer(classes={"cat": 6, "dog": 6, "test": 4})},
    ),
    "training and testing hold the images": Layout(
        tree={"training": 6, "testing": 6},
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={"--no-sides": Answer(classes={"testing": 6, "training": 6})},
    ),
    "train and test hold the images, beside a third": Layout(
        tree={"train": 6, "test": 6, "bus": 6},
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={"--no-sides": Answer(classes={"bus": 6, "test": 6, "train": 6})},
    ),
    "cyclegan: trainA, trainB, testA, testB": Layout(
        tree={"trainA": 6, "trainB": 6, "testA": 3, "testB": 3}, answer=Answer(refusal="two ways.*--no-sides")
    ),
    "a class train with years beside another with years": Layout(
        tree=sided({"train": 6, "bus": 6}, ("2023", "2024")),
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={
            "--no-sides": Answer(classes={"bus": 12, "train": 12}),
            "--sides train=train": Answer(classes={"2023": 6, "2024": 6}, left_out=("bus",)),
        },
    ),
    # two folders for one side
    "val and validation": Layout(
        tree=sided({"train": 6, "val": 2, "validation": 3}),
        answer=Answer(refusal="val and validation"),
        advice={
            "--sides train=train,val=val": Answer(
                classes={"cat": 8, "dog": 8},
                sides={"train": CATS_DOGS, "val": {"cat": 2, "dog": 2}},
                left_out=("validation",),
            )
        },
    ),
    "train1 and train2": Layout(
        tree=sided({"train1": 6, "train2": 6, "test": 3}),
        answer=Answer(refusal="train1 and train2"),
        advice={"--sides train=train1,test=test": but(both(6, 3), left_out=("train2",))},
    ),
    "folds": Layout(
        tree=sided({"fold1": 6, "fold2": 6, "fold3": 6}),
        answer=Answer(refusal="fold1.*--no-sides"),
        advice={"--sides train=fold1,test=fold3": but(both(6, 6), left_out=("fold2",))},
    ),
    # what is missing, and what is too much
    "a class is missing in test": Layout(
        tree={"train/cat": 6, "train/dog": 6, "val/cat": 2, "val/dog": 2, "test/cat": 3},
        answer=Answer(
            classes={"cat": 11, "dog": 8},
            sides={"train": CATS_DOGS, "val": {"cat": 2, "dog": 2}, "test": {"cat": 3}},
            warnings=("test.*`dog`",),
        ),
    ),
    "a class is empty in val": Layout(
        tree={"train/cat": 6, "train/dog": 6, "val/cat": 2, "val/dog": 0},
        answer=Answer(
            classes={"cat": 8, "dog": 6}, sides={"train": CATS_DOGS, "val": {"cat": 2}}, warnings=("val.*`dog`",)
        ),
    ),
    "a class is in test only": Layout(
        tree={**sided({"train": 6, "test": 3}), "test/emu": 3}, answer=Answer(refusal="test.*train/ has not: emu")
    ),
    "test alone": Layout(tree=sided({"test": 3}), answer=Answer(refusal="no train/")),
    "Test and Val alone": Layout(tree=sided({"Test": 3, "Val": 3}), answer=Answer(refusal="no train/")),
    "an empty class": Layout(tree={"cat": 6, "dog": 6, "emu": 0}, answer=Answer(refusal="No images in .*emu")),
    "a single class": Layout(tree={"cat": 6}, answer=Answer(refusal="Only one class")),
    "no classes": Layout(tree={".": 6}, answer=Answer(refusal="No class folders")),
    "nothing": Layout(tree={".": 0}, answer=Answer(refusal="No class folders")),
    # not meant for classification
    "yolo: images, labels": Layout(
        tree={"images": 6, "labels/photo 00.txt": "0 0.5 0.5 1 1"}, answer=Answer(refusal="labels.*boxes or masks")
    ),
    "yolo with sides": Layout(
        tree={
            **{f"{side}/images": 3 for side in ("train", "valid", "test")},
            **{f"{side}/labels/photo 00.txt": "0 0.5 0.5 1 1" for side in ("train", "valid", "test")},
            "data.yaml": "nc: 2",
        },
        answer=Answer(refusal="labels.*boxes or masks"),
    ),
    "yolo, sides inside": Layout(
        tree={
            "images/train": 6,
            "images/val": 3,
            "labels/train/photo 00.txt": "0 0.5 0.5 1 1",
            "labels/val/photo 00.txt": "0 0.5 0.5 1 1",
        },
        answer=Answer(refusal="labels.*boxes or masks"),
    ),
    "segmentation: images, masks": Layout(
        tree={"images": 6, "masks": 6}, answer=Answer(refusal="masks.*boxes or masks")
    ),
    "train_images and a table": Layout(
        tree={"train_images": 6, "test_images": 3, "train.csv": "image_id,label\nphoto 00.ppm,0\n"},
        answer=Answer(refusal=r"train\.csv --images .*train_images"),
    ),
    # the class in the file's name
    "dogs vs cats": Layout(
        tree={**named("train", ("cat.{}.ppm", "dog.{}.ppm"), 6), **named("test1", ("{}.ppm",), 4)},
        answer=Answer(refusal="cat, dog.*--labels-from name"),
        advice={"--labels-from name": Answer(classes=CATS_DOGS, warnings=("test1.*left out",), left_out=("test1",))},
    ),
    "dogs vs cats, told": Layout(
        tree={**named("train", ("cat.{}.ppm", "dog.{}.ppm"), 6), **named("test", ("cat.{}.ppm", "dog.{}.ppm"), 3)},
        options="--labels-from name",
        answer=both(6, 3),
    ),
    "class in the names of one folder": Layout(
        tree=named(".", ("Abyssinian_{}.ppm", "yellow_tulip_0{}.ppm", "n02085620_{}.ppm", "red car ({}).ppm"), 6),
        answer=Answer(refusal="No class folders.*Abyssinian, n02085620, red car, yellow_tulip.*--labels-from name"),
        advice={
            "--labels-from name": Answer(classes={"Abyssinian": 6, "n02085620": 6, "red car": 6, "yellow_tulip": 6})
        },
    ),
    "oxford pets: images beside annotations": Layout(
        tree={
            **named("images", ("Abyssinian_{}.ppm", "beagle_{}.ppm"), 6),
            **named("annotations/trimaps", ("Abyssinian_{}.ppm", "beagle_{}.ppm"), 6),
            "annotations/list.txt": "Abyssinian_1 1 1 1",
        },
        answer=Answer(refusal="--labels-from name"),
        advice={
            "--labels-from name": Answer(
                classes={"Abyssinian": 6, "beagle": 6}, warnings=("annotations",), left_out=("annotations",)
            )
        },
    ),
    "a pattern of one's own": Layout(
        tree=named(".", ("2024-05-{}-cat.ppm", "2024-06-{}-dog.ppm"), 6),
        options=r"--pattern '-(?P<label>[a-z]+)\.'",
        answer=CHOSEN,
    ),
    "a pattern that not all files have": Layout(
        tree={**named(".", ("cat_{}.ppm", "dog_{}.ppm"), 6), "other.ppm": "", "strange.ppm": ""},
        options="--labels-from name",
        answer=Answer(refusal=r"2 of 14 .*other\.ppm, strange\.ppm"),
    ),
    # below the classes
    "species in genera": Layout(
        tree={"felidae/cat": 3, "felidae/lion": 3, "canidae/dog": 3, "canidae/wolf": 3},
        answer=Answer(classes={"canidae": 6, "felidae": 6}, warnings=("canidae.*felidae|felidae.*canidae",)),
    ),
    "years with the classes in them": Layout(
        tree=sided({"2023": 3, "2024": 3}),
        answer=Answer(classes={"2023": 6, "2024": 6}, warnings=("2023, 2024.*cat, dog",)),
    ),
    "junk of every system": Layout(
        tree={
            "good": 6,
            "bad": 6,
            "good/Thumbs.db": "x",
            "bad/desktop.ini": "x",
            "good/._photo 00.ppm": "x",
            "@eaDir/photo 00.ppm": "",
            "good/@eaDir/photo 00.ppm/SYNOPHOTO_THUMB_M.ppm": "",
            ".thumbnails/photo 00.ppm": "",
            "$RECYCLE.BIN/x.ppm": "",
            "System Volume Information/x": "x",
            "lost+found": 0,
            ".ipynb_checkpoints/photo 00.ppm": "",
            "bad/ehthumbs.db": "x",
        },
        answer=Answer(classes={"bad": 6, "good": 6}, hidden=11),
    ),
    "pictures beside the classes": Layout(
        tree={"cat": 6, "dog": 6, "beside.ppm": ""},
        answer=but(CHOSEN, warnings=(r"beside\.ppm",)),
    ),
    # somebody has said it
    "sides by any name": Layout(
        tree=sided({"alpha": 6, "beta": 3, "gamma": 2}),
        options="--sides train=alpha,test=beta",
        answer=but(both(6, 3), left_out=("gamma",), warnings=("gamma",)),
    ),
    "sides deeper down": Layout(
        tree=sided({"archive/a/alpha": 6, "archive/b": 3}),
        options="--sides train=archive/a/alpha,test=archive/b",
        answer=both(6, 3),
    ),
    "no sides": Layout(
        tree=sided({"Training": 6, "Testing": 3}),
        options="--no-sides",
        answer=Answer(classes={"Testing": 6, "Training": 12}),
    ),
    "a side that is not there": Layout(
        tree=sided({"train": 6, "test": 3}),
        options="--sides train=train,test=Testing",
        answer=Answer(refusal="no folder `Testing`.*train, test|no folder `Testing`.*test, train"),
    ),
    # further ones, found while reading those above
    "a test of one unlabelled folder, as Keras wants it": Layout(
        tree={**sided({"train": 6}), "test/test": 4},
        answer=but(CHOSEN, warnings=("test has no class folders",), left_out=("test",)),
    ),
    "dogs vs cats, unpacked twice": Layout(
        tree={**named("train/train", ("cat.{}.ppm", "dog.{}.ppm"), 6), **named("test1/test1", ("{}.ppm",), 4)},
        answer=Answer(refusal="cat, dog.*--labels-from name"),
        advice={"--labels-from name": Answer(classes=CATS_DOGS, warnings=("test1.*left out",), left_out=("test1",))},
    ),
    "archives that are not unpacked": Layout(
        tree={"train.zip": "PK", "test1.zip": "PK", "sampleSubmission.csv": "id,label\n"},
        answer=Answer(refusal=r"There are archives: unpack test1\.zip, train\.zip"),
    ),
    "one folder of images and a table": Layout(
        tree={"images": 6, "labels.csv": "id,breed\n"}, answer=Answer(refusal=r"labels\.csv --images .*images")
    ),
    "arrays in a folder": Layout(
        tree={"data.npz": "PK", "readme.txt": "?"}, answer=Answer(refusal=r"name .*data\.npz")
    ),
    "several data sets": Layout(
        tree={**sided({"real/train": 3, "real/test": 3}), **sided({"sketch/train": 3, "sketch/test": 3})},
        answer=Answer(refusal="several data sets, real, sketch"),
        advice={"--no-sides": Answer(classes={"real": 12, "sketch": 12})},
    ),
    "caltech: categories beside annotations": Layout(
        tree={**sided({"101_Categories": 6}), "Annotations/cat/a.mat": "x"},
        answer=but(CHOSEN, warnings=("101_Categories",), left_out=("Annotations",)),
    ),
    "birds: segmentations beside the whole": Layout(
        tree={**sided({"CUB/images": 6}), "CUB/parts/a.txt": "x", **sided({"segmentations": 6})},
        answer=but(CHOSEN, warnings=("CUB/images",), left_out=("CUB/parts", "segmentations")),
    ),
    "with and without a mask": Layout(
        tree={"with_mask": 6, "without_mask": 6}, answer=Answer(classes={"with_mask": 6, "without_mask": 6})
    ),
    "images in each class": Layout(tree={"cat/images": 6, "dog/images": 6}, answer=CHOSEN),
    "valid and invalid": Layout(
        tree={"valid": 6, "invalid": 6},
        answer=Answer(classes={"invalid": 6, "valid": 6}, warnings=("valid is taken for a class",)),
    ),
    "a single_prediction beside the sides": Layout(
        tree={**sided({"training_set": 6, "test_set": 3}), "single_prediction": 2},
        answer=but(both(6, 3), warnings=("single_prediction", TAKEN), left_out=("single_prediction",)),
    ),
    "tiny imagenet": Layout(
        tree={
            **{f"train/n0{number}/images": 6 for number in range(3)},
            "val/images": 4,
            "val/val_annotations.txt": "photo 00.ppm n01",
            "test/images": 3,
            "wnids.txt": "n01",
        },
        answer=Answer(
            classes={"n00": 6, "n01": 6, "n02": 6},
            warnings=("test has no class folders", "val has no class folders"),
            left_out=("test", "val"),
        ),
    ),
    "train and Train, as on a system that tells letters apart": Layout(
        tree=sided({"train": 3, "Train": 3, "test": 3}),
        answer=Answer(refusal="Train and train could both be for train"),
    ),
    "classes of other letters in test": Layout(
        tree={**sided({"train": 6}), **sided({"test": 3}, ("Cat", "Dog"))}, answer=Answer(refusal="has not: Cat, Dog")
    ),
    "sides and classes in one name": Layout(
        tree={"train_cat": 6, "train_dog": 6, "test_cat": 3, "test_dog": 3}, answer=Answer(refusal="two ways")
    ),
    "pictures with a suffix of their own": Layout(
        tree={
            f"{side}/{name}/{number}.jpg_large": ""
            for side in ("train", "test")
            for name in ("cat", "dog")
            for number in range(4)
        },
        answer=both(4, 4),
    ),
    "a side that somebody names without class folders": Layout(
        tree={**sided({"a": 6}), "b": 3},
        options="--sides train=a,test=b",
        answer=Answer(refusal="No class folders in .*b"),
    ),
    "one side inside the other": Layout(
        tree=sided({"a": 6, "a/b": 3}), options="--sides train=a,test=a/b", answer=Answer(refusal="one is in the other")
    ),
    "sides by any name inside each class": Layout(
        tree={"cat/a": 6, "cat/b": 3, "dog/a": 6, "dog/b": 3}, options="--sides train=a,test=b", answer=both(6, 3)
    ),
    "labels in names, below classes": Layout(
        tree={**named("2023", ("cat_{}.ppm", "dog_{}.ppm"), 3), **named("2024", ("cat_1{}.ppm", "dog_1{}.ppm"), 3)},
        options="--labels-from name",
        answer=CHOSEN,
    ),
    "three wrappers and the sides": Layout(
        tree=sided({"a/b/c/train": 6, "a/b/c/test": 3}), answer=but(both(6, 3), warnings=("a/b/c",))
    ),
    "val only beside train, capital": Layout(
        tree=sided({"Train": 6, "Validation": 3}),
        answer=Answer(
            classes={"cat": 9, "dog": 9},
            sides={"train": CATS_DOGS, "val": {"cat": 3, "dog": 3}},
            warnings=("Validation for val",),
        ),
    ),
    "train with an extra folder of the same classes": Layout(
        tree=sided({"train": 6, "more": 6}),
        answer=Answer(refusal="two ways.*--no-sides"),
        advice={"--sides train=train": Answer(classes=CATS_DOGS, left_out=("more",))},
    ),
    "names with spaces in the advice": Layout(
        tree=sided({"Train Data": 6, "more data": 6}),
        answer=Answer(refusal="two ways"),
        advice={"--sides 'train=Train Data'": Answer(classes=CATS_DOGS, left_out=("more data",))},
    ),
    "a wrapper beside an empty class": Layout(
        tree={"cat/2023": 3, "cat/2024": 3, "dog": 0}, answer=Answer(refusal="No images in .*dog")
    ),
    "coco": Layout(
        tree={"train2017": 6, "val2017": 3, "annotations/instances.json": "{}"},
        answer=Answer(refusal="two ways.*annotations may mark boxes"),
    ),
    "sides without capital letters in one": Layout(
        tree=sided({"x_train": 6, "hold_out_set": 3}),
        answer=but(both(6, 3), warnings=("x_train.*hold_out_set for test",)),
    ),
    "the same folders in folders of other names": Layout(
        tree=sided({"raw": 6, "processed": 6}),
        answer=Answer(
            classes={"processed": 12, "raw": 12},
            warnings=(r"cat, dog\) is taken together\. Where these are .*--sides train=processed,test=raw",),
        ),
    ),
    "years of files with the class in their names": Layout(
        tree={**named("2023", ("cat_{}.ppm", "dog_{}.ppm"), 3), **named("2024", ("cat_1{}.ppm", "dog_1{}.ppm"), 3)},
        answer=Answer(classes={"2023": 6, "2024": 6}, warnings=("cat, dog.*--labels-from name",)),
    ),
    "two folders to validate on, with the class in the name": Layout(
        tree={
            path: "" for side in ("train", "val", "validation") for path in named(side, ("cat_{}.ppm", "dog_{}.ppm"), 3)
        },
        options="--labels-from name",
        answer=Answer(refusal="val and validation could both be for val.*all images together"),
    ),
    "a test of other classes, with the class in the name": Layout(
        tree={**named("train", ("cat_{}.ppm", "dog_{}.ppm"), 3), **named("test", ("emu_{}.ppm",), 3)},
        options="--labels-from name",
        answer=Answer(refusal="has not: emu"),
    ),
    "test beside another, with the class in the name": Layout(
        tree={**named("test", ("cat_{}.ppm", "dog_{}.ppm"), 3), **named("other", ("cat_{}.ppm", "dog_{}.ppm"), 6)},
        options="--labels-from name",
        answer=Answer(refusal="--sides train=other,test=test takes sides; --no-sides takes all images together"),
    ),
    "train beside another, with the class in the name": Layout(
        tree={**named("train", ("cat_{}.ppm", "dog_{}.ppm"), 3), **named("more", ("cat_{}.ppm", "dog_{}.ppm"), 6)},
        options="--labels-from name",
        answer=Answer(refusal="--sides train=train takes sides, more left out"),
    ),
    "no sides, with the class in the name": Layout(
        tree={**named("train", ("cat_{}.ppm", "dog_{}.ppm"), 4), **named("more", ("cat_{}.ppm", "dog_{}.ppm"), 2)},
        options="--labels-from name --no-sides",
        answer=CHOSEN,
    ),
    "sides in classes, with the class in the name": Layout(
        tree={
            path: ""
            for side, count in (("train", 3), ("test", 2))
            for place in "AB"
            for path in named(f"{place}/{side}", ("cat_{}.ppm", "dog_{}.ppm"), count)
        },
        options="--labels-from name",
        answer=but(both(6, 4), warnings=("A/train",)),
    ),
    "a folder with a comma": Layout(
        tree=sided({"train, new": 6, "more": 6}), answer=Answer(refusal="folders without a comma in their names")
    ),
    "a wrapper beside a picture": Layout(
        tree={"archive/cat": 6, "archive/dog": 6, "cover.ppm": ""},
        answer=but(CHOSEN, warnings=("archive", r"cover\.ppm")),
    ),
    "train without images": Layout(
        tree={"train/cat": 0, "train/dog": 0, **sided({"test": 3})}, answer=Answer(refusal="No images in .*train")
    ),
    "a wrapper that is called like both sides": Layout(
        tree=sided({"train_test_split/train": 6, "train_test_split/test": 3}),
        answer=but(both(6, 3), warnings=("train_test_split",)),
    ),
    "sides in each class, in a wrapper": Layout(
        tree={"pets/cat/train": 6, "pets/cat/test": 3, "pets/dog/train": 6, "pets/dog/test": 3},
        answer=but(both(6, 3), warnings=("pets", "cat/train")),
    ),
}
