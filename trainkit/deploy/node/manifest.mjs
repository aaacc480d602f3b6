// The manifest of a bundle: a stranger's file, of which everything that is used is checked before.

import fs from 'node:fs';
import path from 'node:path';

const SCHEMA = 'trainkit/1';
const MAX_WHOLE = 2 ** 31 - 1;
const MAX_SIDE = 16384; // pixels
const MAX_CLASSES = 1e6;
export const MAX_TEXT_BYTES = 16 * 2 ** 20; // of a manifest, and of a text beside it: class names, a graph

/** A bundle, an image or a machine that cannot do what is asked: its message is one sentence for the user. */
export class BundleError extends Error {
  name = 'BundleError';

  constructor(message) {
    super(message.replace(/[\0-\x1f\x7f-\x9f]+/g, ' ')); // which a manifest may have put there, for the terminal
  }
}

const stat = (file) => {
  try {
    return fs.statSync(file);
  } catch {
    return undefined; // it may also be a name that no file can have
  }
};
export const isFile = (file) => stat(file)?.isFile() ?? false;
export const isFolder = (file) => stat(file)?.isDirectory() ?? false;

export const isNumber = (v) => Number.isFinite(v) && !(Number.isInteger(v) && Math.abs(v) > MAX_WHOLE);
export const isCount = (v, most = MAX_WHOLE) => Number.isInteger(v) && v > 0 && v <= most;
export const isText = (v) => typeof v === 'string' && v.isWellFormed() && v.length > 0 && Buffer.byteLength(v) < 4000;
export const isFileName = (v) => isText(v) && v !== '.' && v !== '..' && !/[/\\:\0]/.test(v);
export const isObject = (v) => typeof v === 'object' && v !== null && !Array.isArray(v);
export const areAll = (v, holds, least, most) =>
  Array.isArray(v) && v.length >= least && v.length <= most && v.every(holds);
const areNames = (v) => areAll(v, isText, 1, MAX_CLASSES) && new Set(v).size === v.length;
const isByte = (v) => isNumber(v) && v >= 0 && v <= 255;
const isMeanFile = (v) => isFileName(v) && /\.(npy|binaryproto)$/.test(v);

const oneOf = (...values) => [`one of ${values.join(', ')}`, (v) => values.includes(v)];
const TEXT = ['a text of 1 to 3999 bytes', isText];
const OBJECT = ['an object', isObject];
const BOOL = ['true or false', (v) => typeof v === 'boolean'];
const FILE = ['the plain name of a file in the same folder', isFileName];
const COLOR = ['three numbers 0 to 255', (v) => areAll(v, isByte, 3, 3)];

const REQUIRED = {
  manifest: { schema: TEXT, model: OBJECT, blob: OBJECT, output: OBJECT },
  model: { file: FILE, format: oneOf('onnx', 'frozen-graph', 'caffe') },
  blob: {
    scalefactor: ['a number other than 0', (v) => isNumber(v) && v !== 0],
    size: [`[width, height], each 1 to ${MAX_SIDE} pixels`, (v) => areAll(v, (side) => isCount(side, MAX_SIDE), 2, 2)],
    mean: [
      '1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder',
      (v) => areAll(v, isNumber, 1, 4) || isMeanFile(v),
    ],
    swapRB: BOOL,
    crop: BOOL,
  },
  output: {
    kind: oneOf('softmax', 'sigmoid', 'logits', 'ssd'),
    class_names: [
      'a list of different texts, or the name of a text file in the same folder',
      (v) => areNames(v) || isFileName(v),
    ],
  },
  'before_blob: pad': { step: TEXT, color_bgr: COLOR },
  'before_blob: gray': { step: TEXT },
};
const OPTIONAL = {
  manifest: { before_blob: ['a list', Array.isArray], opencv: OBJECT },
  model: {
    graph: FILE,
    bytes: ['a positive whole number', (v) => isCount(v)],
    sha256: ['64 hexadecimal digits', (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v)],
  },
  output: {
    multi_label: BOOL,
    background: ["a class's number, from 0", (v) => v === 0 || isCount(v, MAX_CLASSES)],
    min_confidence: ['a number from 0 to 1', (v) => isNumber(v) && v >= 0 && v <= 1],
  },
  opencv: {
    minimum: ['a version such as 4.10.0', (v) => isText(v) && /^[0-9]+(\.[0-9]+){0,3}(-[0-9a-z.]+)?$/.test(v)],
    engine: oneOf('classic', 'new', 'auto'),
  },
};

/** Show a value of the manifest in a sentence, as Python writes it. */
function show(value) {
  try {
    return toPython(value).slice(0, 80);
  } catch {
    return 'what is nested too deeply'; // JSON.parse reads deeper than this goes
  }
}

function toPython(value) {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return `[${value.map(toPython).join(', ')}]`;
  if (isObject(value)) return `{${Object.keys(value).map((key) => `'${key}': ${toPython(value[key])}`).join(', ')}}`;
  return { undefined: 'None', null: 'None', true: 'True', false: 'False' }[value] ?? String(value);
}

function checkSection(section, data, where) {
  const required = REQUIRED[section] ?? {};
  for (const key of Object.keys(required)) {
    if (!Object.hasOwn(data, key)) {
      throw new BundleError(`${where}: \`${section}\` needs the key \`${key}\`. Add it, or export the bundle again.`);
    }
  }
  for (const [key, [expected, holds]] of Object.entries({ ...required, ...OPTIONAL[section] })) {
    if (Object.hasOwn(data, key) && !holds(data[key])) {
      const received = show(data[key]);
      throw new BundleError(`${where}: \`${section}.${key}\` must be ${expected}. Received: ${received}`);
    }
  }
}

function checkManifest(data, where) {
  if (!isObject(data)) throw new BundleError(`${where}: expected a JSON object. Received: ${show(data)}`);
  if (Object.hasOwn(data, 'schema') && data.schema !== SCHEMA) {
    const schema = typeof data.schema === 'string' ? data.schema.slice(0, 80) : show(data.schema);
    throw new BundleError(`${where}: this client reads schema ${SCHEMA}. Received: ${schema}. Take a newer client.`);
  }
  checkSection('manifest', data, where);
  for (const section of ['model', 'blob', 'output', 'opencv']) checkSection(section, data[section] ?? {}, where);
  const steps = data.before_blob ?? [];
  const names = steps.map((step) => (isObject(step) ? step.step : step));
  for (const name of names) {
    if (name !== 'pad' && name !== 'gray') {
      throw new BundleError(`${where}: \`before_blob\` knows the steps pad and gray. Received: ${show(name)}`);
    }
  }
  if (!['', 'pad', 'gray', 'pad,gray'].includes(names.join())) {
    const received = show(names);
    throw new BundleError(`${where}: \`before_blob\` has each step once, pad before gray. Received: ${received}`);
  }
  steps.forEach((step, i) => checkSection(`before_blob: ${names[i]}`, isObject(step) ? step : {}, where));
  const { model, output } = data;
  if (model.format === 'caffe' && !Object.hasOwn(model, 'graph')) {
    throw new BundleError(`${where}: a Caffe model needs the key \`model.graph\`, the name of its .prototxt. Add it.`);
  }
  if (model.format === 'onnx' && Object.hasOwn(model, 'graph')) {
    throw new BundleError(`${where}: an ONNX model has its graph inside. Take the key \`model.graph\` out.`);
  }
  for (const key of output.kind === 'ssd' ? ['multi_label'] : ['background', 'min_confidence']) {
    if (Object.hasOwn(output, key)) {
      throw new BundleError(`${where}: an output of the kind ${output.kind} has no \`output.${key}\`. Take it out.`);
    }
  }
}

/** Return what the operating system says, without its code and the file's name. */
export const reasonOf = (error) => /: (.*?),/.exec(error.message)?.[1] ?? error.message;

function readBytes(file) {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw new BundleError(`Cannot read ${file} (${reasonOf(error)}). Copy the bundle again.`);
  }
}

/** Return the bytes of a file that a manifest names; a link must not lead out of the folder. */
export function readBeside(folder, name, purpose, most = Infinity) {
  const file = path.join(folder, name);
  if (!isFile(file)) {
    throw new BundleError(`${file} is missing: the manifest names it as the ${purpose}. Copy it there.`);
  }
  if (path.dirname(fs.realpathSync(file)) !== fs.realpathSync(folder)) {
    throw new BundleError(`${file} is a link that leaves the bundle. Put the file itself there.`);
  }
  if (fs.statSync(file).size > most) {
    throw new BundleError(`${file} has more than ${most} bytes, too many for the ${purpose}. Name another file.`);
  }
  return readBytes(file);
}

/** Return the text in bytes of UTF-8; a byte order mark stays in it. */
export const toText = (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

/** Read class names, one a line; the WordNet numbers of ImageNet's `synset_words.txt` are left out. */
function readClassNames(folder, name) {
  const file = path.join(folder, name);
  let text;
  try {
    text = toText(readBeside(folder, name, 'class names', MAX_TEXT_BYTES)).replace(/^\ufeff/, '');
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(`${file} is not UTF-8. Convert it.`);
  }
  const strip = (line) => line.replace(/^[^\S\ufeff]+|[^\S\ufeff]+$/g, '');
  let lines = strip(`|${text}`).slice(1).split('\n').map(strip);
  if (lines.every((line) => /^n[0-9]+\s+\S/.test(line))) lines = lines.map((line) => line.replace(/^n[0-9]+\s+/, ''));
  if (lines.length > MAX_CLASSES) {
    throw new BundleError(`${file} has ${lines.length} lines. Expected at most ${MAX_CLASSES} class names.`);
  }
  const wrong = lines.findIndex((line) => !isText(line) || /[\0-\x1f\x7f-\x9f]/.test(line));
  if (wrong < 0) return lines;
  throw new BundleError(
    `${file}: line ${wrong + 1} must be a class name of 1 to 3999 bytes without control characters. ` +
      `Received: ${show(lines[wrong])}`,
  );
}

/** Read and check the manifest of a bundle, by its folder or its own name; class names in a file are read too. */
export function readManifest(bundle) {
  const file = isFolder(bundle) ? path.join(bundle, 'manifest.json') : bundle;
  if (!isFile(file)) {
    throw new BundleError(`No manifest at ${file}. Expected the folder of a bundle, with manifest.json in it.`);
  }
  if (fs.statSync(file).size > MAX_TEXT_BYTES) {
    throw new BundleError(`${file} has more than ${MAX_TEXT_BYTES} bytes: no manifest. Export the bundle again.`);
  }
  let manifest;
  const bytes = readBytes(file);
  try {
    manifest = JSON.parse(toText(bytes));
  } catch (error) {
    const reason = error.message.replace(/\s+/g, ' ').slice(0, 200);
    throw new BundleError(`${file} is not valid JSON in UTF-8 (${reason}). Export the bundle again.`);
  }
  checkManifest(manifest, file);
  const folder = path.dirname(file);
  const { output, blob } = manifest;
  const names = output.class_names;
  const classNames = typeof names === 'string' ? readClassNames(folder, names) : names;
  if ((output.background ?? 0) >= classNames.length) {
    throw new BundleError(
      `${file}: \`output.background\` is the class ${output.background}, and there are ` +
        `${classNames.length} class names, counted from 0. Correct it.`,
    );
  }
  if (typeof blob.mean === 'string') {
    throw new BundleError(`${file}: \`blob.mean\` names a file, which the Python client alone reads. Use classify.py.`);
  }
  return { folder, manifest, classNames };
}
