// A JSON file of a stranger, and what goes with it: sentences for the user, sizes of files, UTF-8.

#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include <opencv2/core.hpp>

using std::size_t;
using std::string;

const int MAX_DEPTH = 100;  // of nested JSON: cv::FileStorage goes down by recursion, until the stack ends
const size_t MAX_NAME_BYTES = 3999;  // of a text in JSON, which cv::FileStorage reads into 4096

// What the user can put right, in one sentence.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline bool hasMode(const string& path, unsigned mode) {
    struct stat found;
    return stat(path.c_str(), &found) == 0 && (static_cast<unsigned>(found.st_mode) & S_IFMT) == mode;
}
inline bool isFile(const string& path) { return hasMode(path, S_IFREG); }
inline bool isFolder(const string& path) { return hasMode(path, S_IFDIR); }

inline std::int64_t sizeOf(const string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw Failure("Cannot read " + path + " (" + std::strerror(errno) + "). Copy the bundle again.");
    return static_cast<std::int64_t>(file.tellg());
}

inline string readBytes(const string& path) {
    sizeOf(path);
    std::ifstream file(path, std::ios::binary);
    return string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

// Returns the place of the first byte that is not UTF-8 (RFC 3629, section 4), or npos.
inline size_t findNoUtf8(const string& text) {
    size_t at = 0;
    while (at < text.size()) {
        const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0; };
        const int first = byte(0), second = byte(1);
        const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
        if ((first >= 0x80 && first < 0xC2) || first > 0xF4) return at;
        for (size_t i = 1; i < length; ++i)
            if ((byte(i) & 0xC0) != 0x80) return at;
        if ((first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90)) return at;  // longer than need be
        if ((first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F)) return at;  // no letter
        at += length;
    }
    return string::npos;
}

// Cuts a text for a sentence, between two letters.
inline string shorten(const string& text, size_t bytes = 80) {
    while (bytes > 0 && bytes < text.size() && (text[bytes] & 0xC0) == 0x80) --bytes;
    return text.substr(0, bytes);
}

// Returns what went wrong; what OpenCV says in one line.
inline string reasonOf(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error)) return "There is not enough memory.";
    const cv::Exception* const known = dynamic_cast<const cv::Exception*>(&error);
    if (!known) return error.what();
    std::istringstream words(known->err);
    string line;
    for (string word; words >> word;) line += (line.empty() ? "" : " ") + word;
    return shorten(line, 200);
}

// Lets JSON (RFC 8259) through and nothing else, in words that every cv::FileStorage knows: before 5.0 it reads no \u
// escape and no null, before 4.14 it takes a whole number beyond 32 bits for another one; and it reads much that is no
// JSON.
class Json {
public:
    explicit Json(const string& text) : text_(text) {
        value(0);
        space();
        if (at_ != text_.size()) fail("something behind the end");
    }
    string out;

private:
    [[noreturn]] void fail(const string& what) const { throw Failure(what + " at byte " + std::to_string(at_)); }
    char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool nextIs(const char* letters) const { return next() != '\0' && std::strchr(letters, next()); }

    void take(char letter) {
        if (next() != letter) fail(string("expected ") + letter);
        out += letter;
        ++at_;
    }
    void space() {
        while (nextIs(" \t\r\n")) take(next());
    }

    void value(int depth) {
        space();
        if (depth > MAX_DEPTH) fail("nested too deeply");
        if (next() == '{') collection('}', depth);
        else if (next() == '[') collection(']', depth);
        else if (next() == '"') quoted();
        else if (nextIs("-0123456789")) number();
        else if (nextIs("tfn")) word();
        else fail("expected a value");
    }

    void collection(char close, int depth) {
        std::set<string> keys;
        take(next());
        space();
        for (bool first = true; next() != close; first = false) {
            if (!first) take(',');
            space();
            if (close == '}') {
                if (!keys.insert(quoted()).second) fail("a key that is there twice");
                space();
                take(':');
            }
            value(depth + 1);
            space();
        }
        take(close);
    }

    void word() {
        for (const string known : {"true", "false", "null"}) {
            if (text_.compare(at_, known.size(), known) != 0) continue;
            at_ += known.size();
            out += known == "null" ? "\"\"" : known;  // no key of ours takes null, and none an empty text
            return;
        }
        fail("expected a value");
    }

    string quoted() {
        const size_t start = out.size();
        take('"');
        while (next() != '"') {
            if (static_cast<unsigned char>(next()) < 0x20) fail("a control character in a text, or no end of it");
            if (next() == '\\') escape();
            else take(next());
        }
        take('"');
        if (out.size() - start > MAX_NAME_BYTES + 2) fail("a text of more than 3999 bytes");
        if (out.compare(start, 9, "\"$base64$") == 0) fail("a text that cv::FileStorage takes for numbers");
        return out.substr(start);
    }

    void escape() {
        ++at_;
        if (next() == 'u') return letter(unicode());
        if (!nextIs("\"\\/bfnrt")) fail("an unknown escape");
        if (next() != '/') out += '\\';
        take(next());
    }

    // Reads what follows a backslash: u and four digits, or two of those for one letter.
    unsigned unicode() {
        const auto half = [this] {
            const string digits = next() == 'u' ? text_.substr(at_ + 1, 4) : "";
            if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != string::npos)
                fail("an unknown escape");
            at_ += 5;
            return static_cast<unsigned>(std::strtoul(digits.c_str(), nullptr, 16));
        };
        const unsigned first = half();
        if (first < 0xD800 || first > 0xDBFF || next() != '\\') return first;
        ++at_;
        const unsigned second = half();
        return second < 0xDC00 || second > 0xDFFF ? first : 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    }

    void letter(unsigned code) {
        const auto put = [this](unsigned byte) { out += static_cast<char>(byte & 0xFF); };
        if (code < 0x20 || (code >= 0xD800 && code < 0xE000)) fail("an escape that is no letter");
        if (code == '"' || code == '\\') put('\\');
        if (code < 0x80) return put(code);
        const unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        put(0xFF00u >> (more + 1) | code >> (6 * more));
        for (unsigned i = more; i-- > 0;) put(0x80 | (code >> (6 * i) & 0x3F));
    }

    void number() {
        const size_t start = out.size();
        if (next() == '-') take('-');
        if (next() == '0') take('0');
        else digits();
        bool whole = true;
        if (next() == '.') {
            whole = false;
            take('.');
            digits();
        }
        if (nextIs("eE")) {
            whole = false;
            ++at_;
            out += 'e';  // cv::FileStorage knows no E
            if (nextIs("+-")) take(next());
            digits();
        }
        if (whole && std::fabs(std::strtod(out.c_str() + start, nullptr)) > INT_MAX) out += ".0";  // so it counts nothing
    }
    void digits() {
        if (!nextIs("0123456789")) fail("expected a digit");
        while (nextIs("0123456789")) take(next());
    }

    const string& text_;
    size_t at_ = 0;
};

// Reads a JSON file that holds an object.
inline cv::FileStorage readJson(const string& path) {
    const string text = readBytes(path);
    try {
        if (findNoUtf8(text) != string::npos) throw Failure("byte " + std::to_string(findNoUtf8(text)) + " is not one of UTF-8");
        const string json = Json(text).out;
        if (json[json.find_first_not_of(" \t\r\n")] == '{')
            return cv::FileStorage(json, cv::FileStorage::READ | cv::FileStorage::MEMORY | cv::FileStorage::FORMAT_JSON);
    } catch (const std::exception& error) {
        throw Failure(path + " is not valid JSON in UTF-8 (" + reasonOf(error) + "). Export the bundle again.");
    }
    throw Failure(path + ": expected a JSON object. Received: another value");
}
