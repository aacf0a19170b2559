// How the console is built: one page, all of it from this origin, so that it works without the internet.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  build: {
    // The gateway serves this folder, and the wheel carries it.
    outDir: "../../services/virtyard/gateway/console",
    emptyOutDir: true,
    // The first browsers that know light-dark(): what is made of it for older ones loses the colours.
    target: ["chrome123", "firefox120", "safari17.5"],
    // A data: URL would need a weaker content security policy.
    assetsInlineLimit: 0,
  },
  // The machines that run the tests are busy; what is waited for comes all the same.
  test: { testTimeout: 60_000, expect: { poll: { timeout: 30_000 } } },
});
