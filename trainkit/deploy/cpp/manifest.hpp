// The manifest of a bundle: a stranger's file, of which everything that is used is checked before.

#pragma once

#include <algorithm>
#include <vector>

#include <opencv2/core/utils/filesystem.hpp>

#include "json.hpp"

const char* const SCHEMA = "trainkit/1";
const int MAX_SIDE = 16384;                    // pixels; beyond it a hostile manifest would only fill the memory
const std::int64_t MAX_TEXT_BYTES = 16 << 20;  // of a manifest, and of a text beside it: class names, a graph
const int MAX_CLASSES = 1000000;
const double MAX_NUMBER = 1e300;

// An object in a manifest, with what it is called in a sentence. What is asked of it is checked.
struct Section {
    cv::FileNode node;
    string where, name;

    bool has(const string& key) const { return node.isMap() && !node[key].isNone(); }
    void needs(const std::vector<string>& keys) const {
        for (const string& key : keys)
            if (!has(key))
                throw Failure(where + ": `" + name + "` needs the key `" + key + "`. Add it, or export the bundle again.");
    }
    Failure refuse(const string& key, const string& expected) const {
        const string received = shorten(show(node[key]));
        return Failure(where + ": `" + name + "." + key + "` must be " + expected + ". Received: " + received);
    }

    Section section(const string& key, const std::vector<string>& keys) const {
        const Section found{node[key], where, key};
        if (has(key) && !node[key].isMap()) throw refuse(key, "an object");
        if (has(key)) found.needs(keys);
        return found;
    }
    cv::FileNode list(const string& key) const {
        if (has(key) && !node[key].isSeq()) throw refuse(key, "a list");
        return node[key];
    }
    string text(const string& key) const {
        if (!isText(node[key])) throw refuse(key, "a text of 1 to 3999 bytes");
        return string(node[key]);
    }
    string fileName(const string& key) const {
        if (!isFileName(node[key])) throw refuse(key, "the plain name of a file in the same folder");
        return string(node[key]);
    }
    string oneOf(const string& key, const std::vector<string>& known) const {
        string names;
        for (const string& one : known) names += (names.empty() ? "" : ", ") + one;
        const bool found = node[key].isString() && std::count(known.begin(), known.end(), string(node[key])) > 0;
        if (!found) throw refuse(key, "one of " + names);
        return string(node[key]);
    }
    int whole(const string& key, int least, int most, const string& expected) const {
        if (!node[key].isInt() || int(node[key]) < least || int(node[key]) > most) throw refuse(key, expected);
        return int(node[key]);
    }
    // cv::FileStorage gives true and false as 1 and 0.
    bool flag(const string& key) const { return whole(key, 0, 1, "true or false") == 1; }
    double number(const string& key, double least, double most, const string& expected) const {
        const double value = numberIn(node[key]);
        if (!(value >= least && value <= most)) throw refuse(key, expected);  // so written, NaN is refused too
        return value;
    }
    // Returns between `least` and `most` numbers, each from `low` to `high`.
    std::vector<double> numbers(const string& key, size_t least, size_t most, double low, double high,
                                const string& expected) const {
        std::vector<double> found;
        const cv::FileNode values = node[key];
        if (values.isSeq() && values.size() <= most)
            for (const cv::FileNode& value : values) found.push_back(numberIn(value));
        const auto fits = [&](double value) { return value >= low && value <= high; };
        if (found.size() < least || !std::all_of(found.begin(), found.end(), fits)) throw refuse(key, expected);
        return found;
    }

    static bool isText(const cv::FileNode& value) {
        return value.isString() && !string(value).empty() && string(value).size() <= MAX_NAME_BYTES;
    }
    static bool isFileName(const cv::FileNode& value) {
        const string name = isText(value) ? string(value) : ".";
        return name != "." && name != ".." && name.find_first_of("/\\:") == string::npos;
    }
    static double numberIn(const cv::FileNode& value) { return value.isInt() || value.isReal() ? double(value) : NAN; }
    static string show(const cv::FileNode& value) {
        if (value.isString()) return "'" + string(value) + "'";
        if (value.isMap()) return "an object";
        if (value.isNone()) return "nothing";
        std::ostringstream shown;
        shown.precision(10);
        if (!value.isSeq()) shown << numberIn(value);
        else
            for (const cv::FileNode& one : value)
                if (shown.tellp() < 80) shown << (shown.tellp() > 0 ? ", " : "[") << show(one);
        return value.isSeq() ? (value.size() ? "" : "[") + shown.str() + "]" : shown.str();
    }
};

struct Manifest {
    string where, folder;  // the manifest itself, and the folder it is in
    string file, graph, format;
    int bytes = 0;  // of the model file; 0 where the manifest does not say
    double scalefactor = 1;
    cv::Size size;
    cv::Scalar mean;
    bool swapRB = false, crop = false, pad = false, gray = false;
    cv::Scalar padColor;
    string kind;
    bool multiLabel = false;
    std::vector<string> names;
    int background = -1;         // the class of the background
    double minConfidence = 0.5;  // of a detector
    string minimum = "4.5.5", engine;

    bool isDetector() const { return kind == "ssd"; }
};

// Returns the path of a file that a manifest names; a link must not lead out of the folder.
inline string beside(const string& folder, const string& name, const string& purpose, std::int64_t most = INT64_MAX) {
    namespace fs = cv::utils::fs;
    const string path = fs::join(folder, name);
    if (!isFile(path)) throw Failure(path + " is missing: the manifest names it as the " + purpose + ". Copy it there.");
    const string real = fs::canonical(path);
    if (real != fs::join(fs::canonical(folder), real.substr(real.find_last_of("/\\") + 1)))
        throw Failure(path + " is a link that leaves the bundle. Put the file itself there.");
    if (sizeOf(path) > most)
        throw Failure(path + " has more than " + std::to_string(most) + " bytes, too many for the " + purpose +
                      ". Name another file.");
    return path;
}

// Reads class names, one a line. WordNet's numbers are left out: `n01440764 tench, Tinca tinca`.
inline std::vector<string> readClassNames(const string& folder, const string& name) {
    const char* const spaces = " \t\r\n\v\f";
    const string path = beside(folder, name, "class names", MAX_TEXT_BYTES);
    string text = readBytes(path);
    if (findNoUtf8(text) != string::npos)
        throw Failure(path + " is not UTF-8 (byte " + std::to_string(findNoUtf8(text)) + " is not one of it). Convert it.");
    if (text.compare(0, 3, "\xEF\xBB\xBF") == 0) text.erase(0, 3);
    text.erase(text.find_last_not_of(spaces) + 1);
    std::istringstream stream(text + "\n");
    std::vector<string> lines;
    bool numbered = true;
    for (string line; std::getline(stream, line);) {
        line.erase(0, line.find_first_not_of(spaces));
        line.erase(line.find_last_not_of(spaces) + 1);
        const size_t end = std::min(line.find_first_not_of("0123456789", 1), line.size());
        numbered = numbered && line[0] == 'n' && end > 1 && end < line.size() && std::strchr(spaces, line[end]);
        lines.push_back(line);
    }
    if (lines.size() > static_cast<size_t>(MAX_CLASSES))
        throw Failure(path + " has " + std::to_string(lines.size()) + " lines. Expected at most 1000000 class names.");
    for (size_t i = 0; i < lines.size(); ++i) {
        string& line = lines[i];
        if (numbered) line.erase(0, line.find_first_not_of(spaces, line.find_first_of(spaces)));
        const auto isControl = [](char letter) { return (letter >= 0 && letter < 0x20) || letter == 0x7F; };
        if (line.empty() || line.size() > MAX_NAME_BYTES || std::any_of(line.begin(), line.end(), isControl))
            throw Failure(path + ": line " + std::to_string(i + 1) +
                          " must be a class name of 1 to 3999 bytes without control characters. Correct it.");
    }
    return lines;
}

inline void readModel(Manifest& manifest, const Section& model) {
    manifest.file = model.fileName("file");
    manifest.format = model.oneOf("format", {"onnx", "frozen-graph", "caffe"});
    if (model.has("graph")) manifest.graph = model.fileName("graph");
    if (model.has("bytes")) manifest.bytes = model.whole("bytes", 1, INT_MAX, "a positive whole number");
}

inline void readBlob(Manifest& manifest, const Section& blob) {
    manifest.scalefactor = blob.number("scalefactor", -MAX_NUMBER, MAX_NUMBER, "a number other than 0");
    if (manifest.scalefactor == 0) throw blob.refuse("scalefactor", "a number other than 0");
    const string sides = "[width, height], each 1 to " + std::to_string(MAX_SIDE) + " pixels";
    const std::vector<double> size = blob.numbers("size", 2, 2, 1, MAX_SIDE, sides);
    for (const cv::FileNode& side : blob.node["size"])
        if (!side.isInt()) throw blob.refuse("size", sides);
    manifest.size = cv::Size(static_cast<int>(size[0]), static_cast<int>(size[1]));
    if (Section::isFileName(blob.node["mean"]))
        throw Failure(blob.where + ": `blob.mean` names a file, which the Python client alone reads. Use classify.py.");
    const std::vector<double> mean =
        blob.numbers("mean", 1, 4, -MAX_NUMBER, MAX_NUMBER,
                     "1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder");
    std::copy(mean.begin(), mean.end(), manifest.mean.val);
    manifest.swapRB = blob.flag("swapRB");
    manifest.crop = blob.flag("crop");
}

inline void readOutput(Manifest& manifest, const Section& output) {
    manifest.kind = output.oneOf("kind", {"softmax", "sigmoid", "logits", "ssd"});
    if (output.has("multi_label")) manifest.multiLabel = output.flag("multi_label");
    if (output.has("background"))
        manifest.background = output.whole("background", 0, MAX_CLASSES, "a class's number, from 0");
    if (output.has("min_confidence"))
        manifest.minConfidence = output.number("min_confidence", 0, 1, "a number from 0 to 1");
    const cv::FileNode names = output.node["class_names"];
    if (Section::isFileName(names)) return;  // they are read at the end
    bool valid = names.isSeq() && names.size() > 0 && names.size() <= static_cast<size_t>(MAX_CLASSES);
    if (valid)
        for (const cv::FileNode& name : names) {
            valid = valid && Section::isText(name);
            manifest.names.push_back(valid ? string(name) : "");
        }
    if (!valid || std::set<string>(manifest.names.begin(), manifest.names.end()).size() != manifest.names.size())
        throw output.refuse("class_names", "a list of different texts, or the name of a text file in the same folder");
}

// Whether a text is such as 4.10.0 or 5.0.0-pre.
inline bool isVersion(const string& text) {
    const size_t dash = std::min(text.find('-'), text.size());
    const string tail = dash < text.size() ? text.substr(dash + 1) : "none";
    if (tail.empty() || tail.find_first_not_of(".0123456789abcdefghijklmnopqrstuvwxyz") != string::npos) return false;
    std::istringstream parts(text.substr(0, dash) + ".");
    size_t count = 0;
    for (string part; std::getline(parts, part, '.'); ++count)
        if (part.empty() || part.size() > 9 || part.find_first_not_of("0123456789") != string::npos) return false;
    return count >= 1 && count <= 4;
}

inline void readOpenCv(Manifest& manifest, const Section& opencv) {
    if (opencv.has("minimum")) {
        manifest.minimum = opencv.node["minimum"].isString() ? string(opencv.node["minimum"]) : "";
        if (!isVersion(manifest.minimum)) throw opencv.refuse("minimum", "a version such as 4.10.0");
    }
    if (opencv.has("engine")) manifest.engine = opencv.oneOf("engine", {"classic", "new", "auto"});
}

inline void readSteps(Manifest& manifest, const cv::FileNode& steps, const string& where) {
    string order;
    for (const cv::FileNode& node : steps) {
        const cv::FileNode name = node.isMap() ? node["step"] : node;
        if (!name.isString() || (string(name) != "pad" && string(name) != "gray") || !node.isMap())
            throw Failure(where + ": `before_blob` knows the steps pad and gray. Received: " + shorten(Section::show(name)));
        order += (order.empty() ? "" : ", ") + Section::show(name);
    }
    manifest.pad = order.compare(0, 5, "'pad'") == 0;
    manifest.gray = order == "'gray'" || order == "'pad', 'gray'";
    if (!order.empty() && order != "'pad'" && !manifest.gray)
        throw Failure(where + ": `before_blob` has each step once, pad before gray. Received: [" + shorten(order) + "]");
    if (!manifest.pad) return;
    const Section pad{steps[0], where, "before_blob: pad"};
    pad.needs({"color_bgr"});
    const std::vector<double> color = pad.numbers("color_bgr", 3, 3, 0, 255, "three numbers 0 to 255");
    std::copy(color.begin(), color.end(), manifest.padColor.val);
}

inline void checkTogether(const Manifest& manifest, const Section& output) {
    const string& where = manifest.where;
    if (manifest.format == "caffe" && manifest.graph.empty())
        throw Failure(where + ": a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it.");
    if (manifest.format == "onnx" && !manifest.graph.empty())
        throw Failure(where + ": an ONNX model has its graph inside. Take the key `model.graph` out.");
    for (const string key : {"multi_label", "background", "min_confidence"})
        if (output.has(key) && manifest.isDetector() == (key == "multi_label"))
            throw Failure(where + ": an output of the kind " + manifest.kind + " has no `output." + key + "`. Take it out.");
}

// Reads and checks the manifest of a bundle, by its folder or its own name.
inline Manifest readManifest(const string& bundle) {
    Manifest manifest;
    manifest.where = isFolder(bundle) ? cv::utils::fs::join(bundle, "manifest.json") : bundle;
    const string& where = manifest.where;
    const size_t name = where.find_last_of("/\\") + 1;
    manifest.folder = isFolder(bundle) ? bundle : name ? where.substr(0, name) : ".";
    if (!isFile(where))
        throw Failure("No manifest at " + where + ". Expected the folder of a bundle, with manifest.json in it.");
    if (sizeOf(where) > MAX_TEXT_BYTES)
        throw Failure(where + " has more than 16777216 bytes: no manifest. Export the bundle again.");
    const cv::FileStorage json = readJson(where);
    const Section all{json.root(), where, "manifest"};
    const cv::FileNode schema = all.node["schema"];
    const string received = schema.isString() ? string(schema) : Section::show(schema);
    if (all.has("schema") && received != SCHEMA)
        throw Failure(where + ": this client reads schema " + SCHEMA + ". Received: " + shorten(received) +
                      ". Take a newer client.");
    all.needs({"schema", "model", "blob", "output"});
    const Section model = all.section("model", {"file", "format"});
    const Section blob = all.section("blob", {"scalefactor", "size", "mean", "swapRB", "crop"});
    const Section output = all.section("output", {"kind", "class_names"});
    readModel(manifest, model);
    readBlob(manifest, blob);
    readOutput(manifest, output);
    readOpenCv(manifest, all.section("opencv", {}));
    readSteps(manifest, all.list("before_blob"), where);
    checkTogether(manifest, output);
    if (manifest.names.empty()) manifest.names = readClassNames(manifest.folder, output.fileName("class_names"));
    if (manifest.background >= static_cast<int>(manifest.names.size()))
        throw Failure(where + ": `output.background` is the class " + std::to_string(manifest.background) +
                      ", and there are " + std::to_string(manifest.names.size()) +
                      " class names, counted from 0. Correct it.");
    return manifest;
}
