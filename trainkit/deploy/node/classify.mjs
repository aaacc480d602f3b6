// Classify images with OpenCV in Node.js, as the manifest of the bundle in the folder above says. First: npm install
//
//   node classify.mjs photo.jpg ...       labels and probabilities, or what a detector finds
//   node classify.mjs folder/             every image and video in it
//   node classify.mjs film.mp4            each frame; --every 30 for one in thirty
//   node classify.mjs --camera 0          until Ctrl-C
//   npm run selftest                      does this machine give the answers that Keras gave?
//
//   import { open } from './classify.mjs';
//   const classifier = await open('folder of the bundle');
//   await classifier.predict('photo.jpg', { top: 3 });  // or the bytes of a JPEG or PNG

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import {
  BundleError,
  MAX_TEXT_BYTES,
  areAll,
  harmless,
  isFileName,
  isFolder,
  isNumber,
  isObject,
  isText,
  parseJson,
  readBeside,
  readManifest,
} from './manifest.mjs';
import { MAX_TOLERANCE, describe, draw, exponent, hasEngines, largest, open, openCvVersion } from './network.mjs';
import { decodeImage, isVideo, listFiles, pictureOf, readAhead, readFrames, readImage, writeImage } from './pictures.mjs';

export { BundleError, open };

/**
 * Compare this machine's answers on the bundle's own images with those that Keras gave.
 *
 * @returns counts (`images`, `sameLabels`, `samePixels`, `originals`, `sameOriginals`), `difference`, `ok`, `line`
 */
export async function selftest(bundle) {
  const { manifest } = readManifest(bundle);
  if (manifest.output.kind === 'ssd') {
    throw new BundleError('The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.');
  }
  const network = await open(bundle);
  try {
    const folder = path.join(network.folder, 'selftest');
    const { cases, tolerance } = readCases(folder, network.classNames.length);
    const result = {
      images: cases.length,
      sameLabels: 0,
      samePixels: 0,
      originals: 0,
      sameOriginals: 0,
      difference: 0,
    };
    for (const { png, original, label, probabilities: expected, pixel_sha256: checksum } of cases) {
      const image = await decodeImage(readBeside(folder, png, 'image'), path.join(folder, png));
      const actual = await network.probabilities(image);
      const best = actual.indexOf(largest(actual));
      result.difference = Math.max(result.difference, largest(actual.map((value, i) => Math.abs(value - expected[i]))));
      result.sameLabels += network.classNames[best] === label;
      result.samePixels += network.pixelSha256(image) === checksum;
      if (original === undefined) continue;
      result.originals += 1; // it says something of the JPEG decoder, not of the network, and does not touch `ok`
      result.sameOriginals += await decodesTo(path.join(folder, original), image);
    }
    const { images, sameLabels, samePixels, difference } = result;
    result.ok = samePixels === images && sameLabels === images && difference <= tolerance;
    result.line = describeResult(result, manifest);
    return result;
  } finally {
    await network.close();
  }
}

function readCases(folder, classes) {
  if (!isFolder(folder)) {
    throw new BundleError(`There is no ${folder}. It holds photographs, and may have been taken out for that reason.`);
  }
  try {
    const bytes = readBeside(folder, 'selftest.json', 'self-test', MAX_TEXT_BYTES);
    const { images: cases, tolerance = 1e-5 } = parseJson(bytes);
    if (!(isNumber(tolerance) && tolerance > 0 && tolerance <= MAX_TOLERANCE)) {
      throw new TypeError(`\`tolerance\` must be above 0, at most ${MAX_TOLERANCE}`);
    }
    const isCase = ({ png, original, label, probabilities, pixel_sha256: checksum }) =>
      isFileName(png) &&
      (original === undefined || isFileName(original)) &&
      isText(label) &&
      isText(checksum) &&
      areAll(probabilities, isNumber, classes, classes);
    if (!areAll(cases, (one) => isObject(one) && isCase(one), 1, Infinity)) {
      throw new TypeError('it needs plain file names, and one probability for each class of at least one image');
    }
    return { cases, tolerance };
  } catch (error) {
    const reason = error.message.replace(/\s+/g, ' ').slice(0, 200);
    throw new BundleError(`${folder} holds no self-test that can be read (${reason}). Copy the bundle again.`);
  }
}

async function decodesTo(file, image) {
  try {
    const { data, width, height } = await readImage(file);
    return width === image.width && height === image.height && data.equals(image.data);
  } catch (error) {
    if (error instanceof BundleError) return false;
    throw error;
  }
}

function describeResult(result, { model, opencv = {} }) {
  const engine = hasEngines() && opencv.engine ? `, ${opencv.engine} engine` : '';
  const originals = result.originals ? `, ${result.sameOriginals} of ${result.originals} originals equal` : '';
  const checked = model.sha256 ? 'sha256 checked' : model.bytes ? 'size checked' : undefined;
  return (
    `OpenCV ${openCvVersion()}${engine}: ${result.ok ? 'the same answers as Keras' : 'NOT the answers that Keras gave'}. ` +
    `${result.sameLabels} of ${result.images} labels, ${result.samePixels} of ${result.images} inputs equal, ` +
    `largest difference ${exponent(result.difference.toExponential(1))}${originals}. ` +
    `Model file: ${checked ?? 'not checked, the manifest says neither size nor sha256'}.`
  );
}

const USAGE =
  'usage: node classify.mjs [--bundle DIR] [--top N] [--min-confidence P] [--every N] [--annotate OUT] [--invert]\n' +
  '                         (INPUT ... | --camera N | --selftest)';

/** Return the options of the command line; what is wrong with them is a TypeError. */
function parseOptions(args) {
  const text = { type: 'string' };
  const known = { bundle: text, top: text, 'min-confidence': text, every: text, annotate: text, camera: text };
  const flags = { selftest: { type: 'boolean' }, invert: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } };
  const { values, positionals } = parseArgs({ args, options: { ...known, ...flags }, allowPositionals: true });
  const number = (name, least) => {
    const value = values[name];
    if (value === undefined) return undefined;
    if (/^\d{1,9}$/.test(value) && value >= least) return Number(value);
    throw new TypeError(`--${name} must be a whole number, ${least} or more. Received: ${value}`);
  };
  const minConfidence = values['min-confidence'] === undefined ? undefined : Number(values['min-confidence'] || NaN);
  if (minConfidence !== undefined && !(minConfidence >= 0 && minConfidence <= 1)) {
    throw new TypeError(`--min-confidence must be from 0 to 1. Received: ${values['min-confidence']}`);
  }
  const options = {
    ...values,
    inputs: positionals,
    bundle: values.bundle ?? path.dirname(path.dirname(fileURLToPath(import.meta.url))),
    top: number('top', 1),
    minConfidence,
    every: number('every', 1) ?? 1,
    camera: number('camera', 0),
  };
  const ways = Number(positionals.length > 0) + Number(values.camera !== undefined) + Number(values.selftest ?? false);
  if (!values.help && ways !== 1) throw new TypeError('name at least one INPUT, or --camera N, or --selftest');
  return options;
}

/** Yield a name and pixels for each image or frame; complain of what cannot be read, and go on with the next. */
async function* readInputs({ inputs, camera, every }, complain) {
  const list = (input) => {
    try {
      return listFiles(input);
    } catch (error) {
      complain(error);
      return [];
    }
  };
  const sources = camera === undefined ? inputs.flatMap(list) : [camera];
  const isFilm = (source) => source === camera || isVideo(source);
  const read = async (source, admit) => (isFilm(source) ? undefined : readImage(source, admit));
  for await (const { source, image, error } of readAhead(sources, read)) {
    try {
      if (error) throw error;
      if (isFilm(source)) yield* readFrames(source, every);
      else yield [source, image];
    } catch (problem) {
      complain(problem);
    }
  }
}

/** Print a line for each image or frame, and return the exit code. */
async function answerInputs(options) {
  let code = 0;
  const complain = (error) => {
    if (!(error instanceof BundleError)) throw error;
    console.error(error.message);
    code = 1;
  };
  const network = await open(options.bundle);
  const warned = new Set(); // films, of which one warning is enough
  for await (const [name, image] of readInputs(options, complain)) {
    try {
      const film = / frame \d+$/.test(name) ? name.replace(/\d+$/, '') : undefined;
      const { found, warning } = await network.answer(image, { ...options, warn: !warned.has(film) });
      console.log(harmless(`${name}: ${describe(found)}`));
      if (warning !== undefined) {
        console.error(harmless(`${name}: ${warning}`));
        if (film !== undefined) warned.add(film);
      }
      if (options.annotate === undefined) continue;
      await writeImage(pictureOf(options.annotate, options.inputs, name), draw(image, found));
    } catch (error) {
      complain(error);
    }
  }
  await network.close();
  return code;
}

async function main(args) {
  let options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${USAGE}\nclassify.mjs: error: ${harmless(error.message.replace(/\s+/g, ' '))}`);
    return 2;
  }
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  if (options.camera !== undefined) process.once('SIGINT', () => process.exit(0)); // it is how one turns a camera off
  process.stdout.on('error', () => process.exit(1)); // the reader has gone; there is nobody to tell
  try {
    if (!options.selftest) return await answerInputs(options);
    const { ok, line } = await selftest(options.bundle);
    console.log(harmless(line));
    return ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    console.error(error.message);
    return 1;
  }
}

const program = process.argv[1];
const isProgram = program && fs.existsSync(program) && fs.realpathSync(program) === fileURLToPath(import.meta.url);
if (isProgram) process.exitCode = await main(process.argv.slice(2));
