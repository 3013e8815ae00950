// Globs over names of points, as the gateway reads them: `*` within a segment, `**` over any number, `?` one character.

const OWN = "onpath/";
const compiled = new Map();

function compile(glob) {
  let out = glob.startsWith(OWN) ? "" : `(?!${OWN})`;
  for (let at = 0; at < glob.length; ) {
    if (glob.startsWith("**/", at)) [out, at] = [`${out}(?:.*/)?`, at + 3];
    else if (glob.startsWith("/**", at) && at + 3 === glob.length) [out, at] = [`${out}(?:/.*)?`, at + 3];
    else if (glob.startsWith("**", at)) [out, at] = [`${out}.*`, at + 2];
    else if (glob[at] === "*") [out, at] = [`${out}[^/#]*`, at + 1];
    else if (glob[at] === "?") [out, at] = [`${out}[^/#]`, at + 1];
    else [out, at] = [out + glob[at].replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), at + 1];
  }
  return new RegExp(`^${out}$`, "s");
}

/** Whether one of the globs takes a name. */
export function takes(globs, name) {
  return globs.some((glob) => {
    if (!compiled.has(glob)) compiled.set(glob, compile(glob));
    return compiled.get(glob).test(name);
  });
}
