// What can be pressed or means something, and says nothing to a screen reader
() => {
  const wanted = document.querySelectorAll("button, a[href], input, select, textarea, [role=img], [role=meter]");
  const named = (one) =>
    one.getAttribute("aria-label") ||
    one.textContent.trim() ||
    one.closest("label")?.textContent.trim() ||
    one.title ||
    one.querySelector("img[alt]");
  return [...wanted].filter((one) => one.checkVisibility() && !named(one)).map((one) => one.outerHTML.slice(0, 120));
};
