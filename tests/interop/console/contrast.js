// Text whose contrast with what lies behind it is below WCAG AA: 4.5 to 1, large text 3 to 1
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const parents = function* (element) {
    for (let at = element; at; at = at.parentElement ?? at.getRootNode().host) yield at;
  };
  const ground = (element) => {
    const layers = [];
    for (const at of parents(element)) {
      const style = getComputedStyle(at);
      const own = at instanceof SVGElement && at.querySelector(":scope > rect.node-box");
      const color = rgba(own ? getComputedStyle(own).fill : style.backgroundColor);
      if (color[3]) layers.unshift(color);
      if (color[3] === 1) break;
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const seen = (element) => {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    if (element.closest("option, [disabled], script, style")) return false;
    const box = element.getBoundingClientRect();
    return box.width > 2 && box.height > 2;
  };
  const ratio = (element, style) => {
    const behind = ground(element);
    const color = rgba(element instanceof SVGElement ? style.fill : style.color);
    for (const at of parents(element)) color[3] *= Number(getComputedStyle(at).opacity);
    const [one, other] = [light(over(color, behind)), light(behind)].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  };
  const bad = new Set();
  const look = (root) => {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      if (node.shadowRoot) look(node.shadowRoot);
      const element = node.parentElement;
      if (node.nodeType !== Node.TEXT_NODE || !node.data.trim() || !element || !seen(element)) continue;
      const style = getComputedStyle(element);
      const size = parseFloat(style.fontSize);
      const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
      const found = ratio(element, style);
      const what = `"${node.data.trim().slice(0, 40)}" ${element.tagName} ${element.getAttribute("class")}`;
      if (found < least) bad.add(`${found.toFixed(2)} ${what}`);
    }
  };
  look(document.body);
  return [...bad];
};
