"""The network that is trained, fed with pixels: they become its input inside the graph, where the network computes.

A byte a value goes to the device instead of four, and the host has nothing left to do but to gather and to warp.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from trainkit.backend import keras
from trainkit.data._augmentation._in_graph import augment, mix
from trainkit.preprocessing import Preprocessing


class PixelModel(keras.Model):  # type: ignore[misc]
    """A functional model whose batches are those of a `Feed`: uint8 pixels, alone or with what is to be done to them.

    Called as any other model, it takes its own input.
    """

    preprocessing: Preprocessing | None = None  # what makes the input of pixels; None: a batch has the input itself

    def to_input(self, inputs: Any) -> Any:
        """Return the float32 `(n, height, width, channels)` of the network for the first part of a batch."""
        if self.preprocessing is None:
            return inputs
        if not isinstance(inputs, dict):
            return self.preprocessing.to_input_in_graph(inputs, keras.ops)
        own = self.to_input(augment(inputs["pixels"], inputs))
        return mix(own, self.to_input(inputs["partners"]), inputs) if "partners" in inputs else own

    def train_step(self, data: Any) -> Any:
        """Make a step, as Keras does."""
        return super().train_step(self._with_input(data))

    def test_step(self, data: Any) -> Any:
        """Measure a batch, as Keras does."""
        return super().test_step(self._with_input(data))

    def predict_step(self, data: Any) -> Any:
        """Answer a batch, as Keras does."""
        return super().predict_step(self._with_input(data))

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build metrics and loss for a batch, as Keras does under a strategy: with an input in the place of pixels."""
        if self.preprocessing is not None and isinstance(data_batch, tuple):
            first = data_batch[0]
            pixels = first["pixels"] if isinstance(first, dict) else first
            data_batch = (keras.KerasTensor(pixels.shape, "float32"), *data_batch[1:])
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def _with_input(self, data: Any) -> Any:
        return (self.to_input(data[0]), *data[1:]) if isinstance(data, tuple) else self.to_input(data)


def can_be_made_in_graph(preprocessing: Preprocessing) -> bool:
    """Whether a graph makes the same input of pixels as the host does, to the last bit on a CPU."""
    return preprocessing.samplewise == "none"


_fed: WeakKeyDictionary[Any, PixelModel] = WeakKeyDictionary()


def model_of_pixels(model: Any, preprocessing: Preprocessing) -> PixelModel:
    """Return a model on the same layers that is fed with pixels: for the same one the same, which Keras traced."""
    known = _fed.get(model)
    if known is None or known.preprocessing != preprocessing:
        _fed[model] = known = PixelModel(model.inputs[0], model.outputs[0])
        known.preprocessing = preprocessing
    return known
