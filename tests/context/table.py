"""The table of docs/compatibility.md, from the run itself."""

from pathlib import Path

PAGE = str(Path(__file__).resolve().parent.parent.parent / "docs" / "compatibility.md")
BEGIN = "<!-- Written by tests/context/run --table. -->"
END = "<!-- End of what tests/context/run wrote. -->"


def order(name):
    """3.9 before 3.13, Debian last."""
    return name.startswith("debian"), [int(n) for n in name.split("-")[-1].split(".")]


def percent(part, whole):
    """Neither 0 nor 100 by rounding."""
    if part in (0, whole):
        return "0" if part == 0 else "100"
    return f"{min(99.99, max(0.01, 100 * part / whole)):.4g}"


def entry(cells):
    """One field: a server with an interpreter, all its clients."""
    if not cells:
        return ""
    if any(cell["errors"] for cell in cells):
        return "error"
    firm = [cell for cell in cells if cell["expected"] == "right"]
    calls = sum(cell["calls"] for cell in firm)
    right = sum(cell["counts"].get("right", 0) for cell in firm)
    wrong = sum(cell["counts"].get("wrong", 0) for cell in cells)
    text = percent(right, calls) if calls else "-"
    return text + (f" ({wrong} wrong)" if wrong else "")


def grid(cells):
    columns = sorted({cell["interpreter"] for cell in cells}, key=order)
    servers = list(dict.fromkeys(cell["server"] for cell in cells))
    lines = ["| server | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for server in servers:
        fields = (entry([cell for cell in cells if (cell["server"], cell["interpreter"])
                         == (server, column)]) for column in columns)
        lines.append(f"| {server} | " + " | ".join(fields) + " |")
    return lines


def exceptions(cells):
    """Clients that are not, or not always, followed."""
    lines = []
    soft = [cell for cell in cells if cell["expected"] != "right"]
    for client in dict.fromkeys(cell["client"] for cell in soft):
        mine = [cell for cell in soft if cell["client"] == client]
        calls = sum(cell["calls"] for cell in mine)
        counts = {name: sum(cell["counts"].get(name, 0) for cell in mine)
                  for name in ("right", "none", "wrong")}
        if calls:
            lines.append(f"| {client} | " + " | ".join(
                percent(count, calls) for count in counts.values()) + " |")
    return ["", "| client | right | none | wrong |", "|---|---|---|---|", *lines] if lines else []


def text(cells):
    calls = sum(cell["calls"] for cell in cells)
    says = (f"{len(cells)} cells, {calls} calls. Percent of calls whose parent is the request\n"
            "that made them, over the clients that are expected to be followed; blank: not run.")
    return "\n".join([BEGIN, "", says, "", *grid(cells), *exceptions(cells), "", END])


def write(path, cells):
    """Between the two marks; at the end of the file where there are none yet."""
    path = Path(path)
    page = path.read_text() if path.exists() else "# Compatibility\n\n"
    if BEGIN in page and END in page:
        page = page[:page.index(BEGIN)] + text(cells) + page[page.index(END) + len(END):]
    else:
        page += text(cells) + "\n"
    path.write_text(page)
