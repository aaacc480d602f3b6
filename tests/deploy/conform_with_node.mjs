// Say what the Node.js client says of manifests: a JSON list of them in base64 on stdin, one of messages on stdout, null
// for those that it accepts. node conform_with_node.mjs CLIENT_FOLDER

import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const { default: contract } = await import(pathToFileURL(path.resolve(process.argv[2], 'schema.cjs')).href);

function messageOf(manifest) {
  try {
    contract.parseManifest(Buffer.from(manifest, 'base64'), 'a/manifest.json');
    return null;
  } catch (error) {
    return error instanceof contract.BundleError ? error.message : `${error.stack}`;
  }
}

console.log(JSON.stringify(JSON.parse(await text(process.stdin)).map(messageOf)));
