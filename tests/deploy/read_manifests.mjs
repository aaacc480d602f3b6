// Say what JavaScript's readers say of manifests: pairs of (8 hexadecimal digits, a line's end, so many bytes) on stdin,
// for each a line {"sentence": null} or {"sentence": "..."} on stdout; see read_manifests.cpp.

import contract from '../../trainkit/deploy/javascript/schema.js';

const sentenceOf = (bytes) => {
  try {
    contract.parseManifest(bytes, 'manifest.json');
    return null;
  } catch (error) {
    return error instanceof contract.BundleError ? error.message : `${error.stack}`;
  }
};

let rest = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  rest = Buffer.concat([rest, chunk]);
  let answers = '';
  while (rest.length >= 9) {
    const end = 9 + parseInt(rest.toString('latin1', 0, 8), 16);
    if (rest.length < end) break;
    answers += `${JSON.stringify({ sentence: sentenceOf(rest.subarray(9, end)) })}\n`;
    rest = rest.subarray(end);
  }
  process.stdout.write(answers);
}
