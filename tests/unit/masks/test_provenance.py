"""Words of provenance stand in one place."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "platform" / "segray"
WRITTEN = re.compile(r"""(?:provenance=|np\.full\(.*, )f?["'](?=\w)""")


def test_nobody_writes_a_word_of_their_own() -> None:
    lines = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if WRITTEN.search(line)
    ]
    assert not lines, "\n".join(lines)


def test_a_word_of_ones_own_would_be_found() -> None:
    assert WRITTEN.search('Instances.from_masks(masks, provenance="mine")')
    assert WRITTEN.search('provenance=f"sam:{name}"')
    assert WRITTEN.search('np.full(len(masks), "zero-shot", dtype=object)')
    assert not WRITTEN.search("provenance=Provenance.GT")
