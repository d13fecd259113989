"""Doctests within docstrings as code, where Markdown would take their >>> for quotations."""

import re
import textwrap

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.M)


class Doctests(griffe.Extension):
    """Puts a fence around every example of a docstring."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Called for whatever may have a docstring."""
        del kwargs
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(example: re.Match) -> str:
    """An example in a fence, indented as it was."""
    indent = example[1]
    return textwrap.indent(f"```pycon\n{textwrap.dedent(example[0])}\n```", indent)
