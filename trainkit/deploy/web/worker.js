// The worker: it holds OpenCV and the network, so that the page never waits, and may forbid the `eval` that opencv.js
// needs. Nothing leaves the machine.
//
// What it replies is harmless to show: control characters and the like are written out.
//
// It is asked { id, task, value } and replies { id, progress } as often as it likes, then { id, answer } or
// { id, refusal }.
"use strict";

importScripts("schema.js", "graph.js", "brightness.js", "manifest.js", "network.js", "pictures.js", "occlusion.js"); // one scope

const NONE_OF_THESE = "none of these"; // where the network is less sure than the manifest asks for

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
  const { source: { application, keras, run } = {}, extra, blob, output } = manifest;
  const origin = String(application ?? keras ?? run ?? "").replace(/^\d{8}-\d{6}-/, ""); // a run begins with its time
  const name = isText(extra?.name) && extra.name ? extra.name : origin;
  return { name: harmless(name), size: blob.size, classes: output.class_names.length, version };
}

/** Classify a file, or a frame that is a bitmap already. */
async function classify({ file, name, frame, top, invert }) {
  const image = frame ? toPixels(frame, name) : await decode(file, name);
  if (invert) image.bgr.forEach((level, i) => (image.bgr[i] = 255 - level));
  const { probabilities, pixels, milliseconds } = run(image);
  const [width, height] = network.manifest.blob.size;
  const warning = brightness.warningOf(network.manifest, pixels, invert, ["tick Invert", "untick Invert"]);
  const seen = { width, height, rgba: toRGBA(pixels) };
  return { name: harmless(name), found: best(probabilities, top), milliseconds, seen, warning };
}

/** Return the likeliest classes, as the other clients do: what a threshold leaves out is not there. */
function best(probabilities, top) {
  const { class_names: names, thresholds, reject_below: rejectBelow = 0 } = network.manifest.output;
  const found = Array.from(probabilities.keys())
    .filter((index) => probabilities[index] >= Math.fround(thresholds?.[index] ?? 0))
    .sort((a, b) => probabilities[b] - probabilities[a])
    .slice(0, top)
    .map((index) => ({ label: harmless(names[index]), probability: probabilities[index] }));
  const isNone = found.length > 0 && found[0].probability < Math.fround(rejectBelow);
  return isNone ? [{ label: NONE_OF_THESE, probability: found[0].probability }] : found;
}

/** Return what selftest.json says: { cases, tolerance }; null where there is none. */
async function readSelftest() {
  const folder = `${BUNDLE}selftest`;
  const large = `${folder} holds no self-test that can be read (it is too large). Copy the bundle again.`;
  const bytes = await readBytes("selftest/selftest.json", { missing: null, large });
  if (bytes === null) return null;
  try {
    const { images: cases, tolerance = 1e-5 } = contract.parseJson(bytes);
    if (!isNumber(tolerance) || !(tolerance > 0 && tolerance <= MAX_TOLERANCE)) {
      throw new Error(`\`tolerance\` must be above 0, at most ${MAX_TOLERANCE}`);
    }
    const classes = network.manifest.output.class_names.length;
    const complete = ({ png, original = png, label, pixel_sha256: checksum, probabilities }) =>
      [png, original].every(isFileName) &&
      [label, checksum].every(isText) &&
      areAll(probabilities, isNumber, classes, classes);
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
  const offered = cases.map(({ png, label }) => ({ png, label: harmless(label) }));
  progress(`Testing this machine, 1 of ${cases.length}`, offered);
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
  return { ok, line: harmless(describe(tally, cases.length, ok)) };
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

const TASKS = { open, classify, selftest, explain, stop };

self.onmessage = async ({ data: { id, task, value } }) => {
  const progress = (text, cases) => self.postMessage({ id, progress: text, cases });
  try {
    self.postMessage({ id, answer: await TASKS[task](value, progress) });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal(`OpenCV stopped (${reason(error)}). Reload the page.`);
    self.postMessage({ id, refusal: refusal.message });
  }
};
