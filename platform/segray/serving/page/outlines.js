// The outline of a mask as a path that stays crisp at any scale. Knows bits and paths; knows no instances.

const EAST = 1;
const SOUTH = 2;
const WEST = 4;
const NORTH = 8;
const STEP = { [EAST]: [1, 0], [SOUTH]: [0, 1], [WEST]: [-1, 0], [NORTH]: [0, -1] };
// At a corner where two cells touch: right first, so that they stay two.
const TURNS = {
  [EAST]: [SOUTH, EAST, NORTH],
  [SOUTH]: [WEST, SOUTH, EAST],
  [WEST]: [NORTH, WEST, SOUTH],
  [NORTH]: [EAST, NORTH, WEST],
};

/**
 * A Path2D around the cells of `part` (see rle.toGrid), in the grid's coordinates; fill it by "evenodd".
 * Corners are cut between the middles of cell edges, which turns stairs into slopes.
 */
export function outline(part) {
  const path = new Path2D();
  const edges = boundary(part);
  const wide = part.width + 1;
  for (let corner = 0; corner < edges.length; corner++) {
    while (edges[corner] & EAST) walk(path, edges, corner, wide, part);
  }
  return path;
}

/** For each corner of the cells, the directions of the edges that leave it, the inside on their right. */
function boundary({ width, height, bits }) {
  const wide = width + 1;
  const edges = new Uint8Array(wide * (height + 1));
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const cell = row * width + column;
      if (!bits[cell]) continue;
      const corner = row * wide + column;
      if (row === 0 || !bits[cell - width]) edges[corner] |= EAST;
      if (column === width - 1 || !bits[cell + 1]) edges[corner + 1] |= SOUTH;
      if (row === height - 1 || !bits[cell + width]) edges[corner + wide + 1] |= WEST;
      if (column === 0 || !bits[cell - 1]) edges[corner + wide] |= NORTH;
    }
  }
  return edges;
}

/** One loop from a corner, eastwards, until it closes; its edges are used up. */
function walk(path, edges, corner, wide, part) {
  let x = corner % wide;
  let y = (corner - x) / wide;
  let direction = EAST;
  let begun = false;
  for (;;) {
    const at = y * wide + x;
    edges[at] &= ~direction;
    const [dx, dy] = STEP[direction];
    const middle = [part.x + x + dx / 2, part.y + y + dy / 2];
    x += dx;
    y += dy;
    const next = TURNS[direction].find((way) => edges[y * wide + x] & way);
    if (!begun) path.moveTo(...middle);
    else if (next !== direction) path.lineTo(...middle);
    begun = true;
    if (next === undefined) return path.closePath();
    if (next !== direction) {
      const [nx, ny] = STEP[next];
      path.lineTo(part.x + x + nx / 2, part.y + y + ny / 2);
    }
    direction = next;
  }
}
