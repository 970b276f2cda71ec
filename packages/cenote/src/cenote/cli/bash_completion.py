"""Completion in bash, also of words with a colon or an equals sign, such as ``database:read``.

bash splits those into several words (COMP_WORDBREAKS) and replaces only the last one, which click's own
completion does not take into account.
"""

from __future__ import annotations

import os
import re
from typing import Any

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

_SCRIPT = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class WholeWords(BashComplete):
    """Reads the line instead of the words of bash, and answers with what replaces the last of them."""

    source_template = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)[1:]
        self._begun = "" if not words or line[-1:].isspace() else words.pop()
        return words, self._begun

    def format_completion(self, item: CompletionItem[Any]) -> str:
        value = str(item.value)
        option, equals, begun = self._begun.partition("=")
        if not (equals and option.startswith("-")):
            begun = self._begun
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        kept = max((begun.rfind(letter) + 1 for letter in breaks), default=0)
        if value.startswith(begun):
            value = value[kept:]
        return f"{item.type},{_escaped(value)}"


def _escaped(word: str) -> str:
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", word)


add_completion_class(WholeWords, "bash")
