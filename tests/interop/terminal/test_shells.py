"""Completion in shells as people use them: Tab in bash and zsh, and what fish offers."""

from __future__ import annotations

import subprocess


def test_tab_in_bash(terminal, site):
    terminal.type(f"cd {site.folder}; source <(onpath completion bash); clear")
    terminal.keys("onpath poi", "Tab")
    terminal.until("onpath points")
    terminal.keys("C-u", "onpath tap -c site.yaml --after live/l", "Tab")
    terminal.until("live/limits")
    terminal.keys("C-u", "onpath points -c site.yaml m1/volta", "Tab", "Tab", "Tab")
    terminal.until("m1/voltage_l1_l2")
    terminal.keys("C-u", "onpath check sit", "Tab")
    terminal.until("onpath check site.yaml")
    terminal.keys("C-u")


def test_tab_in_zsh(terminal, site):
    terminal.type(f"cd {site.folder}; clear; zsh -f")
    terminal.type("PROMPT='zsh> '; autoload -U compinit; compinit -D; source <(onpath completion zsh); clear")
    terminal.until(lambda lines: lines and lines[0] == "zsh>", "a clear screen")
    terminal.keys("onpath poi", "Tab")
    terminal.until("onpath points")
    terminal.keys("C-u", "onpath graph --format ", "Tab")
    lines = terminal.until("mermaid")
    assert any("svg" in line for line in lines)
    terminal.keys("C-u", "onpath tap -c site.yaml m1/volta", "Tab")
    terminal.until("m1/voltage")
    terminal.keys("C-u")


def fish(site, line):
    script = f"onpath completion fish | source; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=site.env,
        timeout=60,
        cwd=site.folder,
    )
    return [word.partition("\t")[0] for word in done.stdout.splitlines()]


def test_what_fish_offers(site):
    assert fish(site, "onpath poi") == ["points"]
    assert set(fish(site, "onpath graph --format ")) == {"text", "mermaid", "svg"}
    assert "live/limits" in fish(site, "onpath tap -c site.yaml --after live/")
    assert "m1/power" in fish(site, "onpath points -c site.yaml m1/pow")
    assert "site.yaml" in fish(site, "onpath check sit")
