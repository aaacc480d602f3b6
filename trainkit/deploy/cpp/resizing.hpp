// Resizing bit by bit as OpenCV does it on x86, for machines on which OpenCV does it otherwise: ARM. The same numbers as
// in the Python client.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <opencv2/core.hpp>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
const bool RESIZES_AS_ON_X86 = true;
#else
const bool RESIZES_AS_ON_X86 = false;
#endif
const int WEIGHT_ONE = 2048;  // OpenCV's weights have 11 bits

// For each new column or row the old one before it, the weight of that, and of the one behind it.
struct Taps {
    std::vector<int> before, first, second;

    Taps(int count, double factor) {
        const double scale = 1 / factor;
        for (int i = 0; i < count; ++i) {
            const volatile double scaled = (i + 0.5) * scale;  // rounded here, not first with what is taken off
            const float place = static_cast<float>(scaled - 0.5), below = std::floor(place), share = place - below;
            before.push_back(static_cast<int>(below));
            first.push_back(cvRound((1 - share) * static_cast<float>(WEIGHT_ONE)));
            second.push_back(cvRound(share * static_cast<float>(WEIGHT_ONE)));
        }
    }
};

// The mean of each four pixels, halves up; an odd row or column at the end, which no crop keeps, is left.
inline cv::Mat halve(const cv::Mat& image) {
    const int channels = image.channels();
    cv::Mat half(image.rows / 2, image.cols / 2, image.type());
    for (int y = 0; y < half.rows; ++y) {
        const uchar *one = image.ptr<uchar>(2 * y), *other = image.ptr<uchar>(2 * y + 1);
        uchar* to = half.ptr<uchar>(y);
        for (int x = 0; x < half.cols * channels; ++x) {
            const int at = x / channels * 2 * channels + x % channels, next = at + channels;
            to[x] = static_cast<uchar>((one[at] + one[next] + other[at] + other[next] + 2) >> 2);
        }
    }
    return half;
}

// A row, brought to its new length.
inline void squeeze(const uchar* row, int columns, int channels, const Taps& taps, std::vector<int>& line) {
    for (size_t x = 0; x < taps.before.size(); ++x) {
        const int left = taps.before[x];
        const bool isOutside = left < 0 || left + 1 >= columns;  // one column counts there
        const uchar* one = row + std::min(std::max(left, 0), columns - 1) * channels;
        const uchar* other = isOutside ? one : one + channels;
        const int first = isOutside ? WEIGHT_ONE : taps.first[x], second = isOutside ? 0 : taps.second[x];
        for (int c = 0; c < channels; ++c)
            line[x * static_cast<size_t>(channels) + static_cast<size_t>(c)] = (one[c] * first + other[c] * second) >> 4;
    }
}

inline cv::Mat resizeBy(const cv::Mat& image, const cv::Size& size, double across, double down) {
    if (image.size() == size) return image;
    if (across == 0.5 && down == 0.5) return halve(image);
    const Taps columns(size.width, across), rows(size.height, down);
    cv::Mat resized(size, image.type());
    std::vector<int> upper(static_cast<size_t>(size.width * image.channels())), lower(upper.size());
    for (int y = 0; y < size.height; ++y) {
        const size_t at = static_cast<size_t>(y);
        const int top = rows.before[at], last = image.rows - 1;
        squeeze(image.ptr<uchar>(std::min(std::max(top, 0), last)), image.cols, image.channels(), columns, upper);
        squeeze(image.ptr<uchar>(std::min(std::max(top + 1, 0), last)), image.cols, image.channels(), columns, lower);
        uchar* to = resized.ptr<uchar>(y);
        for (size_t x = 0; x < upper.size(); ++x) {
            const int high = (upper[x] * rows.first[at]) >> 16, low = (lower[x] * rows.second[at]) >> 16;
            to[x] = static_cast<uchar>((high + low + 2) >> 2);
        }
    }
    return resized;
}

// What cv::dnn::blobFromImage begins with.
inline cv::Mat resizeAsOnX86(const cv::Mat& image, const cv::Size& size, bool crop) {
    const float wide = static_cast<float>(size.width) / static_cast<float>(image.cols);
    const float high = static_cast<float>(size.height) / static_cast<float>(image.rows);
    if (!crop || image.size() == size)
        return resizeBy(image, size, size.width / static_cast<double>(image.cols),
                        size.height / static_cast<double>(image.rows));
    const double factor = static_cast<double>(std::max(wide, high));  // lets the image cover the blob
    const cv::Size scaled(cvRound(image.cols * factor), cvRound(image.rows * factor));
    const int left = (scaled.width - size.width) / 2, top = (scaled.height - size.height) / 2;
    return resizeBy(image, scaled, factor, factor)(cv::Rect(left, top, size.width, size.height)).clone();
}
