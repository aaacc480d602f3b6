// What a manifest may say, and how what came is shown: for Node.js (node/schema.cjs) and the page (web/schema.js).
"use strict";

const contract = (() => {
  const SCHEMA = "trainkit/1";
  const SCHEMA_2 = "trainkit/2"; // the keys `output.reject_below` and `output.thresholds` more
  const MAX_WHOLE = 2 ** 31 - 1;
  const MAX_SIDE = 16384; // pixels
  const MAX_CLASSES = 10 ** 6;
  const MAX_DEPTH = 32; // of JSON
  const MAX_SHOWN = 80; // letters of a stranger's value in a sentence
  const MAX_TEXT_BYTES = 16 * 2 ** 20; // of a manifest, and of a text beside it: class names, a graph

  // Control characters, marks that turn the direction of writing round, separators of lines, halves of letters.
  const HARMFUL = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Surrogate}]/gu;

  /** Return text with each letter that a terminal or a browser would obey written out. */
  function harmless(text) {
    return String(text).replace(HARMFUL, (letter) => {
      const code = letter.charCodeAt(0).toString(16);
      return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
    });
  }

  /** A bundle, an image or a machine that cannot do what is asked: its message is one sentence for the user. */
  class BundleError extends Error {
    name = "BundleError";

    constructor(message) {
      super(harmless(message));
    }
  }

  const cut = (text) => Array.from(text.slice(0, 2 * MAX_SHOWN)).slice(0, MAX_SHOWN).join("");

  /** Show a value of a stranger's JSON in a sentence, as every client does. */
  const shown = (value) => cut(inWords(value));

  function inWords(value) {
    if (typeof value === "string") return `'${harmless(cut(value))}'`;
    if (Array.isArray(value)) return `[${value.slice(0, MAX_SHOWN).map(inWords).join(", ")}]`;
    if (typeof value === "number") return numberInWords(value);
    return isObject(value) ? "an object" : String(value);
  }

  /** Write a number as the format %.10g of C does; zero has no sign. */
  function numberInWords(value) {
    if (value === 0 || !Number.isFinite(value)) return String(value);
    const [, sign, first, others, power] = /^(-?)(\d)\.(\d+)e(.+)$/.exec(value.toExponential(40));
    const [head, tail] = [first + others.slice(0, 9), others.slice(9)];
    const half = "5".padEnd(tail.length, "0"); // in the middle: to the even side, which toPrecision does not
    const isUp = tail > half || (tail === half && Number(head) % 2 === 1);
    const digits = String(Number(head) + Number(isUp)); // may have become 11
    const exponent = Number(power) + digits.length - 10;
    const [least, most] = [-4, 10];
    if (exponent < least || exponent >= most) {
      const fraction = trimZeros(`${digits[0]}.${digits.slice(1)}`);
      return `${sign}${fraction}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
    }
    if (exponent < 0) return sign + trimZeros(`0.${"0".repeat(-exponent - 1)}${digits}`);
    return sign + trimZeros(`${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`);
  }

  const trimZeros = (text) => text.replace(/\.?0*$/, "");

  /** Return the text in bytes of UTF-8; a byte order mark stays in it. */
  const toText = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

  const keysOf = new WeakMap(); // of each object that was read, in the order of the document, which JavaScript forgets

  /** Return the value of strict JSON in bytes of UTF-8; what is wrong with it is an Error without a sentence round it. */
  function parseJson(bytes) {
    const text = toText(bytes);
    checkDepth(text); // JSON.parse would take seconds for millions of brackets
    JSON.parse(text); // from here on it is known to be JSON
    return new Values(text).next();
  }

  function checkDepth(text) {
    let depth = 0;
    const sign = /["[\]{}]/g;
    for (let found = sign.exec(text); found; found = sign.exec(text)) {
      if (found[0] === '"') sign.lastIndex = endOfString(text, found.index);
      else depth += "[{".includes(found[0]) ? 1 : -1;
      if (depth > MAX_DEPTH) throw new Error(`nested more than ${MAX_DEPTH} deep`);
    }
  }

  /** Return the place behind a string that begins at a quote; the end of the text, where it has none. */
  function endOfString(text, start) {
    let end = text.indexOf('"', start + 1);
    for (; end >= 0; end = text.indexOf('"', end + 1)) {
      let escape = end;
      while (text[escape - 1] === "\\") escape -= 1;
      if ((end - escape) % 2 === 0) return end + 1;
    }
    return text.length;
  }

  /** Values of a text that is JSON; what JSON.parse passes over is an error. */
  class Values {
    #text;
    #at = 0;

    constructor(text) {
      this.#text = text;
    }

    next() {
      this.#skip();
      const letter = this.#text[this.#at];
      if (letter === '"') return this.#string();
      if (letter === "{") return this.#object();
      return letter === "[" ? this.#list() : this.#word();
    }

    #skip() {
      while (" \t\r\n:,".includes(this.#text[this.#at])) this.#at += 1;
    }

    /** Whether a list or an object ends here; its first letter or the end are passed over. */
    #isEnd(end) {
      this.#skip();
      if (this.#text[this.#at] !== end) return false;
      this.#at += 1;
      return true;
    }

    #list() {
      const found = [];
      this.#at += 1;
      while (!this.#isEnd("]")) found.push(this.next());
      return found;
    }

    #object() {
      const entries = new Map();
      this.#at += 1;
      while (!this.#isEnd("}")) {
        const key = this.#string();
        if (entries.has(key)) throw new Error(`the key \`${cut(harmless(cut(key)))}\` stands twice in one object`);
        entries.set(key, this.next());
      }
      const found = Object.fromEntries(entries); // so __proto__ is a key like others
      keysOf.set(found, [...entries.keys()]);
      return found;
    }

    #string() {
      const start = this.#at;
      this.#at = endOfString(this.#text, start);
      const inner = this.#text.slice(start + 1, this.#at - 1);
      if (!inner.includes("\\")) return inner; // in UTF-8 no half of a letter comes without an escape
      const found = JSON.parse(`"${inner}"`);
      if (/\p{Surrogate}/u.test(found)) throw new Error("half a letter (a lone surrogate) in a text");
      return found;
    }

    #word() {
      const start = this.#at;
      while (this.#at < this.#text.length && !" \t\r\n,]}".includes(this.#text[this.#at])) this.#at += 1;
      const found = JSON.parse(this.#text.slice(start, this.#at));
      if (typeof found === "number" && !Number.isFinite(found)) throw new Error("a number beyond range");
      return found;
    }
  }

  const isNumber = (value) => typeof value === "number" && Math.abs(value) <= MAX_WHOLE; // so written, NaN is none
  const isWhole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  const isCount = (value, most = MAX_WHOLE) => isWhole(value, 1, most);
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const byteLength = (text) => new TextEncoder().encode(text).length;
  const isText = (value) =>
    typeof value === "string" &&
    value.length > 0 &&
    value.length < 4000 &&
    (3 * value.length < 4000 || byteLength(value) < 4000) &&
    !/[\0-\x1f\x7f-\x9f\p{Surrogate}]/u.test(value);
  const isFileName = (value) => isText(value) && value !== "." && value !== ".." && !/[/\\:]/.test(value);
  const areAll = (value, holds, least, most) =>
    Array.isArray(value) && value.length >= least && value.length <= most && value.every(holds);
  const areNumbers = (value) => areAll(value, isNumber, 1, 4);
  const areNames = (value) =>
    areAll(value, isText, 1, MAX_CLASSES) && new Set(value).size === value.length;
  const isMeanFile = (value) => isFileName(value) && /\.(npy|binaryproto)$/.test(value);
  const isFrom = (least, most) => (value) => isNumber(value) && value >= least && value <= most;
  const isInnerShare = (value) => isNumber(value) && value > 0 && value < 1;
  const isPositive = (value) => isNumber(value) && value > 0;
  const isSide = (value) => isCount(value, MAX_SIDE);
  const isVersion = (value) =>
    typeof value === "string" && /^[0-9]{1,4}(\.[0-9]{1,4}){0,3}(-[0-9a-z.]{1,32})?$/.test(value);

  const oneOf = (...values) => [`one of ${values.join(", ")}`, (value) => values.includes(value)];
  const RANGE = `from -${MAX_WHOLE} to ${MAX_WHOLE}`;
  const NAMED = "in the same folder";
  const TEXT = ["a text of 1 to 3999 bytes without control characters", isText];
  const BOOL = ["true or false", (value) => typeof value === "boolean"];
  const COUNT = [`a whole number from 1 to ${MAX_WHOLE}`, (value) => isCount(value)];
  const NUMBERS = [`1 to 4 numbers ${RANGE}`, areNumbers];
  const SIDE = [`pixels, 1 to ${MAX_SIDE}`, isSide];
  const COLOR = ["three numbers 0 to 255", (value) => areAll(value, isFrom(0, 255), 3, 3)];
  const SHA256 = ["64 hexadecimal digits", (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value)];
  const FILE = [`the plain name of a file ${NAMED}`, isFileName];
  const OBJECT = ["an object", isObject];

  // section: key: what is expected, and the check; a key with a `?` is optional. `extra` is passed over.
  const SECTIONS = {
    manifest: {
      schema: TEXT,
      model: OBJECT,
      blob: OBJECT,
      output: OBJECT,
      "source?": OBJECT,
      "preprocessing?": OBJECT,
      "before_blob?": ["a list", Array.isArray],
      "opencv?": OBJECT,
      "extra?": OBJECT,
    },
    model: {
      file: FILE,
      format: oneOf("onnx", "frozen-graph", "caffe"),
      "graph?": FILE,
      "bytes?": COUNT,
      "sha256?": SHA256,
      "input?": TEXT,
      "output?": TEXT,
      "opset?": COUNT,
      "weights?": oneOf("float32", "float16", "int8"),
    },
    blob: {
      scalefactor: [`a number other than 0, ${RANGE}`, (value) => isNumber(value) && value !== 0],
      size: [`[width, height], each 1 to ${MAX_SIDE} pixels`, (value) => areAll(value, isSide, 2, 2)],
      mean: [
        `1 to 4 numbers ${RANGE}, or the name of an .npy or .binaryproto file ${NAMED}`,
        (value) => areNumbers(value) || isMeanFile(value),
      ],
      swapRB: BOOL,
      crop: BOOL,
    },
    output: {
      kind: oneOf("softmax", "sigmoid", "logits", "ssd"),
      class_names: [
        `a list of 1 to ${MAX_CLASSES} different texts, each of 1 to 3999 bytes without control characters, ` +
          `or the name of a text file ${NAMED}`,
        (value) => areNames(value) || isFileName(value),
      ],
      "multi_label?": BOOL,
      "background?": [`a class's number, from 0 to ${MAX_CLASSES}`, (value) => isWhole(value, 0, MAX_CLASSES)],
      "min_confidence?": ["a number from 0 to 1", isFrom(0, 1)],
      "reject_below?": ["a number above 0 and below 1", isInnerShare],
      "thresholds?": [
        `a list of 1 to ${MAX_CLASSES} numbers, each above 0 and below 1`,
        (value) => areAll(value, isInnerShare, 1, MAX_CLASSES),
      ],
    },
    source: {
      "run?": TEXT,
      "keras?": TEXT,
      "keras_sha256?": SHA256,
      "from_logits?": BOOL,
      "output?": TEXT,
      "application?": TEXT,
      "weights?": TEXT,
      "alpha?": [`a number above 0, at most ${MAX_WHOLE}`, isPositive],
    },
    preprocessing: {
      height: SIDE,
      width: SIDE,
      resize: oneOf("stretch", "crop", "pad"),
      color: oneOf("rgb", "bgr", "gray"),
      mean: NUMBERS,
      std: [`1 to 4 numbers above 0, at most ${MAX_WHOLE}`, (value) => areAll(value, isPositive, 1, 4)],
      "pad_color?": COLOR,
      "mean_image?": FILE,
      "samplewise?": oneOf("center", "standardize"),
    },
    opencv: {
      "minimum?": ["a version such as 4.10.0", isVersion],
      "engine?": oneOf("classic", "new", "auto"),
      "verified?": OBJECT,
    },
    "before_blob: pad": { step: TEXT, color_bgr: COLOR },
    "before_blob: gray": { step: TEXT },
  };

  const SINCE_2 = ["reject_below", "thresholds"]; // of `output`

  function checkSection(section, data, where, schema) {
    const checks = new Map(Object.entries(SECTIONS[section]).map(([key, check]) => [key.replace("?", ""), check]));
    if (section === "output" && schema !== SCHEMA_2) SINCE_2.forEach((key) => checks.delete(key));
    for (const key of Object.keys(SECTIONS[section])) {
      if (!key.endsWith("?") && !Object.hasOwn(data, key)) {
        throw new BundleError(`${where}: \`${section}\` needs the key \`${key}\`. Add it, or export the bundle again.`);
      }
    }
    for (const key of keysOf.get(data)) {
      const [expected, holds] = checks.get(key) ?? [];
      if (!expected) {
        const [unknown, known] = [cut(harmless(cut(key))), [...checks.keys()].join(", ")];
        throw new BundleError(`${where}: \`${section}\` has the unknown key \`${unknown}\`. Expected only: ${known}`);
      }
      if (!holds(data[key])) {
        throw new BundleError(`${where}: \`${section}.${key}\` must be ${expected}. Received: ${shown(data[key])}`);
      }
    }
  }

  function checkManifest(data, where) {
    if (!isObject(data)) throw new BundleError(`${where}: expected a JSON object. Received: ${shown(data)}`);
    if (Object.hasOwn(data, "schema") && data.schema !== SCHEMA && data.schema !== SCHEMA_2) {
      throw new BundleError(
        `${where}: this client reads the schemas ${SCHEMA} and ${SCHEMA_2}. Received: ${shown(data.schema)}. ` +
          "Take a newer client.",
      );
    }
    checkSection("manifest", data, where);
    for (const section of ["model", "blob", "output", "source", "preprocessing", "opencv"]) {
      if (Object.hasOwn(data, section)) checkSection(section, data[section], where, data.schema);
    }
    checkSteps(data.before_blob ?? [], where);
    checkTogether(data, where);
  }

  function checkSteps(steps, where) {
    for (const step of steps) {
      if (!isObject(step) || !Object.hasOwn(step, "step")) {
        const expected = "each step of `before_blob` must be an object with the key `step`";
        throw new BundleError(`${where}: ${expected}. Received: ${shown(step)}`);
      }
      if (step.step !== "pad" && step.step !== "gray") {
        throw new BundleError(`${where}: \`before_blob\` knows the steps pad and gray. Received: ${shown(step.step)}`);
      }
    }
    const names = steps.map(({ step }) => step);
    if (!["", "pad", "gray", "pad,gray"].includes(names.join())) {
      const received = shown(names);
      throw new BundleError(`${where}: \`before_blob\` has each step once, pad before gray. Received: ${received}`);
    }
    for (const step of steps) checkSection(`before_blob: ${step.step}`, step, where);
  }

  function checkTogether({ model, output }, where) {
    const { kind } = output;
    if (model.format === "caffe" && !Object.hasOwn(model, "graph")) {
      throw new BundleError(
        `${where}: a Caffe model needs the key \`model.graph\`, the name of its .prototxt. Add it.`,
      );
    }
    if (model.format === "onnx" && Object.hasOwn(model, "graph")) {
      throw new BundleError(`${where}: an ONNX model has its graph inside. Take the key \`model.graph\` out.`);
    }
    for (const key of kind === "ssd" ? ["multi_label", ...SINCE_2] : ["background", "min_confidence"]) {
      if (Object.hasOwn(output, key)) {
        throw new BundleError(`${where}: an output of the kind ${kind} has no \`output.${key}\`. Take it out.`);
      }
    }
    if (kind === "softmax" && output.multi_label) {
      throw new BundleError(
        `${where}: an output of the kind softmax cannot have \`output.multi_label\` true. ` +
          "Write false, or the kind sigmoid or logits.",
      );
    }
    if (Object.hasOwn(output, "reject_below") && output.multi_label) {
      throw new BundleError(
        `${where}: \`output.reject_below\` is for one class an image, and \`output.multi_label\` is true. ` +
          "Take one of the two out.",
      );
    }
    if (Object.hasOwn(output, "thresholds") && !output.multi_label) {
      throw new BundleError(
        `${where}: \`output.thresholds\` needs \`output.multi_label\` true. Write it, or take them out.`,
      );
    }
    if (Array.isArray(output.class_names)) checkAgainstNames(output, output.class_names.length, where);
  }

  /** Throw unless the background is one of so many classes, and each has a threshold. */
  function checkAgainstNames({ background = 0, thresholds }, count, where) {
    if (background >= count) {
      throw new BundleError(
        `${where}: \`output.background\` is the class ${background}, and there are ${count} class names, ` +
          "counted from 0. Correct it.",
      );
    }
    if (thresholds !== undefined && thresholds.length !== count) {
      throw new BundleError(
        `${where}: \`output.thresholds\` has ${thresholds.length} numbers, and there are ${count} class names. ` +
          "Write one for each.",
      );
    }
  }

  /** Return the manifest that is in bytes; files that it names are not looked at. */
  function parseManifest(bytes, where) {
    let data;
    try {
      data = parseJson(bytes);
    } catch (error) {
      throw new BundleError(`${where} is not valid JSON in UTF-8 (${reasonOf(error)}). Export the bundle again.`);
    }
    checkManifest(data, where);
    return data;
  }

  const reasonOf = (error) => error.message.replace(/\s+/g, " ").slice(0, 200);

  /** Return the class names in bytes, one a line; WordNet's numbers, where every line has one, are left out. */
  function parseClassNames(bytes, where) {
    let text;
    try {
      text = toText(bytes).replace(/^\ufeff/, "");
    } catch {
      throw new BundleError(`${where} is not UTF-8. Convert it.`);
    }
    const strip = (line) => line.replace(/^[^\S\ufeff]+|[^\S\ufeff]+$/g, "");
    let lines = strip(`|${text}`).slice(1).split("\n").map(strip);
    if (lines.every((line) => /^n[0-9]+\s+\S/.test(line))) lines = lines.map((line) => line.replace(/^\S+\s+/, ""));
    if (lines.length > MAX_CLASSES) {
      throw new BundleError(`${where} has ${lines.length} lines. Expected at most ${MAX_CLASSES} class names.`);
    }
    const wrong = lines.findIndex((line) => !isText(line));
    if (wrong < 0) return lines;
    throw new BundleError(
      `${where}: line ${wrong + 1} must be a class name of 1 to 3999 bytes without control characters. ` +
        `Received: ${shown(lines[wrong])}`,
    );
  }

  return {
    BundleError,
    MAX_TEXT_BYTES,
    areAll,
    checkAgainstNames,
    harmless,
    isCount,
    isFileName,
    isNumber,
    isObject,
    isText,
    parseClassNames,
    parseJson,
    parseManifest,
    shown,
  };
})();

if (typeof module === "object") module.exports = contract;
