// Classify photographs in the browser, as the manifest of the bundle says. Nothing leaves the machine.
//
// This file runs twice. The page starts it as a worker, which holds OpenCV and the network: so the page never waits,
// and may forbid the `eval` that opencv.js needs. The first half is the worker, in the order of classify.py; the second
// half is the page.
"use strict";

/* ---------------------------------------------- the worker: OpenCV and the network ------------------------------- */

const SCHEMA = "trainkit/1";
const BUNDLE = "../"; // this file stands in the bundle's folder web/
const MAX_WHOLE = 2 ** 31 - 1;
const MAX_SIDE = 16384; // pixels
const MAX_PIXELS = 2 ** 28; // of a padded image
const MAX_TEXT_BYTES = 16 * 2 ** 20; // of a manifest, and of a text beside it
const MAX_MODEL_BYTES = 2 ** 29; // opencv.js has 2 GB and copies the model several times: 300 MB fit, 400 do not
const LARGE_MODEL_BYTES = 2 ** 26; // from here on it is memory that is lacking where OpenCV stops without a word
const MAX_CLASSES = 10 ** 6;
const STRIP_PIXELS = 2 ** 22; // of a canvas; some browsers give no more than 2 ** 24
const MAX_TOLERANCE = 1e-3; // that a self-test may ask for; what is further off is another answer
const OLDEST_OPENCV = "4.5.5";

/** What the user can put right: its message is a sentence for the page. */
class Refusal extends Error {}

/** Show a value of the manifest in a sentence, as Python writes it. */
function shown(value) {
  try {
    return toPython(value).slice(0, 80);
  } catch {
    return "what is nested too deeply"; // JSON.parse reads deeper than this goes
  }
}

function toPython(value) {
  if (typeof value === "string") return `'${value}'`;
  if (Array.isArray(value)) return `[${value.map(toPython).join(", ")}]`;
  if (isObject(value)) return `{${Object.keys(value).map((key) => `'${key}': ${toPython(value[key])}`).join(", ")}}`;
  return { undefined: "None", null: "None", true: "True", false: "False" }[value] ?? String(value);
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isCount = (value, most = MAX_WHOLE) => Number.isInteger(value) && value > 0 && value <= most;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const byteLength = (text) => new TextEncoder().encode(text).length;
const isText = (value) =>
  typeof value === "string" && value !== "" && !/\p{Surrogate}/u.test(value) && byteLength(value) < 4000;
const isFile = (value) => isText(value) && ![".", ".."].includes(value) && !/[/\\:\0]/.test(value);
const areNumbers = (value, least, most) =>
  Array.isArray(value) && value.length >= least && value.length <= most && value.every(isNumber);
const areDifferent = (values) => new Set(values).size === values.length;
const areNames = (value) =>
  Array.isArray(value) && isCount(value.length, MAX_CLASSES) && value.every(isText) && areDifferent(value);

const TEXT = ["a text of 1 to 3999 bytes", isText];
const FILE = ["the plain name of a file in the same folder", isFile];
const BOOL = ["true or false", (value) => typeof value === "boolean"];
const OBJECT = ["an object", isObject];
const oneOf = (...values) => [`one of ${values.join(", ")}`, (value) => values.includes(value)];
const COUNT = ["a positive whole number", (value) => isCount(value)];
const SHA256 = ["64 hexadecimal digits", (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value)];
const isSize = (value) => areNumbers(value, 2, 2) && value.every((side) => isCount(side, MAX_SIDE));
const isColor = (value) => areNumbers(value, 3, 3) && value.every((level) => level >= 0 && level <= 255);
const isMean = (value) => areNumbers(value, 1, 4) || (isFile(value) && /\.(npy|binaryproto)$/.test(value));
const isVersion = (value) => isText(value) && /^[0-9]+(\.[0-9]+){0,3}(-[0-9a-z.]+)?$/.test(value);

// section: key: what is expected, and the check; a key with a `?` is optional. What this page does not use is not here.
const SECTIONS = {
  manifest: {
    schema: TEXT, model: OBJECT, blob: OBJECT, output: OBJECT,
    "source?": OBJECT, "opencv?": OBJECT, "before_blob?": ["a list", Array.isArray],
  },
  model: {
    file: FILE, format: oneOf("onnx", "frozen-graph", "caffe"),
    "graph?": FILE, "bytes?": COUNT, "sha256?": SHA256,
  },
  blob: {
    scalefactor: ["a number other than 0", (value) => isNumber(value) && value !== 0],
    size: [`[width, height], each 1 to ${MAX_SIDE} pixels`, isSize],
    mean: ["1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder", isMean],
    swapRB: BOOL,
    crop: BOOL,
  },
  output: {
    kind: oneOf("softmax", "sigmoid", "logits", "ssd"),
    class_names: [
      "a list of different texts, or the name of a text file in the same folder",
      (value) => areNames(value) || isFile(value),
    ],
    "multi_label?": BOOL,
  },
  opencv: { "minimum?": ["a version such as 4.10.0", isVersion], "engine?": oneOf("classic", "new", "auto") },
  "before_blob: pad": { step: TEXT, color_bgr: ["three numbers 0 to 255", isColor] },
};

function checkSection(section, data, where) {
  for (const [name, [expected, holds]] of Object.entries(SECTIONS[section])) {
    const key = name.replace("?", "");
    if (!Object.hasOwn(data, key)) {
      if (key !== name) continue;
      throw new Refusal(`${where}: \`${section}\` needs the key \`${key}\`. Add it, or export the bundle again.`);
    }
    if (!holds(data[key])) {
      throw new Refusal(`${where}: \`${section}.${key}\` must be ${expected}. Received: ${shown(data[key])}`);
    }
  }
}

function checkManifest(data, where) {
  if (!isObject(data)) throw new Refusal(`${where}: expected a JSON object. Received: ${shown(data)}`);
  if (Object.hasOwn(data, "schema") && data.schema !== SCHEMA) {
    const schema = typeof data.schema === "string" ? data.schema.slice(0, 80) : shown(data.schema);
    throw new Refusal(`${where}: this client reads schema ${SCHEMA}. Received: ${schema}. Take a newer client.`);
  }
  checkSection("manifest", data, where);
  for (const section of ["model", "blob", "output", "opencv"]) {
    if (Object.hasOwn(data, section)) checkSection(section, data[section], where);
  }
  const steps = data.before_blob ?? [];
  const names = steps.map((step) => (isObject(step) ? step.step : step));
  for (const name of names) {
    if (name !== "pad" && name !== "gray") {
      throw new Refusal(`${where}: \`before_blob\` knows the steps pad and gray. Received: ${shown(name)}`);
    }
  }
  if (!["", "pad", "gray", "pad,gray"].includes(names.join())) {
    throw new Refusal(`${where}: \`before_blob\` has each step once, pad before gray. Received: ${shown(names)}`);
  }
  if (names[0] === "pad") checkSection("before_blob: pad", steps[0], where);
  checkTogether(data, where);
}

function checkTogether({ model, blob, output }, where) {
  if (output.kind === "ssd") {
    throw new Refusal(
      "The manifest describes a detector (`output.kind` is ssd). This page classifies only. Use classify.py.",
    );
  }
  for (const key of ["background", "min_confidence"]) {
    if (Object.hasOwn(output, key)) {
      throw new Refusal(`${where}: an output of the kind ${output.kind} has no \`output.${key}\`. Take it out.`);
    }
  }
  if (model.format === "caffe" && !Object.hasOwn(model, "graph")) {
    throw new Refusal(`${where}: a Caffe model needs the key \`model.graph\`, the name of its .prototxt. Add it.`);
  }
  if (model.format === "onnx" && Object.hasOwn(model, "graph")) {
    throw new Refusal(`${where}: an ONNX model has its graph inside. Take the key \`model.graph\` out.`);
  }
  if (typeof blob.mean === "string") {
    throw new Refusal(`${where}: \`blob.mean\` names a file, which the Python client alone reads. Use classify.py.`);
  }
}

const decodeText = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** Return the bytes of a file of the bundle; `missing` and `large` are what to say otherwise (null: return null). */
async function readBytes(path, { missing, large, most = MAX_TEXT_BYTES, progress = () => {} }) {
  const parts = [];
  let count = 0;
  try {
    // The server is asked whether a file changed, so that a new manifest never meets an old model. It knows whole
    // seconds only, so what is small is fetched anew.
    const cache = most > MAX_TEXT_BYTES ? "no-cache" : "no-store";
    const response = await fetch(BUNDLE + path.split("/").map(encodeURIComponent).join("/"), { cache });
    if (response.status === 404 && missing === null) return null;
    if (response.status === 404) throw new Refusal(missing);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    for (const reader = response.body.getReader(); ; progress(count)) {
      const { done, value } = await reader.read();
      if (done) break;
      count += value.length;
      if (count > most) throw new RangeError();
      parts.push(value);
    }
    const bytes = new Uint8Array(count);
    parts.reduce((position, part) => (bytes.set(part, position), position + part.length), 0);
    return bytes;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    if (error instanceof RangeError) throw new Refusal(large); // for what was agreed, or for the memory
    throw new Refusal(`Cannot read ${BUNDLE}${path} (${error.message}). Copy the bundle again.`);
  }
}

const readBeside = (name, purpose) =>
  readBytes(name, {
    missing: `${BUNDLE}${name} is missing: the manifest names it as the ${purpose}. Copy it there.`,
    large: `${BUNDLE}${name} has more than ${MAX_TEXT_BYTES} bytes, too many for the ${purpose}. Name another file.`,
  });

async function readManifest() {
  const where = `${BUNDLE}manifest.json`;
  const bytes = await readBytes("manifest.json", {
    missing: `No manifest at ${where}. Expected the folder of a bundle, with manifest.json in it.`,
    large: `${where} has more than ${MAX_TEXT_BYTES} bytes: no manifest. Export the bundle again.`,
  });
  let manifest;
  try {
    manifest = JSON.parse(decodeText(bytes));
  } catch (error) {
    throw new Refusal(`${where} is not valid JSON in UTF-8 (${error.message}). Export the bundle again.`);
  }
  checkManifest(manifest, where);
  const { output } = manifest;
  if (typeof output.class_names === "string") output.class_names = await readClassNames(output.class_names);
  return manifest;
}

/** Read class names, one a line; where every line begins with a WordNet number, that column is left out. */
async function readClassNames(name) {
  const path = BUNDLE + name;
  const bytes = await readBeside(name, "class names");
  let text;
  try {
    text = decodeText(bytes);
  } catch {
    throw new Refusal(`${path} is not UTF-8. Convert it.`);
  }
  let lines = text.trimEnd().split("\n").map((line) => line.trim());
  if (lines.every((line) => /^n[0-9]+\s+\S/.test(line))) lines = lines.map((line) => line.replace(/^\S+\s+/, ""));
  if (lines.length > MAX_CLASSES) {
    throw new Refusal(`${path} has ${lines.length} lines. Expected at most ${MAX_CLASSES} class names.`);
  }
  const wrong = lines.findIndex((line) => !isText(line) || /[\0-\x1f\x7f-\x9f]/.test(line));
  if (wrong >= 0) {
    throw new Refusal(
      `${path}: line ${wrong + 1} must be a class name of 1 to 3999 bytes without control characters. ` +
        `Received: ${shown(lines[wrong])}`,
    );
  }
  return lines;
}

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

/** Open the bundle, in the order of classify.py. Return what the page shows of it. */
async function open(_, progress) {
  progress("Reading the manifest");
  const manifest = await readManifest();
  progress("Loading OpenCV");
  await loadOpenCV();
  const minimum = manifest.opencv?.minimum ?? OLDEST_OPENCV;
  if (isOlder(version, minimum)) {
    throw new Refusal(`This bundle needs OpenCV ${minimum} or later. Received: ${version}. Upgrade OpenCV.`);
  }
  const graph = manifest.model.graph && (await readBeside(manifest.model.graph, "graph"));
  const { data, checked } = await readModel(manifest.model, progress);
  progress("Opening the network");
  network = { manifest, checked, net: readNet(data, graph, manifest.model, manifest.opencv?.engine) };
  const { source: { application, keras, run } = {}, blob, output } = manifest;
  const name = String(application ?? keras ?? run ?? "").replace(/^\d{8}-\d{6}-/, ""); // a run begins with its time
  return { name, size: blob.size, classes: output.class_names.length, version };
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

/** Run the network on an image: { width, height, bgr }. Return { probabilities, pixels of the blob, milliseconds }. */
function run({ width, height, bgr }) {
  const { blob, output } = network.manifest;
  const start = performance.now();
  const size = new cv.Size(...blob.size);
  const mean = new cv.Scalar(...blob.mean, ...[0, 0, 0, 0].slice(blob.mean.length));
  return withMats((keep) => {
    let image, input, pixels;
    try {
      image = keep(new cv.Mat(height, width, cv.CV_8UC3));
      image.data.set(bgr);
      image = applyBeforeBlob(image, keep);
      input = keep(cv.blobFromImage(image, blob.scalefactor, size, mean, blob.swapRB, blob.crop, cv.CV_32F));
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
    pixels = keep(cv.blobFromImage(image, 1, size, new cv.Scalar(0, 0, 0, 0), blob.swapRB, blob.crop, cv.CV_32F));
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

/** Decode a file as `cv2.imread` does: { width, height, bgr }; no colour profile, EXIF obeyed, alpha dropped. */
async function decode(blob, name) {
  let bitmap;
  try {
    const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
    bitmap = await createImageBitmap(blob, exact);
  } catch {
    throw new Refusal(`OpenCV cannot read ${name} as an image. Convert it to JPEG or PNG.`);
  }
  return toPixels(bitmap, name);
}

/** Return the pixels of a bitmap, which it closes; in strips, because a canvas does not hold every photograph. */
function toPixels(bitmap, name) {
  const { width, height } = bitmap;
  try {
    const rows = Math.min(height, Math.ceil(STRIP_PIXELS / width));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "copy"; // one strip replaces the other
    const bgr = new Uint8Array(width * height * 3);
    let opaque = true;
    for (let top = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top);
      const { data } = context.getImageData(0, 0, width, Math.min(rows, height - top));
      opaque = writeBGR(data, bgr, top * width * 3) && opaque;
    }
    if (!opaque) writeBehindAlpha(bitmap, bgr);
    return { width, height, bgr };
  } catch (error) {
    throw new Refusal(`${name} has ${width}x${height} pixels, too many for this browser (${error.message}). Scale it.`);
  } finally {
    bitmap.close();
  }
}

/** Write pixels into `bgr` from `to` on, without their alpha. Return whether all are opaque. */
function writeBGR(rgba, bgr, to) {
  let opaque = true;
  for (let from = 0; from < rgba.length; from += 4, to += 3) {
    bgr[to] = rgba[from + 2];
    bgr[to + 1] = rgba[from + 1];
    bgr[to + 2] = rgba[from];
    if (rgba[from + 3] !== 255) opaque = false;
  }
  return opaque;
}

/** Write the pixels of a translucent bitmap as they are: a canvas multiplies them by their alpha, WebGL does not. */
function writeBehindAlpha(bitmap, bgr) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return; // then nearly right must do
  const texture = gl.createTexture();
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const rgba = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
  if (gl.getError() === gl.NO_ERROR) writeBGR(rgba, bgr, 0);
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser gives only a few
}

/** Turn the blob's planes into pixels for a canvas. */
function toRGBA(planes) {
  const { swapRB } = network.manifest.blob;
  const count = network.manifest.blob.size[0] * network.manifest.blob.size[1];
  const [red, green, blue] = planes.length === count ? [0, 0, 0] : swapRB ? [0, 1, 2] : [2, 1, 0];
  const rgba = new Uint8ClampedArray(count * 4).fill(255);
  for (let pixel = 0; pixel < count; pixel += 1) {
    rgba[4 * pixel] = planes[red * count + pixel];
    rgba[4 * pixel + 1] = planes[green * count + pixel];
    rgba[4 * pixel + 2] = planes[blue * count + pixel];
  }
  return rgba;
}

/** Classify a file, or a frame that is a bitmap already. */
async function classify({ file, name, frame, top }) {
  const { probabilities, pixels, milliseconds } = run(frame ? toPixels(frame, name) : await decode(file, name));
  const names = network.manifest.output.class_names;
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  const found = order.slice(0, top).map((index) => ({ label: names[index], probability: probabilities[index] }));
  const [width, height] = network.manifest.blob.size;
  return { found, milliseconds, seen: { width, height, rgba: toRGBA(pixels) } };
}

/** Return what selftest.json says: { cases, tolerance }; null where there is none. */
async function readSelftest() {
  const folder = `${BUNDLE}selftest`;
  const large = `${folder} holds no self-test that can be read (it is too large). Copy the bundle again.`;
  const bytes = await readBytes("selftest/selftest.json", { missing: null, large });
  if (bytes === null) return null;
  try {
    const { images: cases, tolerance = 1e-5 } = JSON.parse(decodeText(bytes));
    if (!isNumber(tolerance) || !(tolerance > 0 && tolerance <= MAX_TOLERANCE)) {
      throw new Error(`\`tolerance\` must be above 0, at most ${MAX_TOLERANCE}`);
    }
    const classes = network.manifest.output.class_names.length;
    const complete = ({ png, original = png, label, pixel_sha256: checksum, probabilities }) =>
      [png, original].every(isFile) && [label, checksum].every(isText) && areNumbers(probabilities, classes, classes);
    if (cases.length === 0 || !cases.every(complete)) {
      throw new Error("it needs a file, a label, a checksum and a probability for each class, of at least one image");
    }
    return { cases, tolerance };
  } catch (error) {
    throw new Refusal(`${folder} holds no self-test that can be read (${error.message}). Copy the bundle again.`);
  }
}

async function readPicture(name) {
  const path = `${BUNDLE}selftest/${name}`;
  const missing = `No such image: ${path}`;
  const bytes = await readBytes(`selftest/${name}`, { missing, large: `${path} is too large.`, most: MAX_MODEL_BYTES });
  return decode(new Blob([bytes]), path);
}

/** Compare this machine's answers on the bundle's own images with those that Keras gave; one image after another. */
async function selftest(_, progress) {
  const test = await readSelftest();
  if (test === null) {
    const line = `There is no ${BUNDLE}selftest. It holds photographs, and may have been taken out for that reason.`;
    return { ok: null, line };
  }
  const { cases, tolerance } = test;
  progress(`Testing this machine, 1 of ${cases.length}`, cases.map(({ png, label }) => ({ png, label })));
  const names = network.manifest.output.class_names;
  const tally = { labels: 0, inputs: 0, originals: 0, sameOriginals: 0, difference: 0 };
  for (const [index, expected] of cases.entries()) {
    progress(`Testing this machine, ${index + 1} of ${cases.length}`);
    const image = await readPicture(expected.png);
    const { probabilities, pixels } = run(image);
    const best = probabilities.reduce((best, value, index) => (value > probabilities[best] ? index : best), 0);
    tally.labels += names[best] === expected.label;
    for (const [index, value] of expected.probabilities.entries()) {
      tally.difference = Math.max(tally.difference, Math.abs(value - probabilities[index]));
    }
    if (canHash()) tally.inputs += (await sha256(pixels)) === expected.pixel_sha256;
    if (expected.original) {
      const original = await readPicture(expected.original).catch(() => null); // this browser may not know the format
      tally.originals += 1;
      tally.sameOriginals += original !== null && isSame(original, image);
    }
  }
  const inputsEqual = canHash() ? tally.inputs === cases.length : true;
  const ok = tally.labels === cases.length && inputsEqual && tally.difference <= tolerance;
  return { ok, line: describe(tally, cases.length, ok) };
}

const isSame = (one, other) =>
  one.width === other.width && one.height === other.height && one.bgr.every((level, i) => level === other.bgr[i]);

function describe({ labels, inputs, originals, sameOriginals, difference }, count, ok) {
  const engine = hasEngines() && network.manifest.opencv?.engine;
  const facts = [`${labels} of ${count} labels`];
  if (canHash()) facts.push(`${inputs} of ${count} inputs equal`);
  const [digits, exponent] = difference.toExponential(1).split("e"); // 1.2e-7, as Python writes it: 1.2e-07
  facts.push(`largest difference ${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`);
  if (originals) facts.push(`${sameOriginals} of ${originals} originals equal`);
  return (
    `OpenCV ${version}${engine ? `, ${engine} engine` : ""}: ` +
    `${ok ? "the same answers as Keras" : "NOT the answers that Keras gave"}. ${facts.join(", ")}. ` +
    `Model file: ${network.checked}.`
  );
}

const TASKS = { open, classify, selftest };

function startWorker() {
  self.onmessage = async ({ data: { id, task, value } }) => {
    const progress = (text, cases) => self.postMessage({ id, progress: text, cases });
    try {
      self.postMessage({ id, answer: await TASKS[task](value, progress) });
    } catch (error) {
      const refusal = error instanceof Refusal ? error.message : `OpenCV stopped (${reason(error)}). Reload the page.`;
      self.postMessage({ id, refusal });
    }
  };
}

/* ---------------------------------------------------------- the page --------------------------------------------- */

const TOP = 5; // labels to show
const EXAMPLES = 8; // pictures to offer
const FRAME_MS = 100; // at least, from one frame of the camera to the next
const SPEAK_MS = 3000; // at least, from one label of the camera that is read aloud to the next

function startPage() {
  const $ = (id) => document.getElementById(id);
  const show = (element, visible) => element.toggleAttribute("hidden", !visible);
  let worker;
  const waiting = new Map(); // by number, what becomes of the worker's answers
  let newest = 0; // the number of the last picture; what comes back for an older one is not shown
  let camera = null; // a MediaStream while it runs

  function ask(task, value, { progress = () => {}, transfer = [] } = {}) {
    const id = crypto.getRandomValues(new Uint32Array(1))[0];
    worker.postMessage({ id, task, value }, transfer);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, progress }));
  }

  function receive({ data: { id, answer, refusal, progress, cases } }) {
    const asked = waiting.get(id);
    if (progress !== undefined) return asked.progress(progress, cases);
    waiting.delete(id);
    return refusal === undefined ? asked.resolve(answer) : asked.reject(new Refusal(refusal));
  }

  /** Say what went wrong; an empty text takes it away. */
  function complain(text) {
    $("alert").textContent = text;
    show($("alert"), text !== "");
  }

  function setBadge(state, text, line = "") {
    $("badge").dataset.state = state;
    $("badge").ariaBusy = state === "working"; // only what comes out of it is read aloud
    $("badge-text").textContent = text;
    $("line").textContent = line;
  }

  /** Open the bundle in the worker. */
  async function openBundle() {
    if (location.protocol === "file:") {
      const advice = "Run python -m http.server in the bundle's folder and open http://localhost:8000/web/";
      throw new Refusal(`This page needs a web server. ${advice}`);
    }
    const broken = new Promise((_, reject) => {
      worker = new Worker("classify.js");
      worker.onmessage = receive;
      worker.onerror = ({ message }) =>
        reject(new Refusal(`This browser cannot run the page (${message}). Take a newer one.`));
    });
    const progress = (text) => setBadge("working", text);
    const { name, size, classes, version } = await Promise.race([ask("open", null, { progress }), broken]);
    const facts = [name, `${classes.toLocaleString("en")} classes`, `${size.join(" × ")} pixels`, `OpenCV ${version}`];
    $("about").textContent = facts.filter(Boolean).join(" · ");
    $("camera").disabled = false;
  }

  async function testMachine() {
    const progress = (text, cases) => {
      setBadge("working", text);
      if (cases) offer(cases);
    };
    try {
      const { ok, line } = await ask("selftest", null, { progress });
      if (ok === null) setBadge("untested", "Not tested here", line);
      else setBadge(ok ? "agreed" : "failed", ok ? "The same answers as Keras" : "Not the answers of Keras", line);
    } catch (error) {
      setBadge("failed", "The self-test failed", error.message);
    }
  }

  /** Offer the pictures of the self-test to try. */
  function offer(cases) {
    for (const { png, label } of cases.slice(0, EXAMPLES)) {
      const button = document.createElement("button");
      const image = document.createElement("img");
      const url = `../selftest/${encodeURIComponent(png)}`;
      Object.assign(button, { type: "button", title: label });
      Object.assign(image, { src: url, alt: `Try a picture of ${label}` });
      button.append(image);
      button.onclick = async () => takeFile(new File([await (await fetch(url)).blob()], png));
      $("examples").append(button);
    }
    show($("try"), cases.length > 0);
  }

  function showAnswer({ found, milliseconds, seen }) {
    const rows = found.map(({ label, probability }) => {
      const row = document.createElement("li");
      const name = document.createElement("span");
      const value = document.createElement("data");
      const bar = document.createElement("span");
      name.className = "label";
      name.textContent = label;
      value.value = probability;
      value.textContent = percent(probability);
      bar.className = "bar";
      bar.style.setProperty("--share", Math.min(Math.max(probability, 0), 1));
      row.append(name, value, bar);
      return row;
    });
    $("found").replaceChildren(...rows);
    $("time").textContent = `${Math.max(milliseconds, 1).toFixed(0)} ms`;
    const canvas = $("seen");
    Object.assign(canvas, { width: seen.width, height: seen.height });
    canvas.getContext("2d").putImageData(new ImageData(seen.rgba, seen.width, seen.height), 0, 0);
    $("seen-size").textContent = `${seen.width} × ${seen.height}`;
    show($("empty"), false);
    show($("answer"), true);
    return `${found[0].label}, ${percent(found[0].probability)}`;
  }

  const percent = (probability) => (probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`);

  async function takeFile(file) {
    stopCamera();
    complain("");
    const mine = (newest += 1);
    document.body.classList.add("busy");
    try {
      await opened;
      const answer = await ask("classify", { file, name: file.name, top: TOP });
      if (mine !== newest) return;
      URL.revokeObjectURL($("photo").src);
      $("photo").src = URL.createObjectURL(file);
      $("photo").alt = file.name;
      showStage("photo");
      $("spoken").textContent = `${file.name}: ${showAnswer(answer)}`;
    } catch (error) {
      if (mine === newest) complain(error.message);
    } finally {
      if (mine === newest) document.body.classList.remove("busy");
    }
  }

  function takeFiles(files) {
    if (files.length === 0) complain("That is no file. Drop, choose or paste a photograph.");
    else takeFile(files[0]);
  }

  function showStage(name) {
    for (const other of ["photo", "video"]) show($(other), other === name);
    document.body.classList.toggle("filled", name !== "");
    $("invitation").textContent = name === "" ? "Drop a photograph" : "Drop or choose another";
  }

  async function startCamera() {
    complain("");
    if (!navigator.mediaDevices) {
      return complain("The browser gives the camera to https and localhost only. Serve the page so.");
    }
    $("camera").disabled = true; // until the browser has asked
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      const reasons = {
        NotAllowedError: "The camera was denied. Allow it for this page in the browser's settings.",
        NotFoundError: "There is no camera. Connect one, or choose a photograph.",
      };
      const other = `The camera does not start (${error.message}). Close what else uses it.`;
      return complain(reasons[error.name] ?? other);
    } finally {
      $("camera").disabled = false;
    }
    camera.getVideoTracks()[0].onended = () => {
      stopCamera();
      complain("The camera stopped. Connect it again, or choose a photograph.");
    };
    $("camera").textContent = "Stop the camera";
    $("video").srcObject = camera;
    await $("video").play();
    showStage("video");
    return watch(camera);
  }

  /** Classify frame after frame while this stream runs. */
  async function watch(stream) {
    let spoken = "";
    let spokenAt = -SPEAK_MS;
    while (camera === stream) {
      const began = performance.now();
      const mine = (newest += 1);
      try {
        const frame = await createImageBitmap($("video"));
        const answer = await ask("classify", { frame, name: "The camera's frame", top: TOP }, { transfer: [frame] });
        if (mine !== newest || camera !== stream) return;
        const text = showAnswer(answer);
        if (answer.found[0].label !== spoken && began - spokenAt >= SPEAK_MS) {
          [spoken, spokenAt] = [answer.found[0].label, began];
          $("spoken").textContent = text;
        }
      } catch (error) {
        stopCamera();
        return complain(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, FRAME_MS - (performance.now() - began)));
    }
  }

  function stopCamera() {
    if (!camera) return;
    for (const track of camera.getTracks()) track.stop();
    camera = null;
    newest += 1;
    $("video").srcObject = null;
    $("camera").textContent = "Use the camera";
    showStage("");
  }

  $("file").addEventListener("change", ({ target }) => {
    if (target.files.length > 0) takeFiles(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  $("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
  document.addEventListener("paste", ({ clipboardData }) => takeFiles(clipboardData.files));
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dragging", name === "dragenter" || name === "dragover");
      if (name === "drop") takeFiles(event.dataTransfer.files);
    });
  }
  const opened = openBundle();
  opened.then(testMachine, (error) => {
    complain(error.message);
    setBadge("failed", "Not running");
  });
}

if (self.document) startPage();
else startWorker();
