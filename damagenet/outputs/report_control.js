// Moves the picture: pointer, touch, wheel, keyboard, and the page's buttons.
const closest = Math.max(4, data.metres / 0.1); // a pixel of the screen is a tenth of a metre

function unpin() { pinned = -1; tip.hidden = true; }

function zoom(factor, x, y) {
  const scale = Math.min(closest, Math.max(view.whole * 0.8, view.scale * factor));
  const [px, py] = toPicture(x, y);
  Object.assign(view, { scale, x: x - px * scale, y: y - py * scale });
  unpin();
  redraw();
}

function showAll() {
  const scale = Math.min(box.clientWidth / data.width, box.clientHeight / data.height);
  unpin();
  Object.assign(view, { scale, whole: scale, x: (box.clientWidth - data.width * scale) / 2, y: (box.clientHeight - data.height * scale) / 2 });
  redraw();
}

function resize() {
  const density = window.devicePixelRatio || 1;
  const before = view.size, wasWhole = view.scale === view.whole;
  view.size = [box.clientWidth, box.clientHeight];
  canvas.width = Math.round(view.size[0] * density);
  canvas.height = Math.round(view.size[1] * density);
  view.whole = Math.min(view.size[0] / data.width, view.size[1] / data.height);
  if (wasWhole) showAll();
  else { view.x += (view.size[0] - before[0]) / 2; view.y += (view.size[1] - before[1]) / 2; }
  draw();
}

function goTo(px, py) {
  const scale = Math.min(closest, Math.max(view.whole * 3, box.clientHeight / (250 / data.metres)));
  Object.assign(view, { scale, x: box.clientWidth / 2 - px * scale, y: box.clientHeight / 2 - py * scale });
  pinned = find(box.clientWidth / 2, box.clientHeight / 2);
  box.scrollIntoView({ block: "center" });
  draw();
  tell(pinned, box.clientWidth / 2, box.clientHeight / 2);
}

function place(event) {
  const frame = canvas.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
}

function spread() {
  const [first, second] = [...pointers.values()];
  return { distance: Math.hypot(first[0] - second[0], first[1] - second[1]), x: (first[0] + second[0]) / 2, y: (first[1] + second[1]) / 2 };
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  travelled = 0;
  if (pointers.size === 2) pinch = spread().distance;
  canvas.classList.add("moving");
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = place(event), before = pointers.get(event.pointerId);
  if (!before) {
    const index = find(x, y);
    if (index !== pointed) { pointed = index; redraw(); }
    tell(index, x, y);
    return;
  }
  pointers.set(event.pointerId, [x, y]);
  travelled += Math.abs(x - before[0]) + Math.abs(y - before[1]);
  if (pointers.size === 2) {
    const now = spread();
    zoom(now.distance / pinch, now.x, now.y);
    pinch = now.distance;
  } else {
    view.x += x - before[0];
    view.y += y - before[1];
    unpin();
    redraw();
  }
});
const release = (event) => {
  const [x, y] = place(event);
  if (event.type === "pointerup" && pointers.size === 1 && travelled < 6) {
    pinned = find(x, y);
    tell(pinned, x, y);
    redraw();
  }
  pointers.delete(event.pointerId);
  if (!pointers.size) canvas.classList.remove("moving");
};
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => { if (pointed >= 0) { pointed = -1; redraw(); } if (pinned < 0) tip.hidden = true; });
canvas.addEventListener("wheel", (event) => {
  // Without a click first, the wheel belongs to the page.
  if (document.activeElement !== canvas && !event.ctrlKey) return;
  event.preventDefault();
  const [x, y] = place(event);
  zoom(Math.exp(-event.deltaY * 0.0016), x, y);
}, { passive: false });
canvas.addEventListener("dblclick", (event) => zoom(2, ...place(event)));
canvas.addEventListener("keydown", (event) => {
  const step = 60, middle = [box.clientWidth / 2, box.clientHeight / 2];
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; unpin(); redraw(); }
  else if (event.key === "+" || event.key === "=") zoom(1.4, ...middle);
  else if (event.key === "-") zoom(1 / 1.4, ...middle);
  else if (event.key === "0") showAll();
  else if (event.key === "Escape") { unpin(); redraw(); }
  else return;
  event.preventDefault();
});
document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
  const middle = [box.clientWidth / 2, box.clientHeight / 2];
  if (button.dataset.zoom === "all") showAll(); else zoom(button.dataset.zoom === "in" ? 1.6 : 1 / 1.6, ...middle);
}));
document.querySelectorAll("[data-label]").forEach((check) => check.addEventListener("change", () => {
  const label = Number(check.dataset.label);
  if (check.checked) hidden.delete(label); else hidden.add(label);
  unpin();
  redraw();
}));
document.querySelectorAll("[data-x]").forEach((button) => button.addEventListener("click", () => goTo(Number(button.dataset.x), Number(button.dataset.y))));
strength.addEventListener("input", redraw);
least.addEventListener("input", () => {
  document.getElementById("least-value").textContent = Number(least.value).toFixed(2);
  unpin();
  redraw();
});

function start() {
  picture.style.visibility = "hidden";
  for (const element of [canvas, bar, document.querySelector(".zoom")]) element.hidden = false;
  new ResizeObserver(resize).observe(box);
  resize();
}
if (picture.complete) start(); else picture.addEventListener("load", start, { once: true });
