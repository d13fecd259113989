r"""Tables as LaTeX: rules of booktabs, numbers of siunitx, and every sign that pdfTeX does not know as its command.

A table is written from the texts that people read. A column of plain numbers becomes an S column of siunitx, aligned at
their decimal points; of other texts each number is a \num, 1.1 × 10^-6 for 1.1e-06. Texts may hold **bold** and $formulas$.
"""

import re

PACKAGES = "% needs \\usepackage{array,booktabs,graphicx,longtable,pdflscape,siunitx}\n"
MOST_ROWS = 45  # of a table that floats; a longer one runs over several pages
MOST_LETTERS = 95  # of a row whose numbers are written out; those of a wider table are shortened
SENTENCE = 30  # letters of a text from which it takes several lines

SIGNS = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"},
    **{"–": "--", "…": r"\dots{}", "→": r"$\to$", "−": "$-$", "±": r"$\pm$", "·": r"$\cdot$", "•": r"$\bullet$"},
    **{"×": r"$\times$", "÷": r"$\div$", "√": r"$\surd$", "∞": r"$\infty$", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$"},
    **{"∪": r"$\cup$", "∈": r"$\in$", "⊙": r"$\odot$", "‖": r"$\|$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "Σ": r"$\Sigma$"},
    **{"Π": r"$\Pi$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$"},
    **{
        "θ": r"$\theta$",
        "λ": r"$\lambda$",
        "μ": r"$\mu$",
        "π": r"$\pi$",
        "σ": r"$\sigma$",
        "φ": r"$\varphi$",
        "ω": r"$\omega$",
    },
    **{c: f"$^{{{n}}}$" for n, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{c: f"$_{{{n}}}$" for n, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{"⁻": "$^{-}$", "ₓ": "$_x$", "₊": "$_{+}$", "’": "'", "“": "``", "”": "''", "\u00a0": "~"},
    **{
        "ö": r"\"o",
        "ü": r"\"u",
        "ä": r"\"a",
        "é": r"\'e",
        "í": r"\'\i{}",
        "ý": r"\'y",
        "à": r"\`a",
        "Š": r"\v{S}",
        "š": r"\v{s}",
    },
    **{"Ŵ": r"$\hat{W}$", "ŵ": r"$\hat{w}$", "M̂": r"$\hat{M}$", "m̂": r"$\hat{m}$", "Ĝ": r"$\hat{G}$", "ĝ": r"$\hat{g}$"},
}
SIGN = re.compile("|".join(map(re.escape, sorted(SIGNS, key=len, reverse=True))))
NUMBER = r"[+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?"
# What is more than its letters: a formula, a name with a subscript (NAC•,σ and R_sparse), bold, a number.
MORE = re.compile(
    r"\$(?P<formula>[^$]+)\$|•(?P<below>,[^\s,]+)?|\bR_(?P<penalty>\w+)|\*\*(?P<bold>.+?)\*\*"
    rf"|(?<![\w.,])(?P<number>{NUMBER})(?![\w.]*\w)"
)


def as_latex(rows: list[dict[str, str]], caption: str, label: str) -> str:
    r"""A table with its \caption and \label."""
    headings = dict.fromkeys(name for row in rows for name in row)
    texts = {heading: [row.get(heading, "") for row in rows] for heading in headings}
    aligned = {heading: number_format(column) for heading, column in texts.items()}
    columns = "".join(column_type(column, aligned[heading]) for heading, column in texts.items())
    head = " & ".join(f"{{{in_latex(name, numbers=False)}}}" for name in texts)
    body = [" & ".join(map(cell, row, aligned.values())) + r" \\" for row in zip(*texts.values(), strict=True)]
    wrap = long_table if len(rows) > MOST_ROWS else floating_table
    wide = sum(max(map(len, [name, *column])) for name, column in texts.items()) > MOST_LETTERS
    above = [rf"\caption{{{in_latex(caption, numbers=False)}}}", rf"\label{{{label}}}", NUMBERS + SHORT * wide]
    return "\n".join(wrap(columns, head + r" \\", body, above))


def floating_table(columns: str, head: str, body: list[str], above: list[str]) -> list[str]:
    """The lines of a table of one piece, no wider than the text; ``above`` is its caption, its label and its settings."""
    return [
        r"\begin{table}",
        r"  \centering",
        *(f"  {line}" for line in above),
        r"  \smallskip",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        *(f"    {line}" for line in (r"\toprule", head, r"\midrule", *body, r"\bottomrule")),
        r"  \end{tabular}}",
        r"\end{table}",
    ]


def long_table(columns: str, head: str, body: list[str], above: list[str]) -> list[str]:
    """The lines of a table over several pages, which repeats its head; a wide one lies on its side."""
    top, (caption, label, settings) = [r"\toprule", head, r"\midrule"], above
    wide = settings.endswith(SHORT)
    lines = [
        rf"\begingroup\{'tiny' if wide else 'scriptsize'}\setlength{{\tabcolsep}}{{{1.8 if wide else 2.5}pt}}{settings}",
        rf"\begin{{longtable}}{{{columns}}}",
        *(f"  {line}" for line in (rf"{caption}{label} \\", *top, r"\endfirsthead", *top, r"\endhead")),
        *(f"  {line}" for line in (r"\bottomrule", r"\endlastfoot", *body)),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return [r"\begin{landscape}", *lines, r"\end{landscape}"] if wide else lines


NUMBERS = r"\sisetup{retain-explicit-plus, tight-spacing, detect-weight}"
SHORT = r"\sisetup{output-exponent-marker=\mathrm{e}}"  # 1.1e-6 in the place of 1.1 × 10^-6


def in_latex(text: str, *, numbers: bool = True) -> str:
    r"""A text as LaTeX; ``numbers`` says whether those in it become \num."""
    found, end = [], 0
    for match in MORE.finditer(text):
        found += [plainly(text[end : match.start()]), special(match, numbers)]
        end = match.end()
    return "".join([*found, plainly(text[end:])])


def special(match: re.Match[str], numbers: bool) -> str:
    """What MORE has found, as LaTeX."""
    kind = match.lastgroup
    if kind == "formula":
        return match.group()
    if kind == "penalty":
        return rf"$R_{{\mathrm{{{match['penalty'].replace('_', ' ')}}}}}$"
    if kind == "bold":
        return rf"\textbf{{{in_latex(match['bold'], numbers=numbers)}}}"
    if kind == "number":
        return rf"\num{{{as_number(match['number'])}}}" if numbers else plainly(match["number"])
    return rf"\textsubscript{{$\bullet${plainly(match['below'] or '')}}}"


def plainly(text: str) -> str:
    """Letters and signs, of which nothing else is to be made."""
    return SIGN.sub(lambda match: SIGNS[match.group()], text).replace(r" \%", r"\,\%")


def as_number(text: str) -> str:
    """A number as siunitx reads it: 1.1e-06 as 1.1e-6, 10,000 as 10000."""
    digits, _, exponent = text.replace("−", "-").replace(",", "").partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits


# Columns


def number_format(column: list[str]) -> str:
    """The table-format of siunitx for a column of plain numbers and dashes; "" of any other."""
    told = [text for text in column if text not in NOTHING]
    if not told or not all(re.fullmatch(NUMBER, text) for text in told):
        return ""
    parts = [re.fullmatch(r"([+-]?)(\d+)\.?(\d*)(?:e(-?)(\d+))?", number) for number in map(as_number, told)]
    sign, whole, decimals, below, exponent = (max((m[i] or "" for m in parts if m), key=len) for i in range(1, 6))
    digits = f"{sign and '-'}{len(whole)}" + (f".{len(decimals)}" if decimals else "")
    return digits + (f"e{below}{len(exponent)}" if exponent else "")


def column_type(column: list[str], digits: str) -> str:
    """How LaTeX sets a column: numbers at their decimal points, texts that begin with a number to the right, others left."""
    if digits:
        return f"S[table-format={digits}]"
    told = [text for text in column if text not in NOTHING]
    if told and all(re.match(rf"[*<>≤≥]*{NUMBER}|∞|–", text) for text in told):
        return "r"
    return r">{\raggedright\arraybackslash}p{11em}" if max(map(len, column), default=0) > SENTENCE else "l"


def cell(text: str, digits: str) -> str:
    """A cell of a column."""
    if not digits:
        return in_latex(text)
    return f"{{{in_latex(text)}}}" if text in NOTHING else as_number(text)


NOTHING = ("", "–")
