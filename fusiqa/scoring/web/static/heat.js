// An image on a canvas, and over it at every place the mean score of the crops that cover it.

const CELLS = 96; // of the heat map's longer side
const LOW = [178, 24, 43], MIDDLE = [247, 247, 247], HIGH = [33, 102, 172]; // ColorBrewer's RdBu: blue is better
const OPACITY = 0.5;

/** Mean score of the crops over each cell, row by row. */
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
  return total.map((sum, place) => sum / (count[place] || 1));
}

/** The colour of a fraction of the score range: 0 red, 0.5 white, 1 blue. */
export function colour(fraction) {
  const signed = 2 * Math.min(1, Math.max(0, fraction)) - 1, end = signed < 0 ? LOW : HIGH;
  return MIDDLE.map((middle, channel) => Math.round(middle + Math.abs(signed) * (end[channel] - middle)));
}

/** Draw a picture to fit a canvas, with its heat map over it if there is a score range. */
export function draw(canvas, picture, result, { longest, range }) {
  const shrink = Math.min(1, longest / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!range || !result || !result.crops.length) return;
  const cells = CELLS / Math.max(canvas.width, canvas.height), [low, high] = range;
  const width = Math.max(1, Math.round(canvas.width * cells)), height = Math.max(1, Math.round(canvas.height * cells));
  const small = new OffscreenCanvas(width, height), image = new ImageData(width, height);
  heatMap(result, width, height).forEach((value, place) =>
    image.data.set([...colour((value - low) / (high - low)), 255], 4 * place));
  small.getContext("2d").putImageData(image, 0, 0);
  pen.globalAlpha = OPACITY;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = 1;
}
