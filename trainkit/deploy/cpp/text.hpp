// Text and files of strangers: UTF-8, what a terminal may be shown, sentences for the user, sizes of files.

#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

using std::size_t;
using std::string;

// ---- UTF-8

// Reads the letter at a place of a text (RFC 3629, section 4). Returns its bytes, 0 where there is no UTF-8.
inline size_t letterAt(const string& text, size_t at, std::uint32_t& code) {
    const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
    const std::uint32_t first = byte(0);
    const size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    code = length > 1 ? first & (0x7Fu >> length) : first;
    for (size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return 0;
        code = code << 6 | (byte(i) & 0x3F);
    }
    const bool tooLong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    return tooLong || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF ? 0 : length;
}

// Returns the place of the first byte that is not UTF-8, or npos.
inline size_t findNoUtf8(const string& text) {
    std::uint32_t code = 0;
    for (size_t at = 0, length = 0; at < text.size(); at += length) {
        length = letterAt(text, at, code);
        if (!length) return at;
    }
    return string::npos;
}

// Appends a letter in UTF-8.
inline void append(string& text, std::uint32_t code) {
    const auto put = [&text](std::uint32_t byte) { text += static_cast<char>(byte & 0xFF); };
    if (code < 0x80) return put(code);
    const unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    put(0xFF00u >> (more + 1) | code >> (6 * more));
    for (unsigned i = more; i-- > 0;) put(0x80 | (code >> (6 * i) & 0x3F));
}

inline bool isControl(std::uint32_t code) { return code < 0x20 || (code >= 0x7F && code < 0xA0); }

// Whether a terminal would obey a letter: control characters, marks that turn the direction of writing round (Unicode's
// Bidi_Control), separators of lines and paragraphs, a byte order mark.
inline bool isHarmful(std::uint32_t code) {
    return isControl(code) || code == 0x61C || code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

// Returns a text in which such letters, and bytes that are not UTF-8, are written out: \x1b, \u202e.
inline string harmless(const string& text) {
    string shown;
    std::uint32_t code = 0;
    for (size_t at = 0, length = 0; at < text.size(); at += length ? length : 1) {
        length = letterAt(text, at, code);
        if (length && !isHarmful(code)) {
            shown.append(text, at, length);
            continue;
        }
        char written[8];
        if (!length) code = static_cast<unsigned char>(text[at]);
        std::snprintf(written, sizeof written, code < 0x100 ? "\\x%02x" : "\\u%04x", static_cast<unsigned>(code & 0xFFFF));
        shown += written;
    }
    return shown;
}

// Cuts UTF-8 for a sentence, to so many letters.
inline string shorten(const string& text, size_t letters = 80) {
    size_t at = 0;
    while (at < text.size() && ((text[at] & 0xC0) == 0x80 || letters-- > 0)) ++at;
    return text.substr(0, at);
}

// ---- Sentences

// What the user can put right, in one sentence that can be shown as it is.
struct Failure : std::runtime_error {
    explicit Failure(const string& what) : std::runtime_error(harmless(what)) {}
};

// ---- Files

inline bool hasMode(const string& path, unsigned mode) {
    struct stat found;
    return stat(path.c_str(), &found) == 0 && (static_cast<unsigned>(found.st_mode) & S_IFMT) == mode;
}
inline bool isFile(const string& path) { return hasMode(path, S_IFREG); }
inline bool isFolder(const string& path) { return hasMode(path, S_IFDIR); }

inline Failure cannotRead(const string& path) {
    return Failure("Cannot read " + path + " (" + std::strerror(errno) + "). Copy the bundle again.");
}

inline std::int64_t sizeOf(const string& path) {
    struct stat found;
    if (stat(path.c_str(), &found) != 0) throw cannotRead(path);
    return found.st_size;
}

inline string readBytes(const string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw cannotRead(path);
    string bytes(static_cast<size_t>(sizeOf(path)), '\0');
    file.read(&bytes[0], static_cast<std::streamsize>(bytes.size()));
    if (file.gcount() != static_cast<std::streamsize>(bytes.size())) throw cannotRead(path);
    return bytes;
}
