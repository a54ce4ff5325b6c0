// Light or dark before anything is drawn; loaded in the head, so that a dark page never flashes white.
(() => {
  "use strict";
  const KEPT = "kbask.scheme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** What was chosen: `system`, `light` or `dark`. */
  function chosen() {
    try {
      return localStorage.getItem(KEPT) ?? "system";
    } catch {
      return "system"; // Nothing may be stored here.
    }
  }

  function show(choice = chosen()) {
    const isDark = choice === "dark" || (choice !== "light" && dark.matches);
    document.documentElement.dataset.mdColorScheme = isDark ? "slate" : "default";
  }

  globalThis.kbaskScheme = {
    chosen,
    choose(choice) {
      try {
        localStorage.setItem(KEPT, choice);
      } catch {
        // Then it holds for this page alone.
      }
      show(choice);
    },
  };
  dark.addEventListener("change", () => show());
  show();
})();
