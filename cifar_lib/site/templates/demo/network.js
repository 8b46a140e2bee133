// The network, whole. A map is {side, channels, values}: side × side pixels, the channels of a pixel side by side.

// What every layer is made of: each output is a weighted sum of the inputs, plus a bias. Four outputs at a time:
// an input that is read once then serves all four, which is faster.
function weigh(inputs, { weight, bias }, outputs, start = 0) {
  const n = inputs.length, whole = bias.length - (bias.length % 4);
  for (let o = 0; o < whole; o += 4) {
    let a = bias[o], b = bias[o + 1], c = bias[o + 2], d = bias[o + 3];
    for (let i = 0, w = o * n; i < n; i++, w++) {
      const input = inputs[i];
      a += weight[w] * input;
      b += weight[w + n] * input;
      c += weight[w + 2 * n] * input;
      d += weight[w + 3 * n] * input;
    }
    outputs[start + o] = a;
    outputs[start + o + 1] = b;
    outputs[start + o + 2] = c;
    outputs[start + o + 3] = d;
  }
  for (let o = whole; o < bias.length; o++) {
    outputs[start + o] = inputs.reduce((sum, input, i) => sum + weight[o * n + i] * input, bias[o]);
  }
  return outputs;
}

// A convolution is that sum at every pixel, its inputs being the patch of kernel × kernel pixels around it. Batch norm
// is in the weights already. Where stride is 2, every second pixel is left out.
function convolve(map, layer) {
  const side = Math.ceil(map.side / layer.stride), channels = layer.bias.length;
  const patch = new Float32Array(layer.kernel ** 2 * map.channels);
  const values = new Float32Array(side * side * channels);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at += channels) {
      cut(map, y * layer.stride, x * layer.stride, layer.kernel, patch);
      weigh(patch, layer, values, at);
    }
  }
  return { side, channels, values };
}

// The patch around pixel (y, x), row by row; zeros where it hangs over the edge.
function cut({ side, channels, values }, y, x, kernel, patch) {
  const reach = (kernel - 1) / 2;
  const left = Math.max(0, x - reach), right = Math.min(side, x + reach + 1);
  patch.fill(0);
  for (let row = 0; row < kernel; row++) {
    const from = y + row - reach;
    if (from < 0 || from >= side) continue;
    const pixels = values.subarray((from * side + left) * channels, (from * side + right) * channels);
    patch.set(pixels, (row * kernel + left - x + reach) * channels);
  }
}

function relu({ side, channels, values }) {
  return { side, channels, values: values.map((value) => Math.max(0, value)) };
}

function add(one, other) {
  return { ...one, values: one.values.map((value, i) => value + other.values[i]) };
}

// The mean over windows, `count` of them per row and column; one window is the mean of the whole map.
function pool({ side, channels, values }, count) {
  const size = side / count, means = new Float32Array(count * count * channels);
  for (let i = 0; i < values.length; i++) {
    const channel = i % channels, pixel = (i - channel) / channels;
    const row = Math.floor(Math.floor(pixel / side) / size), column = Math.floor((pixel % side) / size);
    means[(row * count + column) * channels + channel] += values[i] / size ** 2;
  }
  return means;
}

// Squeeze and excitation: from all channels' means, through two small layers, a gate between 0 and 1 per channel.
function gates(map, { fc1, fc2 }) {
  const squeezed = weigh(pool(map, 1), fc1, new Float32Array(fc1.bias.length)).map((value) => Math.max(0, value));
  return weigh(squeezed, fc2, new Float32Array(map.channels)).map((value) => 1 / (1 + Math.exp(-value)));
}

function multiply(map, gate) {
  return { ...map, values: map.values.map((value, i) => value * gate[i % map.channels]) };
}

// Two convolutions, gated, are added to the block's own input, or to a projection of it where the sizes differ.
function block(map, { conv1, conv2, gate, shortcut }, name, seen) {
  let branch = convolve(relu(convolve(map, conv1)), conv2);
  if (gate) branch = gated(branch, gate, name, seen);
  return relu(add(branch, shortcut ? convolve(map, shortcut) : map));
}

function gated(map, layers, name, seen) {
  const values = gates(map, layers);
  seen.gates.push({ name, values });
  return multiply(map, values);
}

// Red, green, blue, 0 to 255, as in training: less the mean of all training images, over their standard deviation.
function normalise(pixels, { mean, std }) {
  const values = Float32Array.from(pixels, (value, i) => (value / 255 - mean[i % 3]) / std[i % 3]);
  return { side: Math.sqrt(pixels.length / 3), channels: 3, values };
}

// From 32 × 32 × 3 pixels to a score for each class; `seen` keeps what there was to see on the way.
function forward(network, pixels) {
  const seen = { maps: [], gates: [] }, { conv, gate } = network.stem;
  let map = relu(convolve(normalise(pixels, network), conv));
  if (gate) map = gated(map, gate, "stem", seen);
  seen.maps.push({ name: "stem", map });
  network.stages.forEach((stage, i) => {
    stage.forEach((layers, j) => { map = block(map, layers, `stage ${i + 1}, block ${j + 1}`, seen); });
    seen.maps.push({ name: `stage ${i + 1}`, map });
  });
  const logits = weigh(pool(map, network.pool), network.linear, new Float32Array(network.classes.length));
  return { logits, probabilities: softmax(logits), ...seen };
}

function softmax(logits) {
  const largest = Math.max(...logits), powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power);
  return powers.map((power) => power / sum);
}
