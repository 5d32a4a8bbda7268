// The lists beside a picture: scores, classes, instances. Knows the page's elements; what is shown, others decide.

import { css } from "./colours.js";

const BARS = 25;

/** Make an element: `make("li", {className: "x"}, child, "text")`. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function percent(score) {
  return `${Math.round(100 * score)} %`;
}

/** How many instances have which score; those below the threshold are pale. */
export function drawHistogram(root, scores, threshold) {
  const counts = new Array(BARS).fill(0);
  for (const score of scores) counts[Math.min(BARS - 1, Math.max(0, Math.floor(score * BARS)))]++;
  const most = Math.max(1, ...counts);
  const bars = counts.map((count, index) => {
    const bar = make("span", { className: (index + 0.5) / BARS < threshold ? "below" : "" });
    bar.style.height = `${count ? 8 + (92 * Math.sqrt(count)) / Math.sqrt(most) : 0}%`;
    return bar;
  });
  root.replaceChildren(...bars);
}

/** One checkbox per class that is on the picture: {name, index, count, on}. */
export function drawClasses(root, classes, onToggle) {
  keepFocus(root, () =>
    classes.map(({ name, index, count, on }) => {
      const box = make("input", { type: "checkbox", checked: on });
      box.style.setProperty("--tone", css(index));
      box.dataset.key = name;
      box.addEventListener("change", () => onToggle(name, box.checked));
      const label = make("label", { title: name }, box, make("span", { className: "name" }, name));
      label.append(make("span", { className: "number" }, String(count)));
      return make("li", { className: count ? "" : "absent" }, label);
    }),
  );
}

/** The instances as a list that arrow keys walk: {instance, index}. */
export class InstanceList {
  /** `on` holds focus(instance or null), toggle(instance) and remove(instance). */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("focusout", () => on.focus(null));
    root.addEventListener("pointerleave", () => on.focus(null));
  }

  draw(rows) {
    this.rows = rows;
    keepFocus(this.root, () => rows.map((row, at) => this.row(row, at)));
  }

  row({ instance, index }, at) {
    const { name, score, shown, provenance } = instance;
    const kept = provenance === "sam";
    const button = make("button", { type: "button", tabIndex: at === 0 ? 0 : -1 }, swatch(index));
    button.dataset.key = instance.id;
    button.setAttribute("aria-pressed", String(shown));
    button.append(make("span", { className: "name" }, name));
    if (kept) button.append(make("span", { className: "badge" }, "yours"));
    button.append(make("span", { className: "number" }, percent(score)));
    button.addEventListener("click", () => this.on.toggle(instance));
    button.addEventListener("focus", () => this.on.focus(instance));
    button.addEventListener("pointerenter", () => this.on.focus(instance));
    const item = make("li", {}, button);
    if (kept) {
      const remove = make("button", { type: "button", className: "quiet remove", tabIndex: -1 }, "×");
      remove.setAttribute("aria-label", `Remove ${name}`);
      remove.addEventListener("click", () => this.on.remove(instance));
      item.append(remove);
    }
    return item;
  }

  /** Which row is marked as the one under the pointer. */
  mark(instance) {
    for (const button of this.buttons()) {
      button.classList.toggle("marked", button.dataset.key === String(instance?.id));
    }
  }

  key(event) {
    const buttons = this.buttons();
    const at = buttons.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Delete" && this.rows[at].instance.provenance === "sam") this.on.remove(this.rows[at].instance);
    if (to === undefined) return;
    event.preventDefault();
    const next = buttons.at(to === buttons.length ? 0 : to);
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }

  buttons() {
    return [...this.root.querySelectorAll("button[data-key]")];
  }
}

function swatch(index) {
  const element = make("span", { className: "swatch" });
  element.style.background = css(index);
  return element;
}

/** Exchange a list's items; whoever was in it stays at the same one. */
function keepFocus(root, items) {
  const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  root.replaceChildren(...items());
  const again = key && root.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!again) return;
  if (again.tagName === "BUTTON") {
    for (const button of root.querySelectorAll("button[data-key]")) button.tabIndex = button === again ? 0 : -1;
  }
  again.focus();
}
