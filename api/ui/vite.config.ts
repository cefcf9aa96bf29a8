import { defineConfig } from "vite";

export default defineConfig({
  // Relative addresses: the service may live under any prefix.
  base: "./",
  build: {
    target: "es2022",
    // Fonts and pictures stay files, so that the policy of the page needs no more than 'self'.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1800,
    // What is bundled is other people's work under their licences, which travel with it.
    license: { fileName: "licences.md" },
    modulePreload: { polyfill: false },
    rolldownOptions: {
      // The page, and the description of the service at /docs.
      input: ["index.html", "reference.html"],
      checks: { pluginTimings: false },
    },
  },
  worker: { format: "es" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
