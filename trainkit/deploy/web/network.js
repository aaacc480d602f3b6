// OpenCV and the network: the model is checked and read, and answers images. A part of worker.js.
"use strict";

const MAX_PIXELS = 2 ** 28; // of a padded image
const MAX_MODEL_BYTES = 2 ** 29; // opencv.js has 2 GB and copies the model several times: 300 MB fit, 400 do not
const LARGE_MODEL_BYTES = 2 ** 26; // from here on it is memory that is lacking where OpenCV stops without a word
const MAX_TOLERANCE = 1e-3; // that a self-test may ask for; what is further off is another answer
const OLDEST_OPENCV = "4.5.5";

const canHash = () => Boolean(self.crypto.subtle); // over https and on localhost

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const tooLarge = (file) =>
  `${BUNDLE}${file} is too large for the memory of a web page. Use classify.py, or a smaller network.`;

/** Return the model's bytes, and how they were checked. */
async function readModel({ file, bytes: size, sha256: checksum }, progress) {
  const path = BUNDLE + file;
  const large = tooLarge(file);
  if (size > MAX_MODEL_BYTES) throw new Refusal(large);
  const data = await readBytes(file, {
    missing: `${path} is missing: the manifest names it as the model. Copy it there.`,
    large,
    most: MAX_MODEL_BYTES,
    progress: (count) => progress(`Loading the model, ${megabytes(count)}${size ? ` of ${megabytes(size)}` : ""}`),
  });
  if (data.length !== (size ?? data.length)) {
    throw new Refusal(`${path} has ${data.length} bytes; the manifest says ${size}. Copy the bundle again.`);
  }
  if (checksum && canHash()) {
    if ((await sha256(data)) !== checksum) {
      throw new Refusal(`${path} does not match the sha256 in the manifest: it was changed. Copy the bundle again.`);
    }
    return { data, checked: "sha256 checked" };
  }
  return { data, checked: size ? "size checked" : "not checked, the manifest says neither size nor sha256" };
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;

let cv; // opencv.js
let version; // of it, such as 5.0.0
let network; // { manifest, net, checked }

/** Load opencv.js. What it gives is no ordinary promise in every version, so it must not be awaited itself. */
function loadOpenCV() {
  return new Promise((resolve, reject) => {
    const refuse = (why) =>
      reject(new Refusal(`opencv.js cannot be started (${why}). Run npm install in the folder web again.`));
    try {
      importScripts("opencv.js");
    } catch (error) {
      if (error.name !== "NetworkError") return refuse(error.message);
      return reject(new Refusal("opencv.js is missing beside this page. Run npm install in the folder web."));
    }
    const loading = self.cv;
    const ready = (module) => {
      cv = module;
      version = /OpenCV (\S+)/.exec(cv.getBuildInformation())[1];
      resolve();
    };
    if (loading instanceof Promise) return loading.then(ready).catch((error) => refuse(error.message)); // 5.0
    if (!isObject(loading)) return refuse("it is no build of OpenCV");
    Object.assign(loading, { onRuntimeInitialized: () => ready(loading), onAbort: refuse }); // 4.12
  });
}

const hasEngines = () => cv.ENGINE_CLASSIC !== undefined; // as OpenCV 5 has

/** Whether one version is older than another; three numbers count. */
function isOlder(one, other) {
  const [left, right] = [one, other].map((text) => [...text.split("-")[0].split(".").map(Number), 0, 0]);
  const first = [0, 1, 2].find((part) => left[part] !== right[part]);
  return first !== undefined && left[first] < right[first];
}

/** Return in one line what OpenCV says. Its exceptions come as numbers; those of C++ itself say nothing. */
function reason(error) {
  let text = String(error?.message ?? error);
  try {
    if (typeof error === "number") text = cv.exceptionFromPtr(error).msg;
  } catch {
    text = "not enough memory, it seems";
  }
  return text.replace(/\s+/g, " ").replace(/^OpenCV\([^)]*\) \S+ /, "").trim().slice(0, 200);
}

/** Call `work` with a function that remembers what must be deleted: opencv.js collects no garbage. */
function withMats(work) {
  const mats = [];
  try {
    return work((mat) => (mats.push(mat), mat));
  } finally {
    for (const mat of mats) mat.delete();
  }
}

/** Read the network by path: with a buffer OpenCV 5.0.0 ignores the engine that is asked for. */
function readNet(data, graph, { file, format }, engine) {
  const wanted = format === "frozen-graph" ? "classic" : engine; // the new engine crashes on some frozen graphs
  const engines = wanted && hasEngines() ? [cv[`ENGINE_${wanted.toUpperCase()}`]] : [];
  if (format === "caffe" && !cv.readNetFromCaffe) {
    throw new Refusal(
      `OpenCV ${version} reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model to ONNX.`,
    );
  }
  if (format === "onnx") graphs.checkOnnx(data, BUNDLE + file);
  const size = data.length;
  cv.FS_createDataFile("/", "model", data, true, false, true);
  if (graph) cv.FS_createDataFile("/", "graph", graph, true, false, true);
  try {
    if (format === "caffe") return cv.readNetFromCaffe("/graph", "/model");
    if (format === "frozen-graph") return cv.readNetFromTensorflow("/model", graph ? "/graph" : "", ...engines);
    return cv.readNetFromONNX("/model", ...engines);
  } catch (error) {
    const why = reason(error);
    if (size > LARGE_MODEL_BYTES && /memory|aborted|unreachable/i.test(why)) throw new Refusal(tooLarge(file));
    throw new Refusal(`OpenCV ${version} cannot read the model (${why}). Copy or export the bundle again.`);
  } finally {
    cv.FS_unlink("/model");
    if (graph) cv.FS_unlink("/graph");
  }
}

/** Return how many pixels an image gets at its left, top, right and bottom; halves up, in whole numbers. */
function paddingToAspect(columns, rows, width, height) {
  const newColumns = Math.max(columns, Math.floor((2 * rows * width + height) / (2 * height)));
  const newRows = Math.max(rows, Math.floor((2 * columns * height + width) / (2 * width)));
  if (newColumns * newRows > MAX_PIXELS) {
    throw new Refusal(
      `An image of ${columns}x${rows} padded to ${width}:${height} has more than ${MAX_PIXELS} pixels. Cut it.`,
    );
  }
  const [left, top] = [Math.floor((newColumns - columns) / 2), Math.floor((newRows - rows) / 2)];
  return [left, top, newColumns - columns - left, newRows - rows - top];
}

/** Do what the manifest lists under `before_blob`; `image` is a Mat, 8 bit BGR. */
function applyBeforeBlob(image, keep) {
  const { before_blob: steps = [], blob } = network.manifest;
  for (const { step, color_bgr: color } of steps) {
    const source = image;
    image = keep(new cv.Mat());
    if (step === "pad") {
      const [left, top, right, bottom] = paddingToAspect(source.cols, source.rows, ...blob.size);
      cv.copyMakeBorder(source, image, top, bottom, left, right, cv.BORDER_CONSTANT, new cv.Scalar(...color, 0));
    } else {
      cv.cvtColor(source, image, cv.COLOR_BGR2GRAY);
    }
  }
  return image;
}

/** Whether red and blue are swapped: of a grey image nothing is, but an OpenCV may swap the means even so. */
function isSwapped() {
  const { before_blob: steps = [], blob } = network.manifest;
  return blob.swapRB && !steps.some(({ step }) => step === "gray");
}

/** Run the network on an image: { width, height, bgr }. Return { probabilities, pixels of the blob, milliseconds }. */
function run({ width, height, bgr }) {
  const { blob, output } = network.manifest;
  const start = performance.now();
  const size = new cv.Size(...blob.size);
  const swap = isSwapped();
  const mean = new cv.Scalar(...blob.mean, ...[0, 0, 0, 0].slice(blob.mean.length));
  return withMats((keep) => {
    let image, input, pixels;
    try {
      image = keep(new cv.Mat(height, width, cv.CV_8UC3));
      image.data.set(bgr);
      image = applyBeforeBlob(image, keep);
      input = keep(cv.blobFromImage(image, blob.scalefactor, size, mean, swap, blob.crop, cv.CV_32F));
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal(`OpenCV cannot make a blob of this image (${reason(error)}). Cut or scale it.`);
    }
    let answer;
    try {
      network.net.setInput(input);
      answer = Float32Array.from(keep(network.net.forward()).data32F);
    } catch (error) {
      throw new Refusal(`OpenCV ${version} cannot run the model (${reason(error)}). Copy or export the bundle again.`);
    }
    const probabilities = toProbabilities(answer, output);
    const milliseconds = performance.now() - start;
    // the resized pixels, before mean and scale, are exact in every OpenCV
    pixels = keep(cv.blobFromImage(image, 1, size, new cv.Scalar(0, 0, 0, 0), swap, blob.crop, cv.CV_32F));
    return { probabilities, pixels: Uint8Array.from(pixels.data32F), milliseconds };
  });
}

function toProbabilities(answer, { kind, class_names: names, multi_label: each }) {
  if (answer.length !== names.length) {
    throw new Refusal(
      `The model's output has ${answer.length} numbers; the manifest's class names need ${names.length}.`,
    );
  }
  const row = kind === "logits" ? squash(answer, each) : answer;
  const [least, most] = [row.reduce((a, b) => Math.min(a, b)), row.reduce((a, b) => Math.max(a, b))];
  if (!(least >= -MAX_TOLERANCE && most <= 1 + MAX_TOLERANCE)) {
    throw new Refusal(
      `The model's output goes from ${Number(least.toPrecision(4))} to ${Number(most.toPrecision(4))}. ` +
        `Expected probabilities for the kind ${kind}. ` +
        "If the network ends without a softmax, write `logits` as `output.kind`.",
    );
  }
  return row;
}

/** The sigmoid of each number, or the softmax of all. */
function squash(logits, each) {
  if (each) return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
