// The manifest of a bundle: a stranger's file, of which everything that is used is checked before.

import fs from 'node:fs';
import path from 'node:path';

import contract from './schema.cjs';

export const {
  BundleError,
  MAX_TEXT_BYTES,
  areAll,
  harmless,
  isCount,
  isFileName,
  isNumber,
  isObject,
  isText,
  parseJson,
} = contract;

const stat = (file) => {
  try {
    return fs.statSync(file);
  } catch {
    return undefined; // it may also be a name that no file can have
  }
};
export const isFile = (file) => stat(file)?.isFile() ?? false;
export const isFolder = (file) => stat(file)?.isDirectory() ?? false;

/** Return what the operating system says, without its code and the file's name. */
export const reasonOf = (error) => /: (.*?),/.exec(error.message)?.[1] ?? error.message;

export function readBytes(file) {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw new BundleError(`Cannot read ${file} (${reasonOf(error)}). Copy the bundle again.`);
  }
}

/** Return the bytes of a file that a manifest names; a link must not lead out of the folder. */
export const readBeside = (...named) => readBytes(findBeside(...named));

/** Return the path of such a file, without reading it. */
export function findBeside(folder, name, purpose, most = Infinity) {
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
  return file;
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
  const manifest = contract.parseManifest(readBytes(file), file);
  const folder = path.dirname(file);
  const { output, blob } = manifest;
  const names = output.class_names;
  const classNames =
    typeof names === 'string'
      ? contract.parseClassNames(readBeside(folder, names, 'class names', MAX_TEXT_BYTES), path.join(folder, names))
      : names;
  contract.checkAgainstNames(output, classNames.length, file);
  if (typeof blob.mean === 'string') {
    throw new BundleError(`${file}: \`blob.mean\` names a file, which the Python client alone reads. Use classify.py.`);
  }
  return { folder, manifest, classNames };
}
