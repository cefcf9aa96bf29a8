// Draws the verdicts on the scene's picture and says what lies under the pointer.
const data = JSON.parse(document.getElementById("map-data").textContent);
const box = document.getElementById("map");
const canvas = document.getElementById("canvas");
const picture = document.getElementById("scene-picture");
const tip = document.getElementById("tip");
const bar = document.getElementById("scalebar");
const strength = document.getElementById("strength");
const least = document.getElementById("least");
const pen = canvas.getContext("2d");
const view = { scale: 1, x: 0, y: 0, whole: 1, size: [0, 0] };
const hidden = new Set();
const pointers = new Map();
let pointed = -1, pinned = -1, pinch = 0, travelled = 0, waiting = false;

const units = data.form === "units";
const marks = units ? unitMarks() : binMarks();

function unitMarks() {
  const { label, p_damaged } = data.columns;
  return data.shapes.map((rings, index) => {
    const mark = { label: label[index], p: p_damaged[index], path: null, point: null };
    mark.box = extent(rings);
    if (data.geometry === "point") mark.point = rings.length ? rings[0] : null;
    else if (rings.length) mark.path = outline(rings);
    return mark;
  });
}

function binMarks() {
  return data.column.map((column, index) => {
    const left = column * data.side, top = data.row[index] * data.side;
    const path = new Path2D();
    path.rect(left, top, data.side, data.side);
    return { path, point: null, p: data.mean[index], box: [left, top, left + data.side, top + data.side] };
  });
}

function outline(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0], ring[1]);
    for (let at = 2; at < ring.length; at += 2) path.lineTo(ring[at], ring[at + 1]);
    path.closePath();
  }
  return path;
}

function extent(rings) {
  const found = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of rings) {
    for (let at = 0; at < ring.length; at += 2) {
      found[0] = Math.min(found[0], ring[at]); found[2] = Math.max(found[2], ring[at]);
      found[1] = Math.min(found[1], ring[at + 1]); found[3] = Math.max(found[3], ring[at + 1]);
    }
  }
  return found;
}

function blend(mean) {
  const ramp = data.ramp;
  let at = 1;
  while (at < ramp.length - 1 && mean > ramp[at][0]) at += 1;
  const [low, from] = ramp[at - 1], [high, to] = ramp[at];
  const share = Math.min(1, Math.max(0, (mean - low) / (high - low)));
  const channel = (colour, start) => parseInt(colour.slice(start, start + 2), 16);
  const mixed = [1, 3, 5].map((start) => Math.round(channel(from, start) * (1 - share) + channel(to, start) * share));
  return `rgb(${mixed.join(",")})`;
}

const hatch = (() => {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const ink = tile.getContext("2d");
  ink.strokeStyle = data.colours[3];
  ink.lineWidth = 1.6;
  ink.beginPath();
  for (const shift of [-8, 0, 8]) { ink.moveTo(shift, 8); ink.lineTo(shift + 8, 0); }
  ink.stroke();
  return pen.createPattern(tile, "repeat");
})();

function shown(mark) {
  if (units && hidden.has(mark.label)) return false;
  const floor = Number(least.value);
  return floor === 0 || (mark.p !== null && mark.p >= floor);
}

function radius() { return Math.max(5, 7.5 / data.metres * view.scale) / view.scale; }

function inView(mark, margin) {
  const [left, top] = toPicture(0, 0), [right, bottom] = toPicture(box.clientWidth, box.clientHeight);
  return mark.box[2] + margin >= left && mark.box[0] - margin <= right && mark.box[3] + margin >= top && mark.box[1] - margin <= bottom;
}

function toPicture(x, y) { return [(x - view.x) / view.scale, (y - view.y) / view.scale]; }

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  const density = window.devicePixelRatio || 1;
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, box.clientWidth, box.clientHeight);
  pen.setTransform(density * view.scale, 0, 0, density * view.scale, density * view.x, density * view.y);
  pen.imageSmoothingEnabled = view.scale < 4;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, data.width, data.height);
  hatch.setTransform(new DOMMatrix().scale(1 / view.scale));
  const size = data.geometry === "point" && units ? radius() : 0;
  marks.forEach((mark) => { if (shown(mark) && inView(mark, size)) drawMark(mark, size, false); });
  for (const index of new Set([pinned, pointed])) if (index >= 0 && shown(marks[index])) drawMark(marks[index], size, true);
  drawScale();
}

// Label by label, as in the legend: the outline and the shape tell apart what colour alone may not.
const dashes = [[], [6, 3], [1.5, 2.5], []];

function symbol(mark, size) {
  const [x, y] = mark.point, path = new Path2D(), half = size * 0.8;
  if (mark.label === 1) for (const [dx, dy] of [[0, -size], [size, 0], [0, size], [-size, 0]]) path.lineTo(x + dx, y + dy);
  else if (mark.label === 2) path.rect(x - half, y - half, 2 * half, 2 * half);
  else if (mark.label === 3) for (const turn of [-1, 1]) { path.moveTo(x - half, y - turn * half); path.lineTo(x + half, y + turn * half); }
  else path.arc(x, y, size, 0, 2 * Math.PI);
  if (mark.label !== 3) path.closePath();
  return path;
}

function drawCross(path, colour, strong) {
  for (const [width, ink] of [[strong ? 6 : 4, "#ffffff"], [2, colour]]) {
    pen.lineWidth = width / view.scale;
    pen.strokeStyle = ink;
    pen.stroke(path);
  }
}

function drawMark(mark, size, strong) {
  const colour = units ? data.colours[mark.label] : (mark.p === null ? data.colours[3] : blend(mark.p));
  const fill = Number(strength.value);
  const path = mark.point ? symbol(mark, size) : mark.path;
  if (!path) return;
  const unjudged = mark.p === null;
  if (unjudged && mark.point) { drawCross(path, colour, strong); return; }
  // A dot far away, a ring near by, so that the house inside can be seen.
  const ring = mark.point && size * view.scale > 12;
  const dot = mark.point && !ring;
  pen.globalAlpha = ring ? fill * 0.3 : Math.min(1, fill + (strong ? 0.25 : 0) + (dot ? 0.4 : 0));
  pen.fillStyle = unjudged ? hatch : colour;
  pen.fill(path, "evenodd");
  pen.globalAlpha = 1;
  if (!units && !strong) return;
  pen.lineWidth = (strong ? 5 : (ring ? 2.5 : (dot ? 1 : 1.6))) / view.scale;
  pen.strokeStyle = strong || dot ? "#ffffff" : colour;
  pen.setLineDash(strong || dot || !units ? [] : dashes[mark.label].map((length) => length / view.scale));
  pen.globalAlpha = strong || ring ? 1 : Math.min(1, fill * 2 + 0.1);
  pen.stroke(path);
  pen.setLineDash([]);
  pen.globalAlpha = 1;
  if (strong) { pen.lineWidth = 2.4 / view.scale; pen.strokeStyle = colour; pen.stroke(path); }
}

function drawScale() {
  const perPixel = data.metres / view.scale;
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
  const length = steps.filter((step) => step / perPixel <= 140).pop() || 1;
  bar.style.width = `${length / perPixel}px`;
  bar.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
}

function find(x, y) {
  const [px, py] = toPicture(x, y);
  const size = data.geometry === "point" && units ? radius() : 0;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  for (let index = marks.length - 1; index >= 0; index -= 1) {
    const mark = marks[index], [left, top, right, bottom] = mark.box;
    if (px < left - size || px > right + size || py < top - size || py > bottom + size || !shown(mark)) continue;
    if (mark.point ? Math.hypot(px - mark.point[0], py - mark.point[1]) <= size : pen.isPointInPath(mark.path, px, py, "evenodd")) return index;
  }
  return -1;
}

function line(text, tag, name) {
  const element = document.createElement(tag || "div");
  if (name) element.className = name;
  element.textContent = text;
  tip.appendChild(element);
}

function tell(index, x, y) {
  tip.replaceChildren();
  tip.hidden = index < 0;
  if (index < 0) return;
  if (units) tellUnit(index); else tellBin(index);
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(4, Math.min(x + 16, box.clientWidth - width - 4))}px`;
  tip.style.top = `${y + 18 + height > box.clientHeight ? Math.max(4, y - height - 12) : y + 18}px`;
}

function tellUnit(index) {
  const columns = data.columns, label = data.labels[columns.label[index]];
  tip.style.setProperty("--label", data.colours[columns.label[index]]);
  line(`${label.replace("-", " ")}${columns.p_damaged[index] === null ? "" : `, P ${columns.p_damaged[index].toFixed(2)}`}`, "strong");
  line(`${data.kind} ${columns.unit_id[index]}`);
  if (columns.reason[index]) line(`reason: ${columns.reason[index]}`);
  if (columns.lat[index] !== null) line(`${columns.lat[index].toFixed(5)}, ${columns.lon[index].toFixed(5)}`);
  if (columns.valid_fraction[index] < 1) line(`usable pixels: ${Math.round(100 * columns.valid_fraction[index])} %`);
  const told = ["label", "p_damaged", "lon", "lat", "valid_fraction", "unit_id", "reason"];
  for (const [name, values] of Object.entries(columns)) {
    // The caller's id column says again what stands above.
    const fresh = values[index] !== null && values[index] !== columns.unit_id[index];
    if (!told.includes(name) && fresh) line(`${name}: ${values[index]}`, "div", "own");
  }
}

function tellBin(index) {
  const counts = data.counts[index], mean = data.mean[index];
  tip.style.setProperty("--label", mean === null ? data.colours[3] : blend(mean));
  line(mean === null ? "nothing judged here" : `mean P ${mean.toFixed(2)}`, "strong");
  data.labels.forEach((label, at) => { if (counts[at]) line(`${label.replace("-", " ")}: ${counts[at]}`); });
}
