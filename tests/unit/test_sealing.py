from __future__ import annotations

import json
import stat
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Misconfigured
from cenote.model.record import Secret
from cenote.security import sealing_keys
from cenote.security.sealing import Sealer, sealing_keys_in


@pytest.fixture(scope="module")
def sealer(tmp_path_factory: pytest.TempPathFactory) -> Sealer:
    return Sealer(tmp_path_factory.mktemp("key") / "key")


@given(text=st.text())
def test_what_is_sealed_opens_again(sealer: Sealer, text: str) -> None:
    assert sealer.open(sealer.seal(Secret(text))) == Secret(text)


@given(text=st.text(min_size=1))
def test_the_same_secret_is_never_sealed_the_same_way(sealer: Sealer, text: str) -> None:
    assert sealer.seal(Secret(text)) != sealer.seal(Secret(text))


def test_a_sealed_text_shows_nothing_of_the_secret(sealer: Sealer) -> None:
    assert "correct-horse" not in sealer.seal(Secret("correct-horse"))


@given(text=st.text(), data=st.data())
def test_a_sealed_text_with_any_character_changed_is_refused(
    sealer: Sealer, text: str, data: st.DataObject
) -> None:
    sealed = sealer.seal(Secret(text))
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters().filter(lambda character: character != sealed[place]))
    with pytest.raises(Misconfigured):
        sealer.open(sealed[:place] + other + sealed[place + 1 :])


@pytest.mark.parametrize("length", range(1, 7))
def test_a_sealed_text_whose_end_is_another_one_for_the_same_bytes_is_refused(
    sealer: Sealer, length: int
) -> None:
    sealed = sealer.seal(Secret("x" * length))
    end = sealed.rstrip("=")
    for other in set(string.ascii_letters + string.digits + "+/") - {end[-1]}:
        with pytest.raises(Misconfigured):
            sealer.open(end[:-1] + other + sealed[len(end) :])


@given(text=st.text())
def test_any_other_text_is_refused(sealer: Sealer, text: str) -> None:
    with pytest.raises(Misconfigured):
        sealer.open(text)


def test_another_key_is_named_as_the_reason(sealer: Sealer, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="another key than those in "):
        Sealer(tmp_path / "other").open(sealer.seal(Secret("x")))


def test_a_refusal_does_not_carry_the_sealed_text(sealer: Sealer) -> None:
    sealed = sealer.seal(Secret("x"))[:-4] + "AAAA"
    with pytest.raises(Misconfigured) as refusal:
        sealer.open(sealed)
    assert sealed[12:] not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_the_key_file_is_for_its_owner_only_and_alone_in_its_folder(tmp_path: Path) -> None:
    key_file = tmp_path / "secrets" / "key"
    Sealer(key_file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert list(key_file.parent.iterdir()) == [key_file]


def test_the_key_is_made_once(tmp_path: Path) -> None:
    sealed = Sealer(tmp_path / "key").seal(Secret("kept"))
    assert Sealer(tmp_path / "key").open(sealed) == Secret("kept")


def test_many_who_start_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        sealers = list(threads.map(lambda _: Sealer(tmp_path / "key"), range(8)))
    sealed = sealers[0].seal(Secret("kept"))
    assert {sealer.open(sealed).reveal() for sealer in sealers} == {"kept"}


def test_a_key_file_that_others_can_read_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    Sealer(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        Sealer(tmp_path / "key")


@pytest.mark.parametrize("content", ["", "not hexadecimal", "00ff", "é"])
def test_a_key_file_without_a_key_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(content)
    key_file.chmod(0o600)
    with pytest.raises(Misconfigured, match="holds no key"):
        Sealer(key_file)
    assert key_file.read_text() == content


def test_a_key_file_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be used"):
        Sealer(tmp_path / "file" / "key")


def test_a_key_file_of_before_there_were_several_keys_is_taken_over(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("ab" * 32 + "\n")
    key_file.chmod(0o600)
    sealer = Sealer(key_file)
    [key] = sealer.keys
    assert key.made_at.timestamp() == int(key_file.stat().st_mtime)
    assert key_file.read_text() == "ab" * 32 + "\n"
    sealed = sealer.seal(Secret("kept"))
    sealer.add_key()
    assert Sealer(key_file).open(sealed) == Secret("kept")
    assert Sealer(key_file).keys[0] == key


@pytest.mark.parametrize(
    "content", ["ab" * 32 + "\n\n", "\n" + "ab" * 32, "ab" * 30 + "\n" + "ab" * 2 + "\n"]
)
def test_a_key_file_of_before_may_have_empty_lines_or_be_wrapped(tmp_path: Path, content: str) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(content)
    key_file.chmod(0o600)
    assert [key.secret for key in Sealer(key_file).keys] == [b"\xab" * 32]


def test_the_newest_key_seals_and_all_open(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    sealed = {}
    for number in range(3):
        sealed[sealer.keys[-1].id] = sealer.seal(Secret(str(number)))
        sealer.add_key()
    assert [text.split(".")[1] for text in sealed.values()] == list(sealed)
    again = Sealer(tmp_path / "key")
    assert again.keys == sealer.keys
    assert [again.open(text).reveal() for text in sealed.values()] == ["0", "1", "2"]


def test_a_removed_key_is_gone_from_the_file_and_opens_until_the_process_ends(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    old, sealed = sealer.keys[0], sealer.seal(Secret("x"))
    new = sealer.add_key()
    (tmp_path / ".sealing.left").write_text(old.line)
    sealer.remove_keys([old.id, new.id])
    assert sealer.keys == Sealer(tmp_path / "key").keys == (new,)
    assert old.secret.hex() not in "".join(path.read_text() for path in tmp_path.iterdir())
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert sealer.open(sealed) == Secret("x")
    with pytest.raises(Misconfigured, match="another key"):
        Sealer(tmp_path / "key").open(sealed)


def test_a_ring_with_a_damaged_line_is_refused_and_left_alone(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    sealer.add_key()
    content = (tmp_path / "key").read_text()
    (tmp_path / "key").write_text(content[:-40])
    with pytest.raises(Misconfigured, match="holds no key"):
        Sealer(tmp_path / "key")
    assert (tmp_path / "key").read_text() == content[:-40]


@given(
    others=st.recursive(
        st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_document_is_resealed_wherever_its_sealed_texts_are_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory, others: object
) -> None:
    sealer = Sealer(tmp_path_factory.mktemp("ring") / "key")
    sealed = sealer.seal(Secret("secret"))
    damaged = sealed[:-8] + "AAAAAAA="
    document = {"a": [{"sealed": sealed}], "b": f'"{sealed}"', "c": damaged, "d": others, "e": "v1.0.x"}
    before = json.dumps(document).encode()
    assert sealer.reseal(before) == before
    new = sealer.add_key()
    after = json.loads(sealer.reseal(before))
    resealed = after["a"][0]["sealed"]
    assert resealed.split(".")[1] == new.id
    assert sealer.open(resealed) == Secret("secret")
    after["a"][0]["sealed"] = sealed
    assert after == document
    assert sealing_keys_in(before) == {sealed.split(".")[1]}


def test_a_derived_key_changes_with_the_newest_key(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    before = sealer.derived("a purpose")
    assert before == Sealer(tmp_path / "key").derived("a purpose") != sealer.derived("another")
    sealer.add_key()
    assert sealer.derived("a purpose") != before


def test_a_document_is_resealed_by_another_ring_except_for_what_is_not_of_this_one(tmp_path: Path) -> None:
    api, host = Sealer(tmp_path / "api"), Sealer(tmp_path / "host")
    old = api.seal(Secret("old"))
    api.add_key()
    texts = [old, api.seal(Secret("new")), host.seal(Secret("theirs"))]
    found = json.loads(api.reseal(json.dumps(texts).encode(), by=host))
    assert [host.open(text).reveal() for text in found] == ["old", "new", "theirs"]
    assert found[2] == texts[2]
    with pytest.raises(Misconfigured, match="another key"):
        api.open(found[0])


def test_a_new_key_is_the_newest_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    ring = Sealer(tmp_path / "key")
    for _ in range(3):
        added = ring.add_key()
        assert ring.keys[-1] == added
        assert Sealer(tmp_path / "key").keys == ring.keys
    times = [key.made_at for key in ring.keys]
    assert times == sorted(set(times))


def test_a_key_that_is_handed_over_is_added_once_and_in_its_place(tmp_path: Path) -> None:
    one, other = Sealer(tmp_path / "one"), Sealer(tmp_path / "other")
    later = one.add_key()
    for key in (later, one.keys[0], later):
        other.add_key(key)
    assert other.keys == sealing_keys.merged(other.keys, one.keys)
    assert other.keys[-1] == later
    assert len(other.keys) == 3


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    ring = Sealer(tmp_path / "key")
    assert ring.keys[0].secret.hex() not in repr(ring.keys)
    assert repr(ring.keys[0].secret) not in repr(ring.keys)


def test_a_key_that_waits_opens_and_seals_only_once_it_no_longer_does(tmp_path: Path) -> None:
    first, second = Sealer(tmp_path / "one"), Sealer(tmp_path / "two")
    second.add_key(first.keys[-1])
    own = second.keys[-1]
    new = sealing_keys.new_key(second.keys)
    second.add_key(sealing_keys.waiting(new))
    for sealer in (second, Sealer(tmp_path / "two")):
        assert sealer.keys[-1].id == own.id
        assert sealer.seal(Secret("x")).split(".")[1] == own.id
        assert sealing_keys.latest(sealer.keys).id == new.id
    first.add_key(new)
    assert second.open(first.seal(Secret("x"))) == Secret("x")
    second.add_key(new)
    assert second.seal(Secret("x")).split(".")[1] == new.id
    second.add_key(sealing_keys.waiting(new))  # it is too late to wait
    assert Sealer(tmp_path / "two").keys[-1] == new
