"""Parts of the console by themselves, in the browser: signals, lists, layout of graphs, numbers as they are shown."""

from tests.support.browser import shoot, until

GRAPH = """
() => {
  const name = (kind, n) => ({ kind, name: `${kind}-${n + 1}`, id: `${kind}:${kind}-${n + 1}` });
  const names = (kind, count) => Array.from({ length: count }, (_, n) => name(kind, n));
  const facts = { type: "modbus", detail: "", steps: ["limits", "deadband"] };
  const every = [...names("adapter", 11), ...names("pipeline", 14), ...names("uplink", 5)];
  const nodes = every.map((node, at) => ({ ...facts, ...node, state: at % 9 ? "up" : "down", samples_s: at * 37.5 }));
  const edges = [];
  const link = (from, to) => edges.push({ from, to, samples: 1, samples_s: edges.length * 11.5 });
  for (let n = 0; n < 11; n += 1) link(`adapter:adapter-${n + 1}`, `pipeline:pipeline-${(n * 5) % 10 + 1}`);
  for (let n = 0; n < 4; n += 1) link(`pipeline:pipeline-${n + 1}`, `pipeline:pipeline-${n + 11}`);
  for (let n = 4; n < 14; n += 1) link(`pipeline:pipeline-${n + 1}`, `uplink:uplink-${n % 5 + 1}`);
  return { nodes, edges };
}
"""


def test_a_graph_of_30_nodes_stays_readable(signed_in):
    page = signed_in("graph")
    page.wait_for_selector(".node")
    page.evaluate(
        """async (graph) => {
          const { render } = await import("/static/pages/graph.js");
          const value = { value: graph, peek: () => graph };
          document.querySelector("#main").replaceChildren(render({ live: () => value }));
        }""",
        page.evaluate(GRAPH),
    )
    assert page.locator(".node").count() == 30
    boxes = [box.bounding_box() for box in page.locator(".node-box").all()]
    for at, one in enumerate(boxes):
        assert one["height"] > 40
        for other in boxes[at + 1 :]:
            apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            assert apart or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    labels = [label.bounding_box() for label in page.locator(".edge-label").all()]
    hidden = sum(
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and abs(one["y"] - other["y"]) < 9
        for at, one in enumerate(labels)
        for other in labels[at + 1 :]
    )
    assert hidden == 0, "rates lie on each other"
    shoot(page, "graph-30-nodes", full_page=True)


def test_without_the_files_of_npm_values_are_shown_all_the_same(signed_in, watched):
    watched.expect("status of 404", "net::ERR_")
    page = signed_in()
    page.route("**/static/vendor/**", lambda route: route.fulfill(status=404, body=""))
    page.reload()
    page.wait_for_selector("text=Charts are not part of this installation")
    until(page, "/[1-9]/.test(document.querySelector('.figure dd').textContent)")
    page.unroute_all()


def test_signals_tell_only_who_reads_them(signed_in):
    page = signed_in("about")
    ran = page.evaluate(
        """async () => {
          const { signal, effect, computed, Scope } = await import("/static/lib/signal.js");
          const [a, b] = [signal(1), signal(10)];
          const seen = [];
          const scope = new Scope(null);
          scope.run(() => {
            const sum = computed(() => a.value + b.value);
            effect(() => seen.push(a.value > 1 ? sum.value : "few"));
          });
          b.value = 20;
          a.value = 2;
          b.value = 30;
          b.value = 30;
          scope.end();
          a.value = 3;
          return seen;
        }"""
    )
    assert ran[0] == "few"
    assert ran[-1] == 32
    assert 33 not in ran
    assert ran.count(32) == 1


def test_lists_move_elements_and_never_build_them_again(signed_in):
    page = signed_in("about")
    kept = page.evaluate(
        """async () => {
          const { signal } = await import("/static/lib/signal.js");
          const { h, list } = await import("/static/lib/dom.js");
          const rows = signal([{ id: 1, text: "a" }, { id: 2, text: "b" }, { id: 3, text: "c" }]);
          const parent = list(h("ul"), () => rows.value, (row) => row.id, (row) => h("li", {}, () => row.value.text));
          const before = [...parent.children];
          rows.value = [{ id: 3, text: "c" }, { id: 1, text: "A" }, { id: 4, text: "d" }];
          const after = [...parent.children];
          const text = after.map((one) => one.textContent).join("");
          return [text, after[0] === before[2], after[1] === before[0], before[1].isConnected];
        }"""
    )
    assert kept == ["cAd", True, True, False]


def test_numbers_are_written_the_same_way_everywhere(signed_in):
    page = signed_in("about")
    shown = page.evaluate(
        """async () => {
          const f = await import("/static/lib/format.js");
          return [
            ...[f.bytes(999), f.bytes(12345), f.bytes(1.5e9), f.rate(12.345), f.rate(1234.5)],
            ...[f.duration(0.45), f.age(75.9), f.age(200000), f.measured(230.41234), f.measured(0.000012345)],
            ...[f.measured(null), f.quantity(21.5, "Cel"), f.percent(12.34)],
          ];
        }"""
    )
    expected = ["999 B", "12.3 kB", "1.50 GB", "12.3 /s", "1,235 /s", "450 ms", "1 min 15 s", "2 d 7 h"]
    expected += ["230.412", "1.2345e-5", "–", "21.5 °C", "12.3 %"]  # noqa: RUF001  what is shown for nothing
    assert [text.replace("\u202f", " ") for text in shown] == expected
