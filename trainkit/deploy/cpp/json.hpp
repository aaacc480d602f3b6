// JSON (RFC 8259) of a stranger, read strictly: cv::FileStorage takes much that is no JSON, and true for 1.

#pragma once

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <utility>
#include <vector>

#include "text.hpp"

const int MAX_DEPTH = 32;                        // of nested JSON
const std::int64_t MAX_TEXT_BYTES = 16 << 20;    // of a manifest, and of a text beside it: class names, a graph
const std::int64_t MAX_MODEL_BYTES = INT32_MAX;  // no protobuf message is larger

enum class Kind : std::uint32_t { Null, Flag, Number, Text, List, Object };

// A document is a row of values: behind a list stand its items, behind an object its keys, each followed by its value.
struct Node {
    Kind kind;
    std::uint32_t end;            // the place behind this value and all that is in it
    std::uint32_t start, length;  // of a text, in `letters`
    double number;                // 1 and 0 for true and false
};

struct Document {
    std::vector<Node> nodes;
    string letters;
};

// A value of a document; it must not outlive it.
class Value {
public:
    Value(const Document& document, std::uint32_t at) : document_(&document), at_(at) {}

    bool is(Kind kind) const { return node().kind == kind; }
    bool flag() const { return node().number != 0; }
    double number() const { return node().number; }
    string text() const { return document_->letters.substr(node().start, node().length); }

    std::vector<Value> items() const {
        std::vector<Value> found;
        for (std::uint32_t at = at_ + 1; at < node().end; at = document_->nodes[at].end) found.emplace_back(*document_, at);
        return found;
    }
    // In the order of the document.
    std::vector<std::pair<string, Value>> members() const {
        std::vector<std::pair<string, Value>> found;
        const std::vector<Value> all = items();
        for (size_t i = 0; i + 1 < all.size(); i += 2) found.emplace_back(all[i].text(), all[i + 1]);
        return found;
    }
    bool has(const string& key) const { return find(key) != 0; }
    // The value of a key that is there.
    Value operator[](const string& key) const { return Value(*document_, find(key)); }

private:
    const Node& node() const { return document_->nodes[at_]; }

    // The place of a value; 0 where there is no such key.
    std::uint32_t find(const string& key) const {
        if (!is(Kind::Object)) return 0;
        for (std::uint32_t at = at_ + 1; at < node().end; at = document_->nodes[at + 1].end)
            if (document_->letters.compare(document_->nodes[at].start, document_->nodes[at].length, key) == 0) return at + 1;
        return 0;
    }

    const Document* document_;
    std::uint32_t at_;
};

// Reads a text into a document, or throws a Failure that says what is wrong with it.
class Parser {
public:
    explicit Parser(const string& text) : text_(text) {
        const size_t bad = findNoUtf8(text);
        if (bad != string::npos) throw Failure("byte " + std::to_string(bad) + " is not one of UTF-8");
        const auto begins = [](char letter) { return std::strchr(",:[{", letter) != nullptr; };
        document.nodes.reserve(static_cast<size_t>(std::count_if(text.begin(), text.end(), begins)) + 1);
        value(1);
        space();
        if (at_ != text_.size()) fail("something behind the end");
        if (hasHalf_) throw Failure("half a letter (a lone surrogate) in a text");
    }
    Document document;

private:
    [[noreturn]] void fail(const string& what) const { throw Failure(what + " at byte " + std::to_string(at_)); }
    char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool nextIs(const char* letters) const { return next() != '\0' && std::strchr(letters, next()); }

    void take(char letter) {
        if (next() != letter) fail(string("expected ") + letter);
        ++at_;
    }
    void space() {
        while (nextIs(" \t\r\n")) ++at_;
    }

    std::uint32_t add(Kind kind, double number = 0) {
        const std::uint32_t place = static_cast<std::uint32_t>(document.nodes.size());
        document.nodes.push_back({kind, place + 1, 0, 0, number});
        return place;
    }

    void value(int depth) {
        space();
        if (nextIs("{[") && depth > MAX_DEPTH) throw Failure("nested more than " + std::to_string(MAX_DEPTH) + " deep");
        if (next() == '{') collection(Kind::Object, '}', depth);
        else if (next() == '[') collection(Kind::List, ']', depth);
        else if (next() == '"') quoted();
        else if (nextIs("-0123456789")) number();
        else word();
    }

    void collection(Kind kind, char close, int depth) {
        const std::uint32_t place = add(kind);
        ++at_;
        space();
        for (bool first = true; next() != close; first = false) {
            if (!first) take(',');
            space();
            if (kind == Kind::Object) {
                quoted();
                space();
                take(':');
            }
            value(depth + 1);
            space();
        }
        ++at_;
        document.nodes[place].end = static_cast<std::uint32_t>(document.nodes.size());
        if (kind == Kind::Object) refuseTwins(place);
    }

    // Throws at the first key of an object that stood there before.
    void refuseTwins(std::uint32_t object) {
        std::vector<std::uint32_t> keys;
        for (std::uint32_t at = object + 1; at < document.nodes[object].end; at = document.nodes[at + 1].end) keys.push_back(at);
        const auto compare = [this](std::uint32_t one, std::uint32_t other) {
            const Node &left = document.nodes[one], &right = document.nodes[other];
            return document.letters.compare(left.start, left.length, document.letters, right.start, right.length);
        };
        std::sort(keys.begin(), keys.end(), [&](std::uint32_t one, std::uint32_t other) {
            const int order = compare(one, other);
            return order ? order < 0 : one < other;
        });
        std::uint32_t twin = UINT32_MAX;
        for (size_t i = 1; i < keys.size(); ++i)
            if (compare(keys[i - 1], keys[i]) == 0) twin = std::min(twin, keys[i]);
        if (twin != UINT32_MAX)
            throw Failure("the key `" + shorten(harmless(Value(document, twin).text())) + "` stands twice in one object");
    }

    void word() {
        for (const string known : {"null", "true", "false"}) {
            if (text_.compare(at_, known.size(), known) != 0) continue;
            at_ += known.size();
            add(known == "null" ? Kind::Null : Kind::Flag, known == "true");
            return;
        }
        fail("expected a value");
    }

    void quoted() {
        const std::uint32_t place = add(Kind::Text);
        string& letters = document.letters;
        const size_t start = letters.size();
        take('"');
        while (next() != '"') {
            if (static_cast<unsigned char>(next()) < 0x20) fail("a control character in a text, or no end of it");
            if (next() == '\\') escape();
            else letters += text_[at_++];
        }
        ++at_;
        document.nodes[place].start = static_cast<std::uint32_t>(start);
        document.nodes[place].length = static_cast<std::uint32_t>(letters.size() - start);
    }

    void escape() {
        ++at_;
        if (next() == 'u') return append(document.letters, unicode());
        const char *const names = "\"\\/bfnrt", *const meant = "\"\\/\b\f\n\r\t";
        if (!nextIs(names)) fail("an unknown escape");
        document.letters += meant[std::strchr(names, text_[at_++]) - names];
    }

    // Reads what follows a backslash: u and four digits, or two of those for one letter.
    std::uint32_t unicode() {
        const std::uint32_t first = half();
        if (first < 0xD800 || first > 0xDFFF) return first;
        const size_t behind = at_;
        if (first < 0xDC00 && next() == '\\' && text_.compare(at_, 2, "\\u") == 0) {
            ++at_;
            const std::uint32_t second = half();
            if (second >= 0xDC00 && second <= 0xDFFF) return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            at_ = behind;  // it may begin a letter of its own
        }
        hasHalf_ = true;
        return 0xFFFD;
    }
    std::uint32_t half() {
        const string digits = text_.substr(at_ + 1, 4);
        if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != string::npos) fail("an unknown escape");
        at_ += 5;
        return static_cast<std::uint32_t>(std::strtoul(digits.c_str(), nullptr, 16));
    }

    void number() {
        const size_t start = at_;
        if (next() == '-') ++at_;
        if (next() == '0') ++at_;
        else digits();
        const size_t point = at_ - start;
        const bool hasPoint = next() == '.';
        if (hasPoint) {
            ++at_;
            digits();
        }
        if (nextIs("eE")) {
            ++at_;
            if (nextIs("+-")) ++at_;
            digits();
        }
        string written = text_.substr(start, at_ - start);
        if (hasPoint) written.replace(point, 1, std::localeconv()->decimal_point);  // which strtod expects
        const double found = std::strtod(written.c_str(), nullptr);
        if (!std::isfinite(found)) throw Failure("a number beyond range");
        add(Kind::Number, found);
    }
    void digits() {
        if (!nextIs("0123456789")) fail("expected a digit");
        while (nextIs("0123456789")) ++at_;
    }

    const string& text_;
    size_t at_ = 0;
    bool hasHalf_ = false;
};

// Returns a number as C's %.10g writes it, whatever the locale.
inline string shown(double number) {
    if (std::isnan(number)) return "nan";
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.precision(10);
    text << number;
    return text.str();
}

// Returns a text, or a value, as a sentence shows it.
inline string show(const string& text) { return shorten("'" + harmless(text) + "'"); }
inline string show(const Value& value) {
    if (value.is(Kind::Text)) return show(value.text());
    if (value.is(Kind::Object)) return "an object";
    if (value.is(Kind::Null)) return "null";
    if (value.is(Kind::Flag)) return value.flag() ? "true" : "false";
    if (value.is(Kind::Number)) return shown(value.number() + 0);  // zero has no sign
    string list = "[";
    for (const Value& one : value.items()) {
        if (list.size() > 4 * 80) break;  // enough: it is cut
        list += (list.size() > 1 ? ", " : "") + show(one);
    }
    return shorten(list + "]");
}

// Parses a document; `where` says in a sentence where it stands.
inline Document parseJson(const string& text, const string& where) {
    try {
        Document document = Parser(text).document;
        return document;
    } catch (const Failure& error) {
        throw Failure(where + " is not valid JSON in UTF-8 (" + error.what() + "). Export the bundle again.");
    }
}
