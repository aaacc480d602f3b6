// From files to pixels: images as cv2.imread decodes them, the frames of videos and cameras, and pictures written.
//
// Pixels are always { data, width, height }: a Buffer of blue, green, red, 8 bits each, row by row.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { BundleError, isFile, isFolder, reasonOf } from './manifest.mjs';

export const MAX_PIXELS = 2 ** 28; // of an image, padded or not
const AHEAD_BYTES = 2 ** 24; // of pixels that wait to be answered: some dozens of small photographs, or a large one
const AHEAD_FILES = 6; // that are read at once or wait: between two answers each comes one step further
const IMAGE_SUFFIXES = ['.bmp', '.jpe', '.jpeg', '.jpg', '.pgm', '.png', '.pnm', '.ppm', '.tif', '.tiff', '.webp'];
const VIDEO_SUFFIXES = [
  ...['.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mjpeg', '.mjpg', '.mkv', '.mov'],
  ...['.mp4', '.mpeg', '.mpg', '.mts', '.ogv', '.ts', '.webm', '.wmv'],
];

/** Load a package from beside this file, or say how to install it. */
export function load(name) {
  try {
    return createRequire(import.meta.url)(name);
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new BundleError(
      `${name} is not installed. Run npm install in ${path.dirname(fileURLToPath(import.meta.url))}.`,
    );
  }
}

const endsWith = (file, suffixes) => suffixes.some((suffix) => file.toLowerCase().endsWith(suffix));
export const isVideo = (file) => endsWith(file, VIDEO_SUFFIXES);

/** List the images and videos of a folder and its subfolders, by name; of what is no folder, itself. */
export function listFiles(source) {
  if (!isFolder(source)) return [source];
  const found = fs
    .readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => endsWith(file, IMAGE_SUFFIXES) || isVideo(file));
  if (found.length > 0) return found.sort();
  const expected = IMAGE_SUFFIXES.join(', ');
  throw new BundleError(`No images in ${source}. Expected files that end in ${expected}, or a video.`);
}

/** Read and decode an image file; `admit`: see `decodeImage`. */
export async function readImage(file, admit) {
  if (!isFile(file)) throw new BundleError(`No such image: ${file}`);
  let bytes;
  try {
    bytes = fs.readFileSync(file);
  } catch {
    throw unreadable(file);
  }
  return decodeImage(bytes, file, admit);
}

/**
 * Yield `{ source, image, error }` for each source, in their order, while the next ones are read and decoded by other
 * threads. They are ahead by `AHEAD_BYTES` of pixels at most, or by one.
 *
 * @param {unknown[]} sources
 * @param {(source: unknown, admit: (bytes: number) => Promise<void>) => Promise<object | undefined>} read reads a source;
 *   it awaits `admit` before it makes room for its pixels
 */
export async function* readAhead(sources, read) {
  const line = [];
  let bytes = 0;
  let next = 0;
  let taken = deferred();
  const begin = (source) => {
    const place = { source, bytes: 0 };
    const admit = async (size) => {
      while (place !== line[0] && bytes + size > AHEAD_BYTES) await taken.promise;
      place.bytes = size;
      bytes += size;
    };
    line.push(place);
    place.result = read(source, admit).then(
      (image) => ({ source, image }),
      (error) => ({ source, error }),
    );
  };
  while (next < sources.length || line.length > 0) {
    while (next < sources.length && line.length < AHEAD_FILES) begin(sources[next++]);
    const result = await line[0].result;
    bytes -= line.shift().bytes;
    taken.resolve();
    taken = deferred();
    await setImmediate(); // whoever answers leaves the others no turn
    yield result;
  }
}

/** Return a promise and what fulfils it. */
function deferred() {
  let resolve;
  const promise = new Promise((fulfil) => (resolve = fulfil));
  return { promise, resolve };
}

const unreadable = (name) => new BundleError(`OpenCV cannot read ${name} as an image. Convert it to JPEG or PNG.`);

/**
 * Decode an image to the pixels that `cv2.imread(path, cv2.IMREAD_COLOR)` gives: turned as EXIF says, alpha dropped, not
 * blended, no colour profile applied. Only what comes out equal is decoded: JPEG, PNG, WebP, and TIFF and GIF without
 * alpha, at 8 bits.
 *
 * @param {Uint8Array} bytes the file
 * @param {string} name what to call it in an error
 * @param {(bytes: number) => Promise<void>} [admit] is told how many bytes the pixels will take, and awaited
 */
export async function decodeImage(bytes, name = 'these bytes', admit = undefined) {
  const sharp = load('sharp');
  if (!isKnown(bytes)) throw unreadable(name);
  const options = { limitInputPixels: false, ignoreIcc: true };
  let decoded;
  let isCmyk;
  try {
    const header = await sharp(bytes, options).metadata(); // decodes nothing yet
    if (header.width * header.height > MAX_PIXELS) throw tooLarge(name, header);
    await admit?.(3 * header.width * header.height);
    const isPlain = !header.hasAlpha && header.depth === 'uchar' && header.space !== 'cmyk';
    if (['tiff', 'gif'].includes(header.format) && !isPlain) throw unreadable(name);
    isCmyk = header.space === 'cmyk';
    // Of a JPEG that ends too early OpenCV takes what there is, of another file nothing.
    const image = sharp(bytes, { ...options, failOn: header.format === 'jpeg' ? 'none' : 'truncated' }).rotate();
    const colored = isCmyk ? image.pipelineColourspace('cmyk').toColourspace('cmyk') : image.toColourspace('srgb');
    decoded = await (isCmyk ? colored : colored.removeAlpha()).raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw error instanceof BundleError ? error : unreadable(name);
  }
  const { data, info } = decoded;
  return { data: toBgr(data, info.channels, isCmyk), width: info.width, height: info.height };
}

const tooLarge = (name, { width, height }) =>
  new BundleError(`${name} has ${width}x${height} pixels, more than ${MAX_PIXELS}. Cut or scale it.`);

/** Whether bytes begin as a JPEG, PNG, WebP, TIFF or GIF does: libvips reads much more, such as SVG with its links. */
function isKnown(bytes) {
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1');
  return /^(\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF[^]{4}WEBP|II[*+]\0|MM\0[*+]|GIF8)/.test(head);
}

/** Turn red, green, blue, or grey, or cyan, magenta, yellow, black, into blue, green, red. */
function toBgr(data, channels, isCmyk) {
  const bgr = channels === 3 ? data : Buffer.alloc((data.length / channels) * 3);
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    const first = data[from];
    const second = channels < 3 ? first : data[from + 1];
    const third = channels < 3 ? first : data[from + 2];
    const light = isCmyk ? 255 - data[from + 3] : 255; // as OpenCV reckons, without a profile, in whole numbers
    bgr[to] = isCmyk ? light - ((third * light) >> 8) : third;
    bgr[to + 1] = isCmyk ? light - ((second * light) >> 8) : second;
    bgr[to + 2] = isCmyk ? light - ((first * light) >> 8) : first;
  }
  return bgr;
}

/**
 * Yield a name and pixels for each frame of a video file, or of a camera by its number: opencv-js has neither, so
 * the program ffmpeg decodes them. `every`: only every Nth frame.
 */
export async function* readFrames(source, every = 1) {
  const name = typeof source === 'number' ? `camera ${source}` : source;
  if (typeof source !== 'number' && !isFile(source)) throw new BundleError(`No such video: ${source}`);
  const chosen = ['-map', '0:v:0', '-vf', `select=not(mod(n\\,${every}))`];
  const output = '-fps_mode passthrough -pix_fmt rgb24 -c:v ppm -f image2pipe -'.split(' ');
  const args = ['-nostdin', '-loglevel', 'error', ...inputArguments(source), ...chosen, ...output];
  const program = spawn('ffmpeg', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaint = '';
  let failure;
  program.stderr.on('data', (text) => (complaint = (complaint + text).slice(0, 4000)));
  program.on('error', (error) => (failure = error));
  const closed = new Promise((resolve) => program.on('close', resolve));
  let count = 0;
  try {
    for await (const frame of splitFrames(program.stdout, name)) yield [`${name} frame ${every * count++}`, frame];
    await closed;
  } finally {
    program.kill();
  }
  if (failure) {
    const reason = failure.code === 'ENOENT' ? 'which is not installed' : `which does not start (${failure.code})`;
    throw new BundleError(`Videos and cameras need the program ffmpeg, ${reason}. Install it, or use classify.py.`);
  }
  if (count === 0) {
    const reason = complaint.trim().split('\n').at(-1).slice(0, 200) || 'it says nothing';
    throw new BundleError(`ffmpeg gets no frame from ${name} (${reason}). Try another file or camera.`);
  }
}

/** Return what ffmpeg is told of its input. A file's name has `file:` before it: it is no option and no address. */
function inputArguments(source) {
  if (typeof source !== 'number') return ['-protocol_whitelist', 'file', '-i', `file:${source}`];
  if (process.platform === 'linux') return ['-f', 'v4l2', '-i', `/dev/video${source}`];
  if (process.platform === 'darwin') return ['-f', 'avfoundation', '-framerate', '30', '-i', `${source}:none`];
  throw new BundleError('Cameras are read on Linux and macOS only. Record a video, or use classify.py.');
}

/** Yield the images of a stream of binary PPM, each with its own size in front. */
async function* splitFrames(stream, name) {
  let header = '';
  let frame;
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length;) {
      if (!frame) {
        header += String.fromCharCode(chunk[at++]);
        const sides = /^P6\s(\d+)\s(\d+)\s255\s$/.exec(header);
        if (!sides) continue;
        const [width, height] = [Number(sides[1]), Number(sides[2])];
        if (width * height > MAX_PIXELS) throw tooLarge(name, { width, height });
        frame = { data: Buffer.alloc(width * height * 3), width, height };
        filled = 0;
      }
      const part = chunk.subarray(at, at + frame.data.length - filled);
      frame.data.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < frame.data.length) continue;
      yield { ...frame, data: toBgr(frame.data, 3, false) };
      frame = undefined;
      header = '';
    }
  }
}

/** Write pixels to a file that is not there yet, as PNG or JPEG by its name. */
export async function writeImage(file, { data, width, height }) {
  const format = { '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg' }[path.extname(file).toLowerCase()];
  if (!format) throw new BundleError(`OpenCV cannot write ${file}. Expected a name that ends in .png or .jpg.`);
  const rgb = toBgr(Buffer.from(data), 3, false); // to turn the colours round twice is to have them back
  const bytes = await load('sharp')(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
    .toFormat(format, format === 'jpeg' ? { quality: 95 } : {}) // of a PNG, `quality` would be a palette
    .toBuffer();
  try {
    if (!isFolder(path.dirname(file))) fs.mkdirSync(path.dirname(file)); // `recursive` never ends in /proc
    fs.writeFileSync(file, bytes, { flag: 'wx' });
  } catch (error) {
    if (error.code === 'EEXIST') {
      throw new BundleError(`${file} exists already, and nothing is overwritten. Choose another --annotate.`);
    }
    throw new BundleError(`Cannot write ${file} (${reasonOf(error)}). Choose another --annotate.`);
  }
}

/** Return the file to which `--annotate` writes the picture of an input: one file, or one in a folder. */
export function pictureOf(annotate, inputs, name) {
  const frame = / frame (\d+)$/.exec(name);
  const isOne = !frame && inputs.length === 1 && !isFolder(inputs[0]) && !isFolder(annotate);
  if (isOne) return annotate;
  const stem = path.parse(frame ? name.slice(0, frame.index) : name).name;
  return path.join(annotate, `${stem}${frame ? `-${frame[1]}` : ''}.png`);
}
