"""What the name of a folder says: a side of the data, pictures, marks on them, or a system's leftovers."""

from __future__ import annotations

import re
from collections.abc import Iterable

PLAIN = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # need no word
WORDS_OF_SIDES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "tests", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
}
SIDE_OF = {word: side for side, words in WORDS_OF_SIDES.items() for word in words}
_IMAGES = (
    *("image", "images", "img", "imgs", "jpegimages", "jpeg", "jpg", "png"),
    *("photo", "photos", "picture", "pictures", "pics"),
)
_GENERAL = (*_IMAGES, "set", "data", "dataset", "datasets", "folder", "dir", "split", "files", "part", "my", "the")
_MARKS = (
    *("annotation", "annotations", "annot", "label", "labels", "mask", "masks", "trimap", "trimaps", "segmentation"),
    *("segmentations", "segmentationclass", "segmentationobject", "bbox", "bboxes", "boxes", "xml", "xmls", "gt"),
    *("groundtruth", "anno", "annos", "annots"),
)
_CERTAIN_MARKS = ("annotations", "segmentations", "masks", "trimaps", "bboxes", "groundtruth", "annotation")
_UNLABELLED = (
    *("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unlabel", "unsup", "unsupervised"),
    *("extra", "sample", "samples", "example", "examples", "demo", "inference", "submission", "query", "meta"),
    *("unknown", "unsorted", "all"),
)
_HINTS = {  # how words begin that speak of sides, in more languages: enough to ask, not to be sure
    "train": (
        "train",
        "entren",
        "entrain",
        "entraîn",
        "treino",
        "trein",
        "apprent",
        "addestr",
        "обуч",
        "训练",
        "訓練",
        "学習",
    ),
    "val": ("valid", "проверк", "验证", "検証"),
    "test": ("test", "prueba", "тест", "测试", "テスト", "評価"),
}
_PIECES = (*_GENERAL, "fold", "batch", "cv", "chunk", "subset", "group", "shard", "archive", "volume")
_PIECE = re.compile(r"(.*?)(?:[\s._-]*(?:\d+|\(\d+\))|[\s._-]+[A-Fa-f])")
_FOLD = re.compile(r"(fold|split|part|batch|cv|chunk|subset|set|group)[\s._-]*(\d+|[a-e])", re.IGNORECASE)
_AROUND = f"({'|'.join(_GENERAL)})?"
_GROWN = re.compile(f"{_AROUND}({'|'.join(sorted(SIDE_OF, key=len, reverse=True))}){_AROUND}")
_WORDS = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]|[^\W\d_A-Za-z]+|\d+")

# What file systems, viewers and archives leave behind; whatever begins with a dot is hidden everywhere.
_JUNK = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@tmp", "@__thumb", "$recycle.bin", "recycler"),
    *("system volume information", "lost+found", "__pycache__", "icon\r"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
}


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden, or was left behind by a system."""
    return name.startswith(".") or name.lower() in _JUNK


def side_of(name: str) -> str | None:
    """Return the side that a folder's name speaks of, perhaps with a word before or behind; `None` for none, or two."""
    sides = {SIDE_OF[word] for word in _words(name) if word in SIDE_OF}
    if sides == {"train", "val"}:  # both, to train on: `trainval` of PASCAL VOC
        return "train"
    return sides.pop() if len(sides) == 1 else None


def says_side_only(name: str) -> bool:
    """Whether nothing else is in the name: `Test Data 1`, but not `test tube`."""
    return all(word in SIDE_OF or word in _GENERAL or word.isdecimal() or len(word) == 1 for word in _words(name))


def is_images(name: str) -> bool:
    """Whether the name says that pictures are in the folder, and nothing else."""
    words = _words(name)
    return bool(words) and all(word in _GENERAL for word in words)


def is_marks(name: str) -> bool:
    """Whether the name says that what is in the folder marks the pictures of another: boxes, masks, labels."""
    return any(word in _MARKS for word in _words(name)) or name.lower() in _MARKS


def is_certainly_marks(name: str) -> bool:
    """Whether the name says so even where no folder beside it is called `images`; `with_mask` may be a class."""
    return _words(name) != [] and _words(name)[-1] in _CERTAIN_MARKS


def says_marks_only(name: str) -> bool:
    """Whether the name speaks of marks, and of nothing that could be a class: `masks`, `mask`, but not `with_mask`."""
    words = _words(name)
    only = bool(words) and all(word in _MARKS or word in _GENERAL or word.isdecimal() for word in words)
    return is_certainly_marks(name) or (only and is_marks(name))


def is_small_copies(name: str) -> bool:
    """Whether the name says that small copies of other pictures are in the folder."""
    return name.lower() in ("thumbs", "thumb", "thumbnails", "thumbnail", "previews")


def is_unlabelled(name: str) -> bool:
    """Whether the name says that the pictures have no labels."""
    return any(word in _UNLABELLED for word in _words(name))


def says_unlabelled_only(name: str) -> bool:
    """Whether the name says so and nothing else; `unknown` may well be a class."""
    words = _words(name)
    return is_unlabelled(name) and "unknown" not in words and all(_says_nothing(word) for word in words)


def _says_nothing(word: str) -> bool:
    return word in _UNLABELLED or word in _GENERAL or word == "to" or word.isdecimal()


def is_fold(name: str) -> bool:
    """Whether the name is that of a fold of a cross-validation, or of another piece of the data."""
    return _FOLD.fullmatch(name) is not None


def stem_of_pieces(names: Iterable[str]) -> str | None:
    """Return what numbered names have in common, `HAM_part` of `HAM_part_1` and `HAM_part_2`; `None` for others."""
    matches = [_PIECE.fullmatch(name) for name in names]
    stems = {match[1] if match else "" for match in matches}
    return (stems.pop() or None) if len(stems) == 1 and len(matches) > 1 else None


def is_piece(stem: str) -> bool:
    """Whether the name of numbered folders, without the number, says that they are pieces of one set of pictures."""
    words = _words(stem)
    return bool(words) and words[-1] in _PIECES


def is_wrapper(name: str) -> bool:
    """Whether the name is one for a folder with everything, and hardly one for a class."""
    return is_images(name) or any(
        word in ("labeled", "labelled", "raw", "archive", "originals") for word in _words(name)
    )


def guess_side(name: str) -> str | None:
    """Return the side that a name may speak of, in more languages than `side_of` is sure of."""
    words = re.split(r"[\W\d_]+", name.lower())
    found = {side for side, beginnings in _HINTS.items() if any(word.startswith(beginnings) for word in words)}
    return side_of(name) or (found.pop() if len(found) == 1 else None)


def _words(name: str) -> list[str]:
    """Take a name apart: at what is no letter, at capitals within, and where known words have grown together."""
    words: list[str] = []
    for piece in re.split(r"[\W_]+", name):
        if whole := _split_grown(piece.lower().rstrip("0123456789")):
            words += whole
            continue
        for part in _WORDS.findall(piece):
            words += _split_grown(part.lower()) or [part.lower()]
    joined = re.sub(r"\b(hold|held) out\b", r"\1out", " ".join(words))
    return joined.split()


def _split_grown(word: str) -> list[str]:
    """Return the parts of `testset` or `trainval`; none where the word is no such one."""
    if word == "trainval":
        return ["train", "val"]
    match = _GROWN.fullmatch(word)
    return [part for part in match.groups() if part] if match else []
