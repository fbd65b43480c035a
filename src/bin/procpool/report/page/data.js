// The run, and how its numbers are written. Texts of jobs become text nodes only, never markup.
const run = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes and children. A child that is no element becomes text. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "g", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

const grouped = (number) => Math.round(number).toLocaleString("en-US");
const plural = (number, what) => `${grouped(number)} ${what}${number === 1 ? "" : "s"}`;

/** A duration, for people. */
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${(seconds * 1e6).toPrecision(seconds < 1e-4 ? 2 : 3)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toPrecision(3)} ms`;
  if (seconds < 120) return `${seconds.toPrecision(3)} s`;
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), Math.floor(seconds % 60)];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

/** A moment of the run, with the number of digits that shows a difference of `step` seconds. */
function moment(seconds, step) {
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step))));
  if (Math.abs(seconds) < 1e-9) return "0 s";
  if (step < 0.5 && seconds < 1 && digits >= 3) return `${(seconds * 1e3).toFixed(digits - 3)} ms`;
  if (seconds < 120) return `${seconds.toFixed(digits)} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const rest = (seconds % 60).toFixed(digits).padStart(digits > 0 ? digits + 3 : 2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function rate(perSecond) {
  if (perSecond >= 100) return `${grouped(Number(perSecond.toPrecision(3)))}/s`;
  return perSecond >= 1 ? `${perSecond.toPrecision(3)}/s` : `${(perSecond * 60).toPrecision(3)}/min`;
}

/** The colours of the theme that is shown. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

const tip = byId("tip");

/** Shows a text beside the pointer. The first line is its title. */
function showTip(event, title, ...lines) {
  tip.replaceChildren(...(title ? [make("b", {}, title)] : []), ...lines.filter(Boolean).map((line) => make("div", {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
  const top = event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** A canvas of this height, sharp on every screen; returns its context and its width. */
function prepare(canvas, height) {
  const width = canvas.parentElement.clientWidth - (canvas.id === "throughput" ? 32 : 0);
  const scale = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.style.width = `${width}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = "12px system-ui, sans-serif";
  return [context, width];
}

/** The step between two marks of an axis. */
function niceStep(span, count) {
  const raw = span / Math.max(1, count);
  if (raw > 20) return [30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400].find((step) => step >= raw) || raw;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw * 0.999);
}
