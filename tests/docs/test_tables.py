"""What the pages say in tables is what the code has: models, preprocessing, the manifest."""

from __future__ import annotations

import json
import re

import examples
from tables import codes, rows_of

from trainkit.deploy.python._schema import SECTIONS, check_manifest
from trainkit.models import BUILDERS
from trainkit.models._backbones import BACKBONES
from trainkit.preprocessing import PREPROCESSINGS, build_preprocessing, needs_mean_image, needs_statistics

PAGES = examples.pages()


def test_every_model_is_described() -> None:
    rows = rows_of(PAGES["docs/models.md"], ["model", "what it is", "input", "smallest", "preprocessing", "settings"])
    described = {codes(row[0])[0]: row for row in rows}
    assert set(described) == set(BUILDERS)
    for name, builder in BUILDERS.items():
        _, about, size, least, preprocessing, settings = described[name]
        assert about, name
        assert least == (f"{BACKBONES[name].least}x{BACKBONES[name].least}" if name in BACKBONES else ""), name
        assert codes(settings) == [f"{key}={value}" for key, value in builder.settings.items()]
        assert preprocessing == f"`{builder.preprocessing}`"
        expected = "the data's" if builder.size is None else f"{builder.size[0]}x{builder.size[1]} {builder.color}"
        assert size == expected, name


def test_every_preprocessing_is_described() -> None:
    header = ["name", "mean", "std", "`scalefactor` of the blob", "what it is"]
    rows = rows_of(PAGES["docs/preprocessing.md"], header)
    assert [codes(row[0])[0] for row in rows] == list(PREPROCESSINGS)
    for name, mean, std, scalefactor, _ in ([codes(row[0])[0], *row[1:]] for row in rows):
        if not needs_statistics(name) and not needs_mean_image(name):
            built = build_preprocessing(name, height=8, width=8)
            assert mean == ", ".join(f"{value:g}" for value in dict.fromkeys(built.mean)), name
            assert std == ", ".join(f"{value:g}" for value in dict.fromkeys(built.std)), name
            assert scalefactor == f"{built.blob['scalefactor']:g}", name


def test_every_key_of_the_manifest_is_described() -> None:
    expected = {}
    for name, (required, optional) in SECTIONS.items():
        prefix = "" if name == "manifest" else "before_blob[]." if name.startswith("before_blob") else f"{name}."
        expected |= {f"{prefix}{key}": "required" for key in required}
        expected |= {f"{prefix}{key}": "optional" for key in optional}
    rows = rows_of(PAGES["docs/bundle.md"], ["manifest key", "type", "", "meaning"])
    assert {codes(key)[0]: presence for key, _, presence, _ in rows} == expected


def test_manifests_of_the_manual_are_ones() -> None:
    found = {name: [json.loads(block) for block in blocks] for name, blocks in examples.blocks_by_page("json").items()}
    kinds = {name: [manifest["output"]["kind"] for manifest in manifests] for name, manifests in found.items()}
    assert kinds == {"docs/bundle.md": ["sigmoid"], "docs/other-models.md": ["softmax", "ssd"]}
    for manifest in (each for manifests in found.values() for each in manifests):
        check_manifest(manifest)


def test_figures_stand_in_one_place() -> None:
    """A time or a speed that a machine decides is not repeated beside the measurements."""
    speed = re.compile(r"\b\d[\d.,]* (?:ms\b|milliseconds|images a second)")
    for name, text in PAGES.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        assert name in ("docs/measurements.md", "docs/json.md") or not speed.findall(prose), name
