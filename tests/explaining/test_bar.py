"""Do explanations find what the class is, where that is known?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from squares import Square, backgrounds, draw_squares, write_squares

import trainkit
from trainkit.explaining._explainer import explainer_of
from trainkit.explaining._networks import Network, of_model, open_bundle, open_run
from trainkit.models._outputs import load_keras_model

SIDE, TESTED = 64, 100


@dataclass(frozen=True)
class Trained:
    run: Network
    bundle: Network
    shuffled: Network
    pictures: list[Square]

    def peaks_in_squares(self, network: Network, method: str) -> float:
        """Return the share of pictures whose map is the largest in the square."""
        explainer = explainer_of(network, method)
        return float(np.mean([one.holds_peak(explainer.explain(one.image).map) for one in self.pictures]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("squares")
    photographs = backgrounds(SIDE, 700)
    data = write_squares(folder / "data", draw_squares(photographs[TESTED:] * 2, seed=1))
    # So that no class is what is left where the others are not.
    write_squares(folder / "data", [Square(one, "nothing", 0, 0, 0) for one in photographs[TESTED : 3 * TESTED]])
    settings = {"model.filters": 8}
    run = trainkit.train(
        data, model="small-cnn", size=(SIDE, SIDE), epochs=20, settings=settings, experiments=folder / "experiments"
    )
    assert run.result["test_accuracy"] > 0.9
    bundle = trainkit.export(run, exported=folder / "exported")
    return Trained(open_run(run), open_bundle(bundle.path), shuffled(run), draw_squares(photographs[:TESTED], seed=2))


def shuffled(run: trainkit.Run) -> Network:
    """Return the run's network with the numbers of each of its weights in disorder (Adebayo et al. 2018)."""
    model, generator = load_keras_model(run.model_path), np.random.default_rng(0)
    for variable in model.weights:
        values = np.asarray(variable)
        variable.assign(generator.permutation(values.ravel()).reshape(values.shape))
    return of_model(model, run.preprocessing, run.class_names)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["occlusion", "hirescam"])
def test_the_peak_lies_in_the_square_that_is_the_class(trained: Trained, method: str) -> None:
    assert trained.peaks_in_squares(trained.run, method) >= 0.95


@pytest.mark.slow
def test_the_peak_lies_in_the_square_through_cv2_dnn(trained: Trained) -> None:
    assert trained.peaks_in_squares(trained.bundle, "occlusion") >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("method", ["occlusion", "grad-cam", "hirescam"])
def test_shuffled_weights_find_no_square(trained: Trained, method: str) -> None:
    """What found the square anyway would show the picture, not the network."""
    assert trained.peaks_in_squares(trained.shuffled, method) <= 0.4


@pytest.mark.slow
def test_a_bundle_and_its_run_have_the_same_map(trained: Trained) -> None:
    image = trained.pictures[0].image
    by_keras, by_opencv = (explainer_of(one, "occlusion").explain(image) for one in (trained.run, trained.bundle))
    assert by_keras.label == by_opencv.label
    assert np.abs(by_keras.map - by_opencv.map).max() < 1e-3 * np.abs(by_keras.map).max()
