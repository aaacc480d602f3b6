// The manifest and the texts beside it: what they may say, and how they are fetched. A part of worker.js.
"use strict";

const SCHEMA = "trainkit/1";
const BUNDLE = "../"; // this file stands in the bundle's folder web/
const MAX_WHOLE = 2 ** 31 - 1;
const MAX_SIDE = 16384; // pixels
const MAX_TEXT_BYTES = 16 * 2 ** 20; // of a manifest, and of a text beside it
const MAX_CLASSES = 10 ** 6;

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
