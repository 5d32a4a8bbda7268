// What is shown, as files: COCO JSON of all pictures, a PNG of one. Knows formats; knows no page.

import { drawPicture } from "./drawing.js";

const MOST_SIDE = 8192; // Browsers draw no larger pictures everywhere.

/** COCO's instances as `segray export` writes them; `pictures` holds {picture, instances}, `classes` names by id - 1. */
export function coco(pictures, classes, model) {
  const images = pictures.map(({ picture }, index) => {
    const [height, width] = picture.size;
    return { id: index + 1, file_name: picture.name, width, height };
  });
  const annotations = pictures.flatMap(({ instances }, index) =>
    instances.map((one) => ({
      image_id: index + 1,
      category_id: classes.indexOf(one.name) + 1,
      segmentation: one.segmentation,
      area: one.area,
      bbox: one.bbox,
      iscrowd: 0,
      score: one.score,
      provenance: one.provenance,
    })),
  );
  return {
    info: { description: "masks found and marked with segray", model, date_created: new Date().toISOString() },
    images,
    annotations: annotations.map((one, index) => ({ id: index + 1, ...one })),
    categories: classes.map((name, index) => ({ id: index + 1, name, supercategory: "" })),
  };
}

/** The picture in all its pixels with its masks, as a PNG's Blob. */
export async function overlay(picture, instances, classOf) {
  const [height, width] = picture.size;
  const scale = Math.min(1, MOST_SIDE / Math.max(height, width));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const whole = await picture.whole();
  drawPicture(canvas.getContext("2d"), whole, picture.grid, instances, classOf);
  whole?.close();
  return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Hand a Blob to the browser as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
