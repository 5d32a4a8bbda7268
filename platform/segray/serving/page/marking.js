// Click to mask: what a person marks on a picture goes to the server, its masks come back, one may be kept.
// Knows the page's marking panel; draws by telling the stage.

import { Problem } from "./api.js";
import { make, percent } from "./panel.js";
import { inside } from "./stage.js";

const NEW = "+";
const STEP = 0.02; // Of the picture, per arrow key; a quarter of it with Shift.

export class Marking {
  /** `on` holds keep(instance), fail(problem), say(words) and classes(); `api` answers, `stage` shows. */
  constructor(root, api, stage, on) {
    Object.assign(this, { root, api, stage, on });
    this.picture = null;
    this.masks = [];
    this.chosen = 0;
    this.cursor = null;
    this.find("#undo").addEventListener("click", () => this.undo());
    this.find("#clear").addEventListener("click", () => this.clear());
    this.find("#keep").addEventListener("click", () => this.keep());
    this.find("#mask-class").addEventListener("change", () => this.askName());
    this.find("#new-class").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.keep();
    });
  }

  /** Mark this picture from now on; null: none. */
  begin(picture) {
    this.picture = picture;
    this.cursor = null;
    this.root.hidden = !picture;
    if (picture) this.changed();
    else this.drop();
  }

  press({ x, y, outside }) {
    const means = this.find("input[name=means]:checked").value === "1";
    const label = Number(outside ? !means : means);
    if (!label && !this.picture.clicks.length) {
      this.on.fail(new Problem(0, "Click inside the object first, then on what does not belong to it."));
      return;
    }
    this.picture.clicks.push({ x, y, label });
    this.changed();
  }

  drag(box, done) {
    if (!done) {
      this.stage.update({ clicks: box ? [...this.picture.clicks, { box }] : this.picture.clicks });
      return;
    }
    this.picture.clicks = [...this.picture.clicks.filter((click) => !click.box), { box }];
    this.changed();
  }

  /** Arrows move a cross, Enter clicks there, Backspace takes back, Escape clears. */
  key(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const undone = event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey));
    if (arrow) this.move(arrow, event.shiftKey ? STEP / 4 : STEP);
    else if (event.key === "Enter" && this.cursor) this.press({ ...this.cursor, outside: event.shiftKey });
    else if (undone) this.undo();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  move([dx, dy], step) {
    const [height, width] = this.picture.size;
    const side = step * Math.max(height, width);
    const from = this.cursor ?? { x: width / 2 - dx * side, y: height / 2 - dy * side };
    this.cursor = { x: inside(from.x + dx * side, width), y: inside(from.y + dy * side, height) };
    this.stage.update({ cursor: this.cursor });
  }

  undo() {
    this.picture.clicks.pop();
    // What is left may be no mark at all: points outside of nothing.
    if (!this.picture.clicks.some((click) => click.box || click.label)) this.picture.clicks = [];
    this.changed();
  }

  clear() {
    this.picture.clicks = [];
    this.changed();
  }

  /** The marks are others than before: show them, and ask for their masks. */
  changed() {
    const { clicks } = this.picture;
    this.find("#undo").disabled = this.find("#clear").disabled = !clicks.length;
    this.stage.update({ clicks, cursor: this.cursor });
    this.waiting?.abort();
    if (clicks.length) this.ask(this.picture);
    else this.propose([]);
  }

  async ask(picture) {
    const { signal } = (this.waiting = new AbortController());
    this.root.setAttribute("aria-busy", "true");
    try {
      const { masks } = await this.api.masks(picture.blob, picture.name, asked(picture.clicks), signal);
      if (signal.aborted) return;
      this.propose(masks);
      this.on.say(masks.length ? `${masks.length} to choose from` : "No mask there. Try another place, or a box.");
    } catch (error) {
      if (signal.aborted) return;
      this.propose([]);
      this.on.fail(error);
    } finally {
      if (!signal.aborted) this.root.removeAttribute("aria-busy");
    }
  }

  /** Show what the server answered, the best chosen. */
  propose(masks) {
    this.masks = masks.map((mask) =>
      this.picture.instance({ ...mask, name: "", score: mask.predicted_iou, provenance: "sam" }),
    );
    this.find("#answer").hidden = !masks.length;
    const candidates = this.masks.map((mask, index) => {
      const radio = make("input", { type: "radio", name: "candidate", checked: index === 0 });
      radio.addEventListener("change", () => this.choose(index));
      const words = make("span", {}, `${index + 1} `, make("small", {}, percent(mask.score)));
      return make("label", { title: `Predicted overlap with the object: ${percent(mask.score)}` }, radio, words);
    });
    const legend = this.find("#candidates legend");
    legend.textContent = masks.length > 1 ? "Which one is meant?" : "Mask";
    this.find("#candidates").replaceChildren(legend, ...candidates);
    this.drawClasses();
    this.choose(0);
  }

  choose(index) {
    this.chosen = index;
    this.stage.update({ candidate: this.masks[index] ?? null });
  }

  drawClasses() {
    const select = this.find("#mask-class");
    const before = select.value;
    const names = this.on.classes();
    select.replaceChildren(...names.map((name) => new Option(name, name)), new Option("New class …", NEW));
    if (names.includes(before)) select.value = before;
    this.askName();
  }

  askName() {
    const field = this.find("#new-class-field");
    field.hidden = this.find("#mask-class").value !== NEW;
  }

  keep() {
    const select = this.find("#mask-class");
    const field = this.find("#new-class");
    const name = select.value === NEW ? field.value.trim() : select.value;
    if (!name) {
      field.focus();
      this.on.fail(new Problem(0, "Give the new class a name first."));
      return;
    }
    field.value = "";
    this.on.keep({ ...this.masks[this.chosen], name });
    this.drawClasses();
    select.value = name;
    this.askName();
    this.clear();
  }

  /** Nothing is marked any more; what was clicked stays with its picture. */
  drop() {
    this.waiting?.abort();
    this.masks = [];
    this.stage.update({ clicks: [], candidate: null, cursor: null });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }
}

/** Clicks as the server takes them. */
function asked(clicks) {
  const points = clicks.filter((click) => !click.box);
  return {
    points: points.map(({ x, y }) => [x, y]),
    labels: points.map(({ label }) => label),
    box: clicks.find((click) => click.box)?.box ?? null,
  };
}
