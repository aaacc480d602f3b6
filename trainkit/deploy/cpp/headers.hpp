// How large a picture is, by its header: known before OpenCV is given the file and makes memory for it.

#pragma once

#include <algorithm>
#include <cmath>

#include "text.hpp"

const std::int64_t MAX_PIXELS = 1 << 28;  // of an image, and of a padded one

// What is so large has an end: a picture of so many pixels, a frame of a film (one in 8K has 2^25, and may be black all
// through), or so many a byte of the file. Photographs have 50 at most; PNG's compression ends at 344 for one colour.
const std::int64_t BOMB_PIXELS = 1 << 24, VIDEO_BOMB_PIXELS = 1 << 26, BOMB_PIXELS_A_BYTE = 256;

// What a picture declares, before any rotation.
struct Sides {
    double width, height;
};

// A header that ends in the middle, or says what none says.
struct Damaged {};

class Header {
public:
    explicit Header(const string& path) : file_(path, std::ios::binary), head_(bytesAt(0, 1 << 16)) {}

    // OpenCV goes by what a file begins with, whatever its name says, and so does this.
    Sides sides() {
        if (begins("\xFF\xD8\xFF")) return jpeg();
        if (begins("\x89PNG\r\n\x1A\n....IHDR")) return {number(head_, 16, 4, true), number(head_, 20, 4, true)};
        if (begins("BM")) return bmp();
        if (begins("GIF8")) return {number(head_, 6, 2, false), number(head_, 8, 2, false)};
        if (begins("RIFF....WEBP")) return webp();
        if (begins(string("II*\0", 4)) || begins(string("MM\0*", 4)) || begins(string("II+\0", 4)) || begins(string("MM\0+", 4)))
            return tiff(head_[0] == 'M', head_[2] == '+' || head_[3] == '+');
        if (head_[0] == 'P' && head_[1] >= '1' && head_[1] <= '6') return pnm();
        if (begins("PF") || begins("Pf")) return pfm();
        if (begins("P7") && isSpace(head_[2])) return pam();
        if (begins("\x59\xA6\x6A\x95")) return {number(head_, 4, 4, true), number(head_, 8, 4, true)};  // Sun's raster files
        if (begins("#?RADIANCE") || begins("#?RGBE")) return radiance();
        if (begins(string("\0\0\0\x0CjP  \r\n\x87\n", 12)) || begins("\xFF\x4F\xFF\x51")) return jpeg2000();
        if (begins("\x76\x2F\x31\x01")) return openExr();
        if (begins("....ftyp")) return avif();
        throw Damaged();
    }

private:
    static const int MOST_PARTS = 10000;  // segments or entries before the size; a photograph has some dozens

    // Fewer bytes than asked for at the end of the file.
    string bytesAt(std::uint64_t place, size_t size) {
        string bytes(size, '\0');
        file_.clear();
        if (place > INT64_MAX || !file_.seekg(static_cast<std::streamoff>(place))) throw Damaged();
        file_.read(&bytes[0], static_cast<std::streamsize>(size));
        bytes.resize(static_cast<size_t>(file_.gcount()));
        return bytes;
    }

    // A point stands for any byte.
    bool begins(const string& with) const {
        if (head_.size() < with.size()) return false;
        for (size_t i = 0; i < with.size(); ++i)
            if (with[i] != '.' && head_[i] != with[i]) return false;
        return true;
    }

    static std::uint64_t whole(const string& bytes, size_t place, size_t size, bool bigEndian) {
        if (place > bytes.size() || bytes.size() - place < size) throw Damaged();
        std::uint64_t value = 0;
        for (size_t i = 0; i < size; ++i)
            value = value << 8 | static_cast<unsigned char>(bytes[place + (bigEndian ? i : size - 1 - i)]);
        return value;
    }
    static double number(const string& bytes, size_t place, size_t size, bool bigEndian) {
        return static_cast<double>(whole(bytes, place, size, bigEndian));
    }
    static double signedNumber(const string& bytes, size_t place, size_t size, bool bigEndian) {
        const double value = number(bytes, place, size, bigEndian), range = std::ldexp(1.0, static_cast<int>(8 * size));
        return value < range / 2 ? value : value - range;
    }

    Sides bmp() const {
        if (whole(head_, 14, 4, false) == 12) return {number(head_, 18, 2, false), number(head_, 20, 2, false)};  // of OS/2
        return {std::fabs(signedNumber(head_, 18, 4, false)), std::fabs(signedNumber(head_, 22, 4, false))};
    }

    // The largest size of all frames; decoders know the first, or refuse a second.
    Sides jpeg() {
        Sides size{0, 0};
        bool found = false;
        std::uint64_t place = 2;
        for (int part = 0; part < MOST_PARTS; ++part) {
            const int marker = nextMarker(place);
            if (marker == 0xDA || marker == 0xD9 || marker < 0) {  // the scan, the end of the picture or of the file
                if (!found) throw Damaged();
                return size;
            }
            if (marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // stands alone
            string segment = bytesAt(place, 7);
            segment.resize(7, '\0');
            if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
                size = {std::max(size.width, number(segment, 5, 2, true)), std::max(size.height, number(segment, 3, 2, true))};
                found = true;
            }
            place += std::max<std::uint64_t>(2, whole(segment, 0, 2, true));
        }
        throw Damaged();
    }
    // Returns the next marker from a place on, which becomes that behind it; -1 at the end of the file.
    int nextMarker(std::uint64_t& place) {
        for (;;) {
            const string block = bytesAt(place, 4096);
            for (size_t i = block.find('\xFF'); i != string::npos; i = block.find('\xFF', i)) {
                i = std::min(block.find_first_not_of('\xFF', i), block.size());
                if (i == block.size() || block[i] == '\0') continue;
                place += i + 1;
                return static_cast<unsigned char>(block[i]);
            }
            if (block.size() < 4096) return -1;
            place += block.back() == '\xFF' ? 4095 : 4096;
        }
    }

    // The canvas of the extended form, or the size of a picture with losses (VP8) or without (VP8L).
    Sides webp() const {
        const auto sides = [](std::uint64_t width, std::uint64_t height) {
            return Sides{static_cast<double>(width), static_cast<double>(height)};
        };
        if (head_.compare(12, 4, "VP8X") == 0) return sides(whole(head_, 24, 3, false) + 1, whole(head_, 27, 3, false) + 1);
        if (head_.compare(12, 4, "VP8L") == 0) {
            const std::uint64_t bits = whole(head_, 21, 4, false);
            return sides((bits & 16383) + 1, (bits >> 14 & 16383) + 1);
        }
        return sides(whole(head_, 26, 2, false) & 16383, whole(head_, 28, 2, false) & 16383);
    }

    // AVIF: the largest of all items.
    Sides avif() const {
        Sides size{-1, -1};
        size_t at = head_.find("ispe");
        for (; at != string::npos && at + 16 <= head_.size(); at = head_.find("ispe", at + 16))
            size = {std::max(size.width, number(head_, at + 8, 4, true)), std::max(size.height, number(head_, at + 12, 4, true))};
        if (size.width < 0) throw Damaged();
        return size;
    }

    // The largest width and height of the first directory, which is the one that is read.
    Sides tiff(bool bigEndian, bool big) {
        const size_t wide = big ? 8 : 4, counted = big ? 8 : 2, entry = big ? 20 : 12;
        const std::uint64_t directory = whole(head_, wide, wide, bigEndian);
        const std::uint64_t count = whole(bytesAt(directory, counted), 0, counted, bigEndian);
        if (count > MOST_PARTS) throw Damaged();
        const string entries = bytesAt(directory + counted, static_cast<size_t>(count) * entry);
        Sides size{0, 0};
        for (size_t at = 0; at + entry <= entries.size(); at += entry) {
            const std::uint64_t tag = whole(entries, at, 2, bigEndian), kind = whole(entries, at + 2, 2, bigEndian);
            if (tag != 256 && tag != 257) continue;
            double& side = tag == 256 ? size.width : size.height;
            side = std::max(side, tiffNumber(entries, at + 4 + wide, kind, wide, bigEndian));
        }
        if (size.width == 0 || size.height == 0) throw Damaged();
        return size;
    }
    // A whole number of the kinds BYTE, SHORT, LONG and LONG8, or their signed ones.
    static double tiffNumber(const string& entries, size_t place, std::uint64_t kind, size_t most, bool bigEndian) {
        const bool isSigned = kind == 6 || kind == 8 || kind == 9 || kind == 17;
        const size_t bytes = kind == 1 || kind == 6 ? 1 : kind == 3 || kind == 8 ? 2 : kind == 4 || kind == 9 ? 4 : 8;
        if ((bytes == 8 && kind != 16 && kind != 17) || bytes > most) throw Damaged();
        return isSigned ? std::fabs(signedNumber(entries, place, bytes, bigEndian)) : number(entries, place, bytes, bigEndian);
    }

    // ---- Headers that are text

    static bool isSpace(char letter) { return letter != '\0' && std::strchr(" \t\n\r\f\v", letter); }
    static bool isDigit(char letter) { return letter >= '0' && letter <= '9'; }
    size_t skipSpaces(size_t at) const {
        while (at < head_.size() && isSpace(head_[at])) ++at;
        return at;
    }
    // Reads a number of at most so many digits, and goes behind it.
    double digits(size_t& at, size_t most) const {
        const size_t start = at;
        double value = 0;
        for (; at < head_.size() && isDigit(head_[at]) && at - start < most; ++at) value = 10 * value + (head_[at] - '0');
        if (at == start || (most > 10 && at - start > 10)) throw Damaged();
        return value;
    }

    // Two numbers as OpenCV reads them: a comment ends with its line, and the letter behind a number is passed over.
    Sides pnm() const {
        double sides[2];
        size_t at = 2;
        for (double& side : sides) {
            for (; at < head_.size() && (isSpace(head_[at]) || head_[at] == '#'); ++at)
                if (head_[at] == '#') at = std::min(head_.find_first_of("\r\n", at), head_.size() - 1);
            side = digits(at, 10);
            ++at;
        }
        return {sides[0], sides[1]};
    }

    Sides pfm() const {
        size_t at = skipSpaces(2);
        if (at == 2) throw Damaged();
        const double width = digits(at, 11);
        const size_t behind = at;
        at = skipSpaces(at);
        if (at == behind) throw Damaged();
        const double height = digits(at, 11);
        if (!isSpace(at < head_.size() ? head_[at] : '\0')) throw Damaged();
        return {width, height};
    }

    Sides pam() const {
        const size_t end = head_.find("ENDHDR");
        if (end == string::npos) throw Damaged();
        const Sides size{largest("WIDTH", end), largest("HEIGHT", end)};
        if (size.width < 0 && size.height < 0) throw Damaged();
        return {std::max(0.0, size.width), std::max(0.0, size.height)};
    }
    // The largest number that stands behind a name, -1 where there is none.
    double largest(const string& name, size_t end) const {
        double most = -1;
        for (size_t at = head_.find(name); at < end; at = head_.find(name, at + 1)) {
            size_t number = skipSpaces(at + name.size());
            if (number > at + name.size() && number < end && isDigit(head_[number])) most = std::max(most, digits(number, 11));
        }
        return most;
    }

    // The largest of what looks like a size, up to behind the first empty line, where the size stands.
    Sides radiance() const {
        const size_t last = head_.find("\n\n-Y"), end = last == string::npos ? last : head_.find('\n', last + 2);
        if (end == string::npos) throw Damaged();
        Sides size{-1, -1};
        for (size_t at = head_.find("-Y"); at < end; at = head_.find("-Y", at + 1)) {
            size_t number = at + 2;
            double height = 0, width = 0;
            if (!signedDigits(number, height)) continue;
            number = skipSpaces(number);
            if (head_.compare(number, 2, "+X") != 0) continue;
            number += 2;
            if (signedDigits(number, width)) size = {std::max(size.width, width), std::max(size.height, height)};
        }
        if (size.width < 0) throw Damaged();
        return size;
    }
    bool signedDigits(size_t& at, double& value) const {
        at = skipSpaces(at);
        if (at < head_.size() && (head_[at] == '+' || head_[at] == '-')) ++at;
        if (at >= head_.size() || !isDigit(head_[at])) return false;
        value = digits(at, 11);
        return true;
    }

    // ---- Headers of parts

    // The size of the codestream, in its box or as it stands.
    Sides jpeg2000() {
        const std::uint64_t place = head_[0] == '\xFF' ? 0 : boxOfCodestream();
        const string stream = bytesAt(place, 24);
        const auto at = [&](size_t from) { return number(stream, from, 4, true); };
        return {at(8) - at(16), at(12) - at(20)};
    }
    std::uint64_t boxOfCodestream() {
        std::uint64_t place = 0;
        for (int part = 0; part < MOST_PARTS; ++part) {
            const string box = bytesAt(place, 16);
            std::uint64_t length = whole(box, 0, 4, true);
            const std::uint64_t longLength = whole(box, 8, 8, true);
            if (box.compare(4, 4, "jp2c") == 0) return place + (length == 1 ? 16 : 8);
            if (length == 1) length = longLength;
            if (length < 8 || length > INT64_MAX) break;
            place += length;
        }
        throw Damaged();
    }

    // Goes through the attributes of the first part: name, kind, size, value.
    Sides openExr() const {
        size_t place = 8;
        for (int part = 0; part < MOST_PARTS; ++part) {
            const size_t nameEnd = head_.find('\0', place), kindEnd = nameEnd == string::npos ? nameEnd : head_.find('\0', nameEnd + 1);
            if (kindEnd == string::npos) break;
            const std::uint64_t length = whole(head_, kindEnd + 1, 4, false);
            const auto at = [&](size_t from) { return signedNumber(head_, kindEnd + 5 + from, 4, false); };
            if (head_.compare(place, nameEnd - place, "dataWindow") == 0) return {at(8) - at(0) + 1, at(12) - at(4) + 1};
            if (length > head_.size()) break;
            place = kindEnd + 5 + static_cast<size_t>(length);
        }
        throw Damaged();
    }

    std::ifstream file_;
    string head_;
};

// Finds the size that an image file declares. Returns whether it is a picture at all, by its header.
inline bool readPictureSize(const string& path, Sides& sides) {
    try {
        sides = Header(path).sides();
        return true;
    } catch (const Damaged&) {
        return false;
    }
}

// Throws where a picture would fill the memory: before it is decoded. `bytes` are those of the file; -1 for a camera.
inline void checkPixelCount(const Sides& sides, const string& name, std::int64_t bytes, std::int64_t leastBomb) {
    const double pixels = sides.width * sides.height;
    char size[80];
    std::snprintf(size, sizeof size, "(%.0fx%.0f)", sides.width, sides.height);
    if (pixels > static_cast<double>(MAX_PIXELS))
        throw Failure(name + " has too many pixels " + size + ". Expected at most " + std::to_string(MAX_PIXELS) +
                      ": scale it down.");
    if (bytes >= 0 && pixels > static_cast<double>(std::max(leastBomb, BOMB_PIXELS_A_BYTE * bytes)))
        throw Failure(name + " has too many pixels for a file of " + std::to_string(bytes) + " bytes " + size +
                      ": a decompression bomb. Take it out.");
}

// Throws where a file is text: FFmpeg would take a playlist for a film, and open the files that it names.
inline void checkIsNoList(const string& path) {
    std::ifstream file(path, std::ios::binary);
    char bytes[32];
    file.read(bytes, sizeof bytes);
    string head(bytes, static_cast<size_t>(file.gcount()));
    const bool isList = head.compare(0, 7, "#EXTM3U") == 0 || head.compare(0, 8, "ffconcat") == 0;
    if (head.compare(0, 3, "\xEF\xBB\xBF") == 0) head.erase(0, 3);
    const auto isText = [](char letter) { return (letter >= ' ' && letter <= '~') || (letter != '\0' && std::strchr("\t\n\r", letter)); };
    if (isList || (!head.empty() && std::all_of(head.begin(), head.end(), isText)))
        throw Failure(path + " is text, not a video. Name the video itself.");
}
