// Whether a graph can be handed to OpenCV: for Node.js (node/graph.cjs) and the page (web/graph.js).
// It asks what _graph.py of the Python client asks, and refuses with the same sentences.
"use strict";

const graphs = (({ BundleError, harmless, shown }) => {
  const MAX_SIDE = 16384;
  const MAX_RANK = 32; // sides of an array in OpenCV 4
  const MAX_NUMBERS = 2 ** 28; // of one array
  const MAX_INPUTS = 4096; // of one node
  const MAX_NODES = 100000;
  const MAX_DEEP = 24; // graphs in each other
  const MAX_PACKED = 2 ** 20; // bytes of numbers where a few are expected
  const MAX_VALUES = 4096; // of a constant that is looked at
  const BEYOND = 2 ** 62;

  const WINDOW = {
    ...{ kernel_shape: [1, MAX_SIDE], strides: [1, MAX_SIDE], dilations: [1, MAX_SIDE], pads: [0, MAX_SIDE] },
    ...{ group: [1, 2 ** 20], output_padding: [0, MAX_SIDE], output_shape: [0, MAX_SIDE] },
  };
  const AXIS = { axis: [-MAX_RANK, MAX_RANK], axes: [-MAX_RANK, MAX_RANK] };
  const RECURRENT = { hidden_size: [1, 2 ** 20] };
  const HEADS = { num_heads: [1, 2 ** 20], q_num_heads: [1, 2 ** 20], kv_num_heads: [1, 2 ** 20] };
  const all = (names, value) => names.split(" ").map((name) => [name, value]);

  // Of an operator's attributes: the least and the most that each of their whole numbers may be.
  const ATTRIBUTE_BOUNDS = new Map([
    ...all("Conv ConvTranspose ConvInteger QLinearConv DeformConv MaxPool AveragePool LpPool MaxUnpool", WINDOW),
    ...all("MaxRoiPool QLinearAveragePool Col2Im", WINDOW),
    ...all("ArgMax ArgMin Concat Flatten Gather GatherElements Hardmax LayerNormalization LogSoftmax Softmax", AXIS),
    ...all("ScatterElements Squeeze TopK Unsqueeze OneHot Compress DequantizeLinear QuantizeLinear Slice", AXIS),
    ...all("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd", AXIS),
    ...all("ReduceSum ReduceSumSquare", AXIS),
    ...all("LSTM GRU RNN", RECURRENT),
    ...all("Attention MultiHeadAttention GroupQueryAttention RotaryEmbedding", HEADS),
    ["Split", { ...AXIS, split: [0, 2 ** 31 - 1], num_outputs: [1, 2 ** 20] }],
    ["Transpose", { perm: [0, MAX_RANK - 1] }],
    ["DepthToSpace", { blocksize: [1, 256] }],
    ["SpaceToDepth", { blocksize: [1, 256] }],
    ["GroupNormalization", { num_groups: [1, 2 ** 20] }],
    ["LRN", { size: [1, MAX_SIDE] }],
    ["Pad", { pads: [-MAX_SIDE, MAX_SIDE] }],
    ["Tile", { tiles: [1, 2 ** 20] }],
  ]);

  // Of the constants that an operator reads, by the place of the input: bounds of each number, and of their product.
  const rule = (least, most, others = {}) => ({ least, most, product: Infinity, ...others });
  const NO_ZERO = rule(-Infinity, Infinity, { noZero: true, wholeOnly: true });
  const SOME = rule(-Infinity, Infinity, { some: true });
  const RULES = new Map([
    ...all("Div1 Mod1 Range2", NO_ZERO),
    ...all("Slice1 Slice2", SOME),
    ...all("Slice3 CumSum1 Squeeze1 Unsqueeze1", rule(-MAX_RANK, MAX_RANK)),
    ["Slice4", rule(-MAX_SIDE, MAX_SIDE, { noZero: true })],
    ["Pad1", rule(-MAX_SIDE, MAX_SIDE)],
    ["Reshape1", rule(-1, MAX_NUMBERS)],
    ...all("Expand1 ConstantOfShape0", rule(0, MAX_NUMBERS, { product: MAX_NUMBERS })),
    ["Tile1", rule(1, 2 ** 20, { product: 2 ** 20 })],
    ["Resize3", rule(1, MAX_NUMBERS, { product: MAX_NUMBERS })],
    ...all("Resize2 Upsample1", rule(1e-6, MAX_SIDE)),
    ["Split1", rule(0, 2 ** 31 - 1)],
    ["OneHot1", rule(1, MAX_NUMBERS)],
    ["TopK1", rule(0, MAX_NUMBERS)],
  ]);
  const LEAST_INPUTS = new Map([
    ...all("Conv ConvTranspose ConvInteger DeformConv Gemm MatMul PRelu Gather", 2),
    ...all("Add Sub Mul Div Mod Pow Reshape Expand", 2),
    ["Range", 3],
    ["BatchNormalization", 5],
    ...all("Constant RandomNormal RandomUniform SequenceEmpty Optional PriorBox If Loop Scan Input Dummy", 0),
  ]);
  const WEIGHTS = new Map([...all("Conv ConvTranspose", [3, 5]), ...all("Gemm MatMul", [1, 10]), ["PRelu", [0, 10]]]);
  // Of what `data_type` counts: the bytes of a number in `raw_data`, and the field of those that are written one by one.
  const KINDS = {
    ...{ 1: [4, 4], 2: [1, 5], 3: [1, 5], 4: [2, 5], 5: [2, 5], 6: [4, 5], 7: [8, 7], 9: [1, 5], 10: [2, 5] },
    ...{ 11: [8, 10], 12: [4, 11], 13: [8, 11], 16: [2, 5], 17: [1, 5], 18: [1, 5], 19: [1, 5], 20: [1, 5] },
  };
  const TYPED_BYTES = { 4: 4, 10: 8 };
  const READERS = { 1: "getFloat32", 2: "getUint8", 3: "getInt8", 6: "getInt32", 9: "getUint8", 11: "getFloat64" };

  class NoMessageError extends Error {}

  // Protobuf, read without its schema: https://protobuf.dev/programming-guides/encoding

  /** Return a whole number of 7 bits a byte, as a BigInt where it has more than 28 bits, and the place behind it. */
  function varint(data, at) {
    let value = 0;
    for (let i = 0; i < 10 && at + i < data.length; i++) {
      const byte = data[at + i];
      if (i === 4) value = BigInt(value);
      value = i < 4 ? value | ((byte & 127) << (7 * i)) : value | (BigInt(byte & 127) << BigInt(7 * i));
      if (byte < 128) return [i < 4 ? value : BigInt.asUintN(64, value), at + i + 1];
    }
    throw new NoMessageError("it is no protobuf message, or ends in the middle");
  }

  /** Return the fields of a message by their numbers: whole numbers, or bytes that are not copied. */
  function fieldsOf(data) {
    const fields = new Map();
    for (let at = 0; at < data.length; ) {
      let key, value;
      [key, at] = varint(data, at);
      const number = Number(key) >> 3;
      const kind = Number(key) & 7;
      if (kind === 0) [value, at] = varint(data, at);
      else {
        let size = { 1: 8, 5: 4 }[kind] ?? Infinity;
        if (kind === 2) [size, at] = varint(data, at);
        size = Number(size);
        if (at + size > data.length || Number(key) < 8) {
          throw new NoMessageError("it is no protobuf message, or ends in the middle");
        }
        value = data.subarray(at, at + size);
        at += size;
      }
      if (fields.has(number)) fields.get(number).push(value);
      else fields.set(number, [value]);
    }
    return fields;
  }

  const isBytes = (value) => value instanceof Uint8Array;
  const messagesIn = (fields, number) => (fields.get(number) ?? []).filter(isBytes);

  /** Return the one message in a field, empty where there is none; protobuf makes one of several. */
  function merged(fields, number) {
    const found = messagesIn(fields, number);
    return found.length === 1 ? found[0] : joined(found);
  }

  function joined(found) {
    const whole = new Uint8Array(found.reduce((sum, one) => sum + one.length, 0));
    let at = 0;
    for (const one of found) {
      whole.set(one, at);
      at += one.length;
    }
    return whole;
  }

  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** Return text; bytes that are no UTF-8 are written out. */
  const decode = (bytes) => (isText(bytes) ? strict.decode(bytes) : writtenOut(bytes));

  function writtenOut(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; ) {
      const size = [1, 2, 3, 4].find((count) => at + count <= bytes.length && isText(bytes.subarray(at, at + count)));
      text += size ? strict.decode(bytes.subarray(at, at + size)) : `\\x${bytes[at].toString(16).padStart(2, "0")}`;
      at += size ?? 1;
    }
    return text;
  }

  function isText(bytes) {
    try {
      return strict.decode(bytes).length > 0;
    } catch {
      return false;
    }
  }

  const textIn = (fields, number) => decode(messagesIn(fields, number).at(-1) ?? new Uint8Array());
  const signed = (value) => (typeof value === "bigint" ? Number(BigInt.asIntN(64, value)) : value);

  /** Return the whole numbers in a field, one by one or packed. */
  function wholesIn(fields, number) {
    return (fields.get(number) ?? []).flatMap((value) => (isBytes(value) ? unpacked(value) : [signed(value)]));
  }

  function unpacked(bytes) {
    if (bytes.length > MAX_PACKED) {
      throw new NoMessageError(`it has more than ${MAX_PACKED} bytes of numbers where a few are expected`);
    }
    const numbers = [];
    for (let at = 0, value; at < bytes.length; ) {
      [value, at] = varint(bytes, at);
      numbers.push(signed(value));
    }
    return numbers;
  }

  // ONNX, read as far as it takes to judge it

  function readModel(data) {
    const fields = fieldsOf(data);
    const trainings = messagesIn(fields, 20).map(fieldsOf);
    return {
      graph: readGraph(merged(fields, 7), 0),
      others: [
        ...messagesIn(fields, 25).map(readFunction),
        ...trainings.flatMap((one) => [1, 2].map((number) => readGraph(merged(one, number), 0))),
      ],
    };
  }

  function readGraph(data, depth) {
    if (depth > MAX_DEEP) throw new NoMessageError(`its graphs are nested more than ${MAX_DEEP} deep`);
    const fields = fieldsOf(data);
    return {
      nodes: readNodes(messagesIn(fields, 1), depth),
      constants: [...messagesIn(fields, 5).map(readTensor), ...messagesIn(fields, 15).flatMap(readSparse)],
      inputs: messagesIn(fields, 11).map(readInput),
    };
  }

  function readFunction(data) {
    const fields = fieldsOf(data);
    const nodes = readNodes(messagesIn(fields, 7), 0);
    const defaults = messagesIn(fields, 11).map((one, i) => [String(i), readAttribute(fieldsOf(one), 0)]);
    const holder = { op: "", name: "", inputs: [], outputs: [], attributes: new Map(defaults), domain: "" };
    return { nodes: defaults.length ? [...nodes, holder] : nodes, constants: [], inputs: [] };
  }

  function readNodes(found, depth) {
    if (found.length > MAX_NODES) {
      throw new NoMessageError(`it has ${found.length} nodes; no image network has more than ${MAX_NODES}`);
    }
    return found.map((one) => readNode(one, depth));
  }

  function readNode(data, depth) {
    const fields = fieldsOf(data);
    const attributes = new Map();
    for (const one of messagesIn(fields, 5)) {
      const parts = fieldsOf(one);
      const name = textIn(parts, 1);
      const found = readAttribute(parts, depth);
      const before = attributes.get(name);
      attributes.set(name, before ? both(before, found) : found);
    }
    return {
      op: textIn(fields, 4),
      name: textIn(fields, 3),
      inputs: messagesIn(fields, 1).map(decode),
      outputs: messagesIn(fields, 2).map(decode),
      attributes,
      domain: textIn(fields, 7),
    };
  }

  function readAttribute(fields, depth) {
    const one = (number) => [merged(fields, number)].filter((bytes) => bytes.length);
    return {
      wholes: [...wholesIn(fields, 3), ...wholesIn(fields, 8)],
      hasFloats: [2, 7].some((number) => messagesIn(fields, number).some((bytes) => bytes.length >= 4)),
      text: textIn(fields, 4),
      tensors: [
        ...[...one(5), ...messagesIn(fields, 10)].map(readTensor),
        ...[22, 23].flatMap((number) => messagesIn(fields, number).flatMap(readSparse)),
      ],
      graphs: [...one(6), ...messagesIn(fields, 11)].map((graph) => readGraph(graph, depth + 1)),
    };
  }

  /** Return what two attributes of one name hold: who reads them may take the one or the other. */
  const both = (first, second) => ({
    wholes: [...first.wholes, ...second.wholes],
    hasFloats: first.hasFloats || second.hasFloats,
    text: second.text,
    tensors: [...first.tensors, ...second.tensors],
    graphs: [...first.graphs, ...second.graphs],
  });

  function readSparse(data) {
    const fields = fieldsOf(data);
    return [1, 2].flatMap((number) => messagesIn(fields, number).map(readTensor));
  }

  function readTensor(data) {
    const fields = fieldsOf(data);
    const kind = wholesIn(fields, 2).at(-1) ?? 0;
    const sides = wholesIn(fields, 1);
    return {
      name: textIn(fields, 8),
      sides,
      kind,
      stored: countStored(fields, kind),
      wanted: sides.includes(0) ? 0 : sides.reduce((count, side) => Math.min(count * side, BEYOND), 1),
      external: fields.has(13) || (fields.get(14) ?? []).some((value) => value === 1),
      fields,
    };
  }

  /** Return how many numbers of a kind are stored; -1 for a kind that is not known, -2 where it is not even. */
  function countStored(fields, kind) {
    if (kind === 8) return messagesIn(fields, 6).length;
    if (!KINDS[kind]) return -1;
    const [size, field] = KINDS[kind];
    const raw = messagesIn(fields, 9).at(-1);
    if (raw?.length) return raw.length % size ? -2 : raw.length / size;
    if (TYPED_BYTES[field]) {
      return Math.floor(messagesIn(fields, field).reduce((sum, one) => sum + one.length, 0) / TYPED_BYTES[field]);
    }
    const count = (value) => (isBytes(value) ? value.reduce((sum, byte) => sum + Number(byte < 128), 0) : 1);
    return (fields.get(field) ?? []).reduce((sum, value) => sum + count(value), 0);
  }

  /** Return the numbers of a constant where they are few and of a usual kind. */
  function valuesOf(tensor) {
    const { kind, stored, fields } = tensor;
    if (!(kind in READERS || kind === 7) || stored < 0 || stored > MAX_VALUES || tensor.external) return undefined;
    const [size, field] = KINDS[kind];
    const raw = messagesIn(fields, 9).at(-1);
    if (!raw?.length && !TYPED_BYTES[field]) return wholesIn(fields, field);
    const bytes = raw?.length ? raw : joined(messagesIn(fields, field));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const read = (at) => (kind === 7 ? Number(view.getBigInt64(at, true)) : view[READERS[kind]](at, true));
    return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => read(i * size));
  }

  function readInput(data) {
    const fields = fieldsOf(data);
    const tensor = fieldsOf(merged(fieldsOf(merged(fields, 2)), 1));
    const sides = tensor.has(2) ? messagesIn(fieldsOf(merged(tensor, 2)), 1).length : undefined;
    return { name: textIn(fields, 1), sides };
  }

  // What is asked

  const cut = (text) => Array.from(text).slice(0, 80).join("");
  const title = ({ name, op, outputs }) => harmless(`\`${cut(name || outputs[0] || "")}\` (${cut(op)})`);
  const inDigits = (number) =>
    Number.isNaN(number) ? "nan" : Number.isFinite(number) ? shown(number) : number < 0 ? "-inf" : "inf";
  const inBrackets = (numbers) =>
    `[${numbers.slice(0, 8).map(inDigits).join(", ")}${numbers.length > 8 ? ", ..." : ""}]`;

  /** Raise unless OpenCV can be tried on the bytes of an ONNX file, which is called `file` in the sentence. */
  function checkOnnx(data, file) {
    let model;
    try {
      model = readModel(data);
    } catch (error) {
      if (!(error instanceof NoMessageError)) throw error;
      throw new BundleError(`${file} is no ONNX file (${error.message}). Copy or export it again.`);
    }
    const refuse = (reason) => {
      throw new BundleError(`${file} is not safe to load: ${reason}. Copy or export the network again.`);
    };
    const waiting = [model.graph, ...model.others];
    for (let graph; (graph = waiting.shift()); ) {
      checkOneGraph(graph, file, refuse);
      for (const node of graph.nodes) for (const one of node.attributes.values()) waiting.push(...one.graphs);
    }
    checkNames(model.graph, refuse);
  }

  function checkOneGraph({ nodes, constants }, file, refuse) {
    const known = new Map();
    for (const tensor of constants) {
      const name = harmless(cut(tensor.name));
      if (tensor.name && known.has(tensor.name)) refuse(`there are two constants \`${name}\``);
      known.set(tensor.name, tensor);
      checkTensor(tensor, `the constant \`${name}\``, file, refuse);
    }
    for (const node of nodes) checkNode(node, known, file, refuse);
  }

  function checkTensor(tensor, what, file, refuse) {
    if (tensor.external) {
      throw new BundleError(
        `${file} keeps ${what} in another file, which could be any file of this machine. Save it with all ` +
          "its weights inside (`onnx.save(onnx.load(path), path)`).",
      );
    }
    const { sides, stored, wanted } = tensor;
    if (sides.some((side) => side < 0)) refuse(`${what} has a side below 0 (${inBrackets(sides)})`);
    if (stored === -1 || stored === wanted) return;
    const holds = stored < 0 ? "a broken number of bytes" : `${inDigits(stored)} numbers`;
    refuse(`${what} holds ${holds}. Expected ${inDigits(wanted)} for its shape ${inBrackets(sides)}`);
  }

  function checkNode(node, constants, file, refuse) {
    const where = `the node ${title(node)}`;
    for (const { tensors } of node.attributes.values()) {
      for (const tensor of tensors) checkTensor(tensor, `the constant in ${where}`, file, refuse);
    }
    if (node.op === "Constant" && node.outputs.length) remember(node, constants);
    checkAttributes(node, where, refuse);
    checkInputs(node, where, refuse);
    checkDivision(node, constants, where, refuse);
    node.inputs.slice(0, 5).forEach((name, i) => {
      if (constants.has(name)) checkConstant(node, i, constants.get(name), where, refuse);
    });
  }

  function remember(node, constants) {
    for (const { tensors, wholes } of node.attributes.values()) {
      if (tensors.length) constants.set(node.outputs[0], tensors.at(-1));
      const count = wholes.length;
      if (!count) continue;
      const fields = new Map([[7, wholes]]);
      constants.set(node.outputs[0], { name: "", sides: [count], kind: 7, stored: count, wanted: count, fields });
    }
  }

  function checkAttributes({ op, attributes }, where, refuse) {
    for (const [name, [least, most]] of Object.entries(ATTRIBUTE_BOUNDS.get(op) ?? {})) {
      const found = attributes.get(name);
      if (!found) continue;
      if (!found.wholes.length && (found.hasFloats || found.text || name === "group")) {
        refuse(`\`${name}\` of ${where} must hold whole numbers. Received: another type`);
      }
      const wrong = found.wholes.find((number) => number < least || number > most);
      if (wrong === undefined) continue;
      refuse(`\`${name}\` of ${where} must be from ${least} to ${most}. Received: ${inDigits(wrong)}`);
    }
  }

  function checkInputs({ op, inputs, domain }, where, refuse) {
    if (domain !== "" && domain !== "ai.onnx") return;
    if (inputs.length > MAX_INPUTS) {
      refuse(`${where} must have at most ${MAX_INPUTS} inputs. Received: ${inputs.length}`);
    }
    if (!/^[ -[\]-~]*$/.test(op)) refuse(`${where} names no operator`);
    const least = op ? (LEAST_INPUTS.get(op) ?? 1) : 0;
    const missing = Array.from({ length: least }, (_, i) => i).find((i) => !inputs[i]);
    if (missing !== undefined) {
      const expected = `${least} input${least > 1 ? "s" : ""}`;
      refuse(`${where} must have ${expected}. Received: none as number ${missing + 1}`);
    }
    if (op === "Resize" && inputs.filter(Boolean).length < 2) {
      refuse(`${where} must have scales or sizes. Received: neither`);
    }
  }

  /** Raise where the least whole number is divided by -1, which has no answer of its own type. */
  function checkDivision({ op, inputs }, constants, where, refuse) {
    if (op !== "Div" && op !== "Mod") return;
    const [first, second] = inputs.slice(0, 2).map((name) => constants.get(name));
    if (!first || !second || [first, second].some(({ kind }) => ![3, 6, 7].includes(kind))) return;
    if (valuesOf(first)?.some((value) => value === -(2 ** 31) || value === -(2 ** 63)) && valuesOf(second)?.includes(-1)) {
      refuse(`${where} divides the least whole number by -1, which has no answer`);
    }
  }

  function checkConstant(node, i, tensor, where, refuse) {
    if (i === 1 && WEIGHTS.has(node.op)) checkWeights(node, tensor, where, refuse);
    if (i === 1 && node.op === "GroupNormalization") {
      const wrong = (node.attributes.get("num_groups")?.wholes ?? []).find((number) => number > tensor.wanted);
      const expected = `at most ${tensor.wanted}, as there are scales`;
      if (wrong !== undefined) refuse(`\`num_groups\` of ${where} must be ${expected}. Received: ${wrong}`);
    }
    const found = RULES.get(`${node.op}${i}`);
    const values = found && valuesOf(tensor);
    if (values && !(found.wholeOnly && (tensor.kind === 1 || tensor.kind === 11))) {
      checkValues(found, values, `input ${i + 1} of ${where}`, refuse);
    }
  }

  function checkWeights({ op }, tensor, where, refuse) {
    const [least, most] = WEIGHTS.get(op);
    const shape = `the shape ${inBrackets(tensor.sides)}`;
    if (tensor.kind === 8 || tensor.wanted === 0) {
      refuse(`the weights of ${where} must be numbers, and some. Received: ${tensor.kind === 8 ? "text" : shape}`);
    }
    if (tensor.sides.length < least || tensor.sides.length > most) {
      refuse(`the weights of ${where} must have ${least} to ${most} sides. Received: ${shape}`);
    }
  }

  function checkValues({ least, most, noZero, some, product }, values, what, refuse) {
    if (some && !values.length) refuse(`${what} must hold numbers. Received: none`);
    for (const value of values) {
      if (!(value >= least && value <= most)) {
        refuse(`${what} must be from ${inDigits(least)} to ${inDigits(most)}. Received: ${inDigits(value)}`);
      }
      if (noZero && value === 0) refuse(`${what} must not be 0, by which nothing can be divided`);
    }
    if (values.reduce((made, value) => made * Math.abs(value), 1) > product) {
      refuse(`${what} asks for more than ${inDigits(product)} numbers. Received: ${inBrackets(values)}`);
    }
  }

  /** Raise where a node reads what none before it makes, or a convolution an input of other sides than its weights. */
  function checkNames({ nodes, constants, inputs }, refuse) {
    const known = new Set(["", ...inputs.map(({ name }) => name), ...constants.map(({ name }) => name)]);
    const declared = new Map(inputs.map(({ name, sides }) => [name, sides]));
    const weights = new Map(constants.map(({ name, sides }) => [name, sides.length]));
    for (const node of nodes) {
      const unknown = node.inputs.find((name) => !known.has(name));
      if (unknown !== undefined) {
        refuse(`the node ${title(node)} reads \`${harmless(cut(unknown))}\`, which none before it makes`);
      }
      for (const name of node.outputs) known.add(name);
      const [sides, kernel] = [declared.get(node.inputs[0]), weights.get(node.inputs[1])];
      if (/^Conv(Transpose)?$/.test(node.op) && sides && kernel && sides !== kernel) {
        refuse(`the node ${title(node)} has weights of ${kernel} sides for an input of ${sides}`);
      }
    }
  }

  return { checkOnnx };
})(typeof module === "object" ? require("./schema.cjs") : contract);

if (typeof module === "object") module.exports = graphs;
