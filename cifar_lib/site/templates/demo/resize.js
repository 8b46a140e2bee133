// Any picture to 32 × 32 as the library does it, to the last bit (BILINEAR of Pillow 13): each pixel is the mean of
// all that it covers, weighted by a triangle, along the rows and then along the columns. A canvas would skip pixels of
// a large picture, and the network would be shown another kind of picture than it was tested on.

const SIZE = 32, ONE = 2 ** 22; // weights are whole numbers of this fraction

// Red, green, blue, alpha of width × height pixels to red, green, blue of 32 × 32. What is tall is first shortened.
function resized(pixels, width, height) {
  const tall = height > SIZE && height - SIZE > 2 * (width - SIZE);
  const small = tall
    ? along(along(pixels, 1, height, width * 4), SIZE, width, 4)
    : along(along(pixels, height, width, 4), 1, height, SIZE * 4);
  return small.filter((_, i) => i % 4 < 3);
}

// One direction: `before` × `length` × `after` values to `before` × SIZE × `after`.
function along(values, before, length, after) {
  if (length === SIZE) return values;
  const made = new Uint8ClampedArray(before * SIZE * after);
  covered(length).forEach(({ first, weights }, i) => {
    for (let b = 0; b < before; b++) {
      for (let a = 0; a < after; a++) {
        let sum = ONE / 2;
        for (let k = 0, at = (b * length + first) * after + a; k < weights.length; k++, at += after) {
          sum += weights[k] * values[at];
        }
        made[(b * SIZE + i) * after + a] = Math.floor(sum / ONE);
      }
    }
  });
  return made;
}

// Which of `length` pixels each of SIZE covers: the first, and the weights from there on.
function covered(length) {
  const scale = length / SIZE, reach = Math.max(scale, 1);
  return Array.from({ length: SIZE }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(length, Math.trunc(centre + reach + 0.5));
    const triangle = (k) => Math.max(0, 1 - Math.abs((first + k - centre + 0.5) * (1 / reach)));
    const raw = Array.from({ length: end - first }, (_, k) => triangle(k));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => Math.trunc(0.5 + (weight / sum) * ONE)) };
  });
}
