// Classify images, or find objects in them, with OpenCV alone, as the manifest of a bundle says.
//
//     ./classify .. photo.jpg ...        labels and probabilities, or what a detector finds
//     ./classify .. folder film.mp4      every image of a folder; each frame of a video (--every 30: one in thirty)
//     ./classify .. --camera 0           until Ctrl-C
//     ./classify .. --selftest           does this machine give the answers that Keras gave?
//
// C++11 and OpenCV 4.5.5 to 5.0. The first argument is the folder of the bundle. What cannot be done is one line on
// standard error; the exit code is then 1, and 2 for wrong usage.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/videoio.hpp>

#include "ahead.hpp"
#include "trial.hpp"

namespace {

const char* const NOTHING_FOUND = "nothing above the confidence asked for";
const std::vector<string> IMAGE_SUFFIXES{".bmp", ".jpe", ".jpeg", ".jpg",  ".pgm", ".png",
                                         ".pnm", ".ppm", ".tif",  ".tiff", ".webp"};
const std::vector<string> VIDEO_SUFFIXES{".3gp", ".avi",  ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
                                         ".mp4", ".mpeg", ".mpg", ".mts",  ".ogv", ".ts",    ".webm", ".wmv"};

// ---- Pictures

bool endsWith(const string& path, const std::vector<string>& suffixes) {
    const size_t dot = std::min(path.find_last_of('.'), path.size());
    string suffix = path.substr(dot);
    for (char& letter : suffix)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return std::count(suffixes.begin(), suffixes.end(), suffix) > 0;
}

cv::Mat readImage(const string& path) {
    if (!isFile(path)) throw Failure("No such image: " + path);
    cv::Mat image;
    Sides sides;
    if (readPictureSize(path, sides)) {
        checkPixelCount(sides, path, sizeOf(path), BOMB_PIXELS);
        try {
            image = cv::imread(path, cv::IMREAD_COLOR);
        } catch (const cv::Exception&) {  // it is empty then
        }
    }
    if (image.empty()) throw Failure("OpenCV cannot read " + path + " as an image. Convert it to JPEG or PNG.");
    return image;
}

// Adds the images and videos of a folder and of those in it. Links to folders are not followed: one may lead to itself.
void addFiles(const string& folder, std::vector<string>& files) {
    namespace fs = cv::utils::fs;
    std::vector<string> all;
    fs::glob(folder, "*", all, false, true);
    for (const string& path : all) {
        const string name = path.substr(path.find_last_of("/\\") + 1);
        if (isFolder(path) && fs::canonical(path) == fs::join(fs::canonical(folder), name)) addFiles(path, files);
        else if (!isFolder(path) && name[0] != '.' && (endsWith(name, IMAGE_SUFFIXES) || endsWith(name, VIDEO_SUFFIXES)))
            files.push_back(path);
    }
}

// Returns the images and videos of a folder and of those in it, by name; of what is no folder, itself.
std::vector<string> listFiles(const string& source) {
    if (!isFolder(source)) return {source};
    std::vector<string> files;
    addFiles(source, files);
    std::sort(files.begin(), files.end());
    if (!files.empty()) return files;
    string suffixes;
    for (const string& suffix : IMAGE_SUFFIXES) suffixes += suffix + ", ";
    throw Failure("No images in " + source + ". Expected files that end in " + suffixes + "or a video.");
}

// Draws what was found: boxes, or labels in the corner.
cv::Mat draw(const cv::Mat& image, const std::vector<Found>& found, bool boxes) {
    cv::Mat picture = image.clone();
    const double scale = std::max(0.4, picture.cols / 1200.0);
    const int height = static_cast<int>(30 * scale);
    const auto write = [&](const string& text, const cv::Point& corner) {
        string plain;  // OpenCV's fonts have the letters of ASCII only
        for (char letter : harmless(text))
            if ((letter & 0xC0) != 0x80) plain += letter & 0x80 ? '?' : letter;
        const int width = cv::getTextSize(plain, cv::FONT_HERSHEY_SIMPLEX, scale, 1, nullptr).width;
        cv::rectangle(picture, corner, corner + cv::Point(width + 4, height), cv::Scalar(), cv::FILLED);
        cv::putText(picture, plain, corner + cv::Point(2, height - static_cast<int>(9 * scale)),
                    cv::FONT_HERSHEY_SIMPLEX, scale, cv::Scalar::all(255));
    };
    if (found.empty()) write(NOTHING_FOUND, cv::Point());
    for (size_t i = 0; i < found.size(); ++i) {
        const Found& one = found[i];
        cv::Point corner(0, static_cast<int>(i) * height);
        if (boxes) {
            const cv::Point first(static_cast<int>(one.left), static_cast<int>(one.top));
            const cv::Point last(static_cast<int>(one.right) - 1, static_cast<int>(one.bottom) - 1);
            cv::rectangle(picture, first, last, cv::Scalar(90, 220, 0), std::max(1, cvRound(2 * scale)));
            corner = cv::Point(first.x, std::max(0, first.y - height));
        }
        write(one.label + cv::format(" %.1f%%", 100.0 * static_cast<double>(one.confidence)), corner);
    }
    return picture;
}

// Writes a picture to a file that is not there yet.
void writeImage(const string& path, const cv::Mat& picture) {
    const size_t name = path.find_last_of("/\\") + 1, dot = path.find_last_of('.');
    std::vector<unsigned char> bytes;
    try {
        cv::imencode(dot == string::npos || dot < name ? "" : path.substr(dot), picture, bytes);
    } catch (const cv::Exception&) {  // it is empty then
    }
    if (bytes.empty()) throw Failure("OpenCV cannot write " + path + ". Expected a name that ends in .png or .jpg.");
    if (name) cv::utils::fs::createDirectories(path.substr(0, name));
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wbx"), std::fclose);
    if (!file && errno == EEXIST)
        throw Failure(path + " exists already, and nothing is overwritten. Choose another --annotate.");
    if (file && std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() && !std::fflush(file.get())) return;
    const string reason = std::strerror(errno);
    if (file) std::remove(path.c_str());
    throw Failure("Cannot write " + path + " (" + reason + "). Choose another --annotate.");
}

// ---- The self-test

struct Case {
    cv::Mat image;
    string label, original;  // the file that the image was decoded from, where there is one
    std::vector<double> probabilities;
};

// Reads selftest.json: its cases, and the largest difference that it allows.
std::vector<Case> readCases(const string& folder, size_t classes, double& tolerance) {
    const Table all{{"images", true, LIST},
                    {"tolerance", false, {"above 0, at most 0.001", [](const Value& value) {
                                              return isNumber(value, 0, MAX_TOLERANCE) && value.number() > 0;
                                          }}}};
    const Table one{{"png", true, FILE_NAME},
                    {"label", true, TEXT},
                    {"probabilities", true, numbers("one probability for each class", classes, classes, -INT_MAX, INT_MAX)},
                    {"original", false, FILE_NAME}};
    const auto check = [](const Value& object, const string& name, const Table& table) {
        checkNeeds(object, name, table, "selftest.json");
        for (const Key& key : table)
            if (object.has(key.name)) checkValue(object[key.name], name, key, "selftest.json");
    };
    std::vector<Case> cases;
    std::vector<string> files;
    try {
        const string path = beside(folder, "selftest.json", "self-test", MAX_TEXT_BYTES);
        const Document document = parseJson(readBytes(path), path);
        const Value root(document, 0);
        check(root, "selftest", all);
        if (root.has("tolerance")) tolerance = root["tolerance"].number();
        for (const Value& image : root["images"].items()) {
            check(image, "images", one);
            files.push_back(image["png"].text());
            cases.push_back({cv::Mat(), image["label"].text(), image.has("original") ? image["original"].text() : "",
                             numbersOf(image["probabilities"])});
        }
        if (cases.empty()) throw Failure("it needs at least one image");
    } catch (const Failure& error) {
        const string what = error.what();  // less what it advises
        throw Failure(folder + " holds no self-test that can be read (" + what.substr(0, what.rfind(". ")) +
                      "). Copy the bundle again.");
    }
    for (size_t i = 0; i < cases.size(); ++i) cases[i].image = readImage(cv::utils::fs::join(folder, files[i]));
    return cases;
}

// Whether a file decodes here to these pixels.
bool decodesTo(const string& path, const cv::Mat& image) {
    try {
        const cv::Mat decoded = readImage(path);
        return decoded.size() == image.size() && cv::norm(decoded, image, cv::NORM_INF) == 0;
    } catch (const Failure&) {  // this OpenCV may be built without the format
        return false;
    }
}

// Compares this machine's answers on the bundle's own images with those that Keras gave. Returns the exit code.
int selfTest(const string& bundle) {
    tryNetwork(bundle);
    Network network(bundle);
    const Manifest& manifest = network.manifest;
    if (manifest.isDetector())
        throw Failure("The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.");
    const string folder = cv::utils::fs::join(manifest.folder, "selftest");
    if (!isFolder(folder))
        throw Failure("There is no " + folder + ". It holds photographs, and may have been taken out for that reason.");
    size_t labels = 0, originals = 0, equal = 0;
    double difference = 0, tolerance = 1e-5;
    const std::vector<Case> cases = readCases(folder, manifest.names.size(), tolerance);
    for (const Case& one : cases) {
        const std::vector<float> actual = network.probabilities(one.image);
        for (size_t i = 0; i < actual.size(); ++i)
            difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - one.probabilities[i]));
        const auto best = std::max_element(actual.begin(), actual.end()) - actual.begin();
        labels += manifest.names[static_cast<size_t>(best)] == one.label;
        if (one.original.empty()) continue;
        ++originals;  // it says something of the JPEG decoder, not of the network, and does not touch `ok`
        equal += decodesTo(cv::utils::fs::join(folder, one.original), one.image);
    }
    const bool ok = labels == cases.size() && difference <= tolerance;
    std::ostringstream line;
    line << "OpenCV " << cv::getVersionString();
    if (CV_VERSION_MAJOR >= 5 && !manifest.engine.empty()) line << ", " << manifest.engine << " engine";
    line << (ok ? ": the same answers as Keras. " : ": NOT the answers that Keras gave. ");
    line << labels << " of " << cases.size() << cv::format(" labels, largest difference %.1e", difference);
    if (originals) line << ", " << equal << " of " << originals << " originals equal";
    line << ". Model file: "
         << (manifest.bytes ? "size checked." : "not checked, the manifest says neither size nor sha256.");
    std::printf("%s\n", harmless(line.str()).c_str());
    return ok ? 0 : 1;
}

// ---- The command

struct Options {
    string bundle, annotate;
    std::vector<string> inputs;
    int camera = -1, every = 1, top = 5;
    double minConfidence = -1;
    bool selfTest = false, invert = false, help = false;
};

// Wrong usage ends with 2.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

const char* const USAGE =
    "usage: classify BUNDLE [--top N] [--min-confidence P] [--every N] [--annotate OUT] [--invert]\n"
    "                (INPUT ... | --camera N | --selftest)\n";

volatile std::sig_atomic_t stopped = 0;

// A picture and all that can be made of it before the network is asked; or what could not be read, in its place.
struct Ready {
    string source, warning, problem;
    size_t file;  // its number among all that is read
    int frame;    // -1 where it is no frame
    cv::Mat image, blob;
};

using Use = std::function<void(Ready, size_t)>;  // is told how many bytes it takes

void hand(const Use& use, Ready ready) {
    const size_t bytes = ready.image.total() * ready.image.elemSize() + ready.blob.total() * ready.blob.elemSize();
    use(std::move(ready), bytes);
}

Ready makeReady(const Network& network, const Options& options, const string& source, size_t file, int frame,
                const cv::Mat& image) {
    cv::Mat seen = image;
    if (options.invert) cv::bitwise_not(image, seen = cv::Mat());
    return {source, network.brightnessWarning(seen, options.invert), "", file, frame, image, network.toInput(seen)};
}

// Does a part of the reading; what goes wrong is handed on as a problem.
void attempt(const Use& use, size_t file, const std::function<void()>& work) {
    try {
        work();
    } catch (const std::exception& error) {
        use({"", "", reasonOf(error), file, -1, cv::Mat(), cv::Mat()}, 0);
    }
}

// The bytes of the file are -1 for a camera.
void readFrames(const Network& network, const Options& options, const string& name, size_t file, std::int64_t bytes,
                cv::VideoCapture capture, const Use& use) {
    int number = 0;
    for (; !stopped && capture.isOpened(); ++number) {
        // Each time: the frames of some films change their size.
        const Sides sides{capture.get(cv::CAP_PROP_FRAME_WIDTH), capture.get(cv::CAP_PROP_FRAME_HEIGHT)};
        checkPixelCount(sides, name, bytes, VIDEO_BOMB_PIXELS);
        if (!capture.grab()) break;
        if (number % options.every) continue;
        cv::Mat frame;  // one of its own: the last may be waiting
        if (!capture.retrieve(frame) || frame.empty()) break;
        if (frame.channels() == 1) cv::cvtColor(frame, frame, cv::COLOR_GRAY2BGR);
        hand(use, makeReady(network, options, name, file, number, frame));
    }
    if (!number && !stopped)
        throw Failure("OpenCV " + cv::getVersionString() + " gets no frame from " + name +
                      ". Try another file or camera.");
}

void readFile(const Network& network, const Options& options, const string& name, size_t file, const Use& use) {
    if (!endsWith(name, VIDEO_SUFFIXES)) return hand(use, makeReady(network, options, name, file, -1, readImage(name)));
    if (!isFile(name)) throw Failure("No such video: " + name);
    checkIsNoList(name);
    readFrames(network, options, name, file, sizeOf(name), cv::VideoCapture(name), use);
}

// Reads all inputs. What cannot be read is a problem, and the next goes on.
void readInputs(const Network& network, const Options& options, const Use& use) {
    size_t count = 0;
    if (options.camera >= 0) {
        const string name = "camera " + std::to_string(options.camera);
        attempt(use, count, [&] { readFrames(network, options, name, count, -1, cv::VideoCapture(options.camera), use); });
    }
    for (const string& input : options.inputs)
        attempt(use, ++count, [&] {
            for (const string& file : listFiles(input))
                attempt(use, ++count, [&] { readFile(network, options, file, count, use); });
        });
}

// Prints a line for a picture, and draws on it where that is asked for. Says on standard error where it is unlike the
// training images, of a film once.
void answer(Network& network, const Options& options, const Ready& ready) {
    const bool detects = network.manifest.isDetector();
    static string warned;  // the last film of which that was said
    const std::vector<Found> found =
        network.predictBlob(ready.blob, ready.image.size(), static_cast<size_t>(options.top), options.minConfidence);
    string line;
    for (const Found& one : found) {
        line += (line.empty() ? "" : ", ") + one.label + cv::format(" %.4f", static_cast<double>(one.confidence));
        if (detects) line += cv::format(" at %.0f %.0f %.0f %.0f", one.left, one.top, one.right, one.bottom);
    }
    const string& source = ready.source;
    const string name = source + (ready.frame < 0 ? "" : " frame " + std::to_string(ready.frame));
    std::printf("%s: %s\n", harmless(name).c_str(), found.empty() ? NOTHING_FOUND : harmless(line).c_str());
    std::fflush(stdout);
    if (!ready.warning.empty() && !(ready.frame >= 0 && warned == source)) {
        std::fprintf(stderr, "%s: %s\n", harmless(name).c_str(), ready.warning.c_str());
        if (ready.frame >= 0) warned = source;
    }
    if (options.annotate.empty()) return;
    string path = options.annotate;
    if (ready.frame >= 0 || options.inputs.size() > 1 || isFolder(options.inputs[0]) || isFolder(path)) {
        const string base = source.substr(source.find_last_of("/\\") + 1);
        const string number = ready.frame < 0 ? "" : "-" + std::to_string(ready.frame);
        path = cv::utils::fs::join(path, base.substr(0, base.find_last_of('.')) + number + ".png");
    }
    writeImage(path, draw(ready.image, found, detects));
}

// Answers all inputs; those of files are read ahead, a camera shows what is now. Returns the exit code.
int answerInputs(const Options& options) {
    tryNetwork(options.bundle);
    Network network(options.bundle);
    int code = 0;
    size_t over = SIZE_MAX;  // the film of which the rest is passed over, because a frame of it had no answer
    const std::function<void(Ready&)> use = [&](Ready& ready) {
        if (ready.file == over) return;
        try {
            if (!ready.problem.empty()) throw Failure(ready.problem);
            answer(network, options, ready);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", reasonOf(error).c_str());
            code = 1;
            over = ready.file;
            if (options.camera >= 0) stopped = 1;
        }
    };
    if (options.camera >= 0) {
        std::signal(SIGINT, [](int) { stopped = 1; });
        readInputs(network, options, [&](Ready ready, size_t) { use(ready); });
    } else {
        readAhead<Ready>([&](const Use& put) { readInputs(network, options, put); }, use);
    }
    return code;
}

double numberOf(const string& option, const string& text, double least, double most) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !(value >= least && value <= most))
        throw UsageError(option + cv::format(" must be a number from %g to %g. Received: ", least, most) + text);
    return value;
}

int countOf(const string& option, const string& text, int least) {
    if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != string::npos ||
        std::atoi(text.c_str()) < least)
        throw UsageError(option + " must be a whole number, " + std::to_string(least) + " or more. Received: " + text);
    return std::atoi(text.c_str());
}

Options parse(std::vector<string> arguments) {
    Options options;
    std::vector<string> places;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const size_t equals = arguments[i].compare(0, 2, "--") ? string::npos : arguments[i].find('=');
        const string name = arguments[i].substr(0, equals);
        const auto value = [&]() -> string {
            if (equals != string::npos) return arguments[i].substr(equals + 1);
            if (i + 1 == arguments.size()) throw UsageError(name + " needs a value");
            return arguments[++i];
        };
        if (name == "--help" || name == "-h") options.help = true;
        else if (name == "--selftest") options.selfTest = true;
        else if (name == "--invert") options.invert = true;
        else if (name == "--camera") options.camera = countOf(name, value(), 0);
        else if (name == "--every") options.every = countOf(name, value(), 1);
        else if (name == "--top") options.top = countOf(name, value(), 1);
        else if (name == "--min-confidence") options.minConfidence = numberOf(name, value(), 0, 1);
        else if (name == "--annotate") options.annotate = value();
        else if (name.size() > 1 && name[0] == '-') throw UsageError("unknown option " + name);
        else places.push_back(name);
    }
    if (!places.empty()) options.bundle = places[0];
    options.inputs.assign(places.begin() + !places.empty(), places.end());
    if (!options.help && (places.empty() || !options.inputs.empty() + (options.camera >= 0) + options.selfTest != 1))
        throw UsageError("name the bundle, then at least one INPUT, or --camera N, or --selftest");
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    try {
        const Options options = parse(std::vector<string>(argv + 1, argv + argc));
        if (options.help) return std::printf("%s", USAGE) < 0;
        return options.selfTest ? selfTest(options.bundle) : answerInputs(options);
    } catch (const UsageError& error) {
        std::fprintf(stderr, "%sclassify: error: %s\n", USAGE, harmless(error.what()).c_str());
        return 2;
    } catch (const std::exception& error) {  // a Failure, or what OpenCV cannot do
        std::fprintf(stderr, "%s\n", reasonOf(error).c_str());
        return 1;
    }
}
