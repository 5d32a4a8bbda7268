// The row of pictures below the stage. Knows the page's element and pictures; which one is shown, others decide.

import { make } from "./panel.js";

const SIDE = 128; // Pixels of a thumbnail.

const SAYS = { waiting: "being looked at", ready: "", failed: "failed" };

/** One button per picture, and one to take it away; `on` holds choose(picture) and remove(picture). */
export function drawStrip(root, pictures, current, on) {
  const held = root.contains(document.activeElement);
  root.replaceChildren(...pictures.map((picture) => item(picture, picture === current, on)));
  if (held) root.querySelector("[aria-current]")?.focus();
}

function item(picture, current, on) {
  const button = make("button", { type: "button", className: `thumb ${picture.state}`, title: picture.name });
  if (current) button.setAttribute("aria-current", "true");
  button.setAttribute("aria-label", [picture.name, SAYS[picture.state]].filter(Boolean).join(", "));
  button.append(thumbnail(picture));
  button.addEventListener("click", () => on.choose(picture));
  const remove = make("button", { type: "button", className: "quiet remove" }, "×");
  remove.setAttribute("aria-label", `Remove ${picture.name}`);
  remove.addEventListener("click", () => on.remove(picture));
  return make("li", {}, button, remove);
}

/** The middle of the picture, square; drawn once. */
function thumbnail(picture) {
  if (picture.thumbnail) return picture.thumbnail;
  const canvas = make("canvas", { width: SIDE, height: SIDE });
  const { view } = picture;
  if (!view) return canvas;
  const side = Math.min(view.width, view.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(view, (view.width - side) / 2, (view.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  return (picture.thumbnail = canvas);
}
