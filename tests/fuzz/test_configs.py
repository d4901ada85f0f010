"""Config values of any kind are declared ones, or refused by their key."""

from hypothesis import example, given
from hypothesis import strategies as st

from merclip_jax import build
from tests.test_declared import HOSTILE, KEYS, WORDS, changed, default, sound

numbers = st.one_of(st.integers(), st.floats(), st.booleans())
plain = st.one_of(numbers, st.text(max_size=20), st.none(), st.sampled_from(HOSTILE))
values = st.recursive(plain, lambda x: st.lists(x, max_size=3).map(tuple), max_leaves=5)
LIKELY = {
    bool: st.booleans(),
    int: st.integers(0, 60),
    float: st.floats(0, 2),
    str: st.sampled_from(["", "a", *sorted(set().union(*WORDS.values()))]),
    tuple: st.lists(st.integers(0, 9) | st.sampled_from("ab"), max_size=3).map(tuple),
}
cases = st.sampled_from(KEYS).flatmap(
    lambda key: st.tuples(st.just(key), LIKELY[type(default(key))] | values)
)


def test_values(tally):
    @tally.given(200)
    @given(cases)
    @example(("optim.clip_norm", float("inf")))
    @example(("protocol.seeds", (0, 0.5)))
    def run(case):
        key, value = case
        with tally.case("config."):
            build.check(changed(key, value))
            assert sound(key, value), f"{key}={value!r} was accepted"

    run()
