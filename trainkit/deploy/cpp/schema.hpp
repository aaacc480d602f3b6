// What a manifest may say: each key, and which values it can have, as in every other client.

#pragma once

#include <climits>
#include <functional>
#include <set>

#include "json.hpp"

const char* const SCHEMA = "trainkit/1";
const char* const SCHEMA_2 = "trainkit/2";  // the keys `output.reject_below` and `output.thresholds` more
const int MAX_SIDE = 16384;  // pixels; beyond it a hostile manifest would only fill the memory
const int MAX_CLASSES = 1000000;
const size_t MAX_NAME_BYTES = 3999;
const char* const HEXADECIMAL = "0123456789abcdef";
const char* const TOO_LONG = " has more than 16777216 bytes: no manifest. Export the bundle again.";

struct Check {
    string expected;
    std::function<bool(const Value&)> holds;
};

struct Key {
    string name;
    bool required;
    Check check;
};

inline bool isNumber(const Value& value, double least = -INT_MAX, double most = INT_MAX) {
    return value.is(Kind::Number) && value.number() >= least && value.number() <= most;
}
inline bool isWhole(const Value& value, double least, double most) {
    return isNumber(value, least, most) && value.number() == std::floor(value.number());
}
inline bool areAll(const Value& list, size_t least, size_t most, const std::function<bool(const Value&)>& holds) {
    if (!list.is(Kind::List)) return false;
    const std::vector<Value> items = list.items();
    return items.size() >= least && items.size() <= most && std::all_of(items.begin(), items.end(), holds);
}

// Whether a text in UTF-8 is one that every client takes, as a class name.
inline bool isName(const string& text) {
    std::uint32_t code = 0;
    for (size_t at = 0, length = 0; at < text.size(); at += length) {
        length = letterAt(text, at, code);
        if (length == 0 || isControl(code)) return false;
    }
    return !text.empty() && text.size() <= MAX_NAME_BYTES;
}
inline bool isText(const Value& value) { return value.is(Kind::Text) && isName(value.text()); }
inline bool isFileName(const Value& value) {
    const string name = isText(value) ? value.text() : ".";
    return name != "." && name != ".." && name.find_first_of("/\\:") == string::npos;
}
inline bool areNames(const Value& value) {
    std::set<string> different;
    const auto isNew = [&](const Value& name) { return isText(name) && different.insert(name.text()).second; };
    return areAll(value, 1, MAX_CLASSES, isNew);
}
inline bool isMeanFile(const Value& value) {
    const string name = isFileName(value) ? value.text() : "";
    const auto ends = [&](const string& with) {
        return name.size() >= with.size() && name.compare(name.size() - with.size(), with.size(), with) == 0;
    };
    return ends(".npy") || ends(".binaryproto");
}

inline bool consistsOf(const string& text, const char* letters, size_t most) {
    return !text.empty() && text.size() <= most && text.find_first_not_of(letters) == string::npos;
}
// Up to four numbers of up to four digits, and perhaps a tail: 4.10.0, 5.0.0-pre.
inline bool isVersion(const Value& value) {
    const string text = value.is(Kind::Text) ? value.text() : "";
    const size_t dash = std::min(text.find('-'), text.size());
    if (dash < text.size() && !consistsOf(text.substr(dash + 1), ".0123456789abcdefghijklmnopqrstuvwxyz", 32)) return false;
    std::istringstream parts(text.substr(0, dash) + ".");
    size_t count = 0;
    for (string part; std::getline(parts, part, '.'); ++count)
        if (!consistsOf(part, "0123456789", 4)) return false;
    return count <= 4;
}

inline Check numbers(const string& expected, size_t least, size_t most, double low, double high) {
    return {expected, [=](const Value& value) {
                return areAll(value, least, most, [=](const Value& one) { return isNumber(one, low, high); });
            }};
}
inline Check oneOf(const std::vector<string>& known) {
    string names;
    for (const string& one : known) names += (names.empty() ? "" : ", ") + one;
    return {"one of " + names, [=](const Value& value) {
                return value.is(Kind::Text) && std::count(known.begin(), known.end(), value.text()) > 0;
            }};
}
const Check TEXT{"a text of 1 to 3999 bytes without control characters", isText};
const Check FLAG{"true or false", [](const Value& value) { return value.is(Kind::Flag); }};
const Check COUNT{"a whole number from 1 to 2147483647", [](const Value& value) { return isWhole(value, 1, INT_MAX); }};
const Check SIDE{"pixels, 1 to 16384", [](const Value& value) { return isWhole(value, 1, MAX_SIDE); }};
const Check SIZE{"[width, height], each 1 to 16384 pixels", [](const Value& value) { return areAll(value, 2, 2, SIDE.holds); }};
const Check COLOR = numbers("three numbers 0 to 255", 3, 3, 0, 255);
const Check NUMBERS = numbers("1 to 4 numbers from -2147483647 to 2147483647", 1, 4, -INT_MAX, INT_MAX);
const Check POSITIVES = numbers("1 to 4 numbers above 0, at most 2147483647", 1, 4, 5e-324, INT_MAX);
const Check POSITIVE{"a number above 0, at most 2147483647", [](const Value& value) { return isNumber(value) && value.number() > 0; }};
const Check SHARE{"a number from 0 to 1", [](const Value& value) { return isNumber(value, 0, 1); }};
const Check INNER_SHARE{"a number above 0 and below 1", [](const Value& value) {
                            return isNumber(value) && value.number() > 0 && value.number() < 1;
                        }};
const Check THRESHOLDS{"a list of 1 to 1000000 numbers, each above 0 and below 1",
                       [](const Value& value) { return areAll(value, 1, MAX_CLASSES, INNER_SHARE.holds); }};
const Check FACTOR{"a number other than 0, from -2147483647 to 2147483647", [](const Value& value) { return isNumber(value) && value.number() != 0; }};
const Check FILE_NAME{"the plain name of a file in the same folder", isFileName};
const Check NAMES{"a list of 1 to 1000000 different texts, each of 1 to 3999 bytes without control characters, "
                  "or the name of a text file in the same folder",
                  [](const Value& value) { return areNames(value) || isFileName(value); }};
const Check MEAN{NUMBERS.expected + ", or the name of an .npy or .binaryproto file in the same folder",
                 [](const Value& value) { return NUMBERS.holds(value) || isMeanFile(value); }};
const Check CLASS{"a class's number, from 0 to 1000000", [](const Value& value) { return isWhole(value, 0, MAX_CLASSES); }};
const Check SHA256{"64 hexadecimal digits", [](const Value& value) {
                       return value.is(Kind::Text) && value.text().size() == 64 && consistsOf(value.text(), HEXADECIMAL, 64);
                   }};
const Check VERSION{"a version such as 4.10.0", isVersion};
const Check OBJECT{"an object", [](const Value& value) { return value.is(Kind::Object); }};
const Check LIST{"a list", [](const Value& value) { return value.is(Kind::List); }};

using Table = std::vector<Key>;  // the required ones first
const Table MANIFEST{{"schema", true, TEXT},           {"model", true, OBJECT},     {"blob", true, OBJECT},
                     {"output", true, OBJECT},         {"source", false, OBJECT},   {"preprocessing", false, OBJECT},
                     {"before_blob", false, LIST},     {"opencv", false, OBJECT},   {"extra", false, OBJECT}};
const size_t KEYS_SINCE_2 = 2;  // the last ones of `output`
const std::vector<std::pair<string, Table>> SECTIONS{
    {"model",
     {{"file", true, FILE_NAME},
      {"format", true, oneOf({"onnx", "frozen-graph", "caffe"})},
      {"graph", false, FILE_NAME},
      {"bytes", false, COUNT},
      {"sha256", false, SHA256},
      {"input", false, TEXT},
      {"output", false, TEXT},
      {"opset", false, COUNT},
      {"weights", false, oneOf({"float32", "float16", "int8"})}}},
    {"blob",
     {{"scalefactor", true, FACTOR}, {"size", true, SIZE}, {"mean", true, MEAN}, {"swapRB", true, FLAG}, {"crop", true, FLAG}}},
    {"output",
     {{"kind", true, oneOf({"softmax", "sigmoid", "logits", "ssd"})},
      {"class_names", true, NAMES},
      {"multi_label", false, FLAG},
      {"background", false, CLASS},
      {"min_confidence", false, SHARE},
      {"reject_below", false, INNER_SHARE},
      {"thresholds", false, THRESHOLDS}}},
    {"source",
     {{"run", false, TEXT},
      {"keras", false, TEXT},
      {"keras_sha256", false, SHA256},
      {"from_logits", false, FLAG},
      {"output", false, TEXT},
      {"application", false, TEXT},
      {"weights", false, TEXT},
      {"alpha", false, POSITIVE}}},
    {"preprocessing",
     {{"height", true, SIDE},
      {"width", true, SIDE},
      {"resize", true, oneOf({"stretch", "crop", "pad"})},
      {"color", true, oneOf({"rgb", "bgr", "gray"})},
      {"mean", true, NUMBERS},
      {"std", true, POSITIVES},
      {"pad_color", false, COLOR},
      {"mean_image", false, FILE_NAME},
      {"samplewise", false, oneOf({"center", "standardize"})}}},
    {"opencv", {{"minimum", false, VERSION}, {"engine", false, oneOf({"classic", "new", "auto"})}, {"verified", false, OBJECT}}}};
const Table PAD{{"step", true, TEXT}, {"color_bgr", true, COLOR}};
const Table GRAY{{"step", true, TEXT}};

inline void checkNeeds(const Value& object, const string& name, const Table& table, const string& where) {
    for (const Key& key : table)
        if (key.required && !object.has(key.name))
            throw Failure(where + ": `" + name + "` needs the key `" + key.name + "`. Add it, or export the bundle again.");
}
inline void checkValue(const Value& value, const string& name, const Key& key, const string& where) {
    if (!key.check.holds(value))
        throw Failure(where + ": `" + name + "." + key.name + "` must be " + key.check.expected + ". Received: " + show(value));
}

// Raises unless an object has each required key, no unknown one, and possible values. `where` begins the sentence.
inline void checkKeys(const Value& object, const string& name, const Table& table, const string& where) {
    checkNeeds(object, name, table, where);
    for (const auto& member : object.members()) {
        const auto isIt = [&](const Key& key) { return key.name == member.first; };
        const auto known = std::find_if(table.begin(), table.end(), isIt);
        if (known != table.end()) {
            checkValue(member.second, name, *known, where);
            continue;
        }
        string names;
        for (const Key& key : table) names += (names.empty() ? "" : ", ") + key.name;
        throw Failure(where + ": `" + name + "` has the unknown key `" + shorten(harmless(member.first)) +
                      "`. Expected only: " + names);
    }
}

// Raises unless the steps before the blob are pad, gray, or pad and gray.
inline void checkSteps(const std::vector<Value>& steps, const string& where) {
    std::vector<string> names;
    string shown;
    for (const Value& step : steps) {
        if (!step.has("step"))
            throw Failure(where + ": each step of `before_blob` must be an object with the key `step`. Received: " + show(step));
        const Value name = step["step"];
        if (!name.is(Kind::Text) || (name.text() != "pad" && name.text() != "gray"))
            throw Failure(where + ": `before_blob` knows the steps pad and gray. Received: " + show(name));
        names.push_back(name.text());
        shown += (shown.empty() ? "" : ", ") + show(name);
    }
    if (names.size() > 2 || (names.size() == 2 && (names[0] != "pad" || names[1] != "gray")))
        throw Failure(where + ": `before_blob` has each step once, pad before gray. Received: " + shorten("[" + shown + "]"));
    for (size_t i = 0; i < steps.size(); ++i)
        checkKeys(steps[i], "before_blob: " + names[i], names[i] == "pad" ? PAD : GRAY, where);
}

// Raises unless the background is one of so many classes, and each has a threshold.
inline void checkAgainstNames(const Value& output, size_t count, const string& where) {
    const string names = ", and there are " + std::to_string(count) + " class names";
    if (output.has("background") && output["background"].number() >= static_cast<double>(count))
        throw Failure(where + ": `output.background` is the class " + show(output["background"]) + names +
                      ", counted from 0. Correct it.");
    const size_t thresholds = output.has("thresholds") ? output["thresholds"].items().size() : count;
    if (thresholds != count)
        throw Failure(where + ": `output.thresholds` has " + std::to_string(thresholds) + " numbers" + names +
                      ". Write one for each.");
}

inline void checkTogether(const Value& model, const Value& output, const string& where) {
    const string format = model["format"].text(), kind = output["kind"].text();
    if (format == "caffe" && !model.has("graph"))
        throw Failure(where + ": a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it.");
    if (format == "onnx" && model.has("graph"))
        throw Failure(where + ": an ONNX model has its graph inside. Take the key `model.graph` out.");
    const std::vector<string> foreign = kind == "ssd" ? std::vector<string>{"multi_label", "reject_below", "thresholds"}
                                                      : std::vector<string>{"background", "min_confidence"};
    for (const string& key : foreign)
        if (output.has(key))
            throw Failure(where + ": an output of the kind " + kind + " has no `output." + key + "`. Take it out.");
    const bool several = output.has("multi_label") && output["multi_label"].flag();
    if (kind == "softmax" && several)
        throw Failure(where + ": an output of the kind softmax cannot have `output.multi_label` true. Write false, or the kind "
                              "sigmoid or logits.");
    if (output.has("reject_below") && several)
        throw Failure(where + ": `output.reject_below` is for one class an image, and `output.multi_label` is true. Take one of "
                              "the two out.");
    if (output.has("thresholds") && !several)
        throw Failure(where + ": `output.thresholds` needs `output.multi_label` true. Write it, or take them out.");
    if (output["class_names"].is(Kind::List)) checkAgainstNames(output, output["class_names"].items().size(), where);
}

// Raises unless a document is a manifest of this schema.
inline void checkManifest(const Value& manifest, const string& where) {
    if (!manifest.is(Kind::Object)) throw Failure(where + ": expected a JSON object. Received: " + show(manifest));
    if (manifest.has("schema")) {
        const Value schema = manifest["schema"];
        if (!schema.is(Kind::Text) || (schema.text() != SCHEMA && schema.text() != SCHEMA_2))
            throw Failure(where + ": this client reads the schemas " + SCHEMA + " and " + SCHEMA_2 + ". Received: " +
                          show(schema) + ". Take a newer client.");
    }
    checkKeys(manifest, "manifest", MANIFEST, where);
    const bool isSecond = manifest["schema"].text() == SCHEMA_2;
    for (const auto& section : SECTIONS) {
        Table keys = section.second;
        if (section.first == "output" && !isSecond) keys.resize(keys.size() - KEYS_SINCE_2);
        if (manifest.has(section.first)) checkKeys(manifest[section.first], section.first, keys, where);
    }
    if (manifest.has("before_blob")) checkSteps(manifest["before_blob"].items(), where);
    checkTogether(manifest["model"], manifest["output"], where);
}

// Returns the document of a manifest's text; raises unless it is one of this schema.
inline Document parseManifest(const string& text, const string& where) {
    if (text.size() > static_cast<size_t>(MAX_TEXT_BYTES)) throw Failure(where + TOO_LONG);
    const Document document = parseJson(text, where);
    checkManifest(Value(document, 0), where);
    return document;
}
