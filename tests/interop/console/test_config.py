"""The configuration in the browser: marks where errors are, completion by the schema, differences, apply, roll back."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.browser import PHONE, ROOT, go, shoot, sign_in, until

PASSWORD = "brown-fox-jumps-7"
SITE = """\
gateway: edited
state: {state}
console: {{listen: "127.0.0.1:0", password: {password}{more}}}

adapters:
  bus:                          # nobody listens there; this is about text
    type: mqtt
    url: mqtt://127.0.0.1:1
    subscribe:
      - {{topic: "site/{{device}}", payload: json, points: {{power: {{unit: W}}}}}}

uplinks:
  archive: {{type: file, path: {state}/../archive.jsonl, format: json}}
"""
PIPELINES = """\
pipelines:
  live:                         # what changed
    from: ["*/power"]
    steps:
      - deadband: {absolute: 1, max_silence: 60s}
    to: [archive]
"""
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@contextmanager
def gateway(folder, more="", command=()):
    """A gateway whose configuration is a folder with two files."""
    config, state = folder / "conf", folder / "state"
    config.mkdir(parents=True)
    (config / "10-site.yaml").write_text(SITE.format(state=state, password=PASSWORD, more=more))
    (config / "20-pipelines.yaml").write_text(PIPELINES)
    run = [*command, sys.executable, "-m", "gateway.cli.main", "run", "-c", str(config)]
    with (folder / "log").open("wb") as log, subprocess.Popen(run, cwd=ROOT, stderr=log) as process:
        address = state / "console" / "address"
        deadline = time.monotonic() + 60
        while not (address.exists() and address.read_text().strip()):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield {"url": address.read_text().strip(), "password": PASSWORD, "config": config, "pid": process.pid}
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("edited")) as facts:
        yield facts


@pytest.fixture(scope="module")
def signed_in_state(browser, stand):
    context = browser.new_context(base_url=stand["url"], locale="en-GB")
    page = context.new_page()
    sign_in(page, stand["password"])
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def editor(signed_in, stand):
    """The page of the configuration with the file of the pipelines before us, as it was at the start."""
    (stand["config"] / "20-pipelines.yaml").write_text(PIPELINES)

    def make(**options):
        page = signed_in("config", **options)
        page.locator(".file", has_text="20-pipelines.yaml").click()
        page.locator(".cm-line", has_text="deadband").wait_for()
        until(page, "document.querySelector('.editor-state .is-ok')")
        return page

    return make


def write(page, text):
    """Replace the text of the file that is shown."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def behind(page, text):
    """The cursor at the end of the first line with this text."""
    page.locator(".cm-line", has_text=text).first.click()
    page.keyboard.press("End")


def steps_of(page, pipeline="live"):
    """What the gateway runs, by its API."""
    found = page.evaluate("fetch('/api/pipelines').then((answer) => answer.text())")
    (row,) = [one for one in json.loads(found)["pipelines"] if one["name"] == pipeline]
    return [(step["step"], step["options"]) for step in row["steps"]]


def offered(page):
    page.locator(".cm-tooltip-autocomplete li").first.wait_for()
    page.wait_for_timeout(200)  # CodeMirror takes no Enter in the first moment, which may be meant for the text
    return page.locator(".cm-tooltip-autocomplete .cm-completionLabel").all_inner_texts()


def apply(page, comment=""):
    page.get_by_role("button", name="Review and apply").click()
    dialog = page.locator("dialog[open]")
    dialog.locator(".diff-table").wait_for()
    dialog.get_by_label("Comment").fill(comment)
    dialog.get_by_role("button", name="Apply", exact=True).click()
    dialog.wait_for(state="detached")


def test_an_error_is_marked_where_it_is_and_goes_when_it_is_mended(editor):
    page = editor()
    write(page, PIPELINES.replace("absolute: 1", "absolut: 1"))
    page.locator(".cm-lintRange-error").wait_for()
    assert page.locator(".cm-lintRange-error").all_inner_texts() == ["absolut"]
    assert page.locator(".cm-lint-marker-error").count() == 1
    problem = page.locator(".problem")
    assert "20-pipelines.yaml:5:20" in problem.inner_text()
    assert 'did you mean "absolute"' in problem.inner_text()
    assert page.locator(".file-count").inner_text() == "1"
    assert page.evaluate(CONTRAST) == []
    shoot(page, "config-error")

    page.get_by_role("button", name="Review and apply").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_text("It cannot be applied: 1 error").wait_for()
    assert dialog.get_by_role("button", name="Apply", exact=True).is_disabled()
    page.keyboard.press("Escape")
    assert steps_of(page)[0][1].startswith("absolute: 1,")

    problem.click()  # leads to the place, so that what is typed mends it
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.type("e")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('.editor-state .is-ok')")
    assert page.locator(".cm-lintRange-error").count() == 0


def test_a_change_is_seen_applied_and_rolled_back(editor, stand):
    page = editor()
    dialog = page.locator("dialog[open]")
    behind(page, "deadband")
    page.keyboard.press("Enter")
    page.keyboard.type("round: {step: 0.5")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('.editor-state .is-ok')")

    page.get_by_role("button", name="Review and apply").click()
    dialog.locator(".is-come").first.wait_for()
    assert [line.strip() for line in dialog.locator(".is-come .diff-text").all_inner_texts()] == [
        "- round: {step: 0.5}"
    ]
    assert dialog.locator(".is-gone").count() == 0
    assert dialog.locator(".changes li").all_inner_texts() == ["changed\npipelines\nlive"]
    assert page.evaluate(CONTRAST) == []
    shoot(page, "config-review")
    dialog.get_by_label("Comment").fill("Half watts are enough")
    dialog.get_by_role("button", name="Apply", exact=True).click()
    dialog.wait_for(state="detached")
    assert [step for step, _ in steps_of(page)] == ["deadband", "round"]
    assert "round: {step: 0.5}" in (stand["config"] / "20-pipelines.yaml").read_text()
    assert page.get_by_role("button", name="Review and apply").is_disabled()

    page.get_by_role("tab", name="Versions").click()
    running = page.locator("tr", has_text="in effect")
    assert "Half watts are enough" in running.inner_text()
    page.locator("tr", has_text="read from disk").first.get_by_role("button").click()
    dialog.locator(".is-gone").first.wait_for()
    shoot(page, "config-roll-back")
    dialog.get_by_role("button", name="Roll back").click()
    dialog.wait_for(state="detached")
    assert [step for step, _ in steps_of(page)] == ["deadband"]
    assert (stand["config"] / "20-pipelines.yaml").read_text() == PIPELINES
    page.get_by_role("tab", name="Edit").click()
    assert "round" not in page.locator(".cm-content").inner_text()


def test_completion_offers_what_the_schema_knows(editor):
    page = editor()
    behind(page, "deadband")
    page.keyboard.press("Enter")  # begins the next item
    page.keyboard.type("swing")
    assert offered(page) == ["swinging_door"]
    page.locator(".cm-completionInfo", has_text="straight lines").wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Space")
    assert {"epsilon", "percent", "max_silence", "points", "dry_run"} <= set(offered(page))
    shoot(page, "config-completion")
    page.keyboard.type("dry")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    assert offered(page)[0] in {"true", "false"}
    page.keyboard.press("Enter")
    page.locator(".cm-line", has_text="swinging_door: {dry_run:").wait_for()

    write(page, "pipelines:\n  other: {from: [a], to: []}\n  live:\n    from: [b]\n    to: []\n")
    page.locator(".cm-line", has_text="to: []").last.click()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+Space")
    assert offered(page) == ["archive", "other"]  # an uplink of another file, and the other pipeline
    page.keyboard.press("Escape")

    write(page, "uplinks:\n  second:\n    type: ")
    page.keyboard.press("Control+Space")
    assert {"mqtt", "http", "kafka", "file", "stdout", "sparkplug"} <= set(offered(page))
    page.keyboard.type("kaf")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Space")
    found = offered(page)
    assert "sasl" in found, "not narrowed to the type that was chosen"
    assert "type" not in found, "a key that is there is offered again"


def test_a_hint_tells_what_a_key_means(editor):
    page = editor()
    page.locator(".cm-line", has_text="deadband").get_by_text("max_silence").hover()
    hint = page.locator(".cm-hint")
    hint.wait_for()
    assert "max_silence" in hint.inner_text()
    assert "duration" in hint.inner_text()
    assert len(hint.locator("p").first.inner_text()) > 20


def test_a_change_by_somebody_else_is_a_conflict_and_nothing_is_lost(editor, stand, watched):
    watched.expect("status of 409")
    page = editor()
    write(page, PIPELINES.replace("absolute: 1", "absolute: 7"))
    until(page, "document.querySelector('.editor-state .is-ok')")
    page.get_by_role("button", name="Review and apply").click()
    dialog = page.locator("dialog[open]")
    dialog.locator(".is-come").first.wait_for()
    site = stand["config"] / "10-site.yaml"
    before = site.read_text()
    site.write_text(f"# somebody else was here\n{before}")
    try:
        dialog.get_by_role("button", name="Apply", exact=True).click()
        dialog.get_by_text("somebody else has changed the configuration meanwhile").wait_for()
        dialog.get_by_role("button", name="Load what is there now").click()
        dialog.wait_for(state="detached")
        apply(page)
        assert steps_of(page)[0][1].startswith("absolute: 7,")
        assert site.read_text().startswith("# somebody else was here")
    finally:
        site.write_text(before)


def test_a_change_is_undone_unless_it_is_kept(editor, stand):
    page = editor()
    write(page, PIPELINES.replace("absolute: 1", "absolute: 3"))
    until(page, "document.querySelector('.editor-state .is-ok')")
    page.get_by_role("button", name="Review and apply").click()
    dialog = page.locator("dialog[open]")
    dialog.locator(".is-come").first.wait_for()
    dialog.get_by_label("Undo by itself").select_option("60")
    dialog.get_by_role("button", name="Apply", exact=True).click()
    dialog.wait_for(state="detached")
    page.get_by_text("This change is undone in").wait_for()
    assert steps_of(page)[0][1].startswith("absolute: 3,")
    shoot(page, "config-unconfirmed")
    page.get_by_role("button", name="Take it back").click()
    page.get_by_text("This change is undone in").wait_for(state="detached")
    assert steps_of(page)[0][1].startswith("absolute: 1,")
    assert (stand["config"] / "20-pipelines.yaml").read_text() == PIPELINES
    until(page, "!document.querySelector('.config .file-dot')")


def test_files_come_and_go(editor, stand):
    page = editor()
    page.get_by_role("button", name="New file").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_label("Name of the file").fill("../evil.yaml")
    page.keyboard.press("Enter")
    dialog.get_by_text("A name such as").wait_for()
    dialog.get_by_label("Name of the file").fill("30-more.yaml")
    page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    page.keyboard.insert_text('pipelines:\n  more: {from: ["*/power"], to: [archive]}\n')
    until(page, "document.querySelector('.editor-state .is-ok')")
    apply(page, "One more")
    assert (stand["config"] / "30-more.yaml").exists()
    assert steps_of(page, "more") == []
    page.locator(".file", has_text="30-more.yaml").click()
    page.get_by_role("button", name="Delete file").click()
    dialog.get_by_role("button", name="Delete file").click()
    apply(page, "And gone")
    assert not (stand["config"] / "30-more.yaml").exists()


def test_a_draft_outlives_a_look_at_another_page(editor):
    page = editor()
    write(page, PIPELINES.replace("what changed", "still here"))
    go(page, "events")
    go(page, "config")
    page.locator(".file", has_text="20-pipelines.yaml").click()
    page.locator(".cm-line", has_text="still here").wait_for()
    page.get_by_role("button", name="Discard changes").click()
    page.locator("dialog[open]").get_by_role("button", name="Discard changes").click()
    page.locator(".cm-line", has_text="what changed").wait_for()


def test_what_holds_is_shown_with_where_it_comes_from(signed_in):
    page = signed_in("config/effective")
    page.get_by_placeholder("Search paths and values").fill("console.password")
    row = page.locator("tr", has_text="console.password")
    row.wait_for()
    assert "***" in row.inner_text()
    assert PASSWORD not in page.content()
    row.get_by_role("button", name="10-site.yaml:3").click()
    page.locator(".cm-activeLine", has_text="console:").wait_for()
    assert page.evaluate("document.activeElement.shadowRoot?.activeElement?.className.includes('cm-content')")


def test_the_editor_is_left_by_the_keyboard(editor):
    page = editor()
    page.locator(".cm-content").click()
    inside = "document.activeElement.classList.contains('editor-host')"
    page.keyboard.press("Tab")
    assert page.evaluate(inside), "Tab indents"
    page.keyboard.press("Control+z")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert not page.evaluate(inside)


def test_it_can_be_edited_on_a_phone(editor):
    page = editor(viewport=PHONE, has_touch=True, is_mobile=True)
    behind(page, "deadband")
    page.keyboard.press("Enter")
    page.keyboard.type("rou")
    assert "round" in offered(page)
    box = page.locator(".cm-tooltip-autocomplete").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    page.keyboard.press("Enter")
    page.keyboard.type("step: 2")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('.editor-state .is-ok')")
    page.get_by_role("button", name="Review and apply").click()
    page.locator("dialog[open] .is-come").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("document.querySelector('dialog[open]').getBoundingClientRect().right") <= PHONE["width"]
    shoot(page, "config-review-phone")
    page.keyboard.press("Escape")


def test_a_console_that_may_not_change_anything_says_so(browser, tmp_path, watched):
    with gateway(tmp_path, more=", read_only: true") as facts:
        watched.url = facts["url"]
        context = browser.new_context(base_url=facts["url"], locale="en-GB")
        page = context.new_page()
        watched.watch(page)
        sign_in(page, PASSWORD)
        go(page, "config")
        page.get_by_text("The console is read-only.").wait_for()
        page.locator(".file", has_text="20-pipelines.yaml").click()
        page.locator(".cm-line", has_text="deadband").wait_for()
        write(page, PIPELINES.replace("absolute: 1", "absolute: 2"))
        page.get_by_role("button", name="See differences").click()
        dialog = page.locator("dialog[open]")
        dialog.locator(".is-come").first.wait_for()
        assert dialog.get_by_role("button", name="Apply").count() == 0
        dialog.get_by_text("It cannot be applied from here").wait_for()
        context.close()


def test_a_folder_that_cannot_be_written_says_why_and_what_to_do(browser, tmp_path, watched):
    """As ProtectSystem=strict has it: the gateway's own mount of the folder is read-only."""
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this machine does not let us mount")
    script = (
        f'mount --bind "{tmp_path}/conf" "{tmp_path}/conf" && mount -o remount,ro,bind "{tmp_path}/conf" && exec "$@"'
    )
    with gateway(tmp_path, command=["unshare", "--mount", "sh", "-c", script, "sh"]) as facts:
        watched.url = facts["url"]
        context = browser.new_context(base_url=facts["url"], locale="en-GB")
        page = context.new_page()
        watched.watch(page)
        sign_in(page, PASSWORD)
        go(page, "config")
        page.get_by_text("These files cannot be changed from here.").wait_for()
        said = page.locator(".banners").inner_text()
        assert "read-only for the gateway" in said
        assert "ReadWritePaths" in said
        assert "onpath config apply" in said
        shoot(page, "config-read-only")
        context.close()


def test_without_the_editor_a_plain_field_does_it(signed_in, stand, watched):
    """As in an installation that was built without npm."""
    watched.expect("vendor", "the editor is not part of this installation")
    (stand["config"] / "20-pipelines.yaml").write_text(PIPELINES)
    page = signed_in()
    page.route("**/static/vendor/**", lambda route: route.fulfill(status=404, body="{}"))
    go(page, "config")
    page.locator(".file", has_text="20-pipelines.yaml").click()
    field = page.locator("textarea.plain-editor")
    until(page, "document.querySelector('textarea.plain-editor')?.value.includes('deadband')")
    field.fill(PIPELINES.replace("absolute: 1", "absolut: 1"))
    page.locator(".problem").click()
    assert field.evaluate("(it) => it.value.slice(it.selectionStart).startsWith('absolut: 1')")
    field.fill(PIPELINES.replace("absolute: 1", "absolute: 4"))
    until(page, "document.querySelector('.editor-state .is-ok')")
    apply(page, "By hand")
    assert steps_of(page)[0][1].startswith("absolute: 4,")
