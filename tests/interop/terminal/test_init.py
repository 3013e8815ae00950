"""``onpath init`` in a real terminal: questions and answers, and a configuration that runs."""

from __future__ import annotations

import json
import re

from gateway.config import load


def test_questions_are_answered_and_the_result_runs(terminal, site, tmp_path):
    terminal.type("onpath init first.yaml --state here")
    terminal.until("Name of this gateway")
    terminal.type("feeder-7")
    terminal.until("Modbus endpoint")
    terminal.type("http://10.0.0.5")
    terminal.until("Error: ")  # and it is asked again
    terminal.type(f"tcp://127.0.0.1:{site.ports['MODBUS']}")
    terminal.until("unit id")
    terminal.type("999")
    terminal.until("'999' is no unit id")
    terminal.type("2")
    terminal.until("profile")
    terminal.type("eastron-sdm63")
    terminal.until("eastron-sdm630")
    terminal.type("eastron-sdm630")
    terminal.until("MQTT broker of devices")
    terminal.keys("Enter")
    terminal.until("CoAP resource")
    terminal.keys("Enter")
    terminal.until("Where results go")
    terminal.type("out.jsonl")
    lines = terminal.until("wrote first.yaml")
    assert not any("Traceback" in line for line in lines)
    config = load(tmp_path / "first.yaml", {})
    assert config.gateway == "feeder-7"
    assert config.adapters["meters"].devices["m1"].unit == 2
    terminal.type("clear; onpath check -c first.yaml")
    terminal.until("first.yaml: ok (1 adapters, 1 pipelines, 1 uplinks)")
    terminal.type("clear; onpath run -c first.yaml 2> log & onpath points -w m1/power --for 1s -c first.yaml; sleep 5")
    terminal.type("clear; onpath status -c first.yaml | grep -c ' up '; onpath points m1/power -c first.yaml")
    terminal.until(lambda lines: any(re.match(r"m1/power +[\d.]+ +W +good", line) for line in lines), "a value")
    terminal.type("clear; kill %1; wait; echo over")
    terminal.until(lambda lines: "over" in lines, "its end")
    batches = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert any(sample["point"] == "m1/power" for batch in batches for sample in batch["samples"])


def test_ctrl_c_writes_nothing(terminal, tmp_path):
    terminal.type("onpath init first.yaml; echo left with $?")
    terminal.until("Name of this gateway")
    terminal.keys("C-c")
    terminal.until(lambda lines: any(re.search(r"left with 1(30)?$", line) for line in lines))
    assert not (tmp_path / "first.yaml").exists()
