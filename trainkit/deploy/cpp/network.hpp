// A network in OpenCV: from pixels to what is in them, in the order and the numbers of the Python client.

#pragma once

#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>

#include "graph.hpp"
#include "headers.hpp"
#include "manifest.hpp"
#include "resizing.hpp"

const char* const NONE_OF_THESE = "none of these";  // where a classifier is less sure than the manifest asks for
const double MAX_TOLERANCE = 1e-3;        // beyond rounding: what is further off is another answer

inline std::vector<int> versionOf(const string& text) {
    std::vector<int> numbers;
    std::istringstream parts(text.substr(0, text.find('-')));
    for (string part; numbers.size() < 3 && std::getline(parts, part, '.');) numbers.push_back(std::atoi(part.c_str()));
    return numbers;
}

inline cv::dnn::Net readNet(const Manifest& manifest) {
    const string version = cv::getVersionString();
    if (versionOf(version) < versionOf(manifest.minimum))
        throw Failure("This bundle needs OpenCV " + manifest.minimum + " or later. Received: " + version +
                      ". Upgrade OpenCV.");
    const string graph =
        manifest.graph.empty() ? "" : beside(manifest.folder, manifest.graph, "graph", MAX_TEXT_BYTES);
    const string model = beside(manifest.folder, manifest.file, "model", MAX_MODEL_BYTES);
    if (manifest.bytes && sizeOf(model) != manifest.bytes)
        throw Failure(model + " has " + std::to_string(sizeOf(model)) + " bytes; the manifest says " +
                      std::to_string(manifest.bytes) + ". Copy the bundle again.");
    if (CV_VERSION_MAJOR >= 5 && manifest.format == "caffe")
        throw Failure("OpenCV " + version + " reads no Caffe models any more. Take an OpenCV before 5.0, or convert the "
                      "model to ONNX.");
    if (manifest.format == "onnx") checkOnnx(readBytes(model), model);
    try {
#if CV_VERSION_MAJOR >= 5
        // The new engine ends the process on some frozen graphs.
        if (manifest.format == "frozen-graph")
            return cv::dnn::readNetFromTensorflow(model, graph, cv::dnn::ENGINE_CLASSIC);
        if (manifest.engine == "classic") return cv::dnn::readNetFromONNX(model, cv::dnn::ENGINE_CLASSIC);
        if (manifest.engine == "new") return cv::dnn::readNetFromONNX(model, cv::dnn::ENGINE_NEW);
#else
        if (manifest.format == "frozen-graph") return cv::dnn::readNetFromTensorflow(model, graph);
        if (manifest.format == "caffe") return cv::dnn::readNetFromCaffe(graph, model);
#endif
        return cv::dnn::readNetFromONNX(model);
    } catch (const std::exception& error) {
        throw Failure("OpenCV " + version + " cannot read the model (" + reasonOf(error) +
                      "). Copy or export the bundle again.");
    }
}

struct Padding {
    int left, top, right, bottom;
};

// How many pixels bring an image to the aspect ratio of the blob: centred, an odd one going right or down. The new side
// is rounded to the nearest whole pixel, halves up, in whole numbers, so that every language agrees.
inline Padding paddingToAspect(const cv::Size& image, const cv::Size& blob) {
    const std::int64_t columns = image.width, rows = image.height, width = blob.width, height = blob.height;
    const std::int64_t newColumns = std::max(columns, (2 * rows * width + height) / (2 * height));
    const std::int64_t newRows = std::max(rows, (2 * columns * height + width) / (2 * width));
    if (newColumns * newRows > MAX_PIXELS)
        throw Failure(cv::format("An image of %dx%d padded to %d:%d has more than %d pixels. Cut it.", image.width,
                                 image.height, blob.width, blob.height, static_cast<int>(MAX_PIXELS)));
    const int across = static_cast<int>(newColumns - columns), down = static_cast<int>(newRows - rows);
    return {across / 2, down / 2, across - across / 2, down - down / 2};
}

// Logits become probabilities: the softmax of all, or the sigmoid of each.
inline void squash(std::vector<float>& values, bool each) {
    const float most = *std::max_element(values.begin(), values.end());
    float sum = 0;
    for (float& value : values) {
        value = each ? 1 / (1 + std::exp(-value)) : std::exp(value - most);
        sum += value;
    }
    if (!each)
        for (float& value : values) value /= sum;
}

inline string shapeOf(const cv::Mat& mat) {
    string sides;
    for (int i = 0; i < mat.dims; ++i) sides += (i ? ", " : "") + std::to_string(mat.size[i]);
    return "(" + (sides.empty() ? "0," : sides) + ")";
}

// What is seen in an image, and for a detector where: edges in pixels of the image as it was.
struct Found {
    string label;
    float confidence;
    double left, top, right, bottom;
};

// A manifest and its network, opened. Use one in each thread: a cv::dnn::Net must not be shared between threads.
struct Network {
    Manifest manifest;
    cv::dnn::Net net;

    explicit Network(const string& bundle) : manifest(readManifest(bundle)), net(readNet(manifest)) {}

    // What the network gets for a BGR image of any size, as cv::imread returns it; with other numbers, its pixels.
    cv::Mat toBlob(const cv::Mat& image, double scalefactor, const cv::Scalar& mean) const {
        cv::Mat prepared = image;
        try {
            if (manifest.pad) {
                const Padding by = paddingToAspect(image.size(), manifest.size);
                cv::copyMakeBorder(image, prepared, by.top, by.bottom, by.left, by.right, cv::BORDER_CONSTANT,
                                   manifest.padColor);
            }
            if (manifest.gray) cv::cvtColor(prepared, prepared, cv::COLOR_BGR2GRAY);
            if (!RESIZES_AS_ON_X86) prepared = resizeAsOnX86(prepared, manifest.size, manifest.crop);
            // Of a grey image there is nothing to swap, but OpenCV 4.6 swaps the means even so.
            return cv::dnn::blobFromImage(prepared, scalefactor, manifest.size, mean, manifest.swapRB && !manifest.gray,
                                          manifest.crop, CV_32F);
        } catch (const cv::Exception& error) {
            throw Failure("OpenCV cannot make a blob of this image (" + reasonOf(error) + "). Cut or scale it.");
        }
    }

    // Says where an image, as `predict` takes it, is much darker or lighter than the training images; else nothing.
    string brightnessWarning(const cv::Mat& image, bool isInverted) const {
        if (!manifest.training.known) return "";
        const cv::Mat pixels = toBlob(image, 1, cv::Scalar());
        return compareBrightness(measureBrightness(pixels, manifest.swapRB), manifest.training, isInverted);
    }

    // What the network gets for an image; another thread may make it meanwhile.
    cv::Mat toInput(const cv::Mat& image) const { return toBlob(image, manifest.scalefactor, manifest.mean); }

    // What comes out of the network, as it is.
    cv::Mat run(const cv::Mat& image) { return runBlob(toInput(image)); }

    cv::Mat runBlob(const cv::Mat& blob) {
        cv::Mat output;
        try {
            net.setInput(blob);
            net.forward().convertTo(output, CV_32F);
        } catch (const std::exception& error) {
            throw Failure("OpenCV " + cv::getVersionString() + " cannot run the model (" + reasonOf(error) +
                          "). Copy or export the bundle again.");
        }
        return output;
    }

    // The probability of each class.
    std::vector<float> probabilities(const cv::Mat& image) { return probabilitiesOf(run(image)); }

    std::vector<float> probabilitiesOf(const cv::Mat& output) const {
        const size_t classes = manifest.names.size();
        if (output.total() != classes)
            throw Failure("The model's output has the shape " + shapeOf(output) + "; the manifest's class names need (1, " +
                          std::to_string(classes) + ").");
        std::vector<float> values(output.ptr<float>(), output.ptr<float>() + classes);
        if (manifest.kind == "logits") squash(values, manifest.multiLabel);
        const bool numbers = std::none_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
        const float least = numbers ? *std::min_element(values.begin(), values.end()) : NAN;
        const float most = numbers ? *std::max_element(values.begin(), values.end()) : NAN;
        if (!(least >= -MAX_TOLERANCE && most <= 1 + MAX_TOLERANCE))
            throw Failure(cv::format("The model's output goes from %.4g to %.4g. Expected probabilities for the kind %s. "
                                     "If the network ends without a softmax, write `logits` as `output.kind`.",
                                     static_cast<double>(least), static_cast<double>(most), manifest.kind.c_str()));
        return values;
    }

    // What is in an image, the surest first; of a classifier at most `top`. A share below 0 is what the manifest says.
    std::vector<Found> predict(const cv::Mat& image, size_t top, double minConfidence) {
        return predictBlob(toInput(image), image.size(), top, minConfidence);
    }

    // The same for what `toInput` made of an image of that size.
    std::vector<Found> predictBlob(const cv::Mat& blob, const cv::Size& size, size_t top, double minConfidence) {
        const cv::Mat output = runBlob(blob);
        std::vector<Found> found = manifest.isDetector() ? detections(output, size) : labels(output);
        std::stable_sort(found.begin(), found.end(),
                         [](const Found& one, const Found& other) { return one.confidence > other.confidence; });
        const double usual = manifest.isDetector() ? manifest.minConfidence : 0;
        const float least = static_cast<float>(minConfidence < 0 ? usual : minConfidence);
        const auto isUnsure = [least](const Found& one) { return one.confidence < least; };
        found.erase(std::remove_if(found.begin(), found.end(), isUnsure), found.end());
        if (!manifest.isDetector() && found.size() > top) found.resize(top);
        if (!found.empty() && found[0].confidence < static_cast<float>(manifest.rejectBelow)) {
            found.resize(1);
            found[0].label = NONE_OF_THESE;
        }
        return found;
    }

    std::vector<Found> labels(const cv::Mat& output) const {
        const std::vector<float> values = probabilitiesOf(output);
        std::vector<Found> found;
        for (size_t i = 0; i < values.size(); ++i)
            if (manifest.thresholds.empty() || values[i] >= static_cast<float>(manifest.thresholds[i]))
                found.push_back({manifest.names[i], values[i], 0, 0, 0, 0});
        return found;
    }

    // An SSD answers rows of seven: the image's place in the batch, class, confidence, left, top, right, bottom as shares
    // of the blob. Rows that say nothing are left out. Boxes are cut at the image's edges.
    std::vector<Found> detections(const cv::Mat& output, const cv::Size& size) const {
        if (output.dims < 2 || output.size[output.dims - 1] != 7 ||
            output.total() != 7 * static_cast<size_t>(output.size[output.dims - 2]))
            throw Failure("The model's output has the shape " + shapeOf(output) + ". That of an SSD is (1, 1, N, 7).");
        std::vector<Found> found;
        for (size_t i = 0; i + 7 <= output.total(); i += 7) {
            const float* const row = output.ptr<float>() + i;
            const bool finite = std::all_of(row, row + 7, [](float value) { return std::isfinite(value); });
            const bool known = row[0] == 0 && row[1] >= 0 && row[1] < static_cast<float>(manifest.names.size()) &&
                               row[1] == std::floor(row[1]);
            if (!finite || !known || !(row[2] > 0 && row[2] <= 1 + MAX_TOLERANCE)) continue;
            const int number = static_cast<int>(row[1]);
            Found one{manifest.names[static_cast<size_t>(number)], std::min(row[2], 1.f), row[3], row[4], row[5], row[6]};
            toPixels(one, size);
            if (number != manifest.background && one.left < one.right && one.top < one.bottom) found.push_back(one);
        }
        return found;
    }

    // Turns shares of the blob into pixels of the image that was padded, cropped or stretched to make it.
    void toPixels(Found& one, const cv::Size& image) const {
        const Padding by = manifest.pad ? paddingToAspect(image, manifest.size) : Padding{0, 0, 0, 0};
        const int width = by.left + image.width + by.right, height = by.top + image.height + by.bottom;
        // As blobFromImage crops: a float factor that lets the image cover the blob, and the middle of that.
        const float factor = std::max(static_cast<float>(manifest.size.width) / static_cast<float>(width),
                                      static_cast<float>(manifest.size.height) / static_cast<float>(height));
        const auto map = [&](double share, int padded, int side, int before, int most) {
            const int cut = (cvRound(padded * static_cast<double>(factor)) - side) / 2;
            const double pixels = manifest.crop ? (share * side + cut) / static_cast<double>(factor) : share * padded;
            return std::min(std::max(pixels - before, 0.0), static_cast<double>(most));
        };
        one.left = map(one.left, width, manifest.size.width, by.left, image.width);
        one.right = map(one.right, width, manifest.size.width, by.left, image.width);
        one.top = map(one.top, height, manifest.size.height, by.top, image.height);
        one.bottom = map(one.bottom, height, manifest.size.height, by.top, image.height);
    }
};
