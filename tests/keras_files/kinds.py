"""The list: each kind of file that Keras 2 wrote, as a function that builds its model in an old TensorFlow.

Runs in environments of Python 3.8 and 3.11 that know nothing of trainkit; `versions` are those of TensorFlow.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = keras.layers

ALL = ("2.2", "2.4", "2.8", "2.13", "2.15")
KINDS = {}
SIDE = 32


def kind(
    *versions, suffix=".h5", pixels=False, refused=None, warns=None, side=SIDE, channels=3, rewrite=None, logits=False
):  # type: ignore[no-untyped-def]
    """List a kind: its docstring says what it is.

    Args:
        versions: of TensorFlow, each writes a file.
        suffix: of the file.
        pixels: whether the images hold 0 to 255 and not about -1 to 1.
        refused: what the sentence of a refusal says, where the file cannot be read by Keras 3.
        warns: what a warning says, where Keras 3 answers otherwise.
        side: of the images, in pixels.
        channels: of the images.
        logits: whether it ends without a softmax, and does not say so by its loss.
        rewrite: the Keras before TensorFlow 2 in whose words the file is written again.
    """

    def enter(function):  # type: ignore[no-untyped-def]
        KINDS[function.__name__] = {
            "build": function, "versions": versions, "suffix": suffix, "pixels": pixels, "refused": refused,
            "warns": warns, "side": side, "channels": channels, "rewrite": rewrite, "logits": logits,
            "title": " ".join(function.__doc__.split()),
        }  # fmt: skip
        return function

    return enter


def image(side=SIDE, **options):  # type: ignore[no-untyped-def]
    return keras.Input((side, side, 3), **options)


def body(name="body", units=6):  # type: ignore[no-untyped-def]
    """Return a Functional model of two convolutions with normalisation, for nesting."""
    inputs = image(name=f"{name}_images")
    x = layers.Conv2D(units, 3, strides=2, name="conv1")(inputs)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(units, 3, name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    return keras.Model(inputs, x, name=name)


def head(x, classes=4, activation="softmax"):  # type: ignore[no-untyped-def]
    return layers.Dense(classes, activation=activation, name="classes")(layers.GlobalAveragePooling2D()(x))


# Models in models


@kind(*ALL)
def functional_in_functional():  # type: ignore[no-untyped-def]
    """A Functional model nested in a Functional one."""
    inputs = image()
    return keras.Model(inputs, head(body()(inputs)))


@kind("2.2", "2.8", "2.15")
def sequential_in_functional():  # type: ignore[no-untyped-def]
    """A Sequential with an input shape, nested in a Functional model."""
    inputs = image()
    inner = keras.Sequential(
        [layers.Conv2D(6, 3, activation="relu", input_shape=(SIDE, SIDE, 3)), layers.MaxPooling2D()], name="inner"
    )
    return keras.Model(inputs, head(inner(inputs)))


@kind("2.4", "2.8", "2.15")
def deferred_sequential_in_functional():  # type: ignore[no-untyped-def]
    """A Sequential without an input shape, nested in a Functional model."""
    inputs = image()
    inner = keras.Sequential([layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization()], name="inner")
    return keras.Model(inputs, head(inner(inputs)))


@kind("2.2", "2.15")
def functional_in_sequential():  # type: ignore[no-untyped-def]
    """A Functional model as the first layer of a Sequential."""
    return keras.Sequential([body(), layers.GlobalMaxPooling2D(), layers.Dense(4, activation="softmax")])


@kind("2.4", "2.8", "2.15")
def shared_model_called_twice():  # type: ignore[no-untyped-def]
    """One nested model, called on the image and on what is cropped of it."""
    inputs = image()
    inner = body()
    pool = layers.GlobalAveragePooling2D()
    one, other = pool(inner(inputs)), pool(inner(layers.AveragePooling2D(1)(layers.Reshape((SIDE, SIDE, 3))(inputs))))
    third = pool(inner(layers.Permute((2, 1, 3))(inputs)))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.Concatenate()([third, one, other])))


@kind("2.2", "2.15")
def shared_model_with_a_call_outside():  # type: ignore[no-untyped-def]
    """A nested model that was called before on what is no part of the saved model."""
    inner = body()
    other = image(name="elsewhere")
    keras.Model(other, inner(other))
    inputs = image()
    return keras.Model(inputs, head(layers.Add()([inner(inputs), inner(layers.Permute((2, 1, 3))(inputs))])))


@kind("2.8", "2.15")
def nested_three_deep():  # type: ignore[no-untyped-def]
    """A model in a model in a model, each Functional or Sequential."""
    inner = body()
    middle_inputs = image(name="middle_images")
    middle = keras.Model(middle_inputs, layers.LeakyReLU(0.2)(inner(middle_inputs)), name="middle")
    outer = keras.Sequential([middle, layers.Conv2D(5, 1, activation="relu")], name="outer")
    inputs = image()
    return keras.Model(inputs, head(outer(inputs)))


@kind("2.4", "2.15")
def same_names_in_two_models():  # type: ignore[no-untyped-def]
    """Two nested models whose layers have the same names; one of them is frozen."""
    inputs = image()
    left, right = body("left"), body("right")
    left.trainable = False
    return keras.Model(inputs, head(layers.Concatenate()([left(inputs), right(inputs)])))


@kind("2.8", "2.15")
def nested_partly_frozen():  # type: ignore[no-untyped-def]
    """Fine-tuning: a nested model of which the first layers are frozen."""
    inner = body()
    for layer in inner.layers[:3]:
        layer.trainable = False
    inputs = image()
    return keras.Model(inputs, head(inner(inputs, training=False)))


@kind("2.8", "2.15")
def nested_at_the_end():  # type: ignore[no-untyped-def]
    """A nested model as the last layer, behind another one."""
    features = keras.Input((14, 14, 6))
    classifier = keras.Model(features, head(layers.Conv2D(6, 3)(features)), name="classifier")
    inputs = image()
    x = layers.Conv2D(6, 3, strides=2, padding="valid")(inputs)
    return keras.Model(inputs, classifier(layers.Cropping2D(((0, 1), (1, 0)))(x)))


@kind("2.4", "2.15")
def nested_with_two_outputs():  # type: ignore[no-untyped-def]
    """A nested model that gives two feature maps."""
    inner = body()
    taps = keras.Model(inner.input, [inner.get_layer("relu1").output, inner.output], name="taps")
    inputs = image()
    low, high = taps(inputs)
    pooled = [layers.GlobalAveragePooling2D()(high), layers.GlobalMaxPooling2D()(low)]
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.Concatenate()(pooled)))


@kind("2.2", "2.15")
def layer_called_at_two_depths():  # type: ignore[no-untyped-def]
    """A convolution that is called on its own output, A(B(A(x)))."""
    inputs = image()
    shared = layers.Conv2D(3, 3, padding="same", activation="tanh")
    return keras.Model(inputs, head(shared(layers.BatchNormalization()(shared(inputs)))))


# Operations of TensorFlow between layers


@kind("2.2", "2.4", "2.8", "2.15", pixels=True)
def preprocessing_of_mobilenet_inside():  # type: ignore[no-untyped-def]
    """`mobilenet_v2.preprocess_input` in a Functional model: a division and a subtraction."""
    inputs = image()
    return keras.Model(inputs, head(body()(keras.applications.mobilenet_v2.preprocess_input(inputs))))


@kind("2.4", "2.8", "2.15", pixels=True)
def preprocessing_of_resnet_inside():  # type: ignore[no-untyped-def]
    """`resnet.preprocess_input` in a Functional model: colours turned round, means subtracted."""
    inputs = image()
    x = keras.applications.resnet.preprocess_input(inputs)
    return keras.Model(inputs, head(body()(layers.BatchNormalization()(x))))


@kind("2.8", "2.15", pixels=True)
def preprocessing_of_densenet_inside():  # type: ignore[no-untyped-def]
    """`densenet.preprocess_input` in a Functional model: divisions and means by channel."""
    inputs = image()
    return keras.Model(inputs, head(body()(keras.applications.densenet.preprocess_input(inputs))))


@kind("2.2", "2.4", "2.15")
def arithmetic_between_tensors():  # type: ignore[no-untyped-def]
    """Residuals and gates written with +, - and *."""
    inputs = image()
    one = layers.Conv2D(5, 3, padding="same")(inputs)
    gate = layers.Conv2D(5, 1, activation="sigmoid")(one)
    return keras.Model(inputs, head(1.0 - (one * gate + one) / 2.0 - gate))


@kind("2.4", "2.8", "2.15")
def functions_of_tensorflow():  # type: ignore[no-untyped-def]
    """`tf.nn.relu6`, `tf.reduce_mean`, `tf.concat`, `tf.reshape`, `tf.cast` and `tf.clip_by_value` between layers."""
    inputs = image()
    x = tf.nn.relu6(layers.Conv2D(6, 3)(tf.cast(inputs, tf.float32)))
    x = tf.clip_by_value(tf.concat([x, tf.nn.sigmoid(x)], axis=-1), 0.1, 3.0)
    x = tf.reshape(tf.reduce_mean(x, axis=[1, 2]), (-1, 12))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


@kind("2.4", "2.15")
def slices_of_tensors():  # type: ignore[no-untyped-def]
    """A feature map cut with [:, 2:-2, ::2] between layers."""
    inputs = image()
    x = layers.Conv2D(6, 3, activation="relu")(inputs)[:, 2:-2, ::2]
    return keras.Model(inputs, head(layers.Conv2D(5, 3)(x[..., 1:])))


# What the guides and tutorials build


@kind("2.8", "2.15", pixels=True, side=96)
def guide_of_transfer_learning():  # type: ignore[no-untyped-def]
    """Keras' guide: augmentation, Rescaling, a frozen base, pooling, dropout, one unit."""
    base = keras.applications.Xception(weights=None, input_shape=(96, 96, 3), include_top=False)
    base.trainable = False
    inputs = image(96)
    x = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])(inputs)
    x = layers.Rescaling(scale=1 / 127.5, offset=-1)(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(base(x, training=False)))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


@kind("2.4", "2.8", "2.15", pixels=True)
def tutorial_of_transfer_learning():  # type: ignore[no-untyped-def]
    """TensorFlow's tutorial: augmentation, `preprocess_input`, MobileNetV2, one logit, compiled for logits."""
    preprocessing = layers.experimental.preprocessing
    base = keras.applications.MobileNetV2(weights=None, input_shape=(SIDE, SIDE, 3), include_top=False, alpha=0.35)
    base.trainable = False
    augmentation = keras.Sequential([preprocessing.RandomFlip("horizontal"), preprocessing.RandomRotation(0.2)])
    inputs = image()
    x = base(keras.applications.mobilenet_v2.preprocess_input(augmentation(inputs)), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@kind("2.4", "2.8", "2.13", "2.15", pixels=True)
def tutorial_of_flowers():  # type: ignore[no-untyped-def]
    """TensorFlow's tutorial of image classification: augmentation, Rescaling, convolutions, in one Sequential."""
    preprocessing = layers.experimental.preprocessing if tf.__version__ < "2.6" else layers
    augmentation = keras.Sequential([
        preprocessing.RandomFlip("horizontal", input_shape=(SIDE, SIDE, 3)), preprocessing.RandomRotation(0.1),
        preprocessing.RandomZoom(0.1),
    ])  # fmt: skip
    convolutions = []
    for units in (8, 16):
        convolutions += [layers.Conv2D(units, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    return keras.Sequential([
        augmentation, preprocessing.Rescaling(1.0 / 255), *convolutions, layers.Dropout(0.2), layers.Flatten(),
        layers.Dense(16, activation="relu"), layers.Dense(5, activation="softmax"),
    ])  # fmt: skip


@kind("2.8", "2.15", pixels=True)
def guide_of_training_from_scratch():  # type: ignore[no-untyped-def]
    """Keras' example of cats and dogs: a small Xception with projected residuals."""
    inputs = image()
    x = layers.Rescaling(1.0 / 255)(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(x)))
    previous = x
    for size in (12, 16):
        x = layers.BatchNormalization()(layers.SeparableConv2D(size, 3, padding="same")(layers.Activation("relu")(x)))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, layers.Conv2D(size, 1, strides=2, padding="same")(previous)])
        previous = x
    return keras.Model(inputs, head(layers.Dropout(0.5)(x)))


@kind("2.2", "2.15")
def sequential_of_sequentials():  # type: ignore[no-untyped-def]
    """Features and a head, each a Sequential, in a Sequential: as Teachable Machine writes it."""
    features = keras.Sequential([body(), layers.GlobalAveragePooling2D()])
    top = keras.Sequential([layers.Dense(8, "relu", input_shape=(6,)), layers.Dense(4, "softmax", use_bias=False)])
    return keras.Sequential([features, top])


# keras.applications, weights drawn


def application(name, side=SIDE, **options):  # type: ignore[no-untyped-def]
    return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10, **options)


@kind("2.2", "2.8", "2.15")
def mobilenet():  # type: ignore[no-untyped-def]
    """MobileNet, alpha 0.25."""
    return application("MobileNet", alpha=0.25)


@kind("2.4", "2.15")
def mobilenet_v2():  # type: ignore[no-untyped-def]
    """MobileNetV2, alpha 0.35."""
    return application("MobileNetV2", alpha=0.35)


@kind("2.8", "2.15", pixels=True)
def mobilenet_v3_small():  # type: ignore[no-untyped-def]
    """MobileNetV3Small, with its own preprocessing."""
    return application("MobileNetV3Small")


@kind("2.15")
def densenet121():  # type: ignore[no-untyped-def]
    """DenseNet121."""
    return application("DenseNet121")


@kind("2.4")
def resnet50_v2():  # type: ignore[no-untyped-def]
    """ResNet50V2."""
    return application("ResNet50V2")


@kind("2.4", "2.15", pixels=True, side=96)
def efficientnet_b0():  # type: ignore[no-untyped-def]
    """EfficientNetB0, with its own Rescaling and Normalization."""
    return application("EfficientNetB0", 96)


@kind("2.8", pixels=True, side=96)
def efficientnet_v2_b0():  # type: ignore[no-untyped-def]
    """EfficientNetV2B0, with its own preprocessing."""
    return application("EfficientNetV2B0", 96)


@kind("2.15")
def nasnet_mobile():  # type: ignore[no-untyped-def]
    """NASNetMobile."""
    return application("NASNetMobile")


@kind("2.2", side=75)
def inception_v3():  # type: ignore[no-untyped-def]
    """InceptionV3."""
    return application("InceptionV3", 75)


@kind("2.15", side=75)
def inception_resnet_v2():  # type: ignore[no-untyped-def]
    """InceptionResNetV2, with its own class CustomScaleLayer."""
    return application("InceptionResNetV2", 75)


@kind("2.8", side=75, refused="is a Lambda")
def inception_resnet_v2_of_lambdas():  # type: ignore[no-untyped-def]
    """InceptionResNetV2 before 2.13, in which Lambda layers scale the residuals."""
    return application("InceptionResNetV2", 75)


@kind("2.15", pixels=True)
def convnext_tiny():  # type: ignore[no-untyped-def]
    """ConvNeXtTiny, with its own class LayerScale."""
    return application("ConvNeXtTiny")


@kind("2.13", pixels=True, logits=True)
def regnet_x_002():  # type: ignore[no-untyped-def]
    """RegNetX002, which Keras 3 has no more."""
    return application("RegNetX002")


@kind("2.13", pixels=True)
def resnet_rs50():  # type: ignore[no-untyped-def]
    """ResNetRS50, which Keras 3 has no more, with its own preprocessing."""
    return application("ResNetRS50")


# Layers and their arguments


@kind("2.4", "2.15")
def convolutions():  # type: ignore[no-untyped-def]
    """Every convolution of two dimensions, with groups, dilation, depth multiplier and output padding."""
    inputs = image()
    x = layers.Conv2D(8, (3, 5), padding="same", dilation_rate=2, use_bias=False)(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    if tf.__version__ >= "2.3":
        x = layers.Conv2D(8, 1, groups=1)(x)
    x = layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, activation="elu")(x)
    return keras.Model(inputs, head(layers.Conv2DTranspose(5, 3, strides=2, output_padding=1, padding="same")(x)))


@kind("2.2", "2.15")
def pools_paddings_and_sizes():  # type: ignore[no-untyped-def]
    """Pooling, padding, cropping and upsampling, each kind."""
    inputs = image()
    x = layers.ZeroPadding2D(((1, 2), (0, 3)))(layers.Conv2D(5, 3)(inputs))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.UpSampling2D((2, 3), interpolation="nearest")(layers.AveragePooling2D((2, 1), padding="same")(x))
    return keras.Model(inputs, head(layers.Cropping2D(2)(layers.UpSampling2D(2, interpolation="bilinear")(x))))


@kind("2.4", "2.8", "2.15")
def activations_as_layers():  # type: ignore[no-untyped-def]
    """ReLU with all its arguments, LeakyReLU, ELU, PReLU, ThresholdedReLU, Softmax and Activation as layers."""
    inputs = image()
    kinds = [
        layers.PReLU(shared_axes=[1, 2]), layers.LeakyReLU(alpha=0.17), layers.ELU(alpha=0.7), layers.PReLU(),
        layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.05), layers.ThresholdedReLU(theta=0.2),
        layers.Activation("swish"), layers.ReLU(6.0), layers.Softmax(axis=-1),
    ]  # fmt: skip
    maps = [one(layers.Conv2D(4, 3)(inputs)) for one in kinds]
    x = layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.Concatenate()(maps)))
    return keras.Model(inputs, layers.Softmax()(x))


@kind("2.2", "2.8", "2.15")
def activations_by_name():  # type: ignore[no-untyped-def]
    """Every activation that is a word, hard_sigmoid among them, which Keras 3 computes otherwise."""
    inputs = image()
    names = ["tanh", "softplus", "softsign", "selu", "elu", "exponential", "hard_sigmoid", "sigmoid", "linear"]
    names += ["swish", "gelu"] if tf.__version__ >= "2.4" else []
    maps = [layers.Conv2D(3, 3, activation=name)(inputs) for name in names]
    maps.append(layers.Activation("hard_sigmoid")(layers.Conv2D(3, 3)(inputs)))
    return keras.Model(inputs, head(layers.Concatenate()(maps)))


@kind("2.15")
def activations_as_objects():  # type: ignore[no-untyped-def]
    """Layers whose activation is itself a layer, or a function of `tf.nn`."""
    inputs = image()
    x = layers.Conv2D(6, 3, activation=layers.LeakyReLU(alpha=0.1))(inputs)
    return keras.Model(inputs, head(layers.Conv2D(6, 3, activation=tf.nn.relu)(x)))


@kind("2.4", "2.15")
def normalisations():  # type: ignore[no-untyped-def]
    """BatchNormalization without scale or centre, LayerNormalization over several axes, Normalization, frozen ones."""
    inputs = image()
    x = layers.BatchNormalization(scale=False, momentum=0.9)(layers.Conv2D(6, 3)(inputs))
    x = layers.BatchNormalization(center=False, epsilon=0.01)(layers.Conv2D(6, 3, activation="relu")(x))
    x = layers.LayerNormalization(axis=[1, 2, 3])(layers.Conv2D(6, 3, activation="relu")(x))
    x = layers.LayerNormalization(epsilon=1e-5, scale=False)(layers.Conv2D(6, 3, activation="relu")(x))
    frozen = layers.BatchNormalization()
    x = frozen(layers.Conv2D(6, 3)(x))
    frozen.trainable = False
    return keras.Model(inputs, head(x))


@kind("2.15")
def normalisations_of_2_15():  # type: ignore[no-untyped-def]
    """GroupNormalization, UnitNormalization and SyncBatchNormalization."""
    inputs = image()
    x = layers.GroupNormalization(groups=3)(layers.Conv2D(6, 3)(inputs))
    x = layers.UnitNormalization()(layers.Conv2D(6, 3, activation="relu")(x))
    x = layers.BatchNormalization(synchronized=True)(layers.Conv2D(6, 3)(x))
    return keras.Model(inputs, head(layers.experimental.SyncBatchNormalization()(layers.Conv2D(6, 3)(x))))


@kind("2.2", "2.15", refused="no form that every OpenCV")
def merges():  # type: ignore[no-untyped-def]
    """Every layer that merges: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot."""
    inputs = image()
    one, other = layers.Conv2D(4, 3)(inputs), layers.Conv2D(4, 3, dilation_rate=1)(inputs)
    kinds = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    x = layers.Concatenate(axis=3)([merge()([one, other]) for merge in kinds])
    pool = layers.GlobalAveragePooling2D()
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(
        layers.Concatenate()([pool(x), layers.Dot(axes=1, normalize=True)([pool(one), pool(other)])])
    ))  # fmt: skip


@kind("2.4", "2.15")
def shapes_and_noise():  # type: ignore[no-untyped-def]
    """Reshape, Permute, Flatten, RepeatVector, and what does nothing outside a training: dropouts, noises, Masking."""
    inputs = image()
    x = layers.SpatialDropout2D(0.3)(layers.Conv2D(6, 3, strides=4)(layers.GaussianNoise(0.1)(inputs)))
    x = layers.AlphaDropout(0.1)(layers.GaussianDropout(0.2)(layers.ActivityRegularization(l2=0.01)(x)))
    x = layers.Permute((3, 1, 2))(x)
    x = layers.Reshape((-1,))(layers.SpatialDropout1D(0.1)(layers.Reshape((6, 64))(x)))
    x = layers.GlobalAveragePooling1D()(layers.RepeatVector(3)(layers.Dense(8, activation="relu")(x)))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.Flatten()(layers.Dropout(0.5)(x))))


@kind("2.4", "2.8", "2.13", "2.15", pixels=True)
def layers_for_images():  # type: ignore[no-untyped-def]
    """Every preprocessing layer for images: Resizing, CenterCrop, Rescaling, Normalization, and the random ones."""
    place = layers.experimental.preprocessing if tf.__version__ < "2.6" else layers
    inputs = image()
    x = place.RandomTranslation(0.1, 0.1)(place.RandomContrast(0.2)(place.RandomZoom(0.2)(inputs)))
    x = place.RandomRotation(0.1)(place.RandomFlip()(x))
    x = place.CenterCrop(28, 26)(place.Resizing(40, 36)(x))
    x = place.RandomWidth(0.1)(place.RandomHeight(0.1)(place.Rescaling(1 / 255.0)(x)))
    norm = place.Normalization(axis=-1)
    norm.adapt(np.random.default_rng(0).uniform(0, 1, (20, 4, 4, 3)).astype("float32"))
    x = norm(x)
    x.set_shape((None, 28, 26, 3)) if hasattr(x, "set_shape") else None
    return keras.Model(inputs, head(layers.Conv2D(6, 3, activation="relu")(x)))


@kind("2.4", pixels=True, warns="RandomCrop")
def random_crop_before_2_6():  # type: ignore[no-untyped-def]
    """RandomCrop of the first versions, which resized before they cropped."""
    return random_crop()


@kind("2.8", "2.15", pixels=True)
def random_crop():  # type: ignore[no-untyped-def]
    """RandomCrop, which Keras 2 computes otherwise than Keras 3 outside a training."""
    inputs = image()
    place = layers.experimental.preprocessing if tf.__version__ < "2.6" else layers
    x = place.Rescaling(1 / 255.0)(place.RandomCrop(20, 25)(place.RandomContrast(0.2)(inputs)))
    return keras.Model(inputs, head(layers.Conv2D(6, 3, activation="relu")(x)))


@kind("2.8", "2.15", refused="no form that every OpenCV")
def recurrent_over_rows():  # type: ignore[no-untyped-def]
    """LSTM, GRU, SimpleRNN, Bidirectional and TimeDistributed over the rows of an image."""
    inputs = image()
    rows = layers.Reshape((8, 384))(inputs)
    x = layers.TimeDistributed(layers.Dense(6, activation="tanh"))(rows)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid"))(x)
    x = layers.SimpleRNN(5, return_sequences=True)(layers.GRU(5, return_sequences=True)(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.LSTM(6)(x)))


@kind("2.8", "2.15", refused="no form that every OpenCV")
def attention():  # type: ignore[no-untyped-def]
    """A small vision transformer: MultiHeadAttention with tensors as named arguments, LayerNormalization, gelu."""
    inputs = image()
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 8, strides=8)(inputs))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(2, 6)(y, value=y), x])
    z = layers.Dense(12, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Attention(use_scale=True)([x, z])
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


@kind("2.2", "2.15")
def regularisers_and_constraints():  # type: ignore[no-untyped-def]
    """Every regulariser, constraint and initialiser, in every place."""
    inputs = image()
    x = layers.Conv2D(
        6, 3, kernel_regularizer=keras.regularizers.l1_l2(0.01, 0.02), kernel_constraint=keras.constraints.MaxNorm(3),
        bias_regularizer="l2", activity_regularizer=keras.regularizers.l1(0.01),
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
    )(inputs)  # fmt: skip
    x = layers.SeparableConv2D(
        6, 3, depthwise_regularizer="l2", pointwise_constraint=keras.constraints.UnitNorm(), pointwise_regularizer="l1",
        depthwise_initializer=keras.initializers.Orthogonal(), pointwise_initializer="he_normal",
    )(x)  # fmt: skip
    x = layers.DepthwiseConv2D(
        3, depthwise_regularizer=keras.regularizers.l2(0.1), depthwise_initializer="lecun_normal"
    )(x)
    x = layers.BatchNormalization(
        gamma_regularizer="l2", beta_constraint=keras.constraints.NonNeg(), gamma_initializer="ones",
        moving_mean_initializer=keras.initializers.Constant(0.1),
    )(x)  # fmt: skip
    return keras.Model(inputs, head(x))


# Words, names and states of a file


@kind("2.2", "2.15")
def odd_names():  # type: ignore[no-untyped-def]
    """Layers and a model with names of dots, digits, dashes and other letters."""
    inputs = image(name="input.1")
    x = layers.Conv2D(6, 3, name="0_conv-a.b")(inputs)
    x = layers.BatchNormalization(name="Norm_KERNEL")(x)
    x = layers.Conv2D(6, 3, name="kernel")(x)
    x = layers.GlobalAveragePooling2D(name="1")(layers.ReLU(name="model_weights")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="layer_names")(x), name="7.model-x")


@kind("2.2", "2.8", "2.15")
def sequential_of_which_fit_gave_the_shape():  # type: ignore[no-untyped-def]
    """A Sequential without an input shape, built by its first images."""
    model = keras.Sequential([layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten(),
                              layers.Dense(4, activation="softmax")])  # fmt: skip
    model.compile("sgd", "categorical_crossentropy")
    model.fit(np.zeros((2, SIDE, SIDE, 3), "float32"), np.eye(4)[:2], verbose=0)
    return model


@kind("2.4", "2.15")
def trained_with_an_optimizer():  # type: ignore[no-untyped-def]
    """Compiled with a metric, fitted, saved with the state of Adam."""
    inputs = image()
    model = keras.Model(inputs, head(body()(inputs)))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy", "AUC"])
    model.fit(np.random.default_rng(1).normal(0, 1, (8, SIDE, SIDE, 3)), np.eye(4)[[0, 1, 2, 3] * 2], verbose=0)
    return model


def focal(truth, answers):  # type: ignore[no-untyped-def]
    return tf.reduce_mean((1 - answers) ** 2 * truth, axis=-1)


@kind("2.8", "2.15")
def compiled_with_own_loss_and_metric():  # type: ignore[no-untyped-def]
    """A loss and a metric that are functions of the user."""
    inputs = image()
    model = keras.Model(inputs, head(body()(inputs)))
    model.compile("adam", loss=focal, metrics=[focal])
    return model


@kind("2.4", "2.15")
def logits_of_many_classes():  # type: ignore[no-untyped-def]
    """No activation at the end, compiled for logits."""
    inputs = image()
    model = keras.Model(inputs, head(body()(inputs), 7, None))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@kind("2.15", channels=1)
def sigmoids_of_several_labels():  # type: ignore[no-untyped-def]
    """Several sigmoids, grey images of a fixed batch of none."""
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(6, 3, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(5, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))


@kind("2.13", "2.15", suffix=".keras")
def archive_of_a_sequential():  # type: ignore[no-untyped-def]
    """`.keras` of Keras 2: a Sequential."""
    return keras.Sequential([image(), layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization(),
                             layers.Flatten(), layers.Dense(4, activation="softmax")])  # fmt: skip


@kind("2.12", "2.13", "2.14", "2.15", suffix=".keras")
def archive_of_models_in_models():  # type: ignore[no-untyped-def]
    """`.keras` of Keras 2: two nested models, one called twice, many layers of one class."""
    inner = body()
    inputs = image()
    x = layers.Add()([inner(inputs), inner(layers.Permute((2, 1, 3))(inputs))])
    deep = keras.Sequential([layers.SeparableConv2D(5, 3), layers.BatchNormalization(), layers.Conv2D(5, 1)])
    return keras.Model(inputs, head(layers.Conv2D(4, 1)(layers.Conv2D(5, 1)(deep(x)))))


@kind("2.13", "2.15", suffix=".keras", pixels=True)
def archive_of_the_tutorial():  # type: ignore[no-untyped-def]
    """`.keras` of Keras 2: augmentation, `preprocess_input`, MobileNetV2, logits."""
    base = keras.applications.MobileNetV2(weights=None, input_shape=(SIDE, SIDE, 3), include_top=False, alpha=0.35)
    base.trainable = False
    inputs = image()
    x = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)])(inputs)
    x = base(keras.applications.mobilenet_v2.preprocess_input(x), training=False)
    model = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@kind("2.13", "2.15", suffix=".keras", refused="no form that every OpenCV")
def archive_of_many_layers():  # type: ignore[no-untyped-def]
    """`.keras` of Keras 2: attention, recurrence, hard_sigmoid, regularisers, a layer called twice."""
    inputs = image()
    shared = layers.Conv2D(3, 3, padding="same", activation="hard_sigmoid", kernel_regularizer="l2")
    x = shared(layers.BatchNormalization()(shared(inputs)))
    x = layers.Reshape((16, 192))(x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Dense(8)(x))
    y = layers.MultiHeadAttention(2, 4)(x, x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


# Reconstructed: see reconstructed.py


@kind("2.2", rewrite="2.2.4")
def functional_of_keras_2_2_4():  # type: ignore[no-untyped-def]
    """A shared nested model as Keras 2.2.4 wrote it (reconstructed)."""
    return shared_model_with_a_call_outside()


@kind("2.2", rewrite="2.1.6")
def sequential_of_keras_2_1_6():  # type: ignore[no-untyped-def]
    """A Sequential as a bare list, in a Functional model, as Keras 2.1.6 wrote it (reconstructed)."""
    return sequential_in_functional()


@kind("2.2", rewrite="2.1.6")
def mobilenet_of_keras_2_1_6():  # type: ignore[no-untyped-def]
    """MobileNet with `relu6` as Keras 2.1.6 wrote it (reconstructed)."""
    return mobilenet()


# What Keras 3 cannot read, or not safely


@kind("2.15", refused="is a Lambda")
def lambda_layer():  # type: ignore[no-untyped-def]
    """A Lambda layer, whose code is in the file."""
    inputs = image()
    return keras.Model(inputs, head(body()(layers.Lambda(lambda x: x * 2)(inputs))))


class Doubled(layers.Layer):
    """A class of the user."""

    def call(self, inputs):  # type: ignore[no-untyped-def]
        return inputs * 2


@kind("2.15", refused="needs 'Doubled', which is not Keras' own")
def class_of_the_user():  # type: ignore[no-untyped-def]
    """A layer whose class is the user's."""
    inputs = image()
    return keras.Model(inputs, head(body()(Doubled()(inputs))))


@kind("2.15", refused="LocallyConnected2D.*Keras 3 has no")
def locally_connected():  # type: ignore[no-untyped-def]
    """A LocallyConnected2D layer, which Keras 3 has no more."""
    inputs = image()
    return keras.Model(inputs, head(layers.LocallyConnected2D(4, 5, strides=5)(inputs)))


@kind("2.15", refused="tf.nn.space_to_depth|space_to_depth")
def rare_function_of_tensorflow():  # type: ignore[no-untyped-def]
    """A function of TensorFlow between layers that Keras has nothing for."""
    inputs = image()
    return keras.Model(inputs, head(layers.Conv2D(6, 3)(tf.nn.space_to_depth(inputs, 2))))


@kind("2.15")
def double_precision():  # type: ignore[no-untyped-def]
    """Everything in float64."""
    inputs = image(dtype="float64")
    x = layers.Conv2D(6, 3, dtype="float64")(inputs)
    x = layers.GlobalAveragePooling2D(dtype="float64")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", dtype="float64")(x))
