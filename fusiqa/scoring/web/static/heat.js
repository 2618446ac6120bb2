// An image on a canvas, and over it at every place the mean score of the crops that cover it.

const CELLS = 96; // of the heat map's longer side
const LOW = [178, 24, 43], MIDDLE = [247, 247, 247], HIGH = [33, 102, 172]; // ColorBrewer's RdBu: blue is better
const VEIL = 0.5;

/** Mean of the crops over each cell less the image's own score, row by row. */
export function heatMap(result, width, height) {
  const total = new Float64Array(width * height), count = new Float64Array(width * height);
  for (const { box: [left, top, right, bottom], score } of result.crops) {
    const x0 = Math.floor(left * width), x1 = Math.max(Math.ceil(right * width), x0 + 1);
    const y0 = Math.floor(top * height), y1 = Math.max(Math.ceil(bottom * height), y0 + 1);
    for (let y = y0; y < Math.min(y1, height); y++)
      for (let x = x0; x < Math.min(x1, width); x++) {
        total[y * width + x] += score;
        count[y * width + x] += 1;
      }
  }
  return total.map((sum, place) => sum / (count[place] || 1) - result.score);
}

/** The largest difference of a place from the image's score. */
export const largest = (heat) => heat.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function colour(value) {
  const end = value < 0 ? LOW : HIGH, strength = Math.min(1, Math.abs(value));
  return MIDDLE.map((middle, channel) => Math.round((1 - strength) * middle + strength * end[channel]));
}

/** Draw a picture to fit a canvas, with the heat map over it if there is one; returns the heat map's largest value. */
export function draw(canvas, picture, result, { longest, heat }) {
  const shrink = Math.min(1, longest / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!result || !result.crops.length) return 0;
  const share = CELLS / Math.max(canvas.width, canvas.height);
  const width = Math.max(1, Math.round(canvas.width * share)), height = Math.max(1, Math.round(canvas.height * share));
  const values = heatMap(result, width, height), most = largest(values);
  if (heat) {
    const small = new OffscreenCanvas(width, height), image = new ImageData(width, height);
    values.forEach((value, place) => image.data.set([...colour(most ? value / most : 0), 255], 4 * place));
    small.getContext("2d").putImageData(image, 0, 0);
    pen.globalAlpha = VEIL;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 1;
  }
  return most;
}
