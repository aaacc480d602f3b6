// Whether a picture is as dark and light as the images that the network was trained on.

#pragma once

#include <array>

#include <opencv2/core.hpp>

#include "schema.hpp"

const size_t RANGES = 16;         // of grey levels, which are counted
const double LEAST_SHARE = 0.01;  // of a range: what few training images have, or none, says little

// How dark and light a picture is: its mean grey level, and the share of its pixels in each range.
struct Brightness {
    double mean;
    std::array<double, RANGES> levels;
};

// What `extra.training_pixels` of a manifest says of the training images.
struct TrainingPixels {
    bool known = false;  // whether it says all that follows
    double mean = 0, low = 0, high = 0, invertedAbove = 0;
    std::array<double, RANGES> levels{};
};

inline TrainingPixels readTrainingPixels(const Value& manifest) {
    TrainingPixels training;
    if (!manifest.has("extra") || !manifest["extra"].has("training_pixels")) return training;
    const Value found = manifest["extra"]["training_pixels"];
    for (const char* const key : {"mean", "low", "high", "inverted_above"})
        if (!found.has(key) || !isNumber(found[key])) return training;
    const auto isShare = [](const Value& value) { return isNumber(value, 0); };
    if (!found.has("levels") || !areAll(found["levels"], RANGES, RANGES, isShare)) return training;
    training.known = true;
    training.mean = found["mean"].number();
    training.low = found["low"].number();
    training.high = found["high"].number();
    training.invertedAbove = found["inverted_above"].number();
    const std::vector<Value> levels = found["levels"].items();
    for (size_t i = 0; i < RANGES; ++i) training.levels[i] = levels[i].number();
    return training;
}

// Measures the planes of a blob that holds whole levels: one grey, or three colours.
inline Brightness measureBrightness(const cv::Mat& blob, bool isRgb) {
    const size_t count = static_cast<size_t>(blob.size[2]) * static_cast<size_t>(blob.size[3]);
    const float* const first = blob.ptr<float>();
    const float* const blue = isRgb ? first + 2 * count : first;
    const float* const red = isRgb ? first : first + 2 * count;
    Brightness found{0, {}};
    for (size_t i = 0; i < count; ++i) {
        // In whole numbers, so that every language has the same.
        const int grey = blob.size[1] == 1 ? static_cast<int>(first[i])
                                           : (114 * static_cast<int>(blue[i]) + 587 * static_cast<int>(first[count + i]) +
                                              299 * static_cast<int>(red[i])) / 1000;
        found.mean += grey;
        ++found.levels[static_cast<size_t>(grey) / (256 / RANGES)];
    }
    for (double& level : found.levels) level /= static_cast<double>(count);
    found.mean /= static_cast<double>(count);
    return found;
}

// Says that a picture is unlike the training images, and what may help; an empty text where it is like them.
inline string compareBrightness(const Brightness& picture, const TrainingPixels& training, bool isInverted) {
    double fit = 0;  // how much likelier its levels are when they are inverted: a log ratio a pixel
    for (size_t i = 0; i < RANGES; ++i)
        fit += picture.levels[i] *
               std::log((training.levels[RANGES - 1 - i] + LEAST_SHARE) / (training.levels[i] + LEAST_SHARE));
    const auto isUsual = [&](double mean) { return training.low <= mean && mean <= training.high; };
    const bool isTurned = fit > training.invertedAbove;
    if (!isTurned && isUsual(picture.mean)) return "";
    string advice = "The answer may mean little.";
    if (isTurned || isUsual(255 - picture.mean))
        advice = isInverted ? "As it is it would fit better: leave out --invert."
                            : "Inverted it would fit better: try --invert.";
    return "dark and light are not as in the training images (mean grey level " +
           cv::format("%.0f, there %.0f). ", std::floor(picture.mean + 0.5), std::floor(training.mean + 0.5)) + advice;
}
