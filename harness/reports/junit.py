"""Gates as JUnit XML, for what shows test results.

One ``testsuite``, one ``testcase`` per gate and cell: ``failure`` where it failed, ``error``
where it cannot be told, ``skipped`` where it does not apply. The form is what both
the schema of Maven Surefire's reports and that of Jenkins' JUnit plug-in allow.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from harness.decide.gates import Finding
from harness.domain import Answer
from harness.reports import gates
from harness.reports.gates import Checked

_ELEMENT = {
    Answer.FAILED: "failure",
    Answer.CANNOT_TELL: "error",
    Answer.NOT_APPLICABLE: "skipped",
}

#: What XML 1.0 has no way to write (section 2.2 there).
_IMPOSSIBLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(checked: Checked) -> str:
    """The XML, with its declaration."""
    found = checked.findings
    counts = {answer: sum(item.answer is answer for item in found) for answer in Answer}
    suite = Xml.Element(
        "testsuite",
        {
            "name": plain(f"gates of {checked.suite}, run {checked.run}"),
            "tests": str(len(found)),
            "failures": str(counts[Answer.FAILED]),
            "errors": str(counts[Answer.CANNOT_TELL]),
            "skipped": str(counts[Answer.NOT_APPLICABLE]),
            "time": "0",
        },
    )
    for item in found:
        suite.append(_case(item))
    Xml.indent(suite, " ")
    text = Xml.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def plain(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _IMPOSSIBLE.sub("\ufffd", text)


def _case(item: Finding) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {
            "name": plain(f"{item.limit} {gates.bound(item)}: {gates.cell(item)}"),
            "classname": plain(f"gates.{item.limit}"),
            "time": "0",
        },
    )
    told = "; ".join(filter(None, (gates.value(item), gates.remark(item))))
    kind = _ELEMENT.get(item.answer)
    if kind is not None:
        attributes = {"message": plain(told)}
        if kind != "skipped":
            attributes["type"] = item.limit
        Xml.SubElement(case, kind, attributes).text = plain(gates.line(item))
    elif told:
        Xml.SubElement(case, "system-out").text = plain(told)
    return case
