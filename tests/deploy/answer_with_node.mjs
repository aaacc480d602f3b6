// Answer jobs with the Node.js client: one JSON list on stdin, one on stdout. node answer_with_node.mjs CLIENT_FOLDER
//
// { bundle, images, options, probabilities } opens a bundle; { decode } decodes a file. What fails is { error, name }.

import { createHash } from 'node:crypto';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const load = (name) => import(pathToFileURL(path.resolve(process.argv[2], name)).href);
const { open } = await load('classify.mjs');
const { readImage } = await load('pictures.mjs');

async function answer({ decode, bundle, images, options, probabilities }) {
  if (decode !== undefined) {
    const { data, width, height } = await readImage(decode);
    return { sha256: createHash('sha256').update(data).digest('hex'), width, height };
  }
  const network = await open(bundle);
  try {
    const answers = [];
    for (const image of images) {
      answers.push(probabilities ? [...(await network.probabilities(image))] : await network.predict(image, options));
    }
    return { answers };
  } finally {
    await network.close();
  }
}

const results = [];
for (const job of JSON.parse(await text(process.stdin))) {
  results.push(await answer(job).catch(({ message, name }) => ({ error: message, name })));
}
console.log(JSON.stringify(results));
