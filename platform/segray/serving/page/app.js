// The page: pictures go to the endpoint, masks come back, people look at them, correct them and take them away.
// Holds what is shown and wires the parts together; each part knows its own elements only.

import { Api } from "./api.js";
import { coco, overlay, save } from "./download.js";
import { offerSamples, takeFiles } from "./intake.js";
import { Marking } from "./marking.js";
import { drawClasses, drawHistogram, InstanceList, make, percent } from "./panel.js";
import { Picture } from "./picture.js";
import { inWords, Queue } from "./queue.js";
import { Stage } from "./stage.js";
import { drawStrip } from "./strip.js";

const BACKGROUND = "background"; // The class of what is no object.

const $ = (selector) => document.querySelector(selector);

const shown = {
  pictures: [],
  current: null,
  classes: [], // Names by class id, those that people added last.
  hidden: new Set(), // Names of classes that are switched off.
  threshold: Number($("#score").value),
  mode: "look",
  model: null,
  highlight: null,
};

const api = new Api((seconds, status) =>
  say(`The ${status === 429 ? "server is busy" : "model is still loading"}; trying again in ${seconds} s …`),
);
const queue = new Queue(api, { changed: refresh, answered, locked: askKey });
const stage = new Stage($("#stage"), {
  hover: (instance, at) => shown.mode === "look" && highlight(instance, at),
  press: (at) => (shown.mode === "mark" ? marking.press(at) : highlight(stage.hit(at), at)),
  drag: (box, done) => shown.mode === "mark" && marking.drag(box, done),
  key: (event) => (shown.mode === "mark" ? marking.key(event) : walk(event)),
});
const list = new InstanceList($("#instances"), { focus: (instance) => highlight(instance), toggle, remove: forget });
const marking = new Marking($("#marking"), api, stage, { keep, fail, say: sayWell, classes: () => shown.classes });

// --- What is shown ---

function classOf(instance) {
  return shown.classes.indexOf(instance.name);
}

/** What people marked stays whatever its score. */
function scoresEnough(instance) {
  return instance.provenance === "sam" || instance.score >= shown.threshold;
}

/** Those that the score and the classes leave, whether switched off one by one or not. */
function listed(picture) {
  return picture.instances.filter((one) => scoresEnough(one) && !shown.hidden.has(one.name));
}

function visible(picture) {
  return listed(picture).filter((one) => one.shown);
}

function render() {
  const picture = shown.current;
  $("#welcome").hidden = shown.pictures.length > 0;
  $("#work").hidden = shown.pictures.length === 0;
  drawStrip($("#pictures"), shown.pictures, picture, { choose: open, remove });
  if (!picture) return;
  drawVeil(picture);
  renderMasks();
}

function renderMasks() {
  const picture = shown.current;
  const instances = listed(picture);
  stage.update({ instances: visible(picture), classOf });
  stage.describe(describe(picture));
  $("#score-value").textContent = percent(shown.threshold);
  const scores = picture.instances.filter((one) => one.provenance !== "sam").map((one) => one.score);
  drawHistogram($("#histogram"), scores, shown.threshold);
  drawClasses($("#classes"), classRows(picture), switchClass);
  list.draw(instances.map((instance) => ({ instance, index: classOf(instance) })));
  $("#count").textContent = instances.length;
  $("#none").hidden = picture.state !== "ready" || instances.length > 0;
  $("#none").textContent = picture.instances.length ? "None is left: lower the score, or switch a class on." : "None found.";
  for (const id of ["#download-coco", "#download-png"]) $(id).disabled = picture.state !== "ready";
}

function classRows(picture) {
  const above = picture.instances.filter(scoresEnough);
  return shown.classes.map((name, index) => ({
    name,
    index,
    count: above.filter((one) => one.name === name).length,
    on: !shown.hidden.has(name),
  }));
}

function describe(picture) {
  if (picture.state !== "ready") return picture.name;
  const counts = new Map();
  for (const { name } of listed(picture)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const words = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
  const keys = shown.mode === "mark" ? " Arrow keys move a cross, Enter marks, Shift and Enter mark outside." : "";
  return `${picture.name}: ${words || "no masks"}.${keys}`;
}

/** Over the stage: that it is being worked on, or why not. */
function drawVeil(picture) {
  const veil = $("#veil");
  veil.hidden = picture.state === "ready";
  veil.className = `veil ${picture.state}`;
  veil.querySelector("p").textContent = picture.problem ?? "Looking for objects …";
  veil.querySelector(".row").hidden = picture.state !== "failed";
}

function highlight(instance, at) {
  if (instance === shown.highlight && !at) return;
  shown.highlight = instance;
  list.mark(instance);
  stage.update({ highlight: instance });
  const place = at ?? (instance && { x: instance.bbox[0] + instance.bbox[2] / 2, y: instance.bbox[1] });
  stage.say(instance && `${instance.name} ${percent(instance.score)}`, place ?? undefined);
}

/** Arrow keys on the picture go from instance to instance, Enter shows or hides one. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const instances = listed(shown.current);
  if (step && instances.length) {
    const at = instances.indexOf(shown.highlight);
    const next = instances.at(at < 0 ? Math.min(step - 1, 0) : (at + step) % instances.length);
    highlight(next);
    say(`${next.name}, ${percent(next.score)}`);
  } else if (event.key === "Enter" && shown.highlight) toggle(shown.highlight);
  else if (event.key === "Escape") highlight(null);
  else return;
  event.preventDefault();
}

// --- What people do ---

function switchClass(name, on) {
  shown.hidden[on ? "delete" : "add"](name);
  renderMasks();
}

function toggle(instance) {
  instance.shown = !instance.shown;
  renderMasks();
  say(`${instance.name} ${instance.shown ? "shown" : "hidden"}`);
}

function keep(instance) {
  if (!shown.classes.includes(instance.name)) shown.classes.push(instance.name);
  shown.hidden.delete(instance.name);
  shown.current.instances.unshift(instance);
  renderMasks();
  sayWell(`Kept as ${instance.name}`);
}

function forget(instance) {
  const picture = shown.current;
  picture.instances = picture.instances.filter((one) => one !== instance);
  highlight(null);
  renderMasks();
}

function add(files) {
  const fresh = files.map((file) => new Picture(file, file.name || "pasted picture"));
  if (!fresh.length) return;
  shown.pictures.push(...fresh);
  open(fresh[0]);
  queue.work(shown.pictures);
}

function open(picture) {
  shown.current = picture;
  highlight(null);
  stage.show(picture);
  marking.begin(shown.mode === "mark" && picture?.state === "ready" ? picture : null);
  render();
}

function remove(picture) {
  const at = shown.pictures.indexOf(picture);
  shown.pictures.splice(at, 1);
  picture.close();
  if (picture === shown.current) open(shown.pictures[Math.min(at, shown.pictures.length - 1)] ?? null);
  else render();
}

function retry(picture) {
  picture.state = "waiting";
  picture.problem = null;
  refresh(picture);
  queue.work(shown.pictures);
}

function setMode(mode) {
  shown.mode = mode;
  document.body.classList.toggle("marks", mode === "mark");
  open(shown.current);
}

// --- What the endpoint says ---

function answered(picture, classes) {
  meet(classes);
  if (!picture.view) notify("This browser cannot show pictures of this kind, so the masks stand alone.");
  say(describe(picture));
}

/** The picture is another than before; draw what of it is shown. */
function refresh(picture) {
  if (picture.state === "failed") say(`${picture.name}: ${picture.problem}`);
  if (picture === shown.current) open(picture);
  else render();
}

/** The student's classes, by id, before those that people added; a background is known, and not in the way at first. */
function meet(classes) {
  const first = classes[0]?.toLowerCase() === BACKGROUND ? classes[0] : null;
  if (first && !shown.classes.includes(first)) shown.hidden.add(first);
  shown.classes = [...new Set([...classes, ...shown.classes])];
}

function setThreshold(score) {
  $("#score").value = score;
  shown.threshold = score;
}

async function describeModels() {
  try {
    const models = await api.models();
    const student = models.find((model) => model.kind === "student");
    // A label map has a class for every pixel, however sure the student is of it.
    if (!shown.model && student.task === "semantic") setThreshold(0);
    shown.model = { name: student.name, weights_sha256: student.weights_sha256 };
    meet(student.classes);
    $("#modes").hidden = !models.some((model) => model.kind === "sam");
    $("#models").textContent = models.map(inShort).join(" · ");
    $("#models").title = models.map((one) => `${one.name} on ${one.device}, weights ${one.weights_sha256}`).join("\n");
  } catch (error) {
    if (error.status === 401) askKey();
    $("#models").textContent = error.status === 401 ? "An API key is needed." : inWords(error);
  }
}

function inShort({ kind, name, classes }) {
  return kind === "sam" ? `SAM ${name} for clicks` : `${name}, ${classes.length} classes`;
}

function askKey(picture = null) {
  if (picture) picture.problem = "Waiting for an API key.";
  $("#key-problem").textContent = api.hasKey ? "This key is not known here." : "";
  $("#key").hidden = false;
  $("#key-value").focus();
  if (picture === shown.current) render();
}

async function useKey(event) {
  event.preventDefault();
  api.key = $("#key-value").value.trim();
  $("#key-value").value = "";
  $("#key").hidden = true;
  await describeModels();
  for (const picture of shown.pictures) if (picture.state === "waiting") picture.problem = null;
  render();
  queue.work(shown.pictures);
}

// --- Words ---

function say(text) {
  $("#status").textContent = text;
}

function notify(text) {
  $("#notice").hidden = !text;
  $("#notice span").textContent = text;
  if (text) say(text);
}

/** Something went well after all: what went wrong before is past. */
function sayWell(text) {
  notify("");
  say(text);
}

function fail(error) {
  if (error.status === 401) askKey();
  else notify(inWords(error));
}

// --- Downloads ---

function saveCoco() {
  const ready = shown.pictures.filter((picture) => picture.state === "ready");
  const found = coco(ready.map((picture) => ({ picture, instances: visible(picture) })), shown.classes, shown.model);
  save(new Blob([JSON.stringify(found)], { type: "application/json" }), "masks.json");
}

async function saveOverlay() {
  const picture = shown.current;
  say("Drawing the overlay …");
  save(await overlay(picture, visible(picture), classOf), `${picture.name.replace(/\.[^.]*$/, "")}-masks.png`);
}

function listen() {
  $("#score").addEventListener("input", (event) => {
    shown.threshold = Number(event.target.value);
    renderMasks();
  });
  for (const radio of document.querySelectorAll("input[name=mode]")) {
    radio.addEventListener("change", () => setMode(radio.value));
  }
  $("#veil .again").addEventListener("click", () => retry(shown.current));
  $("#veil .away").addEventListener("click", () => remove(shown.current));
  $("#download-coco").addEventListener("click", saveCoco);
  $("#download-png").addEventListener("click", saveOverlay);
  $("#notice button").addEventListener("click", () => notify(""));
  $("#key").addEventListener("submit", useKey);
}

listen();
takeFiles(add);
describeModels();
offerSamples($("#samples"), add);
