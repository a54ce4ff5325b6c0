// The form that asks for the token where the server wants one.

import { hasToken, useToken } from "./ask.js";
import { h, word } from "./dom.js";

/** @param {() => void} again what was refused, to be tried with the token */
export function tokenForm(again) {
  const field = h("input.kb-token__field", { type: "password", autocomplete: "off", required: true });
  const form = h(
    "form.kb-token",
    { novalidate: true },
    h("p.kb-token__title", {}, h("strong", {}, word("token_title"))),
    hasToken() ? h("p.kb-problem", { role: "alert" }, word("token_wrong")) : null,
    h("label", {}, word("token_label"), h("span.kb-token__row", {}, field, h("button.kb-button", { type: "submit" }, word("token_go")))),
    h("p.kb-muted", {}, word("token_why")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    useToken(field.value.trim());
    again();
  });
  requestAnimationFrame(() => field.focus());
  return form;
}
