// How the console is built: one page, all of it from this origin, so that it works without the internet.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

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
});
