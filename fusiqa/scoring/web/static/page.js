// The page: scores images, one request each, and shows the score, the heat map, a comparison and tables.

import { draw } from "./heat.js";

const AT_ONCE = 4, SHOWN = 900; // requests in progress; pixels of the longer side of a picture
const FLAWS = ["blur", "noise", "compression", "blocks", "colour", "exposure", "sharpening", "none"];
const COLUMNS = ["path", "score", "spread", "scale_0", "scale_1", "scale_2", "scale_3", ...FLAWS.map((flaw) => `flaw_${flaw}`),
  "width", "height", "model", "note", "error"];
const $ = (id) => document.getElementById(id);
const IMAGES = /\.(jpe?g|jpe|jfif|png|webp|bmp|tiff?|avif|mpo|gif|hei[cf]|cr[23]|nef|arw|dng)$/i; // of a folder's files
const entries = []; // {key, name, file, picture, result}
let model = null, chosen = null, pair = [], order = { by: "score", up: true };
let waiting = [], running = 0, finished = 0, asked = 0;

const shown = (value) => (value === null || value === undefined ? "" : Number(value).toPrecision(3));
const wide = () => model.score_range[1] - model.score_range[0];

async function start() {
  try {
    model = await (await fetch("v1/model")).json();
  } catch {
    $("model").textContent = "The server does not answer. Reload this page when it is running again.";
    return;
  }
  const [low, high] = model.score_range;
  $("model").textContent = `${model.name}: scores on ${low} to ${high}, higher is better`;
  $("limits").textContent = `at most ${model.max_megabytes} MB and ${model.max_megapixels} megapixels each`;
}

function take(files) {
  for (const file of files) {
    const entry = { key: String(asked), name: file.path || file.name, file, picture: null, result: null };
    entries.push(entry);
    waiting.push(entry);
    asked += 1;
  }
  pump();
  render();
}

function pump() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    const entry = waiting.shift();
    scoreOf(entry).then((result) => {
      entry.result = result;
      running -= 1;
      finished += 1;
      if (!entries.includes(entry)) entry.picture?.close(); // cleared meanwhile
      else if (!chosen && !result.error) chosen = entry;
      pump();
      render();
    });
  }
}

/** The picture in a file, no larger than it is shown: those of a whole folder stay in memory. */
async function pictureOf(file) {
  const whole = await createImageBitmap(file, { imageOrientation: "from-image" });
  const shrink = SHOWN / Math.max(whole.width, whole.height);
  if (shrink >= 1) return whole;
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((side) => Math.max(1, Math.round(side * shrink)));
  return createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" }).finally(() => whole.close());
}

async function scoreOf(entry) {
  const form = new FormData();
  form.append("files", entry.file, entry.name);
  entry.picture = await pictureOf(entry.file).catch(() => null);
  try {
    for (let attempt = 0; ; attempt++) {
      const answer = await fetch("v1/score", { method: "POST", body: form });
      if (answer.status === 503 && attempt < 20) {
        await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("Retry-After") || 2)));
        continue;
      }
      const reply = await answer.json().catch(() => ({}));
      return answer.ok ? reply.results[0] : failed(entry, typeof reply.detail === "string" ? reply.detail : answer.statusText);
    }
  } catch {
    return failed(entry, "the server does not answer");
  }
}

const failed = (entry, error) => ({ name: entry.name, score: null, spread: null, scale_weights: null, crops: [], error });

function sorted() {
  const value = {
    name: (e) => e.name.toLowerCase(),
    score: (e) => e.result?.score ?? Infinity,
    spread: (e) => e.result?.spread ?? Infinity,
    pixels: (e) => (e.result?.width ?? 0) * (e.result?.height ?? 0),
  }[order.by];
  const sign = order.up ? 1 : -1, bad = (e) => (e.result && !e.result.error ? 0 : 1);
  return [...entries].sort((a, b) => bad(a) - bad(b) || sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
}

/** The files below a dropped folder, or the dropped file; of a folder only images, with their path from it. */
async function filesIn(entry, within = "") {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed)).catch(() => null);
    if (!file || (within && (file.name.startsWith(".") || !IMAGES.test(file.name)))) return [];
    return [Object.assign(file, { path: within + file.name })];
  }
  const reader = entry.createReader(), found = [];
  for (;;) { // a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)).catch(() => []);
    if (!some.length) break;
    found.push(...some);
  }
  found.sort((a, b) => (a.name < b.name ? -1 : 1));
  const inside = await Promise.all(found.filter((each) => !each.name.startsWith("."))
    .map((each) => filesIn(each, `${within}${entry.name}/`)));
  return inside.flat();
}

async function drop(transfer) {
  const dropped = [...transfer.items].map((item) => item.webkitGetAsEntry?.()); // before the first await
  if (!dropped.length || dropped.some((entry) => !entry)) return take(transfer.files);
  take((await Promise.all(dropped.map((entry) => filesIn(entry)))).flat());
}

function chooseFolder(files) {
  const images = [...files].filter((file) => IMAGES.test(file.name) && !/(^|\/)\./.test(file.webkitRelativePath));
  take(images.map((file) => Object.assign(file, { path: file.webkitRelativePath })));
}

function render() {
  const focused = document.activeElement?.dataset.focus; // the rows are made anew
  $("progress").hidden = finished === asked;
  $("bar").max = asked;
  $("bar").value = finished;
  $("count").textContent = `${finished} of ${asked}`;
  $("comparison").hidden = !entries.length;
  $("rows").replaceChildren(...sorted().map(row));
  detail();
  compare();
  if (focused) document.querySelector(`[data-focus="${focused}"]`)?.focus({ preventScroll: true });
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function row(entry) {
  const result = entry.result, line = element("tr", { className: entry === chosen ? "chosen" : "" });
  const small = element("canvas");
  small.setAttribute("aria-hidden", "true");
  if (entry.picture) draw(small, entry.picture, null, { longest: 112 });
  const good = result && !result.error;
  const name = good ? element("button", { type: "button", textContent: entry.name }) : entry.name;
  if (good) name.dataset.focus = `name ${entry.key}`;
  line.append(element("td", {}, good && entry.picture ? tick(entry) : ""), element("td", {}, entry.picture ? small : ""),
    element("td", { className: "name" }, name));
  if (!result) line.append(element("td", { colSpan: 5, textContent: "waiting" }));
  else if (result.error) line.append(element("td", { colSpan: 5, className: "error", textContent: result.error }));
  else {
    line.append(element("td", { textContent: shown(result.score) }), element("td", { textContent: shown(result.spread) }));
    line.append(element("td", { className: "flaws", textContent: result.flaws ? result.flaws_in_words || "none likely" : "" }));
    line.append(element("td", { className: "wide" }, result.scale_weights ? stack(result.scale_weights) : "none"));
    line.append(element("td", { className: "wide", textContent: `${result.width} × ${result.height}` }));
    line.addEventListener("click", () => { chosen = entry; render(); $("detail").scrollIntoView({ block: "nearest" }); });
  }
  return line;
}

/** A checkbox that puts an image into the pair; a third one replaces the first. */
function tick(entry) {
  const box = element("input", { type: "checkbox", checked: pair.includes(entry) });
  box.setAttribute("aria-label", `compare ${entry.name}`);
  box.dataset.focus = `tick ${entry.key}`;
  box.addEventListener("click", (event) => event.stopPropagation());
  box.addEventListener("change", () => {
    pair = box.checked ? [...pair, entry].slice(-2) : pair.filter((each) => each !== entry);
    render();
  });
  return box;
}

/** One image of the pair over the other, in one frame. */
function compare() {
  $("pair").hidden = pair.length < 2;
  if (pair.length < 2) return;
  const { width, height } = pair[0].picture;
  for (const [id, entry] of [["before", pair[0]], ["after", pair[1]]]) {
    const shrink = Math.min(1, SHOWN / Math.max(width, height)), canvas = $(id);
    [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * shrink)));
    canvas.getContext("2d").drawImage(entry.picture, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", entry.name);
    $(`${id}-name`).textContent = `${entry.name}: ${shown(entry.result.score)}`;
  }
  divide();
}

function divide() {
  const place = Number($("divider").value);
  $("after").style.clipPath = `inset(0 0 0 ${place}%)`;
  $("edge").style.left = `${place}%`;
}

function stack(weights) {
  const bar = element("div", { className: "stack", title: weights.map((w) => w.toFixed(2)).join("  ") });
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", weights.map((w) => w.toFixed(2)).join(", "));
  weights.forEach((weight, place) => {
    const part = element("i", { className: `c${place}` });
    part.style.width = `${100 * weight}%`;
    bar.append(part);
  });
  return bar;
}

function detail() {
  $("detail").hidden = !chosen;
  if (!chosen) return;
  const result = chosen.result, [low, high] = model.score_range;
  $("chosen-name").textContent = chosen.name;
  $("chosen-score").textContent = shown(result.score);
  $("chosen-range").textContent = `${result.word}, on ${low} to ${high}, higher is better`;
  $("flaws-box").hidden = !result.flaws;
  $("chosen-flaws").textContent = result.flaws_in_words || "None is likely.";
  $("flaws").replaceChildren(...Object.entries(result.flaws || {}).map(flaw));
  const place = Math.min(1, Math.max(0, (result.score - low) / wide()));
  $("score-scale").firstElementChild.style.left = `${100 * place}%`;
  $("score-scale").setAttribute("aria-label", `score ${shown(result.score)} on ${low} to ${high}`);
  $("chosen-spread").textContent = `Standard deviation over ${result.crops.length} parts of the image: ${shown(result.spread)}.`;
  $("weights-box").hidden = !result.scale_weights;
  $("weights").replaceChildren(...(result.scale_weights || []).map(weight));
  picture();
}

function flaw([name, probability]) {
  const meter = element("meter", { min: 0, max: 1, value: probability });
  meter.setAttribute("aria-label", `probability of ${name}`);
  return element("li", {}, element("span", { textContent: name }), meter, element("span", { textContent: probability.toFixed(2) }));
}

function weight(value, place) {
  const scale = model.scales[place], bar = element("i", { className: `c${place}` });
  bar.style.width = `${100 * value}%`;
  return element("li", {},
    element("div", { className: "head" }, element("span", { textContent: `Scale ${place}` }), element("span", { textContent: value.toFixed(2) })),
    element("div", { className: "track" }, bar),
    element("small", { textContent: `cells of ${scale.cell_pixels} × ${scale.cell_pixels} pixels` }));
}

function picture() {
  const heat = $("heat").checked, result = chosen.result;
  if (!chosen.picture) { // a format that browsers do not show
    $("picture").width = $("picture").height = 1;
    $("legend").hidden = true;
    return;
  }
  draw($("picture"), chosen.picture, result, { longest: SHOWN, range: heat ? model.score_range : null });
  $("picture").setAttribute("aria-label", `${chosen.name}${heat ? ", with the heat map of its crops' scores" : ""}`);
  $("legend").hidden = !heat;
  const scores = result.crops.map((crop) => crop.score);
  [$("low").textContent, $("high").textContent] = model.score_range;
  $("found").textContent = `parts: ${shown(Math.min(...scores))} to ${shown(Math.max(...scores))}`;
}

function rowOf(entry) {
  const r = entry.result, weights = r.scale_weights || [null, null, null, null];
  const flaws = FLAWS.map((flaw) => r.flaws?.[flaw] ?? null);
  const values = [entry.name, r.score, r.spread, ...weights, ...flaws, r.width ?? null, r.height ?? null, r.model ?? model.name, r.note || null, r.error];
  return Object.fromEntries(COLUMNS.map((name, place) => [name, values[place]]));
}

function cell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // a spreadsheet would run it
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const done = () => sorted().filter((entry) => entry.result).map(rowOf);
const csv = () => [COLUMNS.join(","), ...done().map((r) => COLUMNS.map((name) => cell(r[name])).join(","))].join("\n") + "\n";

$("files").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
$("folder").addEventListener("change", (event) => { chooseFolder(event.target.files); event.target.value = ""; });
$("divider").addEventListener("input", divide);
$("heat").addEventListener("change", () => chosen && picture());
$("csv").addEventListener("click", () => save("scores.csv", "text/csv", csv()));
$("json").addEventListener("click", () => save("scores.json", "application/json", JSON.stringify(done(), null, 2)));
$("clear").addEventListener("click", () => {
  for (const entry of entries) if (entry.result) entry.picture?.close();
  entries.length = waiting.length = finished = asked = 0;
  asked = running;
  chosen = null;
  pair = [];
  render();
});
for (const button of document.querySelectorAll("[data-sort]"))
  button.addEventListener("click", () => {
    order = { by: button.dataset.sort, up: order.by === button.dataset.sort ? !order.up : true };
    for (const head of document.querySelectorAll("th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", order.up ? "ascending" : "descending");
    render();
  });
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") drop(event.dataTransfer);
  });
start();
