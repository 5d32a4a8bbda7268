// COCO's compressed run lengths: to runs, and to a coarser grid of pixels without ever making the full mask.
// Knows numbers; knows no canvas and no server.

/** Run lengths, alternating outside and inside, starting outside, column by column. */
export function toRuns(counts) {
  const runs = [];
  let value = 0;
  let shift = 0;
  for (let at = 0; at < counts.length; at++) {
    const bits = counts.charCodeAt(at) - 48;
    value |= (bits & 0x1f) << shift;
    shift += 5;
    if (bits & 0x20) continue;
    if (bits & 0x10) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
    value = 0;
    shift = 0;
  }
  return runs;
}

/**
 * The mask of `size` [height, width] as seen on a grid of `grid` {width, height} cells, each cell by its centre.
 * Only the part under `bbox` [x, y, width, height] is made: {x, y, width, height, bits}, `bits` row by row, 0 or 1.
 * A mask too small for the grid keeps one cell.
 */
export function toGrid(runs, size, bbox, grid) {
  const [height, width] = size;
  const across = grid.width / width;
  const down = grid.height / height;
  const x = clamp(Math.floor(bbox[0] * across), 0, grid.width - 1);
  const y = clamp(Math.floor(bbox[1] * down), 0, grid.height - 1);
  const right = clamp(Math.ceil((bbox[0] + bbox[2]) * across), x + 1, grid.width);
  const bottom = clamp(Math.ceil((bbox[1] + bbox[3]) * down), y + 1, grid.height);
  const part = { x, y, width: right - x, height: bottom - y, bits: null };
  part.bits = new Uint8Array(part.width * part.height);
  let run = 0;
  let start = 0;
  let any = false;
  for (let column = 0; column < part.width; column++) {
    const top = Math.floor((x + column + 0.5) / across) * height;
    while (run < runs.length && start + runs[run] <= top) start += runs[run++];
    for (let at = run, from = start; at < runs.length && from < top + height; from += runs[at++]) {
      if (at % 2 === 0) continue;
      const first = Math.max(0, firstCell(from - top, down) - y);
      const last = Math.min(part.height, firstCell(Math.min(from + runs[at] - top, height), down) - y);
      for (let row = first; row < last; row++) part.bits[row * part.width + column] = 1;
      any ||= last > first;
    }
  }
  if (!any && runs.length > 1) part.bits[(part.height >> 1) * part.width + (part.width >> 1)] = 1;
  return part;
}

/** The first grid row whose centre lies at or below an image row's upper edge. */
function firstCell(row, down) {
  return Math.max(0, Math.ceil(row * down - 0.5));
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
