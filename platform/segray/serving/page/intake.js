// The ways in: pictures chosen, dropped, pasted, or picked from the samples. Knows the page's elements; what becomes of
// files, others decide.

import { make } from "./panel.js";

/** Call `add(files)` with what people give. */
export function takeFiles(add) {
  for (const input of document.querySelectorAll(".choose")) {
    input.addEventListener("change", () => {
      add([...input.files]);
      input.value = "";
    });
  }
  addEventListener("paste", (event) => add([...event.clipboardData.files]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    add([...event.dataTransfer.files]);
  });
}

/** Show the samples; a click adds one. */
export async function offerSamples(root, add) {
  const samples = await (await fetch("page/samples/samples.json")).json();
  root.replaceChildren(...samples.map((sample) => make("li", {}, offer(sample, add))));
}

function offer({ file, shows }, add) {
  const image = make("img", { src: `page/samples/${file}`, alt: "", width: 384, height: 384 });
  const button = make("button", { type: "button" }, make("span", {}, `Sample with ${shows}`), image);
  image.addEventListener("error", () => image.remove());
  button.addEventListener("click", async () => {
    const blob = await (await fetch(image.src)).blob();
    add([new File([blob], file, { type: blob.type })]);
  });
  return button;
}
