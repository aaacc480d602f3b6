// Say what the Node.js client says of graphs: a JSON list of ONNX files in base64 on stdin, one of messages on stdout,
// null for those that it lets pass. node check_graphs_with_node.mjs CLIENT_FOLDER

import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const load = async (name) => (await import(pathToFileURL(path.resolve(process.argv[2], name)).href)).default;
const { BundleError } = await load('schema.cjs');
const { checkOnnx } = await load('graph.cjs');

function messageOf(graph) {
  try {
    checkOnnx(Buffer.from(graph, 'base64'), 'FILE');
    return null;
  } catch (error) {
    return error instanceof BundleError ? error.message : `${error.stack}`;
  }
}

console.log(JSON.stringify(JSON.parse(await text(process.stdin)).map(messageOf)));
