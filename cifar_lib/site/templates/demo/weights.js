// From the text in this page to the network's layers. Numbers lie in one row of bytes, each array at its place.

function network(layers, text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return filled(layers, bytes);
}

function filled(tree, bytes) {
  if (tree === null || typeof tree !== "object") return tree;
  if (Array.isArray(tree)) return tree.map((branch) => filled(branch, bytes));
  if ("at" in tree) return numbers(tree, bytes);
  const layer = Object.fromEntries(Object.entries(tree).map(([name, branch]) => [name, filled(branch, bytes)]));
  return layer.scale ? normed(layer) : layer;
}

function numbers({ at, type, shape }, bytes) {
  const count = shape.reduce((product, size) => product * size, 1);
  if (type === "float32") return new Float32Array(bytes.slice(at, at + 4 * count).buffer);
  return Float32Array.from(new Uint16Array(bytes.slice(at, at + 2 * count).buffer), half);
}

// 16 bits: a sign, 5 bits of exponent, 10 of fraction.
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

// Batch norm is a factor and a bias per output channel, so the factor can go into the weights for good.
function normed({ scale, ...layer }) {
  return { ...layer, weight: byOutput(layer, (value, output) => value * scale[output]) };
}

function byOutput({ weight, bias }, change) {
  const inputs = weight.length / bias.length;
  return weight.map((value, i) => change(value, Math.floor(i / inputs)));
}

// The same network with its weights rounded to 255 steps per output channel: a step is the largest of them over 127.
function int8(tree) {
  if (tree === null || typeof tree !== "object" || ArrayBuffer.isView(tree)) return tree;
  if (Array.isArray(tree)) return tree.map(int8);
  const layer = Object.fromEntries(Object.entries(tree).map(([name, branch]) => [name, int8(branch)]));
  return layer.weight ? { ...layer, weight: rounded(layer) } : layer;
}

function rounded(layer) {
  const largest = new Float64Array(layer.bias.length);
  byOutput(layer, (value, output) => { largest[output] = Math.max(largest[output], Math.abs(value)); });
  return byOutput(layer, (value, output) => {
    const step = largest[output] / 127 || 1;
    return Math.round(value / step) * step;
  });
}
