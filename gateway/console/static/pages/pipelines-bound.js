// The error bound of a step: in words, and the dialog that changes it.

import { button, errorText, field } from "../components/basics.js";
import { dialog, toast } from "../components/dialog.js";
import { post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { measured } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { signal } from "../lib/signal.js";

/** {absolute: 0.2} as ±0.2, {percent: 0.5} as ±0.5 %. */
export function boundText(bound) {
  if (!bound) return "–";
  return bound.percent === undefined || bound.percent === null ? `±${measured(bound.absolute)}` : `±${measured(bound.percent)}\u202f%`;
}

const written = (bound) => (bound.percent === undefined || bound.percent === null ? String(bound.absolute) : `${bound.percent}%`);

/** Ask for another bound of a step and set it. */
export function changeBound(pipeline, step) {
  const problem = signal("");
  const input = h("input", { class: "input", value: written(step.bound), inputmode: "decimal", autocomplete: "off", autofocus: true, "aria-describedby": "bound-problem", "aria-invalid": () => (problem.value ? "true" : null) });
  const send = async (close) => {
    const bound = input.value.trim().replace(",", ".");
    if (!/^\d+(\.\d*)?(e[-+]?\d+)?\s*%?$/i.test(bound)) {
      problem.value = t("pipelines.bound_wrong");
      input.focus();
      return;
    }
    try {
      await post("bound", { pipeline, step: String(step.number), bound });
      close();
      toast(t("pipelines.bound_set", { step: step.step, bound }));
    } catch (error) {
      problem.value = errorText(error);
    }
  };
  let shut = () => {};
  dialog({
    title: t("pipelines.bound_of", { pipeline, step: step.step }),
    content: () => h("form", { class: "stack", id: "bound-form", onSubmit: (event) => { event.preventDefault(); send(shut); } },
      h("p", {}, t("pipelines.bound_text")),
      field(t("pipelines.bound"), input, { hint: t("pipelines.bound_hint") }),
      h("p", { class: "form-problem", id: "bound-problem", role: "alert" }, () => problem.value)),
    actions: (close) => {
      shut = close;
      return [button(t("shell.cancel"), { onClick: close }), button(t("pipelines.set"), { kind: "primary", onClick: () => send(close) })];
    },
  });
  input.select();
}
