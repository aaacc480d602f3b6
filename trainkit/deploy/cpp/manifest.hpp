// The manifest of a bundle: a stranger's file, of which everything is checked before.

#pragma once

#include <new>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/filesystem.hpp>

#include "brightness.hpp"
#include "schema.hpp"

// Returns what went wrong; what OpenCV says in one line.
inline string reasonOf(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error)) return "There is not enough memory.";
    const cv::Exception* const known = dynamic_cast<const cv::Exception*>(&error);
    std::istringstream words(known ? known->err : "");
    string line;
    for (string word; words >> word;) line += (line.empty() ? "" : " ") + word;
    return known ? shorten(harmless(line), 200) : harmless(error.what());
}

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
    double rejectBelow = 0;      // where the surest class is less sure, it is none of these
    std::vector<double> thresholds;  // of each class, where the manifest has them
    string minimum = "4.5.5", engine;
    TrainingPixels training;

    bool isDetector() const { return kind == "ssd"; }
};

// Returns the path of a file that a manifest names; a link must not lead out of the folder.
inline string beside(const string& folder, const string& name, const string& purpose, std::int64_t most) {
    namespace fs = cv::utils::fs;
    const string path = fs::join(folder, name);
    if (!isFile(path) && errno == ELOOP) throw cannotRead(path);
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
        if (!isName(line))
            throw Failure(path + ": line " + std::to_string(i + 1) +
                          " must be a class name of 1 to 3999 bytes without control characters. Received: " + show(line));
    }
    return lines;
}

inline std::vector<double> numbersOf(const Value& list) {
    std::vector<double> found;
    for (const Value& one : list.items()) found.push_back(one.number());
    return found;
}
inline int wholeOf(const Value& value) { return static_cast<int>(value.number()); }

inline void readModel(Manifest& manifest, const Value& model) {
    manifest.file = model["file"].text();
    manifest.format = model["format"].text();
    if (model.has("graph")) manifest.graph = model["graph"].text();
    if (model.has("bytes")) manifest.bytes = wholeOf(model["bytes"]);
}

inline void readBlob(Manifest& manifest, const Value& blob) {
    const std::vector<double> size = numbersOf(blob["size"]);
    manifest.size = cv::Size(static_cast<int>(size[0]), static_cast<int>(size[1]));
    manifest.scalefactor = blob["scalefactor"].number();
    if (!blob["mean"].is(Kind::List))
        throw Failure(manifest.where + ": `blob.mean` names a file, which the Python client alone reads. Use classify.py.");
    const std::vector<double> mean = numbersOf(blob["mean"]);
    std::copy(mean.begin(), mean.end(), manifest.mean.val);
    manifest.swapRB = blob["swapRB"].flag();
    manifest.crop = blob["crop"].flag();
}

inline void readOutput(Manifest& manifest, const Value& output) {
    const Value names = output["class_names"];
    manifest.kind = output["kind"].text();
    manifest.multiLabel = output.has("multi_label") && output["multi_label"].flag();
    if (output.has("background")) manifest.background = wholeOf(output["background"]);
    if (output.has("min_confidence")) manifest.minConfidence = output["min_confidence"].number();
    for (const Value& name : names.items()) manifest.names.push_back(name.text());
    if (names.is(Kind::Text)) manifest.names = readClassNames(manifest.folder, names.text());
    checkAgainstNames(output, manifest.names.size(), manifest.where);
    if (output.has("reject_below")) manifest.rejectBelow = output["reject_below"].number();
    if (output.has("thresholds")) manifest.thresholds = numbersOf(output["thresholds"]);
}

inline void readSteps(Manifest& manifest, const Value& steps) {
    for (const Value& step : steps.items()) {
        (step["step"].text() == "pad" ? manifest.pad : manifest.gray) = true;
        if (!step.has("color_bgr")) continue;
        const std::vector<double> color = numbersOf(step["color_bgr"]);
        std::copy(color.begin(), color.end(), manifest.padColor.val);
    }
}

// Reads and checks the manifest of a bundle, by its folder or its own name.
inline Manifest readManifest(const string& bundle) {
    Manifest manifest;
    manifest.where = isFolder(bundle) ? cv::utils::fs::join(bundle, "manifest.json") : bundle;
    const string& where = manifest.where;
    const size_t name = where.find_last_of("/\\") + 1;
    manifest.folder = isFolder(bundle) ? bundle : name ? where.substr(0, name) : ".";
    if (!isFile(where) && errno == ELOOP) throw cannotRead(where);
    if (!isFile(where))
        throw Failure("No manifest at " + where + ". Expected the folder of a bundle, with manifest.json in it.");
    if (sizeOf(where) > MAX_TEXT_BYTES) throw Failure(where + TOO_LONG);
    const Document document = parseManifest(readBytes(where), where);
    const Value all(document, 0);
    readModel(manifest, all["model"]);
    readBlob(manifest, all["blob"]);
    if (all.has("before_blob")) readSteps(manifest, all["before_blob"]);
    if (all.has("opencv") && all["opencv"].has("minimum")) manifest.minimum = all["opencv"]["minimum"].text();
    if (all.has("opencv") && all["opencv"].has("engine")) manifest.engine = all["opencv"]["engine"].text();
    manifest.training = readTrainingPixels(all);
    readOutput(manifest, all["output"]);
    return manifest;
}
