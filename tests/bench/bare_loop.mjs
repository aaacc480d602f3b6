// What one would write: opencv-js and sharp, which decodes one picture ahead, and nothing that is checked.
//
//     node bare_loop.mjs NODE_MODULES BUNDLE FOLDER

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [modules, bundle, folder] = process.argv.slice(2);
const load = createRequire(path.join(modules, 'here.js'));
const sharp = load('sharp');
const loaded = load('@techstark/opencv-js');
const cv = loaded instanceof Promise ? await loaded : loaded;
if (!cv.Mat) await new Promise((resolve) => (cv.onRuntimeInitialized = resolve));
const { blob, model, output } = JSON.parse(fs.readFileSync(path.join(bundle, 'manifest.json')));
cv.FS_createDataFile('/', 'model.onnx', fs.readFileSync(path.join(bundle, model.file)), true, true, true);
const net = cv.readNetFromONNX('/model.onnx');
const files = fs
  .readdirSync(folder, { recursive: true })
  .filter((name) => name.endsWith('.jpg'))
  .sort()
  .map((name) => path.join(folder, name));
const read = (file) => sharp(file).rotate().toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
let next = read(files[0]);
for (let i = 0; i < files.length; i += 1) {
  const { data, info } = await next;
  if (i + 1 < files.length) next = read(files[i + 1]);
  await new Promise(setImmediate);
  const image = new cv.Mat(info.height, info.width, cv.CV_8UC3);
  image.data.set(data);
  // sharp gives red first, so that nothing is swapped.
  const [size, mean] = [new cv.Size(...blob.size), new cv.Scalar(...blob.mean)];
  const input = cv.blobFromImage(image, blob.scalefactor, size, mean, !blob.swapRB, blob.crop, cv.CV_32F);
  net.setInput(input);
  const probabilities = net.forward();
  const values = [...probabilities.data32F];
  const best = values.indexOf(Math.max(...values));
  console.log(`${files[i]}: ${output.class_names[best]} ${values[best].toFixed(4)}`);
  for (const mat of [image, input, probabilities]) mat.delete();
}
