"""`python -m benchmarks [SUBJECT ...]`: measure, print, keep the table of the book. --help names the subjects."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import atlas_page, coders, extraction, feeding, imports, memory, responses, similarity, steps, tied
from groupcc_lite.base import provenance, read_json, write_json

SUBJECTS = {"imports": imports, "extraction": extraction, "feeding": feeding, "coders": coders, "steps": steps,
            "similarity": similarity, "responses": responses, "tied": tied, "memory": memory,
            "atlas": atlas_page}
TABLE = Path(__file__).resolve().parents[1] / "book" / "reference" / "benchmarks.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], help="what to measure (default: everything)")
    chosen = parser.parse_args().subjects or list(SUBJECTS)
    table = read_json(TABLE) if TABLE.is_file() else {}
    for name in chosen:
        results = SUBJECTS[name].measure()
        print(f"\n{name}: {SUBJECTS[name].__doc__.splitlines()[0]}")
        for label, value in results.items():
            print(f"  {value:10.3g}  {label}")
        # Subjects may be measured on different days and machines: each keeps its own record.
        table[name] = {"results": results, "provenance": provenance()}
        write_json(TABLE, table)


if __name__ == "__main__":
    main()
