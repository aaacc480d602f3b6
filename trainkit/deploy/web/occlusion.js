// Which part of a picture speaks for its class: patches of it are hidden, one after the other. A part of worker.js.
"use strict";

const PATCH = 1 / 5; // of a side
const STEP = 1 / 14;
const BLUR = 1 / 8; // of the longer side, the deviation of the Gaussian
const PAUSE_MS = 50; // after which messages are looked at
const LEAST = 1e-38; // of a probability

let explaining = 0; // the number of the last picture that is explained; another one, or `stop`, ends the work on it

/** Return how much each pixel speaks for the likeliest class, as `trainkit explain` does; null where it was stopped. */
async function explain({ width, height, rgba }, progress) {
  const mine = (explaining += 1);
  const mats = [];
  const keep = (mat) => (mats.push(mat), mat);
  try {
    const image = keep(new cv.Mat(height, width, cv.CV_8UC3));
    writeBGR(rgba, image.data, 0);
    const blurred = keep(new cv.Mat());
    cv.GaussianBlur(image, blurred, new cv.Size(0, 0), Math.max(1, BLUR * Math.max(width, height)));
    const input = toBlob(image, keep);
    const whole = Float32Array.from(input.data32F);
    const hidden = Float32Array.from(toBlob(blurred, keep).data32F);
    const probabilities = answerTo(input);
    const best = probabilities.reduce((best, value, index) => (value > probabilities[best] ? index : best), 0);
    const patches = spans(height).flatMap((rows) => spans(width).map((columns) => [rows, columns]));
    const total = new Float32Array(width * height);
    const covered = new Float32Array(width * height);
    let paused = performance.now();
    for (const [index, [rows, columns]] of patches.entries()) {
      input.data32F.set(whole);
      hide(input.data32F, hidden, rows, columns, width, height);
      const fall = logOdds(probabilities, best) - logOdds(answerTo(input), best);
      for (let y = rows.from; y < rows.to; y += 1) {
        for (let x = columns.from; x < columns.to; x += 1) {
          const weight = rows.weight(y) * columns.weight(x);
          total[y * width + x] += weight * fall;
          covered[y * width + x] += weight;
        }
      }
      if (performance.now() - paused < PAUSE_MS) continue;
      progress((index + 1) / patches.length);
      await new Promise((resolve) => setTimeout(resolve));
      if (mine !== explaining) return null;
      paused = performance.now();
    }
    return { width, height, map: total.map((sum, pixel) => sum / covered[pixel]) };
  } finally {
    for (const mat of mats) mat.delete();
  }
}

function stop() {
  explaining += 1;
}

function toBlob(image, keep) {
  const { blob } = network.manifest;
  const mean = new cv.Scalar(...blob.mean, ...[0, 0, 0, 0].slice(blob.mean.length));
  const size = new cv.Size(...blob.size);
  const before = applyBeforeBlob(image, keep);
  return keep(cv.blobFromImage(before, blob.scalefactor, size, mean, isSwapped(), blob.crop, cv.CV_32F));
}

function answerTo(input) {
  return withMats((keep) => {
    network.net.setInput(input);
    return toProbabilities(Float32Array.from(keep(network.net.forward()).data32F), network.manifest.output);
  });
}

/** Return the patches along a side; some reach over its ends, so that all pixels are hidden as often. */
function spans(length) {
  const side = Math.max(1, Math.round(PATCH * length));
  const step = Math.max(1, Math.round(STEP * length));
  const found = [];
  for (let start = step - side; start < length; start += step) {
    const weight = (place) => Math.sin((Math.PI * (place - start + 0.5)) / side) ** 2;
    found.push({ from: Math.max(0, start), to: Math.min(length, start + side), weight });
  }
  return found;
}

function hide(input, hidden, rows, columns, width, height) {
  for (let plane = 0; plane < input.length; plane += width * height) {
    for (let y = rows.from; y < rows.to; y += 1) {
      const [from, to] = [plane + y * width + columns.from, plane + y * width + columns.to];
      input.set(hidden.subarray(from, to), from);
    }
  }
}

/** Return log p - log q of a class, q being the sum of the others, or 1 - p where every class is its own question. */
function logOdds(probabilities, index) {
  const p = probabilities[index];
  const alone = network.manifest.output.multi_label || probabilities.length === 1;
  const sum = probabilities.reduce((sum, value, other) => (other === index ? sum : sum + value), 0);
  const others = alone ? Math.max(1 - p, 2 ** -24) : sum;
  return Math.log(Math.max(p, LEAST)) - Math.log(Math.max(others, LEAST));
}
