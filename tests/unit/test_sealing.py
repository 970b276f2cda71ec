from __future__ import annotations

import stat
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.errors import Misconfigured
from cenote.model.records import Secret
from cenote.security.sealing import Sealer


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
    with pytest.raises(Misconfigured, match="another key than that in "):
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
