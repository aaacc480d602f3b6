"""Many names in few words, from which each can be read again."""

from __future__ import annotations

import re

import pytest

from trainkit.models._applications import APPLICATIONS, check_application
from trainkit.models._builders import BUILDERS
from trainkit.models._listing import list_models


def spelled_out(listed: str) -> list[str]:
    """Return the names as a person reads them: what stands between slashes has the same beginning and end."""
    names = []
    for word in listed.split(", "):
        first, *others = word.split("/")
        stem = first if not others else re.sub(r"(\d+|[a-z]+)$", "", first)
        end = "-v2" if others and word.endswith("-v2") else ""
        members = [first.removeprefix(stem), *others] if others else [""]
        names += [f"{stem}{member.removesuffix(end)}{end}" for member in members]
    return names


def test_every_name_can_be_read_from_the_list() -> None:
    assert sorted(spelled_out(list_models(BUILDERS))) == sorted(BUILDERS)
    assert max(map(len, list_models(BUILDERS).split(", "))) <= 31, "the column of --help cuts it off"


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        ([], ""),
        (["vgg16"], "vgg16"),
        (["vgg16", "small-cnn", "vgg19"], "vgg16/19, small-cnn"),
        (["resnet50", "resnet101", "resnet50-v2", "resnet101-v2"], "resnet50/101, resnet50/101-v2"),
        (["mobilenet", "mobilenet-v2", "mobilenet-v3-small"], "mobilenet, mobilenet-v2, mobilenet-v3-small"),
        (["efficientnet-v2-b0", "efficientnet-v2-s", "efficientnet-v2-b1"], "efficientnet-v2-b0/1, efficientnet-v2-s"),
        (["perceptrons", "nasnet-like"], "perceptrons, nasnet-like"),
    ],
)
def test_families_stand_together(names: list[str], listed: str) -> None:
    assert list_models(names) == listed


@pytest.mark.parametrize("name", ["MobileNetV2", "Mobilenet-v2", "mobilenetv2", "mobilenet_v2"])
def test_unknown_names_are_answered_with_the_nearest_one(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Unknown model `{name}`. Did you mean `mobilenet-v2`. .*vgg16/19, mobile"):
        check_application(name)


def test_whole_networks_and_backbones_have_the_same_names() -> None:
    assert list(APPLICATIONS) == [name for name, builder in BUILDERS.items() if builder.pretrained]
