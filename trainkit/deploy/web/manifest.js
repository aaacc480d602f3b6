// The manifest and the texts beside it: how they are fetched, and what a page cannot do. A part of worker.js.
"use strict";

const BUNDLE = "../"; // this file stands in the bundle's folder web/
const { BundleError: Refusal, MAX_TEXT_BYTES, areAll, harmless, isFileName, isNumber, isObject, isText } = contract;

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
  const manifest = contract.parseManifest(bytes, where);
  checkAble(manifest, where);
  const { output } = manifest;
  if (typeof output.class_names === "string") {
    const name = output.class_names;
    output.class_names = contract.parseClassNames(await readBeside(name, "class names"), BUNDLE + name);
    contract.checkAgainstNames(output, output.class_names.length, where);
  }
  return manifest;
}

function checkAble({ blob, output }, where) {
  if (output.kind === "ssd") {
    throw new Refusal(
      "The manifest describes a detector (`output.kind` is ssd). This page classifies only. Use classify.py.",
    );
  }
  if (typeof blob.mean === "string") {
    throw new Refusal(`${where}: \`blob.mean\` names a file, which the Python client alone reads. Use classify.py.`);
  }
}
