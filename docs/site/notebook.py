"""Notebooks as Markdown: their texts, their code, and what it printed and drew."""

import json


def markdown(text: str) -> str:
    """A notebook of format 4 as Markdown; pictures are within the text."""
    return "\n\n".join(part for cell in json.loads(text)["cells"] for part in parts(cell)) + "\n"


def parts(cell: dict) -> list[str]:
    """What a cell shows, piece by piece."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *(shown(output) for output in cell["outputs"])]


def shown(output: dict) -> str:
    """What an output shows: a picture if it is one, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        png = "".join(data["image/png"]).replace("\n", "")
        return f"![What the cell above draws](data:image/png;base64,{png})"
    text = "".join(data.get("text/plain", output.get("text", ""))).rstrip()
    return f"``` {{ .text .output }}\n{text}\n```"
