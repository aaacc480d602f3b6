// A network in OpenCV: from pixels to what is in them, in the order and the numbers of the Python client.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import brightness from './brightness.cjs';
import graphs from './graph.cjs';
import { BundleError, MAX_TEXT_BYTES, harmless, findBeside, isCount, readBeside, readBytes, readManifest } from './manifest.mjs';
import { MAX_PIXELS, decodeImage, load, readImage } from './pictures.mjs';

export const MAX_TOLERANCE = 1e-3; // beyond rounding: what is further off is another answer
const MAX_MODEL_BYTES = 2 ** 31 - 1; // no protobuf message is larger
const NOTHING_FOUND = 'nothing above the confidence asked for';
const NONE_OF_THESE = 'none of these'; // where a classifier is less sure than the manifest asks for

let cv; // the module of opencv-js, once it has started
let version; // its own, such as 4.12.0
let starting;
let isCrashed = false;

/** Start OpenCV, once for the whole process. */
const startOpenCv = () => (starting ??= start());

async function start() {
  const loaded = loadQuietly();
  // 5.0 gives a promise of the module. 4.12 gives the module, with a `then` that hands on itself: to await it never ends.
  if (loaded instanceof Promise) cv = await loaded;
  else if (loaded.Mat) cv = loaded;
  else {
    const others = loaded.onRuntimeInitialized;
    await new Promise((resolve) => {
      loaded.onRuntimeInitialized = () => resolve(others?.());
    });
    cv = loaded;
  }
  version = /OpenCV (\d\S*)/.exec(cv.getBuildInformation())[1];
}

/** Load OpenCV without what it does to the program around it. */
function loadQuietly() {
  const events = ['uncaughtException', 'unhandledRejection'];
  const before = events.map((event) => process.listeners(event));
  const { log, warn, error } = console;
  console.log = console.warn = console.error = () => {}; // it keeps these for its own log, of which we tell the end
  try {
    return load('@techstark/opencv-js');
  } finally {
    Object.assign(console, { log, warn, error });
    // 4.12 would end itself over any promise that fails in the program.
    events.forEach((event, i) => {
      const added = process.listeners(event).filter((listener) => !before[i].includes(listener));
      added.forEach((listener) => process.off(event, listener));
    });
  }
}

/** Whether this OpenCV has engines to choose from, as 5.0 has. */
export const hasEngines = () => cv.ENGINE_CLASSIC !== undefined;
export const openCvVersion = () => version;

/** Run calls of OpenCV and delete what they keep, with `keep`; the sentence for a failure comes from `describe`. */
function withOpenCv(describe, calls) {
  if (isCrashed) throw new BundleError(`OpenCV ${version} has crashed in this process. Start it again.`);
  const kept = [];
  try {
    return calls((mat) => (kept.push(mat), mat));
  } catch (error) {
    // What OpenCV throws arrives as the address of a C++ exception; a damaged model may also crash its machine.
    isCrashed = error instanceof WebAssembly.RuntimeError;
    if (typeof error !== 'number' && !isCrashed) throw error;
    const text = isCrashed ? error.message : cv.exceptionFromPtr(error).msg;
    const reason = text.replace(/\s+/g, ' ').replace(/^OpenCV\([^)]*\) \S+ /, '');
    throw new BundleError(describe(reason.slice(0, 200).trim()));
  } finally {
    if (!isCrashed) kept.forEach((mat) => mat.delete());
  }
}

function checkOpenCv({ minimum = '4.5.5' }) {
  const parts = (text) =>
    text
      .split('-')[0]
      .split('.')
      .slice(0, 3)
      .map((part) => parseInt(part, 10));
  const needed = parts(minimum);
  const received = parts(version);
  const i = needed.findIndex((part, at) => part !== received[at]);
  if (i >= 0 && needed[i] > received[i]) {
    throw new BundleError(`This bundle needs OpenCV ${minimum} or later. Received: ${version}. Upgrade OpenCV.`);
  }
}

function readModel(folder, model) {
  const file = findBeside(folder, model.file, 'model', MAX_MODEL_BYTES);
  const { size } = fs.statSync(file);
  if (size !== (model.bytes ?? size)) {
    throw new BundleError(`${file} has ${size} bytes; the manifest says ${model.bytes}. Copy the bundle again.`);
  }
  const data = readBytes(file);
  if (model.sha256 && createHash('sha256').update(data).digest('hex') !== model.sha256) {
    throw new BundleError(`${file} does not match the sha256 in the manifest: it was changed. Copy the bundle again.`);
  }
  if (model.format === 'onnx') graphs.checkOnnx(data, file);
  return data;
}

/** Load a network. Frozen graphs take the classic engine of OpenCV 5, the others what the manifest says. */
function readNet(data, { format }, engine, graph) {
  if (format === 'caffe' && !cv.readNetFromCaffe) {
    throw new BundleError(
      `OpenCV ${version} reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model to ONNX.`,
    );
  }
  const chosen = format === 'frozen-graph' ? 'classic' : engine;
  const choice = chosen && hasEngines() ? [cv[`ENGINE_${chosen.toUpperCase()}`]] : [];
  const files = { model: data, ...(graph && { graph }) };
  const describe = (reason) => `OpenCV ${version} cannot read the model (${reason}). Copy or export the bundle again.`;
  for (const [name, bytes] of Object.entries(files)) cv.FS_createDataFile('/', name, bytes, true, true, true);
  try {
    return withOpenCv(describe, () => {
      if (format === 'caffe') return cv.readNetFromCaffe('/graph', '/model');
      if (format === 'onnx') return cv.readNetFromONNX('/model', ...choice);
      return cv.readNetFromTensorflow('/model', graph ? '/graph' : '', ...choice);
    });
  } finally {
    for (const name of Object.keys(files)) cv.FS_unlink(`/${name}`);
  }
}

/** Return how many pixels an image gets at its left, top, right and bottom; halves up, in whole numbers. */
function paddingToAspect(columns, rows, [width, height]) {
  const newColumns = Math.max(columns, Math.floor((2 * rows * width + height) / (2 * height)));
  const newRows = Math.max(rows, Math.floor((2 * columns * height + width) / (2 * width)));
  if (newColumns * newRows > MAX_PIXELS) {
    throw new BundleError(
      `An image of ${columns}x${rows} padded to ${width}:${height} has more than ${MAX_PIXELS} pixels. Cut it.`,
    );
  }
  const left = Math.floor((newColumns - columns) / 2);
  const top = Math.floor((newRows - rows) / 2);
  return [left, top, newColumns - columns - left, newRows - rows - top];
}

/** Round a number that lies in the middle to the even side, as Python and C++ do. */
function roundEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** Return the largest number of an array of any length; NaN where there is one. */
export const largest = (numbers) => numbers.reduce((a, b) => Math.max(a, b));

/** Return the softmax of logits, or the sigmoid of each. */
function squash(logits, each) {
  if (each) return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const most = largest(logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** A bundle's classifier or detector, opened by `open`. */
class Network {
  #net;
  #manifest;
  #last = Promise.resolve(); // predictions wait for one another, so that many at once do not fill the memory

  constructor({ folder, manifest, classNames }, net) {
    this.#net = net;
    this.#manifest = manifest;
    this.folder = folder;
    this.classNames = classNames;
    this.isDetector = manifest.output.kind === 'ssd';
  }

  /**
   * Return what is in an image, the likeliest first. Several calls at once are answered one after the other.
   *
   * @param {string | Uint8Array | { data: Uint8Array, width: number, height: number }} image a file's name, the bytes of
   *   a file, or pixels: blue, green, red, 8 bits each
   * @param {{ top?: number, minConfidence?: number, invert?: boolean }} [options] at most so many classes (5); only those
   *   at least so sure (0; of a detector what its manifest says, or 0.5); whether dark is turned into light before
   * @returns {Promise<{ label: string | null, probability: number }[]>} the label is null where it is none of these, less
   *   likely than the manifest's `reject_below`; of a detector `{ label, confidence, box }`, with `box`
   *   `{ left, top, right, bottom }` in pixels of the image
   * @throws {BundleError} the image cannot be read, or the network fails
   * @throws {TypeError | RangeError} an argument is wrong
   */
  async predict(image, options = {}) {
    return (await this.answer(image, { ...options, warn: false })).found;
  }

  /**
   * Return what `predict` and `brightnessWarning` say of an image, `{ found, warning }`: the image is prepared for both
   * at once. `warn`: whether there is a warning at all.
   */
  async answer(image, { top = 5, minConfidence, invert = false, warn = true } = {}) {
    if (!isCount(top)) throw new RangeError(`\`top\` must be at least 1. Received: ${top}`);
    if (minConfidence !== undefined && !(minConfidence >= 0 && minConfidence <= 1)) {
      throw new RangeError(`\`minConfidence\` must be from 0 to 1. Received: ${minConfidence}`);
    }
    return this.#next(async () => {
      const pixels = await toPixels(image, invert);
      const [output, levels] = this.#withImage(pixels, (prepared, keep) => [
        this.#run(prepared, keep),
        warn && brightness.canWarn(this.#manifest) ? this.#levels(prepared, keep) : undefined,
      ]);
      const found = this.isDetector
        ? this.#detections(output, pixels, minConfidence ?? this.#manifest.output.min_confidence ?? 0.5)
        : this.#best(this.#toProbabilities(output), top, minConfidence ?? 0);
      return { found, warning: levels && brightness.warningOf(this.#manifest, levels, invert) };
    });
  }

  /**
   * Say where an image, as `predict` takes it, is much darker or lighter than the training images; else undefined, and
   * where the manifest does not say how those were.
   */
  brightnessWarning(image, { invert = false } = {}) {
    if (!brightness.canWarn(this.#manifest)) return Promise.resolve(undefined);
    return this.#next(async () => {
      const pixels = this.#withImage(await toPixels(image, invert), (prepared, keep) => this.#levels(prepared, keep));
      return brightness.warningOf(this.#manifest, pixels, invert);
    });
  }

  /** Return the resized pixels, before mean and scale, one plane after the other. */
  #levels(prepared, keep) {
    return Uint8Array.from(this.#blobOf(prepared, keep, { scalefactor: 1, mean: [0] }, cv.CV_8U).data);
  }

  /** Return the probability of each class. */
  probabilities(image) {
    return this.#next(async () => {
      const pixels = await toPixels(image);
      return this.#toProbabilities(this.#withImage(pixels, (prepared, keep) => this.#run(prepared, keep)));
    });
  }

  /** Return the checksum of the resized pixels, before mean and scale. */
  pixelSha256(pixels) {
    const levels = this.#withImage(pixels, (prepared, keep) => this.#levels(prepared, keep));
    return createHash('sha256').update(levels).digest('hex');
  }

  /** Free the network, after the predictions that are under way. */
  close() {
    return this.#next(async () => {
      if (!isCrashed) this.#net?.delete();
      this.#net = undefined;
    });
  }

  #next(work) {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Do what the manifest says before `blobFromImage`, and hand on the image and what keeps a Mat until the end. */
  #withImage({ data, width, height }, use) {
    if (!this.#net) throw new BundleError('This bundle is closed. Open it again.');
    const { size } = this.#manifest.blob;
    const padding = this.#steps('pad').map(() => paddingToAspect(width, height, size));
    const describe = (reason) => `OpenCV cannot make a blob of this image (${reason}). Cut or scale it.`;
    return withOpenCv(describe, (keep) => {
      let image = keep(new cv.Mat(height, width, cv.CV_8UC3));
      image.data.set(data);
      for (const step of this.#manifest.before_blob ?? []) {
        const next = keep(new cv.Mat());
        if (step.step === 'gray') cv.cvtColor(image, next, cv.COLOR_BGR2GRAY);
        else {
          const [left, top, right, bottom] = padding[0];
          const color = new cv.Scalar(...step.color_bgr);
          cv.copyMakeBorder(image, next, top, bottom, left, right, cv.BORDER_CONSTANT, color);
        }
        image = next;
      }
      return use(image, keep);
    });
  }

  /** Return the blob of an image, (1, C, H, W), as the manifest says or with changes. */
  #blobOf(image, keep, changes, depth) {
    const { scalefactor, size, mean, swapRB, crop } = { ...this.#manifest.blob, ...changes };
    // Of a grey image there is nothing to swap, but an OpenCV may swap the means even so.
    const isSwapped = swapRB && this.#steps('gray').length === 0;
    return keep(
      cv.blobFromImage(image, scalefactor, new cv.Size(...size), new cv.Scalar(...mean), isSwapped, crop, depth),
    );
  }

  #steps(name) {
    return (this.#manifest.before_blob ?? []).filter((step) => step.step === name);
  }

  /** Return what the network makes of an image: its numbers, a copy of their own, and their shape. */
  #run(image, keepOutside) {
    const describe = (reason) => `OpenCV ${version} cannot run the model (${reason}). Copy or export the bundle again.`;
    const blob = this.#blobOf(image, keepOutside, {}, cv.CV_32F);
    return withOpenCv(describe, (keep) => {
      this.#net.setInput(blob);
      const output = keep(this.#net.forward());
      const numbers = keep(new cv.Mat());
      output.convertTo(numbers, cv.CV_32F);
      return { numbers: Float32Array.from(numbers.data32F ?? []), shape: [...output.matSize] };
    });
  }

  #toProbabilities({ numbers, shape }) {
    const { kind, multi_label: multiLabel } = this.#manifest.output;
    const count = this.classNames.length;
    if (numbers.length !== count) {
      throw new BundleError(
        `The model's output has the shape ${showShape(shape)}; the manifest's class names need ${showShape([1, count])}.`,
      );
    }
    const row = kind === 'logits' ? Float32Array.from(squash([...numbers], multiLabel)) : numbers;
    const least = row.reduce((a, b) => Math.min(a, b));
    const most = largest(row);
    if (!(least >= -MAX_TOLERANCE && most <= 1 + MAX_TOLERANCE)) {
      // so written, NaN is refused too
      throw new BundleError(
        `The model's output goes from ${short(least)} to ${short(most)}. Expected probabilities for the kind ${kind}. ` +
          'If the network ends without a softmax, write `logits` as `output.kind`.',
      );
    }
    return row;
  }

  #best(probabilities, top, minConfidence) {
    const { thresholds, reject_below: rejectBelow = 0 } = this.#manifest.output;
    const found = [...probabilities.keys()]
      .sort((a, b) => probabilities[b] - probabilities[a])
      .filter((i) => probabilities[i] >= Math.fround(Math.max(minConfidence, thresholds?.[i] ?? 0)))
      .slice(0, top)
      .map((i) => ({ label: this.classNames[i], probability: probabilities[i] }));
    const isNone = found.length > 0 && found[0].probability < Math.fround(rejectBelow);
    return isNone ? [{ label: null, probability: found[0].probability }] : found;
  }

  /** Return the boxes in the rows of an SSD; rows that say nothing are left out, boxes cut at the image's edges. */
  #detections({ numbers, shape }, { width, height }, minConfidence) {
    if (shape.length < 2 || shape.at(-1) !== 7 || numbers.length !== 7 * shape.at(-2)) {
      throw new BundleError(`The model's output has the shape ${showShape(shape)}. That of an SSD is (1, 1, N, 7).`);
    }
    const { background = -1 } = this.#manifest.output;
    const rows = Array.from({ length: numbers.length / 7 }, (_, i) => numbers.subarray(7 * i, 7 * i + 7));
    return rows
      .filter((row) => row.every(Number.isFinite))
      .filter(([place, number]) => place === 0 && number in this.classNames && number !== background)
      .filter(([, , confidence]) => confidence > 0 && confidence <= 1 + MAX_TOLERANCE) // above it is no confidence
      .filter(([, , confidence]) => Math.min(confidence, 1) >= Math.fround(minConfidence))
      .sort((a, b) => Math.min(b[2], 1) - Math.min(a[2], 1))
      .map(([, number, confidence, ...box]) => ({
        label: this.classNames[number],
        confidence: Math.min(confidence, 1),
        box: this.#toBox(box, width, height),
      }))
      .filter(({ box }) => box.left < box.right && box.top < box.bottom);
  }

  /** Turn shares of the blob into pixels of the image that was padded, cropped or stretched to make it. */
  #toBox(shares, width, height) {
    const { size, crop } = this.#manifest.blob;
    const [left, top, right, bottom] = this.#steps('pad').length ? paddingToAspect(width, height, size) : [0, 0, 0, 0];
    const sides = [left + width + right, top + height + bottom];
    let toPixels = (share, axis) => share * sides[axis];
    if (crop) {
      // As blobFromImage does it: a float32 factor that lets the image cover the blob, and the middle of that.
      const factor = Math.max(...sides.map((side, axis) => Math.fround(Math.fround(size[axis]) / Math.fround(side))));
      const cut = sides.map((side, axis) => Math.trunc(0.5 * (roundEven(side * factor) - size[axis])));
      toPixels = (share, axis) => (share * size[axis] + cut[axis]) / factor;
    }
    const x = (share) => Math.min(Math.max(toPixels(share, 0) - left, 0), width);
    const y = (share) => Math.min(Math.max(toPixels(share, 1) - top, 0), height);
    return { left: x(shares[0]), top: y(shares[1]), right: x(shares[2]), bottom: y(shares[3]) };
  }
}

async function toPixels(image, invert = false) {
  const pixels = await decoded(image);
  return invert ? { ...pixels, data: pixels.data.map((level) => 255 - level) } : pixels;
}

async function decoded(image) {
  if (typeof image === 'string') return readImage(image);
  if (image instanceof Uint8Array) return decodeImage(image);
  const { data, width, height } = image ?? {};
  if (data instanceof Uint8Array && isCount(width) && isCount(height) && data.length === 3 * width * height)
    return image;
  throw new TypeError("Expected a file's name, its bytes, or { data, width, height } with 3 bytes a pixel.");
}

const showShape = (shape) => `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
export const exponent = (text) => text.replace(/e([+-])(\d)$/, 'e$10$2'); // as other languages write it

/** Write a number with four digits, as the other clients do. */
function short(value) {
  if (!Number.isFinite(value)) return String(value).toLowerCase().replace('infinity', 'inf');
  const rounded = Number(value.toPrecision(4));
  const isPlain = rounded === 0 || (Math.abs(rounded) >= 1e-4 && Math.abs(rounded) < 1e4);
  return isPlain ? String(rounded) : exponent(rounded.toExponential());
}

/**
 * Open a bundle, or a folder with a manifest written by hand.
 *
 * @param {string} bundle the folder, or its manifest
 * @throws {BundleError} a file is missing, changed or damaged, or this OpenCV cannot read the model
 */
export async function open(bundle) {
  const opened = readManifest(bundle);
  const { folder, manifest } = opened;
  await startOpenCv();
  checkOpenCv(manifest.opencv ?? {});
  const { model } = manifest;
  const graph = 'graph' in model ? readBeside(folder, model.graph, 'graph', MAX_TEXT_BYTES) : undefined;
  return new Network(opened, readNet(readModel(folder, model), model, manifest.opencv?.engine, graph));
}

/** Say in one line what was found. */
export function describe(found) {
  const lines = found.map(({ label, probability, confidence, box }) => {
    const share = (roundEven((probability ?? confidence) * 1e4) / 1e4).toFixed(4);
    return `${label ?? NONE_OF_THESE} ${share}${box ? ` at ${Object.values(box).map(roundEven).join(' ')}` : ''}`;
  });
  return lines.join(', ') || NOTHING_FOUND;
}

/** Return a picture with boxes round what was found, or with its labels in the corner. */
export function draw({ data, width, height }, found) {
  const scale = Math.max(0.4, width / 1200);
  const lineHeight = Math.trunc(30 * scale);
  return withOpenCv(
    (reason) => `OpenCV cannot draw on this image (${reason}). Scale it.`,
    (keep) => {
      const picture = keep(new cv.Mat(height, width, cv.CV_8UC3));
      picture.data.set(data);
      const write = (text, x, y) => {
        const plain = harmless(text).replace(/[^ -~]/gu, '?'); // OpenCV's fonts have no other letters
        const corner = new cv.Point(x + Math.trunc(plain.length * 19 * scale) + 4, y + lineHeight);
        cv.rectangle(picture, new cv.Point(x, y), corner, new cv.Scalar(0, 0, 0), cv.FILLED);
        const base = new cv.Point(x + 2, y + lineHeight - Math.trunc(9 * scale));
        cv.putText(picture, plain, base, cv.FONT_HERSHEY_SIMPLEX, scale, new cv.Scalar(255, 255, 255));
      };
      if (found.length === 0) write(NOTHING_FOUND, 0, 0);
      found.forEach(({ label, probability, confidence, box }, i) => {
        const text = `${label ?? NONE_OF_THESE} ${((probability ?? confidence) * 100).toFixed(1)}%`;
        if (!box) return write(text, 0, i * lineHeight);
        const [left, top, right, bottom] = Object.values(box).map(Math.trunc);
        const line = Math.max(1, Math.round(2 * scale));
        const [from, to] = [new cv.Point(left, top), new cv.Point(right - 1, bottom - 1)];
        cv.rectangle(picture, from, to, new cv.Scalar(90, 220, 0), line);
        return write(text, left, Math.max(0, top - lineHeight));
      });
      return { data: Buffer.from(picture.data), width, height };
    },
  );
}
