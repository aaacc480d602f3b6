// Classify images, or find objects in them, with OpenCV alone, as the manifest of a bundle says.
//
//     ./classify .. photo.jpg ...        labels and probabilities, or what a detector finds
//     ./classify .. folder film.mp4      every image of a folder; each frame of a video (--every 30: one in thirty)
//     ./classify .. --camera 0           until Ctrl-C
//     ./classify .. --selftest           does this machine give the answers that Keras gave?
//
// C++11 and OpenCV 4.5.5 to 5.0. The first argument is the folder of the bundle. Errors are one line on standard error.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/filesystem.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

namespace {

namespace fs = cv::utils::fs;
using std::string;

const char* const SCHEMA = "trainkit/1";
const char* const OLDEST_OPENCV = "4.5.5";
const char* const NOTHING_FOUND = "nothing above the confidence asked for";
const int MAX_SIDE = 16384;                   // pixels; a hostile manifest would only fill the memory
const std::int64_t MAX_PIXELS = 1LL << 28;    // of a padded image
const std::size_t MAX_TEXT = 16u << 20;       // bytes of a manifest, and of a text beside it
const int MAX_DEPTH = 32;                     // of nested JSON: cv::FileStorage goes down it by recursion
const double MAX_TOLERANCE = 1e-3;            // that a self-test may ask for; what is further off is another answer

// What the user can put right: one sentence.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// What OpenCV says, in one line.
string reason(const cv::Exception& error) {
    string line;
    std::istringstream words(error.err);
    for (string word; words >> word && line.size() < 200;) line += (line.empty() ? "" : " ") + word;
    return line;
}

// ---------------------------------------------------------------------------------------------- files and JSON

string join(const string& folder, const string& name) { return fs::join(folder, name); }

bool endsWith(const string& text, const std::vector<string>& suffixes) {
    string lower(text);
    for (char& letter : lower)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return std::any_of(suffixes.begin(), suffixes.end(), [&](const string& suffix) {
        return lower.size() >= suffix.size() && lower.compare(lower.size() - suffix.size(), string::npos, suffix) == 0;
    });
}

bool isVideo(const string& path) {
    return endsWith(path, {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg",
                           ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"});
}

bool isImage(const string& path) {
    return endsWith(path, {".bmp", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"});
}

bool isFile(const string& path) { return fs::exists(path) && !fs::isDirectory(path); }

string readText(const string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Failure("Cannot read " + path + ". Copy the bundle again.");
    string text(MAX_TEXT + 1, '\0');
    file.read(&text[0], static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > MAX_TEXT) throw Failure(path + " has more than " + std::to_string(MAX_TEXT) + " bytes. Cut it.");
    return text;
}

cv::FileStorage readJson(const string& path) {
    const string text = readText(path);
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\') ++i;
        else if (text[i] == '"') quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '[') && ++depth > MAX_DEPTH) break;
        else if (!quoted && (text[i] == '}' || text[i] == ']')) --depth;
    }
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    cv::FileStorage json;
    try {
        if (depth == 0 && !quoted && start != string::npos && text[start] == '{' && text.find('\0') == string::npos)
            json.open(text, cv::FileStorage::READ | cv::FileStorage::MEMORY | cv::FileStorage::FORMAT_JSON);
    } catch (const std::exception&) {
        json.release();
    }
    if (!json.isOpened() || !json.root().isMap())
        throw Failure(path + " is not JSON that cv::FileStorage reads. Export the bundle again.");
    return json;
}

// A part of a manifest, and what it is called in a sentence.
struct Part {
    cv::FileNode node;
    string where, name;

    Failure wrong(const string& key, const string& expected) const {
        return Failure(where + ": `" + name + "." + key + "` must be " + expected + ". Correct it.");
    }
    bool has(const string& key) const { return !node.empty() && !node[key].empty(); }
    cv::FileNode need(const string& key) const {
        if (node.empty() || !node.isMap() || node[key].empty())
            throw Failure(where + ": `" + name + "` needs the key `" + key + "`. Add it, or export the bundle again.");
        return node[key];
    }
    string text(const string& key) const {
        if (!need(key).isString() || string(need(key)).empty()) throw wrong(key, "a text of 1 to 3999 bytes");
        return string(need(key));
    }
    double number(const string& key, double least, double most) const {
        const cv::FileNode found = need(key);
        const double value = found.isInt() || found.isReal() ? static_cast<double>(found) : NAN;
        std::ostringstream range;
        range << "a number from " << least << " to " << most;
        if (!(value >= least && value <= most)) throw wrong(key, range.str());
        return value;
    }
    bool flag(const string& key) const {  // cv::FileStorage gives true and false as 1 and 0
        if (!need(key).isInt() || int(need(key)) < 0 || int(need(key)) > 1) throw wrong(key, "true or false");
        return int(need(key)) == 1;
    }
    std::vector<double> numbers(const string& key, std::size_t least, std::size_t most) const {
        std::vector<double> found;
        if (need(key).isSeq())
            for (const cv::FileNode& one : need(key))
                found.push_back(one.isInt() || one.isReal() ? static_cast<double>(one) : NAN);
        const bool finite = std::all_of(found.begin(), found.end(), [](double value) { return std::isfinite(value); });
        if (found.size() < least || found.size() > most || !finite)
            throw wrong(key, std::to_string(least) + " to " + std::to_string(most) + " numbers");
        return found;
    }
    string fileName(const string& key) const {
        const string name_ = text(key);
        if (name_ == "." || name_ == ".." || name_.find_first_of("/\\:") != string::npos)
            throw wrong(key, "the plain name of a file in the same folder");
        return name_;
    }
    string oneOf(const string& key, const std::vector<string>& known) const {
        string listed;
        for (const string& one : known) listed += (listed.empty() ? "" : ", ") + one;
        if (std::find(known.begin(), known.end(), text(key)) == known.end()) throw wrong(key, "one of " + listed);
        return text(key);
    }
};

// ---------------------------------------------------------------------------------------------------- the manifest

struct Manifest {
    string where, folder;
    string file, format, graph;
    double bytes;  // of the model file; 0 where the manifest does not say
    double scalefactor;
    cv::Size size;
    cv::Scalar mean;
    bool swapRB, crop;
    bool pad, gray;
    cv::Scalar padColor;
    string kind;
    bool multiLabel;
    std::vector<string> names;
    int background;        // the class that is none; -1 where there is none such
    float minConfidence;   // of a detector; below 0 where the manifest does not say
    string minimum, engine;
};

// Returns the path of a file that a manifest names; a link must not lead out of the folder.
string beside(const Manifest& manifest, const string& name, const string& purpose) {
    const string path = join(manifest.folder, name);
    if (!isFile(path)) throw Failure(path + " is missing: the manifest names it as the " + purpose + ". Copy it there.");
    const string real = fs::canonical(path);
    if (real.substr(0, real.find_last_of("/\\")) != fs::canonical(manifest.folder))
        throw Failure(path + " is a link that leaves the bundle. Put the file itself there.");
    return path;
}

std::vector<string> readClassNames(const Manifest& manifest, const string& name) {
    std::istringstream text(readText(beside(manifest, name, "class names")));
    std::vector<string> names;
    bool numbered = true;  // n01440764 tench, Tinca tinca
    for (string line; std::getline(text, line);) {
        if (names.empty() && line.compare(0, 3, "\xEF\xBB\xBF") == 0) line.erase(0, 3);
        line.erase(0, line.find_first_not_of(" \t\r"));
        line.erase(line.find_last_not_of(" \t\r") + 1);
        const std::size_t blank = line.find_first_of(" \t");
        numbered = numbered && line[0] == 'n' && blank != string::npos && blank > 1 &&
                   line.find_first_not_of("0123456789", 1) == blank;
        names.push_back(line);
    }
    while (!names.empty() && names.back().empty()) names.pop_back();
    for (string& one : names) {
        if (one.empty()) throw Failure(join(manifest.folder, name) + " has an empty line among its class names. Fill it.");
        if (numbered) one.erase(0, one.find_first_not_of(" \t", one.find_first_of(" \t")));
    }
    return names;
}

Manifest readManifest(const string& folder) {
    Manifest manifest;
    manifest.folder = folder;
    manifest.where = join(folder, "manifest.json");
    if (!isFile(manifest.where))
        throw Failure("No manifest at " + manifest.where + ". Expected the folder of a bundle, with manifest.json in it.");
    const cv::FileStorage json = readJson(manifest.where);
    const Part all{json.root(), manifest.where, "manifest"};
    const string schema = all.has("schema") && all.need("schema").isString() ? string(all.need("schema")) : "no text";
    if (schema != SCHEMA && all.has("schema"))
        throw Failure(manifest.where + ": this client reads schema " + SCHEMA + ". Received: " + schema.substr(0, 80) +
                      ". Take a newer client.");
    all.need("schema");
    const Part model{all.need("model"), manifest.where, "model"}, blob{all.need("blob"), manifest.where, "blob"};
    const Part output{all.need("output"), manifest.where, "output"}, opencv{json["opencv"], manifest.where, "opencv"};
    manifest.file = model.fileName("file");
    manifest.format = model.oneOf("format", {"onnx", "frozen-graph", "caffe"});
    manifest.graph = model.has("graph") ? model.fileName("graph") : "";
    if (manifest.format == "caffe" && manifest.graph.empty()) model.need("graph");
    manifest.bytes = model.has("bytes") ? model.number("bytes", 1, 2147483647) : 0;

    manifest.scalefactor = blob.number("scalefactor", -1e30, 1e30);
    const std::vector<double> size = blob.numbers("size", 2, 2);
    for (double side : size)
        if (side < 1 || side > MAX_SIDE || side != std::floor(side))
            throw blob.wrong("size", "[width, height], each 1 to 16384 pixels");
    manifest.size = cv::Size(static_cast<int>(size[0]), static_cast<int>(size[1]));
    if (blob.need("mean").isString())
        throw Failure(manifest.where + ": `blob.mean` names a file, which the Python client alone reads. Use classify.py.");
    const std::vector<double> mean = blob.numbers("mean", 1, 4);
    for (std::size_t i = 0; i < mean.size(); ++i) manifest.mean[static_cast<int>(i)] = mean[i];
    manifest.swapRB = blob.flag("swapRB");
    manifest.crop = blob.flag("crop");

    manifest.pad = manifest.gray = false;
    for (const cv::FileNode& node : json["before_blob"]) {
        const Part step{node, manifest.where, "before_blob"};
        const string name = step.text("step");
        if ((name != "pad" && name != "gray") || manifest.gray || (name == "pad" && manifest.pad))
            throw Failure(manifest.where + ": `before_blob` knows the steps pad and gray, once each, pad before gray.");
        (name == "pad" ? manifest.pad : manifest.gray) = true;
        if (name == "pad") {
            const std::vector<double> color = step.numbers("color_bgr", 3, 3);
            manifest.padColor = cv::Scalar(color[0], color[1], color[2]);
        }
    }

    manifest.kind = output.oneOf("kind", {"softmax", "sigmoid", "logits", "ssd"});
    manifest.multiLabel = output.has("multi_label") && output.flag("multi_label");
    if (output.need("class_names").isString()) {
        manifest.names = readClassNames(manifest, output.fileName("class_names"));
    } else {
        for (const cv::FileNode& name : output.need("class_names"))
            manifest.names.push_back(name.isString() ? string(name) : "");
    }
    if (manifest.names.empty() || std::find(manifest.names.begin(), manifest.names.end(), "") != manifest.names.end())
        throw output.wrong("class_names", "a list of texts, or the name of a text file in the same folder");
    const double last = static_cast<double>(manifest.names.size()) - 1;
    manifest.background = output.has("background") ? static_cast<int>(output.number("background", 0, last)) : -1;
    manifest.minConfidence =
        output.has("min_confidence") ? static_cast<float>(output.number("min_confidence", 0, 1)) : -1.f;
    manifest.minimum = opencv.has("minimum") ? opencv.text("minimum") : OLDEST_OPENCV;
    manifest.engine = opencv.has("engine") ? opencv.oneOf("engine", {"classic", "new", "auto"}) : "";
    return manifest;
}

// ----------------------------------------------------------------------------------------------------- the network

std::vector<int> versionOf(const string& text) {
    std::vector<int> numbers;
    std::istringstream parts(text.substr(0, text.find('-')));
    for (string part; std::getline(parts, part, '.') && numbers.size() < 3;) numbers.push_back(std::atoi(part.c_str()));
    return numbers;
}

cv::dnn::Net readNet(const Manifest& manifest) {
    const string received = cv::getVersionString();
    if (versionOf(received) < versionOf(manifest.minimum))
        throw Failure("This bundle needs OpenCV " + manifest.minimum + " or later. Received: " + received +
                      ". Upgrade OpenCV.");
    const string path = beside(manifest, manifest.file, "model");
    const string graph = manifest.graph.empty() ? "" : beside(manifest, manifest.graph, "graph");
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const double bytes = file ? static_cast<double>(file.tellg()) : 0;
    if (manifest.bytes > 0 && bytes != manifest.bytes) {
        std::ostringstream said;
        said.precision(12);
        said << path << " has " << bytes << " bytes; the manifest says " << manifest.bytes << ". Copy the bundle again.";
        throw Failure(said.str());
    }
    try {
#if CV_VERSION_MAJOR >= 5
        const int engine = manifest.engine == "new"       ? cv::dnn::ENGINE_NEW
                           : manifest.engine == "classic" ? cv::dnn::ENGINE_CLASSIC
                                                          : cv::dnn::ENGINE_AUTO;
        // The new engine ends the process on some frozen graphs.
        if (manifest.format == "frozen-graph")
            return cv::dnn::readNetFromTensorflow(path, graph, cv::dnn::ENGINE_CLASSIC);
        if (manifest.format == "onnx") return cv::dnn::readNetFromONNX(path, engine);
        throw Failure("OpenCV " + received + " reads no Caffe models any more. Take an OpenCV before 5.0, or convert the "
                      "model to ONNX.");
#else
        if (manifest.format == "frozen-graph") return cv::dnn::readNetFromTensorflow(path, graph);
        if (manifest.format == "caffe") return cv::dnn::readNetFromCaffe(graph, path);
        return cv::dnn::readNetFromONNX(path);
#endif
    } catch (const cv::Exception& error) {
        throw Failure("OpenCV " + received + " cannot read the model (" + reason(error) +
                      "). Copy or export the bundle again.");
    }
}

struct Padding {
    int left, top, right, bottom;
};

// How many pixels bring an image to the aspect ratio of the blob: centred, an odd one going right or down. The new side
// is rounded to the nearest whole pixel, halves up, in whole numbers, so that every language agrees.
Padding paddingToAspect(const cv::Size& image, const cv::Size& blob) {
    const std::int64_t columns = image.width, rows = image.height, width = blob.width, height = blob.height;
    const std::int64_t newColumns = std::max(columns, (2 * rows * width + height) / (2 * height));
    const std::int64_t newRows = std::max(rows, (2 * columns * height + width) / (2 * width));
    if (newColumns * newRows > MAX_PIXELS) throw Failure("An image padded to the blob's shape has too many pixels. Cut it.");
    const int left = static_cast<int>((newColumns - columns) / 2), top = static_cast<int>((newRows - rows) / 2);
    return {left, top, static_cast<int>(newColumns - columns) - left, static_cast<int>(newRows - rows) - top};
}

struct Found {
    string label;
    float confidence;
    cv::Rect2d box;  // of a detector, in pixels of the image
};

// A manifest and its network. Use one in each thread: a cv::dnn::Net must not be shared between threads.
class Network {
public:
    explicit Network(const string& folder) : manifest(readManifest(folder)), net_(readNet(manifest)) {}

    const Manifest manifest;

    bool detects() const { return manifest.kind == "ssd"; }

    // The probability of each class for a BGR image of any size, as cv::imread returns it.
    std::vector<float> probabilities(const cv::Mat& image) {
        std::vector<float> values = run(image);
        if (values.size() != manifest.names.size())
            throw Failure("The model answers with " + std::to_string(values.size()) +
                          " numbers; the manifest's class names need " + std::to_string(manifest.names.size()) + ".");
        if (manifest.kind == "logits") squash(values);
        const bool likely = std::all_of(values.begin(), values.end(), [](float value) {
            return value >= -MAX_TOLERANCE && value <= 1 + MAX_TOLERANCE;  // so written, NaN is refused too
        });
        if (!likely)
            throw Failure("The model's output goes beyond 0 to 1. Expected probabilities for the kind " + manifest.kind +
                          ". If the network ends without a softmax, write `logits` as `output.kind`.");
        return values;
    }

    // What is seen in an image, the surest first.
    std::vector<Found> predict(const cv::Mat& image, std::size_t top, double minConfidence) {
        std::vector<Found> found = detects() ? detections(image) : labels(image);
        std::stable_sort(found.begin(), found.end(),
                         [](const Found& one, const Found& other) { return one.confidence > other.confidence; });
        const double usual = detects() ? (manifest.minConfidence < 0 ? 0.5 : manifest.minConfidence) : 0;
        const float least = static_cast<float>(minConfidence < 0 ? usual : minConfidence);
        if (!detects() && found.size() > top) found.resize(top);
        found.erase(std::remove_if(found.begin(), found.end(), [&](const Found& one) { return one.confidence < least; }),
                    found.end());
        return found;
    }

private:
    // What comes out of the network, as it is.
    std::vector<float> run(const cv::Mat& image) {
        try {
            net_.setInput(cv::dnn::blobFromImage(prepare(image), manifest.scalefactor, manifest.size, manifest.mean,
                                                 manifest.swapRB, manifest.crop, CV_32F));
            cv::Mat output = net_.forward();
            if (output.empty()) return {};
            if (detects() && output.size[output.dims - 1] != 7)
                throw Failure("The model's output is not that of an SSD, which is (1, 1, N, 7).");
            output = output.reshape(1, 1);
            output.convertTo(output, CV_32F);
            return std::vector<float>(output.ptr<float>(), output.ptr<float>() + output.total());
        } catch (const cv::Exception& error) {
            throw Failure("OpenCV " + cv::getVersionString() + " cannot run the model (" + reason(error) +
                          "). Copy or export the bundle again.");
        }
    }

    // What must happen before blobFromImage; mostly nothing.
    cv::Mat prepare(const cv::Mat& image) const {
        cv::Mat prepared = image;
        if (manifest.pad) {
            const Padding by = paddingToAspect(image.size(), manifest.size);
            cv::copyMakeBorder(image, prepared, by.top, by.bottom, by.left, by.right, cv::BORDER_CONSTANT, manifest.padColor);
        }
        if (manifest.gray) cv::cvtColor(prepared, prepared, cv::COLOR_BGR2GRAY);
        return prepared;
    }

    void squash(std::vector<float>& values) const {
        const float most = *std::max_element(values.begin(), values.end());
        float sum = 0;
        for (float& value : values) {
            value = manifest.multiLabel ? 1 / (1 + std::exp(-value)) : std::exp(value - most);
            sum += value;
        }
        if (!manifest.multiLabel)
            for (float& value : values) value /= sum;
    }

    std::vector<Found> labels(const cv::Mat& image) {
        const std::vector<float> values = probabilities(image);
        std::vector<Found> found;
        for (std::size_t i = 0; i < values.size(); ++i) found.push_back({manifest.names[i], values[i], cv::Rect2d()});
        return found;
    }

    // Rows of seven: the image's place in the batch, class, confidence, left, top, right, bottom as shares of the blob.
    // Rows that say nothing are left out; boxes are cut at the image's edges.
    std::vector<Found> detections(const cv::Mat& image) {
        const std::vector<float> rows = run(image);
        std::vector<Found> found;
        for (std::size_t i = 0; i + 7 <= rows.size(); i += 7) {
            const float* row = &rows[i];
            const bool finite = std::all_of(row, row + 7, [](float value) { return std::isfinite(value); });
            const bool known = row[0] == 0 && row[1] == std::floor(row[1]) && row[1] >= 0 &&
                               row[1] < static_cast<float>(manifest.names.size());
            if (!finite || !known || !(row[2] > 0 && row[2] <= 1 + MAX_TOLERANCE)) continue;
            const int number = static_cast<int>(row[1]);
            const cv::Rect2d box = toPixels(row + 3, image.size());
            if (number == manifest.background || box.width <= 0 || box.height <= 0) continue;
            found.push_back({manifest.names[static_cast<std::size_t>(number)], std::min(row[2], 1.f), box});
        }
        return found;
    }

    // Turns shares of the blob into pixels of the image that was padded, cropped or stretched to make it.
    cv::Rect2d toPixels(const float* shares, const cv::Size& image) const {
        Padding by = {0, 0, 0, 0};
        if (manifest.pad) by = paddingToAspect(image, manifest.size);
        const int width = by.left + image.width + by.right, height = by.top + image.height + by.bottom;
        double edges[4];
        for (int i = 0; i < 4; ++i) {
            const bool across = i % 2 == 0;
            edges[i] = shares[i] * static_cast<double>(across ? width : height);
            if (manifest.crop) {  // as blobFromImage does it: a factor that lets the image cover the blob; its middle
                const float factor = std::max(static_cast<float>(manifest.size.width) / static_cast<float>(width),
                                              static_cast<float>(manifest.size.height) / static_cast<float>(height));
                const int side = across ? manifest.size.width : manifest.size.height;
                const int cut = (cvRound((across ? width : height) * static_cast<double>(factor)) - side) / 2;
                edges[i] = (shares[i] * static_cast<double>(side) + cut) / factor;
            }
            const double most = across ? image.width : image.height;
            edges[i] = std::min(std::max(edges[i] - (across ? by.left : by.top), 0.0), most);
        }
        return cv::Rect2d(edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]);
    }

    cv::dnn::Net net_;
};

// ------------------------------------------------------------------------------------------------------ the command

cv::Mat readImage(const string& path) {
    if (!isFile(path)) throw Failure("No such image: " + path);
    const cv::Mat image = cv::imread(path, cv::IMREAD_COLOR);
    if (image.empty()) throw Failure("OpenCV cannot read " + path + " as an image. Convert it to JPEG or PNG.");
    return image;
}

string describeFileCheck(const Manifest& manifest) {
    return manifest.bytes > 0 ? "Model file: size checked."
                              : "Model file: not checked, the manifest says neither size nor sha256.";
}

// Compares this machine's answers on the bundle's own images with those that Keras gave.
int selfTest(const string& bundle) {
    Network network(bundle);
    const string folder = join(bundle, "selftest"), path = join(folder, "selftest.json");
    if (!isFile(path))
        throw Failure("There is no " + path + ". The folder holds photographs, and may have been taken out for that reason.");
    const cv::FileStorage json = readJson(path);
    const Part all{json.root(), path, "selftest"};
    const double tolerance = all.has("tolerance") ? all.number("tolerance", 1e-12, MAX_TOLERANCE) : 1e-5;
    int images = 0, sameLabels = 0, originals = 0, sameOriginals = 0;
    double difference = 0;
    for (const cv::FileNode& node : all.need("images")) {
        const Part one{node, path, "images"};
        const cv::Mat image = readImage(join(folder, one.fileName("png")));
        const std::size_t count = network.manifest.names.size();
        const std::vector<double> expected = one.numbers("probabilities", count, count);
        const std::vector<float> actual = network.probabilities(image);
        const auto best = std::max_element(actual.begin(), actual.end()) - actual.begin();
        for (std::size_t i = 0; i < count; ++i)
            difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - expected[i]));
        sameLabels += network.manifest.names[static_cast<std::size_t>(best)] == one.text("label");
        if (one.has("original")) {
            ++originals;
            const cv::Mat original = cv::imread(join(folder, one.fileName("original")), cv::IMREAD_COLOR);
            sameOriginals += original.size() == image.size() && cv::norm(original, image, cv::NORM_INF) == 0;
        }
        ++images;
    }
    if (images == 0) throw Failure(path + " holds no images. Copy the bundle again.");
    const bool ok = sameLabels == images && difference <= tolerance;
    std::printf("OpenCV %s%s: %s. %d of %d labels, largest difference %.1e", cv::getVersionString().c_str(),
                CV_VERSION_MAJOR >= 5 && !network.manifest.engine.empty() ? (", " + network.manifest.engine + " engine").c_str() : "",
                ok ? "the same answers as Keras" : "NOT the answers that Keras gave", sameLabels, images, difference);
    if (originals) std::printf(", %d of %d originals equal", sameOriginals, originals);
    std::printf(". %s\n", describeFileCheck(network.manifest).c_str());
    return ok ? 0 : 1;
}

struct Options {
    string bundle, annotate;
    std::vector<string> inputs;
    int camera = -1, every = 1, top = 5;
    double minConfidence = -1;
    bool selfTest = false;
};

// Draws what was found; OpenCV's fonts have the letters of ASCII only.
cv::Mat draw(const cv::Mat& image, const std::vector<Found>& found, bool boxes) {
    cv::Mat picture = image.clone();
    const double scale = std::max(0.4, picture.cols / 1200.0);
    const int height = static_cast<int>(30 * scale);
    const auto write = [&](const string& text, cv::Point corner) {
        int baseline = 0;
        const int width = cv::getTextSize(text, cv::FONT_HERSHEY_SIMPLEX, scale, 1, &baseline).width;
        cv::rectangle(picture, cv::Rect(corner.x, corner.y, width + 4, height), cv::Scalar(), cv::FILLED);
        const cv::Point at(corner.x + 2, corner.y + height - static_cast<int>(9 * scale));
        cv::putText(picture, text, at, cv::FONT_HERSHEY_SIMPLEX, scale, cv::Scalar::all(255));
    };
    if (found.empty()) write(NOTHING_FOUND, cv::Point());
    for (std::size_t i = 0; i < found.size(); ++i) {
        string text;
        for (char letter : found[i].label)
            if ((letter & 0xC0) != 0x80) text += (letter & 0x80) ? '?' : letter;
        char share[16];
        std::snprintf(share, sizeof share, " %.1f%%", 100.0 * found[i].confidence);
        cv::Point corner(0, static_cast<int>(i) * height);
        if (boxes) {
            const cv::Rect box(found[i].box);
            cv::rectangle(picture, box, cv::Scalar(90, 220, 0), std::max(1, cvRound(2 * scale)));
            corner = cv::Point(box.x, std::max(0, box.y - height));
        }
        write(text + share, corner);
    }
    return picture;
}

// Writes a picture to what --annotate names: a file for one image, else into a folder. Nothing is overwritten.
void savePicture(const Options& options, const string& source, int frame, const cv::Mat& picture) {
    string path = options.annotate;
    if (frame >= 0 || options.inputs.size() != 1 || fs::isDirectory(options.inputs[0]) || fs::isDirectory(path)) {
        const string base = source.substr(source.find_last_of("/\\") + 1);
        fs::createDirectories(path);
        path = join(path, base.substr(0, base.find_last_of('.')) + (frame < 0 ? "" : "-" + std::to_string(frame)) + ".png");
    }
    if (fs::exists(path)) throw Failure(path + " exists already, and nothing is overwritten. Choose another --annotate.");
    bool written = false;
    try {
        written = cv::imwrite(path, picture);
    } catch (const cv::Exception&) {
    }
    if (!written) throw Failure("OpenCV cannot write " + path + ". Expected a name that ends in .png or .jpg.");
}

std::vector<string> listFiles(const string& source) {
    if (!fs::isDirectory(source)) return {source};
    std::vector<cv::String> all;
    cv::glob(join(source, "*"), all, true);
    std::vector<string> files;
    for (const string& file : all)
        if ((isImage(file) || isVideo(file)) && file[file.find_last_of("/\\") + 1] != '.') files.push_back(file);
    if (files.empty()) throw Failure("No images in " + source + ". Expected files such as .jpg and .png, or a video.");
    return files;
}

// Answers all inputs: a line each. What cannot be read is named, and the rest goes on.
int answer(const Options& options) {
    Network network(options.bundle);
    int failed = 0, count = 0;
    const auto started = std::chrono::steady_clock::now();
    const auto show = [&](const string& source, int frame, const cv::Mat& image) {
        const std::vector<Found> found = network.predict(image, static_cast<std::size_t>(options.top), options.minConfidence);
        std::printf("%s%s:", source.c_str(), frame < 0 ? "" : (" frame " + std::to_string(frame)).c_str());
        for (std::size_t i = 0; i < found.size(); ++i) {
            std::printf("%s %s %.4f", i ? "," : "", found[i].label.c_str(), static_cast<double>(found[i].confidence));
            const cv::Rect2d& box = found[i].box;
            if (network.detects())
                std::printf(" at %.0f %.0f %.0f %.0f", box.x, box.y, box.x + box.width, box.y + box.height);
        }
        std::printf("%s\n", found.empty() ? (string(" ") + NOTHING_FOUND).c_str() : "");
        std::fflush(stdout);
        ++count;
        if (!options.annotate.empty()) savePicture(options, source, frame, draw(image, found, network.detects()));
    };
    const auto frames = [&](cv::VideoCapture capture, const string& name) {
        int number = 0;
        for (cv::Mat frame; capture.isOpened() && capture.grab(); ++number) {
            if (number % options.every) continue;
            if (!capture.retrieve(frame) || frame.empty()) break;
            if (frame.channels() == 1) cv::cvtColor(frame, frame, cv::COLOR_GRAY2BGR);
            show(name, number, frame);
        }
        if (number == 0)
            throw Failure("OpenCV " + cv::getVersionString() + " gets no frame from " + name + ". Try another file or camera.");
    };
    const auto attempt = [&](const std::function<void()>& work) {
        try {
            work();
        } catch (const Failure& error) {
            std::fprintf(stderr, "%s\n", error.what());
            failed = 1;
        }
    };
    if (options.camera >= 0)
        attempt([&] { frames(cv::VideoCapture(options.camera), "camera " + std::to_string(options.camera)); });
    for (const string& input : options.inputs)
        attempt([&] {
            for (const string& file : listFiles(input))
                attempt([&] {
                    if (!isVideo(file)) return show(file, -1, readImage(file));
                    if (!isFile(file)) throw Failure("No such video: " + file);
                    frames(cv::VideoCapture(file), file);
                });
        });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (count)
        std::fprintf(stderr, "%d %s in %.2f s: %.1f images/s\n", count, count == 1 ? "image" : "images", seconds, count / seconds);
    return failed;
}

const char* const USAGE =
    "usage: classify BUNDLE INPUT... [--top N] [--min-confidence P] [--every N] [--annotate OUT]\n"
    "       classify BUNDLE --camera N\n"
    "       classify BUNDLE --selftest\n"
    "INPUT is an image, a folder of them, or a video by its suffix, such as .mp4.\n";

// Wrong usage ends with exit code 2.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

double numberOf(const string& option, const string& text, double least, double most) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= least && value <= most))
        throw UsageError(option + " must be a number of at least " + std::to_string(static_cast<int>(least)) +
                         (most == 1 ? ", at most 1" : "") + ". Received: " + text);
    return value;
}

Options parse(const std::vector<string>& arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const string& name = arguments[i];
        if (name == "--selftest") {
            options.selfTest = true;
        } else if (name.compare(0, 2, "--") == 0) {
            if (++i == arguments.size()) throw UsageError(name + " needs a value.");
            if (name == "--camera") options.camera = static_cast<int>(numberOf(name, arguments[i], 0, 1e6));
            else if (name == "--every") options.every = static_cast<int>(numberOf(name, arguments[i], 1, 1e9));
            else if (name == "--top") options.top = static_cast<int>(numberOf(name, arguments[i], 1, 1e9));
            else if (name == "--min-confidence") options.minConfidence = numberOf(name, arguments[i], 0, 1);
            else if (name == "--annotate") options.annotate = arguments[i];
            else throw UsageError("Unknown option " + name + ".");
        } else if (options.bundle.empty()) {
            options.bundle = name;
        } else {
            options.inputs.push_back(name);
        }
    }
    if (options.bundle.empty() || !options.inputs.empty() + (options.camera >= 0) + options.selfTest != 1)
        throw UsageError("Name a bundle, and at least one INPUT, or --camera N, or --selftest.");
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    try {
        const Options options = parse(std::vector<string>(argv + 1, argv + argc));
        return options.selfTest ? selfTest(options.bundle) : answer(options);
    } catch (const UsageError& error) {
        std::fprintf(stderr, "%s\n%s", error.what(), USAGE);
        return 2;
    } catch (const std::exception& error) {  // a Failure, or what OpenCV could not do
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
