// Whether a picture is as dark and light as the images that the network was trained on: for Node.js
// (node/brightness.cjs) and the page (web/brightness.js).
"use strict";

const brightness = (({ areAll, isNumber, isObject }) => {
  const RANGES = 16; // of grey levels, which are counted
  const LEAST_SHARE = 0.01; // of a range: what few training images have, or none, says little

  /** Return the mean grey level of planes of whole levels, and the share of each range: one grey, or blue, green, red. */
  function measure(pixels, count, isRgb) {
    const levels = new Array(RANGES).fill(0);
    const [blue, red] = isRgb ? [2 * count, 0] : [0, 2 * count];
    let sum = 0;
    for (let i = 0; i < count; i += 1) {
      const color = 114 * pixels[blue + i] + 587 * pixels[count + i] + 299 * pixels[red + i];
      const grey = pixels.length === count ? pixels[i] : Math.floor(color / 1000); // whole, so that it is the same everywhere
      sum += grey;
      levels[Math.floor(grey / (256 / RANGES))] += 1;
    }
    return { mean: sum / count, levels: levels.map((number) => number / count) };
  }

  /** Return how much likelier grey levels are among training images when they are inverted: a log ratio a pixel. */
  function invertedFit(levels, trainingLevels) {
    const known = trainingLevels.map((share) => share + LEAST_SHARE);
    return levels.reduce((sum, share, i) => sum + share * Math.log(known[RANGES - 1 - i] / known[i]), 0);
  }

  /** Return what a manifest says of the training images; undefined where it says nothing, or not all in this form. */
  function trainingPixels({ extra = {} }) {
    const found = Object.hasOwn(extra, "training_pixels") ? extra.training_pixels : undefined;
    if (!isObject(found)) return undefined;
    const hasLevels = areAll(found.levels, (share) => isNumber(share) && share >= 0, RANGES, RANGES);
    return hasLevels && [found.mean, found.low, found.high, found.inverted_above].every(isNumber) ? found : undefined;
  }

  /**
   * Say that a picture is unlike the training images, and what may help; undefined where it is like them.
   *
   * @param manifest that of the network
   * @param pixels the planes of the picture as the network gets it, whole levels
   * @param isInverted whether it was inverted before
   * @param ways how to invert it, and how not to
   */
  function warningOf(manifest, pixels, isInverted, [invert, leave] = ["try --invert", "leave out --invert"]) {
    const training = trainingPixels(manifest);
    if (training === undefined) return undefined;
    const [width, height] = manifest.blob.size;
    const picture = measure(pixels, width * height, manifest.blob.swapRB);
    const isUsual = (mean) => training.low <= mean && mean <= training.high;
    const isTurned = invertedFit(picture.levels, training.levels) > training.inverted_above;
    if (!isTurned && isUsual(picture.mean)) return undefined;
    const help = isInverted ? `As it is it would fit better: ${leave}.` : `Inverted it would fit better: ${invert}.`;
    const advice = isTurned || isUsual(255 - picture.mean) ? help : "The answer may mean little.";
    const [mean, usual] = [picture.mean, training.mean].map((level) => Math.floor(level + 0.5));
    return `dark and light are not as in the training images (mean grey level ${mean}, there ${usual}). ${advice}`;
  }

  /** Whether a manifest says enough for `warningOf`. */
  const canWarn = (manifest) => trainingPixels(manifest) !== undefined;

  return { canWarn, warningOf };
})(typeof module === "object" ? require("./schema.cjs") : contract);

if (typeof module === "object") module.exports = brightness;
