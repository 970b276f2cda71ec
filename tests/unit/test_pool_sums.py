"""The sums over poolers, for any numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cenote.stats.observer import PoolNumbers
from cenote.stats.pool_sums import summed

# Subnormal numbers have so few digits that a product of theirs can be twice what it should be.
counts, seconds = st.integers(0, 1000), st.floats(0, 1000, allow_subnormal=False)
poolers = st.lists(
    st.dictionaries(
        st.sampled_from("ab"),
        st.builds(
            PoolNumbers,
            clients_active=counts,
            transactions=counts,
            longest_wait=seconds,
            transaction_rate=seconds,
            query_rate=seconds,
            average_query=seconds,
            average_wait=seconds,
        ),
    ),
    max_size=3,
)


@given(poolers)
def test_sums_are_sums_and_averages_lie_between_those_of_the_poolers(
    found: list[dict[str, PoolNumbers]],
) -> None:
    after = summed(found)
    assert after.keys() == {name for numbers in found for name in numbers}
    for name, total in after.items():
        parts = [numbers[name] for numbers in found if name in numbers]
        assert total.clients_active == sum(part.clients_active for part in parts)
        assert total.transactions == sum(part.transactions for part in parts)
        assert total.longest_wait == max(part.longest_wait for part in parts)
        averages = [part.average_query for part in parts]
        assert min(averages) - 1e-6 <= total.average_query <= max(averages) + 1e-6
        if len(parts) == 1:
            assert total == parts[0]
