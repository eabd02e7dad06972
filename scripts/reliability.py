#!/usr/bin/env python3
"""Writes docs/reliability.md, and the table of SECURITY.md, from docs/reliability.toml and from what the tests said.

    reliability.py           takes over the results in target/nextest/*/junit.xml, and writes the pages
    reliability.py --check   changes nothing; fails if a page is not what would be written now
    reliability.py --filter  prints what `cargo nextest run -E` takes to run the tests of the matrix alone

What the tests said is kept in docs/reliability-figures.json, so that the pages tell of the last run of each test, and of
which: a sample (`make test`), or all of it (`make torture`). A failure is written down like a success.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs/reliability-figures.json"
PAGE = ROOT / "docs/reliability.md"
SECURITY = ROOT / "SECURITY.md"
BEGIN, END = "<!-- rows -->", "<!-- end of rows -->"
SOAK = "it::crash::soak::everything_at_once_loses_nothing"
# What a test says of its row: "K5, postmaster: 20 kills, …".
SAID = re.compile(r"^[A-Z]\d+[A-Z0-9, -]*[^:]*: .*\d.*$")
# The fullest of the runs that a test is in.
RUNS = {"default": "a sample", "ci": "a sample", "torture": "in full", "upgrade": "in full", "fuzz": "in full",
        "soak": "in full"}

HEAD = """# Reliability

<!-- Written by scripts/reliability.py from docs/reliability.toml and from what the tests said: change neither here. -->

## The promise

A 2xx from the API, or a 250 after the final dot, means that the mail is committed in Postgres with
`synchronous_commit=on`. From then on every recipient comes to exactly one end (delivered, bounced, expired, suppressed or
canceled), whatever breaks: a process, the database, a peer, the network. A bounce may still follow a delivery when it
comes late.

## The known gap

Delivery is *at least once*. If postroad dies between a peer's 250 and its own commit, or the connection breaks between
the final dot and the reply, nobody can know that the mail was taken. It is then sent again: at most one extra copy of each
mail that was in flight, with the same Message-ID and the same octets, and after a broken connection not sooner than 15
minutes later. And a 2xx is durable on the primary: a standby that is promoted has every mail only if it was synchronous.

## How it is shown

Each row below is a fault, injected for real: processes are killed by signals and at system calls, disks are filled,
clocks are moved, packets dropped, servers scripted. Afterwards the *conservation oracle* (`tests/it/support/oracle`)
compares what clients were told, what is stored, and what the receiving side took: nothing accepted is missing, nothing is
sent twice without an excuse, copies are equal, every mail has one end and a legal path to it.

Repeat it, on Debian or Ubuntu with a Rust toolchain:

    make test                                    a sample of every fault
    make torture                                 all of it: every point, many times
    make upgrade                                 row K12
    make soak SOAK_SECONDS=3600                  everything at once, with random faults
    cargo nextest run -E 'test(a_full_disk)'     one test
    cargo nextest run -E "$(scripts/reliability.py --filter)"
    scripts/reliability.py                       this page, from what they said
"""


def rows(matrix):
    return [row for part in matrix["part"] for row in part["row"]] + matrix["security"]


def commit():
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip()


def harvest(figures, wanted):
    """Takes over what the reports say of the wanted tests."""
    for report in sorted(ROOT.glob("target/nextest/*/junit.xml")):
        run = report.parent.name
        tree = ElementTree.parse(report).getroot()
        for suite in tree.iter("testsuite"):
            binary = "it::" if suite.get("name").endswith("::it") else ""
            for case in suite.iter("testcase"):
                name = binary + case.get("name")
                if name == SOAK and case.find("failure") is None:
                    out = case.findtext("system-out") or ""
                    said = [line.strip() for line in out.splitlines() if line.startswith("Soak: ")]
                    figures["soak"] = {"at": case.get("timestamp"), "said": said}
                if name not in wanted:
                    continue
                known = figures["tests"].get(name)
                if known and known["at"] >= case.get("timestamp"):
                    continue
                failed = case.find("failure") is not None or case.find("error") is not None
                out = case.findtext("system-out") or ""
                figures["tests"][name] = {
                    "at": case.get("timestamp"),
                    "run": run,
                    "commit": commit(),
                    "outcome": "failed" if failed else "passed",
                    "seconds": round(float(case.get("time")), 1),
                    "said": [line.strip() for line in out.splitlines() if SAID.match(line.strip())],
                }
    figures["tests"] = {name: figures["tests"][name] for name in sorted(wanted) if name in figures["tests"]}
    return figures


def told(name, figures):
    known = figures["tests"].get(name)
    if not known:
        return f"- `{name}`: not run yet\n"
    when = known["at"][:10]
    line = f"- `{name}`: **{known['outcome']}** {RUNS.get(known['run'], known['run'])}, in {known['seconds']} s, on {when}\n"
    return line + "".join(f"  - {said}\n" for said in known["said"])


def page(matrix, figures):
    named = rows(matrix)
    tests = {name for row in named for name in row.get("tests", [])}
    known = [figures["tests"][name]["outcome"] for name in tests if name in figures["tests"]]
    text = [HEAD, "\n## Where it stands\n\n"]
    text.append(
        f"{len(named)} rows, {sum(1 for row in named if not row.get('tests'))} of them without a test; {len(tests)} tests: "
        f"{known.count('passed')} passed when they ran last, {known.count('failed')} failed, "
        f"{len(tests) - len(known)} not run yet.\n"
    )
    soak = figures.get("soak")
    if soak:
        text.append(f"\nEverything at once (`make soak`), on {soak['at'][:10]}:\n\n")
        text.extend(f"- {said.removeprefix('Soak: ')}\n" for said in soak["said"])
    for part in matrix["part"]:
        text.append(f"\n## {part['name']}\n\n{part['about']}\n")
        for row in part["row"]:
            text.append(f"\n### {row['id']}: {row['fault']}\n\n")
            text.append(f"Holds: {row['holds']}.\\\nBy: {row['how']}.\n\n")
            if row.get("gap"):
                text.append(f"Not shown: {row['gap']}.\n\n")
            text.extend(told(name, figures) for name in row.get("tests", []))
            if not row.get("tests"):
                text.append("**Open: no test injects it.**\n")
    text.append("\n## Security\n\nThe model is in [SECURITY.md](../SECURITY.md).\n")
    for row in matrix["security"]:
        text.append(f"\n### {row['id']}: {row['fault']}\n\n")
        text.extend(told(name, figures) for name in row.get("tests", []))
        if row.get("gap"):
            text.append(f"\nNot shown: {row['gap']}.\n")
    return "".join(text)


def security(matrix, old):
    """SECURITY.md with its table."""
    lines = ["| | Against | By | Shown by |\n|---|---|---|---|\n"]
    for row in matrix["security"]:
        shown = ", ".join(f"`{name}`" for name in row.get("tests", [])) or "**open**"
        lines.append(f"| {row['id']} | {row['fault']} | {row['how']} | {shown} |\n")
    before, rest = old.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{''.join(lines)}\n{END}{after}"


def main():
    matrix = tomllib.loads((ROOT / "docs/reliability.toml").read_text())
    if "--filter" in sys.argv[1:]:
        names = sorted({name for row in rows(matrix) for name in row.get("tests", [])})
        print(" or ".join(f"test(={name.removeprefix('it::')})" for name in names))
        return
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"tests": {}}
    checked = "--check" in sys.argv[1:]
    if not checked:
        wanted = {name for row in rows(matrix) for name in row.get("tests", [])}
        figures = harvest(figures, wanted)
        FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    written = {PAGE: page(matrix, figures), SECURITY: security(matrix, SECURITY.read_text())}
    stale = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
    if checked and stale:
        sys.exit(f"stale: {', '.join(path.name for path in stale)}; run scripts/reliability.py")
    for path in stale:
        path.write_text(written[path])
        print(f"written: {path.relative_to(ROOT)}")


main()
