"""Names for runs that nobody named."""

from __future__ import annotations

_ADJECTIVES = (
    "amber brave brisk calm clear clever coral crisp daring deep eager early fair fleet fond free gentle glad golden "
    "grand green happy hazel jolly keen kind light lively loyal lucid lunar mellow merry misty noble polar proud quick "
    "quiet rapid ready royal sharp silver sleek smart snowy solar solid sound steady still stout sunny swift tidy true "
    "vivid warm wise young"
)
_NOUNS = (
    "acorn aspen badger beacon birch brook canyon cedar cliff comet condor coral crane creek dune eagle ember falcon "
    "fern finch fjord fox garnet glade harbor hawk heron island ivy lagoon lake lark laurel lynx maple marlin meadow "
    "meteor moose moss oak orca osprey otter owl panda pearl pine plum puffin quartz raven reef ridge river robin seal "
    "spruce summit swan tern tiger tulip valley willow wolf wren"
)


def readable_name(run_id: str) -> str:
    """Return two words that can be said aloud, and digits that tell the run apart from others."""
    number = int(run_id.replace("-", "")[-12:], 16)
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    return f"{adjectives[number % len(adjectives)]}-{nouns[number // 97 % len(nouns)]}-{number % 9973:04d}"
